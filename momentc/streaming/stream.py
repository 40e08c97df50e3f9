"""A stream: rows pass by once, and what is left of them is a few weighted points and their moments.

Streams with the same :class:`Setting` (the frame, the cells and the orders) add up: parts of one
input that were streamed apart, on other machines or at other times, merge exactly.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.router import CellRouter, fit_router
from momentc.effort import working_order
from momentc.errors import InputError, UsageError
from momentc.map_function import MapFunction
from momentc.moments.accumulate import Moments, accumulate_moments, combine_moments
from momentc.moments.frame import Extent, Frame, extent_of
from momentc.moments.multi_index import product_plan
from momentc.moments.request import compared_order
from momentc.options import CompressOptions
from momentc.streaming.cell_store import CellStore, Runs
from momentc.streaming.plan import StreamPlan
from momentc.weighted import scaled_weights, weight_exponent

__all__ = ["CellStream", "Setting", "fit_setting", "sums_of"]

# Rows that one task puts into the frame, sends to their cells and sums up.
TASK_ROWS: Final = 16384


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


def sums_of(arrays: Mapping[str, NDArray[Any]], rank: int, compared: int) -> tuple[Moments, Extent]:
    """Return moments and extent from the arrays of :meth:`CellStream.sums` (copies)."""
    high, low = arrays["moments"].copy()
    lowest, highest, mean = arrays["extent"].copy()
    return (
        Moments("legendre", product_plan(rank, compared), high, low),
        Extent(lowest, highest, mean, float(arrays["mass"][0]), int(arrays["n_rows"][0])),
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
    moments : Moments or None
        Of all rows that passed, Legendre products in the setting's frame; None before the first.
        Of the weights divided by ``2 ** setting.exponent``.
    extent : Extent or None
        Where they lie.
    """

    def __init__(self, setting: Setting, plan: StreamPlan, n_raw: int) -> None:
        self.setting = setting
        self.plan = plan
        products = product_plan(setting.frame.rank, setting.order)
        n_cells = setting.router.n_cells
        self._store = CellStore(
            n_cells, plan.cell_rows(n_cells, products.n_moments), products, n_raw
        )
        self.moments: Moments | None = None
        self.extent: Extent | None = None
        self._is_whole = True

    def __len__(self) -> int:
        """Return the number of points that are left so far."""
        return len(self._store)

    @property
    def n_rows(self) -> int:
        """Rows that have passed."""
        return 0 if self.extent is None else self.extent.n_rows

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
            A weight is too large beside those of the sample.
        VerificationError
            If a full cell cannot be reduced within the tolerance.
        UsageError
            An earlier block was taken in only in part, by this or another error or an interruption.
        """
        setting = self.setting
        with np.errstate(over="ignore"):
            scaled = scaled_weights(weights, setting.exponent)
        if not np.isfinite(scaled).all():
            raise InputError(
                f"a weight of {weights.max():g} is more than float64 can hold beside those of the "
                f"sample, about {math.ldexp(1.0, setting.exponent):g}; leave out rows whose "
                "weights count for nothing"
            )
        felt = scaled > 0.0
        if not felt.all():
            # Weights below 1e-308 of the largest: nothing of them is left beside it.
            points, scaled, index, raw = points[felt], scaled[felt], index[felt], raw[felt]
        n = len(points)
        if n == 0:
            return
        local = np.empty((n, setting.frame.rank))
        cells = np.empty(n, dtype=np.int64)

        def take_in(start: int) -> tuple[Extent, Moments]:
            rows = slice(start, start + TASK_ROWS)
            here = setting.frame.apply(points[rows])
            local[rows] = here
            cells[rows] = setting.router.assign(here)
            return (
                extent_of(points[rows], scaled[rows]),
                accumulate_moments(here, scaled[rows], setting.compared, "legendre"),
            )

        parts = list(map_function(take_in, range(0, n, TASK_ROWS)))
        with self._all_or_nothing():
            for extent, moments in parts:
                self._count_in(extent, moments)
            self._store.add(local, scaled, index, raw, cells, map_function)

    def take_over(
        self,
        points: NDArray[np.float64],
        scaled: NDArray[np.float64],
        index: NDArray[np.int64],
        raw: NDArray[np.uint8],
        moments: Moments,
        extent: Extent,
        map_function: MapFunction = map,
    ) -> None:
        """Take in points that stand for more rows than themselves.

        Parameters
        ----------
        points, index, raw
            As in :meth:`add`.
        scaled : (n,) float64 ndarray
            Weights, divided by ``2 ** setting.exponent`` already.
        moments : Moments
            Of the rows that they stand for: Legendre products in this setting's frame, of scaled
            weights.
        extent : Extent
            The same.
        """
        local = self.setting.frame.apply(points)
        self._take_in(local, scaled, index, raw, moments, extent, map_function)

    def merge(self, other: "CellStream", map_function: MapFunction = map) -> None:
        """Take in the points and moments of another stream with the same setting."""
        if other.extent is None or other.moments is None:
            return
        self._take_in(*other.points(), other.moments, other.extent, map_function)

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
        return self._store.state() | ({} if self.extent is None else self.sums())

    def runs(self) -> dict[str, NDArray[Any] | Runs]:
        """Return all of the state as :meth:`state` does, without a copy of the points."""
        self._require_whole()
        return {**self._store.runs(), **({} if self.extent is None else self.sums())}

    def sums(self) -> dict[str, NDArray[Any]]:
        """Return moments and extent of all rows that passed as arrays; see :func:`sums_of`.

        Raises
        ------
        ValueError
            None has.
        """
        moments, extent = self.moments, self.extent
        self._require_whole()
        if moments is None or extent is None:
            raise ValueError("no row has passed")
        return {
            "moments": np.stack([moments.high, moments.low]),
            "extent": np.stack([extent.low, extent.high, extent.mean]),
            "mass": np.array([extent.mass]),
            "n_rows": np.array([extent.n_rows], dtype=np.int64),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from the state of another stream with the same setting and plan."""
        self._store.restore(arrays)
        self.moments = self.extent = None
        self._is_whole = True
        if "moments" in arrays:
            setting = self.setting
            self.moments, self.extent = sums_of(arrays, setting.frame.rank, setting.compared)

    def _take_in(
        self,
        local: NDArray[np.float64],
        scaled: NDArray[np.float64],
        index: NDArray[np.int64],
        raw: NDArray[np.uint8],
        moments: Moments,
        extent: Extent,
        map_function: MapFunction,
    ) -> None:
        cells = self.setting.router.assign(local)
        with self._all_or_nothing():
            self._count_in(extent, moments)
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

    def _count_in(self, extent: Extent, moments: Moments) -> None:
        self.extent = extent if self.extent is None else self.extent.with_part(extent)
        self.moments = moments if self.moments is None else combine_moments(self.moments, moments)
