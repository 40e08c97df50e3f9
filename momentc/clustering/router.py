"""Cells for rows that pass by: which of many centroids, found on a sample, is about the nearest.

The sample is cut by medians into leaves of about ``LEAF_CELLS`` cells, and k-means finds the
centroids of each leaf, in proportion to its points. A row goes down the cuts to its leaf and then
to the nearest centroid there: a few dozen comparisons, however many cells there are.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.cells import cell_cuts
from momentc.clustering.lloyd import find_centroids
from momentc.indexing import U
from momentc.jit import kernel
from momentc.map_function import MapFunction, run_in_parts

__all__ = ["CellRouter", "fit_router"]

# Centroids of a leaf, about: more find a slightly nearer one and cost as much more for every row.
LEAF_CELLS: Final = 16

# Points that are assigned in one task, and together in one leaf.
ASSIGN_POINTS: Final = 32768
TILE: Final = 256


@kernel
def _assign(points, depth, sides, cuts, firsts, columns, distances, cells):  # type: ignore[no-untyped-def]
    """Fill in the cells of points; ``distances`` is work space for the centroids of a leaf."""
    n, m = points.shape
    for i in range(U(n)):
        node = np.int64(0)
        for _ in range(depth):
            # Arithmetic on the comparison: a branch here is mispredicted every other time.
            node = 2 * node + 1 + np.int64(points[i, U(sides[U(node)])] >= cuts[U(node)])
        leaf = node - (2**depth - 1)
        first = U(firsts[U(leaf)])
        count = U(firsts[U(leaf + 1)]) - first
        # All distances first, centroid by centroid within a column: that runs in vectors.
        for candidate in range(count):
            distances[candidate] = 0.0
        for j in range(U(m)):
            value = points[i, j]
            for candidate in range(count):
                step = value - columns[j, first + candidate]
                distances[candidate] += step * step
        best = distances[0]
        cell = np.int64(0)
        for candidate in range(U(1), count):
            nearer = distances[candidate] < best
            cell = np.int64(candidate) if nearer else cell
            best = distances[candidate] if nearer else best
        cells[i] = np.int64(first) + cell


@kernel
def _assign_in_one_leaf(points, columns, cells):  # type: ignore[no-untyped-def]
    """Fill in the cells of points where all centroids are compared: the same, many at a time."""
    n, m = points.shape
    tile = np.empty((m, TILE))
    distances = np.empty(TILE)
    least = np.empty(TILE)
    for first in range(0, n, TILE):
        begin = U(first)
        count = U(min(n, first + TILE) - first)
        for j in range(U(m)):
            for i in range(count):
                tile[j, i] = points[begin + i, j]
        for i in range(count):
            least[i] = np.inf
            cells[begin + i] = 0
        for candidate in range(columns.shape[1]):
            for i in range(count):
                distances[i] = 0.0
            for j in range(U(m)):
                place = columns[j, U(candidate)]
                for i in range(count):
                    step = tile[j, i] - place
                    distances[i] += step * step
            for i in range(count):
                nearer = distances[i] < least[i]
                least[i] = distances[i] if nearer else least[i]
                cells[begin + i] = candidate if nearer else cells[begin + i]


@dataclass(frozen=True, slots=True)
class CellRouter:
    """Sends points to cells.

    Parameters
    ----------
    depth : int
        Levels of cuts.
    sides : (2 ** depth,) int64 ndarray
        Variable of each cut, in the order of a heap; the last entry has no meaning.
    cuts : (2 ** depth,) float64 ndarray
        Its place: values from there on go to the second child.
    firsts : (2 ** depth + 1,) int64 ndarray
        First centroid of each leaf.
    centroids : (n_cells, m) float64 ndarray
    """

    depth: int
    sides: NDArray[np.int64]
    cuts: NDArray[np.float64]
    firsts: NDArray[np.int64]
    centroids: NDArray[np.float64]

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.centroids)

    def assign(
        self, points: NDArray[np.float64], map_function: MapFunction = map
    ) -> NDArray[np.int64]:
        """Return the cell of each point, (n,); points (n, m) in the coordinates of the sample."""
        cells = np.empty(len(points), dtype=np.int64)
        columns = np.ascontiguousarray(self.centroids.T)
        tree = self.depth, self.sides, self.cuts, self.firsts, columns
        most = int(np.diff(self.firsts).max())

        def run(first: int, last: int) -> None:
            if self.depth == 0:
                _assign_in_one_leaf(points[first:last], columns, cells[first:last])
            else:
                _assign(points[first:last], *tree, np.empty(most), cells[first:last])

        run_in_parts(run, len(points), ASSIGN_POINTS, map_function)
        return cells


def fit_router(
    sample: NDArray[np.float64], n_cells: int, seed: int, leaf_cells: int = LEAF_CELLS
) -> CellRouter:
    """Find about ``n_cells`` cells on a sample.

    Parameters
    ----------
    sample : (n, m) float64 ndarray
        n >= 1; about ``16 n_cells`` points or more.
    n_cells : int
        As many are found, but for rounding in the leaves and as far as there are points.
    seed : int
    leaf_cells : int
        Cells of a leaf at most, about.
    """
    n, m = sample.shape
    if m == 0 or n_cells <= 1:
        nowhere = np.zeros(1, dtype=np.int64)
        mean = sample.mean(axis=0, keepdims=True)
        return CellRouter(0, nowhere, np.zeros(1), np.array([0, 1], dtype=np.int64), mean)
    depth = max(0, math.ceil(math.log2(n_cells / leaf_cells)))
    order, edges, sides, cuts = cell_cuts(np.ascontiguousarray(sample.T), depth)
    seeds = np.random.SeedSequence(seed).generate_state(len(edges) - 1, dtype=np.uint32).tolist()
    centroids = []
    for leaf in range(len(edges) - 1):
        inside = sample[order[edges[leaf] : edges[leaf + 1]]]
        if len(inside) == 0:
            # No point of the sample lies here: its cell is wherever the first such row is.
            centroids.append(sample[:1])
            continue
        n_here = max(1, round(len(inside) / max(1.0, n / n_cells)))
        centroids.append(find_centroids(inside, n_here, seeds[leaf] >> 1))
    firsts = np.concatenate([[0], np.cumsum([len(part) for part in centroids])]).astype(np.int64)
    return CellRouter(depth, sides, cuts, firsts, np.ascontiguousarray(np.concatenate(centroids)))
