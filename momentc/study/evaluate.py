"""One cell of a scan: run a method, and measure how far its moments and functions are off."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.errors import RequestError, VerificationError
from momentc.moments.accumulate import Moments, accumulate_moments
from momentc.moments.discrepancy import error_by_order, worst_error
from momentc.moments.request import MOST_MOMENTS, ORDERS_BEYOND, largest_order
from momentc.options import DEFAULT_TOLERANCE, Effort
from momentc.panel import (
    DEFAULT_FAMILIES,
    PER_FAMILY,
    Panel,
    draw_panel,
    published_rational,
    published_sigmoid,
)
from momentc.study.grid import Cell
from momentc.study.methods import METHODS, Dataset, Task
from momentc.study.synthetic import draw_trial, polylog_setting

__all__ = ["Evaluator", "Setting", "evaluate_in_process", "prepare_process"]

Array = NDArray[np.float64]

# Methods that keep no moments on purpose are compared as if they kept so many orders.
BASELINE_ORDER: Final = 4

# What a method does once in a process before it is timed.
WARM_UP_POINTS: Final = 300
WARM_UP_TARGET: Final = 30


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for all cells of a scan.

    Parameters
    ----------
    seed : int
        Of the methods (plus the trial) and of the panel.
    effort : {'low', 'normal', 'high'}
    families : tuple of str
        Of the panel.
    per_family : int
        Functions of each.
    polylog : bool
        Measure Eq. (98) as Appendix G does, instead of Eq. (13), on synthetic points.
    """

    seed: int = 0
    effort: Effort = "normal"
    families: tuple[str, ...] = DEFAULT_FAMILIES
    per_family: int = PER_FAMILY
    polylog: bool = False


class _Measured:
    """A dataset with the values that every result is compared with; each computed once."""

    def __init__(self, data: Dataset, setting: Setting, published: Panel | None) -> None:
        self.data = data
        self._moments: dict[int, Moments] = {}
        self._panels: list[tuple[Panel, bool, Array]] = []
        panel = draw_panel(
            data.local, data.weights, setting.seed, "report",
            families=setting.families, per_family=setting.per_family,
        )  # fmt: skip
        self._panels.append((panel, True, panel.means(data.local, data.weights)))
        if published is not None:
            values = published.means(data.points, data.weights)
            self._panels.append((published, False, values))

    def highest(self, order: int) -> int:
        """Return the order, or the highest below it whose moments are few enough."""
        rank = self.data.frame.rank
        return min(order, largest_order(rank, MOST_MOMENTS)) if rank else 0

    def moments(self, order: int) -> Moments:
        if order not in self._moments:
            self._moments[order] = accumulate_moments(
                self.data.local, self.data.weights, order, "monomial"
            )
        return self._moments[order]

    def errors(self, local: Array, points: Array, weights: Array) -> dict[str, dict[str, float]]:
        """Return {family: {'rms', 'mean_abs', 'worst'}}."""
        found: dict[str, dict[str, float]] = {}
        for panel, in_frame, expected in self._panels:
            values = panel.means(local if in_frame else points, weights)
            for name, error in panel.compare(expected, values).items():
                found[name] = {
                    "rms": error.rms, "mean_abs": error.mean_abs, "worst": error.worst
                }  # fmt: skip
        return found


class Evaluator:
    """Computes cells one by one.

    Parameters
    ----------
    setting : Setting
    points : (n, m) float64 ndarray, optional
        The user's, for cells of the source 'file'.
    weights : (n,) float64 ndarray, optional
        > 0.
    """

    def __init__(
        self, setting: Setting, points: Array | None = None, weights: Array | None = None
    ) -> None:
        self._setting = setting
        self._given = (
            None if points is None or weights is None else
            _Measured(Dataset(points, weights), setting, None)
        )  # fmt: skip
        self._warm: set[tuple[str, bool]] = set()
        # Cells of the same points follow each other.
        self._synthetic = lru_cache(maxsize=1)(self._draw)

    def _draw(self, kind: str, m: int, d: int, trial: int) -> _Measured:
        directions, points = draw_trial(kind, m, d, trial)
        if self._setting.polylog:
            published = published_rational(directions, polylog_setting(m, d)[1])
        else:
            published = published_sigmoid(directions)
        return _Measured(Dataset(points, np.ones(d)), self._setting, published)

    def __call__(self, cell: Cell) -> dict[str, Any]:
        """Return what was measured, as plain JSON values.

        Keys: those of the cell; ``seconds`` of the method alone; ``n_kept``; ``kept_order``, up
        to which the method keeps the moments (null if it keeps none); ``moment_error`` by order,
        with two orders above the kept ones; ``errors`` by family. A method that cannot do a cell
        leaves ``failed``, a sentence, instead, and so does momentc where its result misses the
        moments up to k.
        """
        if cell.source == "file":
            assert self._given is not None
            measured = self._given
        else:
            measured = self._synthetic(cell.source, cell.m, cell.d, cell.trial)
        task = Task(cell.k, cell.target, self._setting.seed + cell.trial, self._setting.effort)
        self._warm_up(cell)
        began = time.perf_counter()
        try:
            reduced = METHODS[cell.method](measured.data, task)
        except (RequestError, VerificationError) as error:
            return {**cell.as_json(), "failed": str(error)}
        seconds = time.perf_counter() - began
        order = BASELINE_ORDER if reduced.kept_order is None else reduced.kept_order
        after = accumulate_moments(
            reduced.local, reduced.weights, measured.highest(order + ORDERS_BEYOND), "monomial"
        )
        frame = measured.data.frame
        moment_error = error_by_order(measured.moments(after.plan.order), after, frame)
        missed = _missed(cell, moment_error)
        if missed is not None:
            return {**cell.as_json(), "failed": missed}
        return {
            **cell.as_json(),
            "seconds": seconds,
            "n_kept": len(reduced.weights),
            "kept_order": reduced.kept_order,
            "moment_error": [float(value) for value in moment_error],
            "errors": measured.errors(reduced.local, reduced.points, reduced.weights),
        }

    def _warm_up(self, cell: Cell) -> None:
        """Load, and where it must be compile, what the method needs, before it is timed.

        What is only needed for more or other points is still loaded in the first cell that needs
        it: tenths of a second.
        """
        kind = cell.method, cell.m == 1
        if kind not in self._warm:
            self._warm.add(kind)
            _, points = draw_trial("uniform", min(cell.m, 2), WARM_UP_POINTS, 0)
            few = Dataset(points, np.ones(WARM_UP_POINTS))
            METHODS[cell.method](few, Task(1, WARM_UP_TARGET, 0, self._setting.effort))


def _missed(cell: Cell, moment_error: Sequence[float]) -> str | None:
    """Say that a result is none, if so: momentc's misses its moments, or it is not finite.

    Other methods may be as far off as they are: that is what is measured.
    """
    worst = worst_error(moment_error, cell.k)
    # Written so that a NaN counts as off.
    if cell.method == "momentc" and not worst <= DEFAULT_TOLERANCE:
        return (
            f"momentc: moments up to order {cell.k} are off by {worst:.1e}, more than the "
            f"tolerance {DEFAULT_TOLERANCE:.1e}"
        )
    return None if np.isfinite(moment_error).all() else f"{cell.method}: the result is not finite"


_evaluator: list[Evaluator] = []


def prepare_process(setting: Setting, points: Array | None, weights: Array | None) -> None:
    """Give this process its evaluator."""
    from momentc.engine.threads import thread_map

    with thread_map(1):  # loads the libraries that it limits before the first cell is timed
        _evaluator[:] = [Evaluator(setting, points, weights)]


def evaluate_in_process(cell: Cell) -> dict[str, Any]:
    """Compute a cell with the evaluator of this process."""
    return _evaluator[0](cell)
