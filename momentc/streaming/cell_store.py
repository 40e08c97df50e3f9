"""Buffers of the cells: rows go in, a full buffer is reduced in place.

Every cell has a buffer of so many rows. Where it is full, its fresh rows are reduced to N points,
which stay at its front as settled; where the settled ones fill half of the buffer, all are reduced.
So a row takes part in few reductions, however many rows pass (each moves the weights of all points
in it, and that is what the error of the higher orders grows by).

What becomes of a cell depends on its own rows and their order alone, so threads share the cells and
the result does not depend on them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.cells import deal
from momentc.errors import VerificationError
from momentc.groups import Groups
from momentc.indexing import U
from momentc.jit import kernel
from momentc.map_function import MapFunction
from momentc.moments.multi_index import ProductPlan
from momentc.reduction.groups import reduce_groups

__all__ = ["LEAST_CELL", "CellStore", "Runs"]

# Least size of a buffer, in multiples of N: half of it is left for fresh rows.
LEAST_CELL: Final = 4

# Rows of full cells that are reduced in one go: bounds the list of their places.
BATCH_ROWS: Final = 1 << 20

# Cells that a thread fills in one task, at least.
TASK_ROWS: Final = 16384


@kernel
def _fill(  # type: ignore[no-untyped-def]
    first, last, cell_rows, rows, following, edges,
    local, weights, index, raw, to_local, to_weights, to_index, to_raw, count,
):  # fmt: skip
    """Put rows into the cells ``first .. last - 1`` until they are full or the rows used up.

    ``following`` is the first row of each cell that has not been put in yet.
    """
    m = local.shape[1]
    width = raw.shape[1]
    for cell in range(first, last):
        n_put = min(edges[cell + 1] - following[cell], cell_rows - count[cell])
        place = U(cell * cell_rows + count[cell])
        begin = U(following[cell])
        for i in range(U(n_put)):
            row = U(rows[begin + i])
            for j in range(U(m)):
                to_local[place + i, j] = local[row, j]
            to_weights[place + i] = weights[row]
            to_index[place + i] = index[row]
            for j in range(U(width)):
                to_raw[place + i, j] = raw[row, j]
        count[cell] += n_put
        following[cell] += n_put


@kernel
def _close_up(cells, starts, cell_rows, local, weights, index, raw, count):  # type: ignore[no-untyped-def]
    """Drop the points without weight from ``starts`` of each cell on."""
    m = local.shape[1]
    width = raw.shape[1]
    for i in range(cells.shape[0]):
        cell = cells[i]
        place = cell * cell_rows + starts[i]
        for here in range(place, cell * cell_rows + count[cell]):
            if weights[here] > 0.0:
                if here > place:
                    for j in range(m):
                        local[place, j] = local[here, j]
                    weights[place] = weights[here]
                    index[place] = index[here]
                    for j in range(width):
                        raw[place, j] = raw[here, j]
                place += 1
        count[cell] = place - cell * cell_rows


@dataclass(frozen=True, slots=True)
class Runs:
    """Rows of an array that stand in runs, as the array that they would be one after the other.

    Parameters
    ----------
    array : (slots, ...) ndarray
    starts, counts : (n_runs,) int64 ndarray
        First row of each run, and its rows.
    """

    array: NDArray[Any]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the entries."""
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the whole."""
        return (int(self.counts.sum()), *self.array.shape[1:])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the runs, views of the array."""
        for start, count in zip(self.starts.tolist(), self.counts.tolist(), strict=True):
            yield self.array[start : start + count]

    def gathered(self) -> NDArray[Any]:
        """Return the whole, a copy."""
        return np.concatenate(list(self))


class CellStore:
    """Weighted points in cells, in bounded memory.

    Parameters
    ----------
    n_cells, cell_rows : int
        Cells, and rows that each can hold: at least ``LEAST_CELL`` N.
    plan : ProductPlan
        Of the moments that every reduction keeps, N in number.
    n_raw : int
        Bytes that are carried along with every point: its row as it stands in the input.

    Attributes
    ----------
    count, settled : (n_cells,) int64 ndarray
        Points in each cell, and those at its front that have been reduced already.
    """

    def __init__(self, n_cells: int, cell_rows: int, plan: ProductPlan, n_raw: int) -> None:
        if cell_rows < LEAST_CELL * plan.n_moments:
            raise ValueError(f"{cell_rows} rows a cell are too few for {plan.n_moments} moments")
        self.n_cells = n_cells
        self.cell_rows = cell_rows
        self.plan = plan
        self._unit = next(np.dtype(f"u{size}") for size in (8, 4, 2, 1) if n_raw % size == 0)
        slots = n_cells * cell_rows
        # Untouched memory costs nothing: cells that never fill do not count.
        self.local = np.empty((slots, plan.n_variables))
        self.weights = np.empty(slots)
        self.index = np.empty(slots, dtype=np.int64)
        self._raw = np.empty((slots, n_raw // self._unit.itemsize), dtype=self._unit)
        self.count = np.zeros(n_cells, dtype=np.int64)
        self.settled = np.zeros(n_cells, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of points."""
        return int(self.count.sum())

    def add(
        self,
        local: NDArray[np.float64],
        weights: NDArray[np.float64],
        index: NDArray[np.int64],
        raw: NDArray[np.uint8],
        cells: NDArray[np.int64],
        map_function: MapFunction = map,
    ) -> None:
        """Put points into their cells; those that are full are reduced.

        Parameters
        ----------
        local : (n, m) float64 ndarray
        weights : (n,) float64 ndarray
            > 0.
        index : (n,) int64 ndarray
        raw : (n, n_raw) uint8 ndarray
            C-contiguous.
        cells : (n,) int64 ndarray
        map_function : callable

        Raises
        ------
        VerificationError
            If a full cell cannot be reduced within the tolerance.
        """
        rows, edges = deal(cells, self.n_cells)
        following = edges[:-1].copy()
        carried = self._units(raw)
        tasks = self._tasks(edges)

        def fill(task: tuple[int, int]) -> None:
            _fill(
                *task, self.cell_rows, rows, following, edges, local, weights, index, carried,
                self.local, self.weights, self.index, self._raw, self.count,
            )  # fmt: skip

        while True:
            list(map_function(fill, tasks))
            waiting = np.flatnonzero(following < edges[1:])
            if len(waiting) == 0:
                return
            self._reduce(waiting, map_function)
            tasks = [(cell, cell + 1) for cell in waiting.tolist()]

    def reduce_all(self, map_function: MapFunction = map) -> None:
        """Bring every cell to at most N points."""
        over = np.flatnonzero(self.count > self.plan.n_moments)
        self._reduce_from(over, np.zeros(len(over), dtype=np.int64), map_function)

    def points(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.uint8]]:
        """Return local coordinates, weights, index and raw rows of all points, by index."""
        places = self._places()
        places = places[np.argsort(self.index[places], kind="stable")]
        raw = np.ascontiguousarray(self._raw[places]).view(np.uint8)
        return self.local[places], self.weights[places], self.index[places], raw

    def runs(self) -> dict[str, Runs]:
        """Return what :meth:`restore` wants, cell after cell, without a copy."""
        starts = self.cell_rows * np.arange(self.n_cells)
        every = np.zeros(1, dtype=np.int64), np.array([self.n_cells])
        return {
            "count": Runs(self.count, *every),
            "settled": Runs(self.settled, *every),
            "local": Runs(self.local, starts, self.count),
            "weights": Runs(self.weights, starts, self.count),
            "index": Runs(self.index, starts, self.count),
            "raw": Runs(self._raw, starts, self.count),
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what :meth:`restore` wants, cell after cell (copies)."""
        return {name: runs.gathered() for name, runs in self.runs().items()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over a state of a store of the same shape."""
        self.count[:] = state["count"]
        self.settled[:] = state["settled"]
        places = self._places()
        self.local[places] = state["local"]
        self.weights[places] = state["weights"]
        self.index[places] = state["index"]
        self._raw[places] = state["raw"]

    def _places(self) -> NDArray[np.int64]:
        """Return where the points stand, cell after cell."""
        return np.concatenate(
            [np.arange(count) + cell * self.cell_rows for cell, count in enumerate(self.count)]
        ).astype(np.int64)

    def _units(self, raw: NDArray[np.uint8]) -> NDArray[Any]:
        """See rows of bytes as rows of the widest words that fit: they are copied one by one."""
        if raw.shape[1] == 0:
            return np.empty((len(raw), 0), dtype=self._unit)
        return raw.view(self._unit)

    def _tasks(self, edges: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Cut the cells into ranges of about as many new rows."""
        n_tasks = max(1, min(int(edges[-1]) // TASK_ROWS, self.n_cells))
        cuts = np.searchsorted(edges, edges[-1] * np.arange(1, n_tasks) / n_tasks)
        borders = np.unique(np.concatenate([[0], cuts, [self.n_cells]])).tolist()
        return list(pairwise(borders))

    def _reduce(self, cells: NDArray[np.int64], map_function: MapFunction) -> None:
        """Make room in full cells."""
        n_moments = self.plan.n_moments
        crowded = self.settled[cells] + n_moments > self.cell_rows // 2
        self._reduce_from(cells, np.where(crowded, 0, self.settled[cells]), map_function)
        stuck = cells[self.count[cells] >= self.cell_rows]
        if len(stuck):
            # The fresh rows alone did not go; perhaps they do together with the settled ones.
            self._reduce_from(stuck, np.zeros(len(stuck), dtype=np.int64), map_function)
            if np.any(self.count[stuck] >= self.cell_rows):
                raise VerificationError(
                    f"a cell of {self.cell_rows} points cannot be reduced within the tolerance; a "
                    "lower k will do, or a larger --memory where there is one"
                )

    def _reduce_from(
        self, cells: NDArray[np.int64], starts: NDArray[np.int64], map_function: MapFunction
    ) -> None:
        """Reduce the points of each cell from ``starts`` on to N, batch by batch."""
        sizes = self.count[cells] - starts
        batch_of = (np.cumsum(sizes) - 1) // BATCH_ROWS
        for batch in np.unique(batch_of):
            chosen = batch_of == batch
            own, own_starts, own_sizes = cells[chosen], starts[chosen], sizes[chosen]
            offsets = np.concatenate([[0], np.cumsum(own_sizes)]).astype(np.int64)
            firsts = own * self.cell_rows + own_starts
            members = np.arange(offsets[-1]) + np.repeat(firsts - offsets[:-1], own_sizes)
            keep = np.full(len(own), self.plan.n_moments, dtype=np.int64)
            groups = Groups(members, offsets, keep)
            try:
                reduce_groups(self.local, self.weights, groups, self.plan, map_function)
            finally:
                # Also after an interruption: each group is reduced, or as it was.
                _close_up(
                    own, own_starts, self.cell_rows, self.local, self.weights, self.index,
                    self._raw, self.count,
                )  # fmt: skip
                self.settled[own] = self.count[own]
