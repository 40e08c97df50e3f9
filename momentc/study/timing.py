"""Time one cell of ``bench``, in a process of its own, and check every result that was timed."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.effort import removal_seconds
from momentc.errors import RequestError
from momentc.moments.discrepancy import worst_error
from momentc.moments.request import MOST_MOMENTS
from momentc.options import CompressOptions, Effort
from momentc.pipeline.points import compress_points
from momentc.process_memory import peak_memory, reset_peak
from momentc.study.baselines import BASELINES, why_not
from momentc.study.grid import part_of
from momentc.study.synthetic import draw_trial
from momentc.text import readable
from momentc.verification import blocks_of, compare_moments

__all__ = ["BenchCell", "BenchSetting", "measure_cell", "plan_bench"]

Array = NDArray[np.float64]

# Points of the warm-up: enough to run every stage, compiled and loaded.
WARM_UP_POINTS: Final = 20_000


@dataclass(frozen=True, slots=True)
class BenchCell:
    """d uniform points in [-1, 1]^m to ``target``, keeping order k, on so many threads."""

    m: int
    k: int
    d: int
    target: int
    threads: int

    @property
    def key(self) -> str:
        """Name the cell in a journal."""
        return f"m={self.m} k={self.k} d={self.d} n={self.target} T={self.threads}"

    @property
    def cost(self) -> float:
        """Roughly its seconds, in proportion."""
        n_moments = float(math.comb(self.m + self.k, self.k))
        return 0.5 + removal_seconds(self.d, n_moments)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class BenchSetting:
    """What holds for all cells.

    Parameters
    ----------
    repeats : int
        Timed runs of each system, taken in turn.
    effort : {'low', 'normal', 'high'}
    seed : int
    tolerance : float
        Largest moment error of a right result.
    baselines : tuple of str
    """

    repeats: int
    effort: Effort
    seed: int
    tolerance: float
    baselines: tuple[str, ...]


def plan_bench(
    ms: Sequence[int], ks: Sequence[int], ds: Sequence[int], targets: Sequence[int],
    fraction: float | None, threads: Sequence[int],
) -> tuple[tuple[BenchCell, ...], tuple[str, ...]]:  # fmt: skip
    """Return the cells, small ones first, and sentences on what cannot be.

    Without targets: max(part_of(fraction, d), C(m+k, k)); without a fraction either: C(m+k, k).

    Raises
    ------
    RequestError
        If no cell is left.
    """
    cells: list[BenchCell] = []
    skipped: list[str] = []
    for d in ds:
        for m in ms:
            for k in ks:
                n_moments = math.comb(m + k, k)
                rule = n_moments if fraction is None else max(part_of(fraction, d), n_moments)
                for target in targets or (rule,):
                    if n_moments > MOST_MOMENTS:
                        skipped.append(
                            f"m = {m}, k = {k} is left out: of C(m+k,k) = {readable(n_moments)} "
                            f"moments no more than {MOST_MOMENTS} can be worked with"
                        )
                    elif n_moments <= target < d:
                        cells += [BenchCell(m, k, d, target, n) for n in threads]
                    else:
                        skipped.append(
                            f"m = {m}, k = {k}, d = {d} to {readable(target)} is left out: the "
                            f"target must be at least C(m+k,k) = {readable(n_moments)} and below d"
                        )
    if not cells:
        raise RequestError(f"there is nothing to time: {skipped[0]}")
    return tuple(dict.fromkeys(cells)), tuple(dict.fromkeys(skipped))


def measure_cell(job: tuple[BenchCell, BenchSetting]) -> dict[str, Any]:
    """Time momentc and the baselines on one cell.

    Returns
    -------
    dict
        The fields of the cell; ``seconds`` (least), ``median``, ``stages`` of the fastest run,
        ``objects_per_second``, ``peak_memory`` of the process during momentc's first timed run
        and ``resting_memory`` before it (bytes), ``moment_error`` (the worst of all runs, up to
        order k), ``n_kept``, ``ok``; ``baselines``: {name: the same without memory and stages, or
        'skipped' with the reason}. Plain JSON values.
    """
    cell, setting = job
    _, points = draw_trial("uniform", cell.m, cell.d, 0)
    weights = np.ones(cell.d)
    skipped = {
        name: {"skipped": reason}
        for name in setting.baselines
        if (reason := why_not(name, cell, setting.repeats)) is not None
    }
    runs: dict[str, _Runs] = {"momentc": _Runs(_momentc(cell, setting))}
    runs |= {
        name: _Runs(_baseline(name, cell.k)) for name in setting.baselines if name not in skipped
    }
    few = min(cell.d, WARM_UP_POINTS)
    n_moments = math.comb(cell.m + cell.k, cell.k)
    fewer = max(n_moments, int(cell.target * few / cell.d))
    for name, run in runs.items():
        if name in {"momentc", "pyrecombine"}:  # the others have nothing to load or to compile
            run.call(points[:few], weights[:few], fewer)
    resting = reset_peak()
    peak = 0
    for repeat in range(setting.repeats):
        for name, run in runs.items():
            run.time(points, weights, cell, setting)
            if repeat == 0 and name == "momentc":
                peak = peak_memory()
    report = runs.pop("momentc").report(cell, setting)
    return {
        **cell.as_json(),
        **report,
        "peak_memory": peak,
        "resting_memory": resting,
        "baselines": {
            **{name: run.report(cell, setting) for name, run in runs.items()},
            **skipped,
        },
    }


_Result = tuple[NDArray[np.int64], Array, dict[str, float]]
_Call = Callable[[Array, Array, int], _Result]


def _momentc(cell: BenchCell, setting: BenchSetting) -> _Call:
    def call(points: Array, weights: Array, target: int) -> _Result:
        options = CompressOptions(
            cell.k, target, setting.seed, cell.threads, setting.tolerance, setting.effort
        )
        found = compress_points(points, weights, options)
        return found.support.index, found.support.weights, dict(found.stages)

    return call


def _baseline(name: str, k: int) -> _Call:
    def call(points: Array, weights: Array, target: int) -> _Result:
        return (*BASELINES[name](points, weights, k, target), {})

    return call


class _Runs:
    """The timed runs of one system."""

    def __init__(self, call: _Call) -> None:
        self.call = call
        self.seconds: list[float] = []
        self.stages: list[dict[str, float]] = []
        self.worst = 0.0
        self.n_kept = 0

    def time(self, points: Array, weights: Array, cell: BenchCell, setting: BenchSetting) -> None:
        began = time.perf_counter()
        kept, found, stages = self.call(points, weights, cell.target)
        self.seconds.append(time.perf_counter() - began)
        self.stages.append(stages)
        self.n_kept = max(self.n_kept, len(kept))
        checked = compare_moments(
            blocks_of(points, weights), points[kept], found, cell.k, setting.tolerance
        )
        error = worst_error(checked.error, cell.k)
        # NaN and negative weights are as wrong as can be.
        right = math.isfinite(error) and bool(np.all(found >= 0.0))
        self.worst = max(self.worst, error if right else math.inf)

    def report(self, cell: BenchCell, setting: BenchSetting) -> dict[str, Any]:
        least = min(self.seconds)
        stages = self.stages[self.seconds.index(least)]
        return {
            "seconds": least,
            "median": statistics.median(self.seconds),
            "runs": len(self.seconds),
            "objects_per_second": cell.d / least,
            "moment_error": self.worst if math.isfinite(self.worst) else None,
            "n_kept": self.n_kept,
            "ok": self.worst <= setting.tolerance and self.n_kept <= cell.target,
            **({"stages": stages} if stages else {}),
        }
