"""A stream: rows pass by once, and what is left of them is a few weighted points and their moments.

Streams with the same :class:`Setting` (the frame, the cells and the orders) add up: parts of one
input that were streamed apart, on other machines or at other times, merge exactly.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.router import CellRouter, fit_router
from momentc.effort import working_order
from momentc.errors import InputError, UsageError
from momentc.map_function import MapFunction
from momentc.moments.accumulate import Moments, accumulate_moments, require_finite
from momentc.moments.frame import Extent, Frame, extent_of
from momentc.moments.multi_index import product_plan
from momentc.moments.request import compared_order
from momentc.moments.totals import Totals
from momentc.options import CompressOptions
from momentc.streaming.cell_store import CellStore, Runs
from momentc.streaming.plan import StreamPlan
from momentc.weighted import count_for_something, scaled_weights, weight_exponent

__all__ = ["CellStream", "Setting", "fit_setting", "totals_of"]

# Rows that one task puts into the frame, sends to their cells and sums up.
TASK_ROWS: Final = 16384

# How far from the sample rows may lie, in units of its extent: float64 has to hold both where they
# are and, in the end, where the sample is among them.
MOST_REACH: Final = 2.0**900


@dataclass(frozen=True, slots=True)
class Setting:
    """What all parts of a stream have in common.

    Parameters
    ----------
    frame : Frame
        Of a sample: the coordinates of all that follows. Rows may lie outside of the box.
    router : CellRouter
    order : int
        K, the order that the reductions keep.
    compared : int
        The order up to which moments are summed, >= K.
    exponent : int
        The weights are divided by 2 ** exponent, which keeps all powers in range.
    """

    frame: Frame
    router: CellRouter
    order: int
    compared: int
    exponent: int

    @classmethod
    def around(
        cls,
        frame: Frame,
        points: NDArray[np.float64],
        n_cells: int,
        seed: int,
        *,
        order: int,
        compared: int,
        exponent: int,
    ) -> "Setting":
        """Return a setting with cells that are found on points, (n, n_columns)."""
        router = fit_router(frame.apply(points), n_cells, seed)
        return cls(frame, router, order, compared, exponent)


def fit_setting(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    frame: Frame,
    options: CompressOptions,
    n_cells: int,
) -> Setting:
    """Find the setting of a stream on a sample.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        Rows from all over the input.
    weights : (n,) float64 ndarray
    frame : Frame
    options : CompressOptions
    n_cells : int
    """
    order = working_order(options.k, frame.rank, options.target, options.effort)
    return Setting.around(
        frame,
        points,
        n_cells,
        options.seed,
        order=order,
        compared=compared_order(order, frame.rank),
        exponent=weight_exponent(weights),
    )


def totals_of(
    arrays: Mapping[str, NDArray[Any]], columns: NDArray[np.int64], compared: int
) -> Totals:
    """Return the totals from the arrays of :meth:`CellStream.sums` (copies)."""
    high, low = arrays["moments"].copy()
    lowest, highest, mean = arrays["extent"].copy()
    return Totals(
        Extent(lowest, highest, mean, float(arrays["mass"][0]), int(arrays["n_rows"][0])),
        Moments("legendre", product_plan(len(columns), compared), high, low),
        columns,
    )


class CellStream:
    """The state of a stream.

    Parameters
    ----------
    setting : Setting
    plan : StreamPlan
    n_raw : int
        Bytes that are carried along with every point.

    Attributes
    ----------
    totals : Totals or None
        Extent and moments of all rows that passed, None before the first; of the weights divided by
        ``2 ** setting.exponent``.
    """

    def __init__(self, setting: Setting, plan: StreamPlan, n_raw: int) -> None:
        self.setting = setting
        self.plan = plan
        products = product_plan(setting.frame.rank, setting.order)
        n_cells = setting.router.n_cells
        self._store = CellStore(
            n_cells, plan.cell_rows(n_cells, products.n_moments), products, n_raw
        )
        self.totals: Totals | None = None
        self._is_whole = True

    def __len__(self) -> int:
        """Return the number of points that are left so far."""
        return len(self._store)

    @property
    def n_rows(self) -> int:
        """Rows that have passed and count for something."""
        return 0 if self.totals is None else self.totals.extent.n_rows

    def add(
        self,
        points: NDArray[np.float64],
        weights: NDArray[np.float64],
        index: NDArray[np.int64],
        raw: NDArray[np.uint8],
        map_function: MapFunction = map,
    ) -> None:
        """Let a block of rows pass.

        Parameters
        ----------
        points : (n, n_columns) float64 ndarray
            Finite.
        weights : (n,) float64 ndarray
            > 0.
        index : (n,) int64 ndarray
        raw : (n, n_raw) uint8 ndarray
        map_function : callable
            Runs the tasks. The result does not depend on it, nor on the division into blocks but
            for rounding.

        Raises
        ------
        InputError
            A weight is too large beside those of the sample, or a row too far from it.
        VerificationError
            If a full cell cannot be reduced within the tolerance.
        UsageError
            An earlier block was taken in only in part, by this or another error or an interruption.
        """
        setting = self.setting
        with np.errstate(over="ignore"):
            scaled = scaled_weights(weights, setting.exponent)
        self._require_weights(scaled)
        felt = count_for_something(scaled)
        n = int(np.count_nonzero(felt))
        if n == 0:
            return
        if n < len(points):
            points, scaled, index, raw = points[felt], scaled[felt], index[felt], raw[felt]
        columns = setting.frame.columns
        tasks = [slice(start, start + TASK_ROWS) for start in range(0, n, TASK_ROWS)]
        extents = map_function(lambda rows: extent_of(points[rows], scaled[rows]), tasks)
        own = reduce(Extent.with_part, extents)
        self._require_reach(own)
        before = self.totals
        extent = own if before is None else before.extent.with_part(own)
        box = extent.box(columns)
        local = np.empty((n, setting.frame.rank))
        cells = np.empty(n, dtype=np.int64)

        def take_in(rows: slice) -> Moments:
            local[rows] = setting.frame.apply(points[rows])
            cells[rows] = setting.router.assign(local[rows])
            in_box = box.apply(points[rows])
            return accumulate_moments(in_box, scaled[rows], setting.compared, "legendre")

        known = [] if before is None else [before.in_frame(box)]
        totals = Totals.of_parts(extent, [*known, *map_function(take_in, tasks)], columns)
        require_finite(totals.moments)
        with self._all_or_nothing():
            self.totals = totals
            self._store.add(local, scaled, index, raw, cells, map_function)

    def take_over(
        self,
        points: NDArray[np.float64],
        scaled: NDArray[np.float64],
        index: NDArray[np.int64],
        raw: NDArray[np.uint8],
        totals: Totals,
        map_function: MapFunction = map,
    ) -> None:
        """Take in points that stand for more rows than themselves.

        Parameters
        ----------
        points, index, raw
            As in :meth:`add`.
        scaled : (n,) float64 ndarray
            Weights, divided by ``2 ** setting.exponent`` already.
        totals : Totals
            Of the rows that they stand for, of scaled weights.

        Raises
        ------
        InputError
            A weight is too large beside those of the sample, or a row too far from it.
        """
        self._require_weights(scaled)
        local = self.setting.frame.apply(points)
        self._take_in(local, scaled, index, raw, totals, map_function)

    def merge(self, other: "CellStream", map_function: MapFunction = map) -> None:
        """Take in the points and moments of another stream with the same setting."""
        if other.totals is not None:
            self._take_in(*other.points(), other.totals, map_function)

    def reduce(self, map_function: MapFunction = map) -> None:
        """Bring every cell to at most N points."""
        self._store.reduce_all(map_function)

    def points(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.uint8]]:
        """Return the points that are left: coordinates in the frame, scaled weights, index, raw."""
        self._require_whole()
        return self._store.points()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all of the state as arrays."""
        self._require_whole()
        return self._store.state() | ({} if self.totals is None else self.sums())

    def runs(self) -> dict[str, NDArray[Any] | Runs]:
        """Return all of the state as :meth:`state` does, without a copy of the points."""
        self._require_whole()
        return {**self._store.runs(), **({} if self.totals is None else self.sums())}

    def sums(self) -> dict[str, NDArray[Any]]:
        """Return the totals of all rows that passed as arrays; see :func:`totals_of`.

        Raises
        ------
        ValueError
            None has.
        """
        self._require_whole()
        if self.totals is None:
            raise ValueError("no row has passed")
        extent, moments = self.totals.extent, self.totals.moments
        return {
            "moments": np.stack([moments.high, moments.low]),
            "extent": np.stack([extent.low, extent.high, extent.mean]),
            "mass": np.array([extent.mass]),
            "n_rows": np.array([extent.n_rows], dtype=np.int64),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from the state of another stream with the same setting and plan."""
        self._store.restore(arrays)
        self.totals = None
        self._is_whole = True
        if "moments" in arrays:
            setting = self.setting
            self.totals = totals_of(arrays, setting.frame.columns, setting.compared)

    def _take_in(
        self,
        local: NDArray[np.float64],
        scaled: NDArray[np.float64],
        index: NDArray[np.int64],
        raw: NDArray[np.uint8],
        totals: Totals,
        map_function: MapFunction,
    ) -> None:
        self._require_reach(totals.extent)
        together = totals if self.totals is None else self.totals.with_part(totals)
        cells = self.setting.router.assign(local)
        with self._all_or_nothing():
            self.totals = together
            self._store.add(local, scaled, index, raw, cells, map_function)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Make the stream unusable if rows are taken in only in part: they cannot be taken out."""
        self._require_whole()
        self._is_whole = False
        yield
        self._is_whole = True

    def _require_whole(self) -> None:
        if not self._is_whole:
            raise UsageError(
                "rows were being taken in when that was interrupted, or failed, and some of them "
                "count by now: begin again with the first row"
            )

    def _require_weights(self, scaled: NDArray[np.float64]) -> None:
        """Refuse weights that are too large beside those of the sample."""
        if not np.isfinite(scaled).all():
            raise InputError(
                "a weight is more than float64 can hold in units of those of the sample, about "
                f"{math.ldexp(1.0, self.setting.exponent):g}; leave out rows whose weights count "
                "for nothing"
            )

    def _require_reach(self, extent: Extent) -> None:
        """Refuse rows whose distance from the sample leaves float64, before any of them counts."""
        frame = self.setting.frame
        with np.errstate(over="ignore"):
            below, above = frame.center - extent.low, extent.high - frame.center
            reach = np.maximum(below, above) / frame.scale
        column = int(np.argmax(reach))
        if not reach[column] <= MOST_REACH:
            farthest = extent.low if below[column] > above[column] else extent.high
            raise InputError(
                f"column {column} reaches {farthest[column]:g}, so far outside of the place of the "
                "sample that float64 does not hold the distance in units of the sample's extent; "
                "remove such rows, or give all rows the memory to be compressed at once"
            )
