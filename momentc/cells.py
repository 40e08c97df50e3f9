"""Cells: a recursive median split of the points along the widest side.

Cells serve where compact pieces of about equal count are wanted: the leaves of k-means, the pieces
of a group of very many points, and the order in which the barycentre tree takes its points. In
k-means they bound the cost, which grows as points x centroids, and the extent that its float32
arithmetic must resolve. They are not the groups that are reduced: groups cut by count alone
straddle the gaps of clustered data (measured: up to ten times the error of k-means groups on image
pixels).
"""

import numpy as np
from numpy.typing import NDArray

from momentc.indexing import U
from momentc.jit import kernel

__all__ = [
    "cell_cuts",
    "cell_edges",
    "cells_of",
    "deal",
    "side_of_cuts",
    "split_order",
]

# Points whose cells are found together.
TILE = 256


@kernel
def _select(keys, order, first, last, middle):  # type: ignore[no-untyped-def]
    """Permute ``order[first:last]`` so that ``keys`` at ``middle`` is in its sorted place."""
    low = first
    high = last - 1
    while low < high:
        pivot = keys[U(order[U((low + high) // 2)])]
        i = low
        j = high
        while i <= j:
            while keys[U(order[U(i)])] < pivot:
                i += 1
            while keys[U(order[U(j)])] > pivot:
                j -= 1
            if i <= j:
                swap = order[i]
                order[i] = order[j]
                order[j] = swap
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@kernel
def split_order(columns, depth, sides, cuts):  # type: ignore[no-untyped-def]
    """Return an order of the points in which the cells of every level up to ``depth`` are ranges.

    A range [a, b) is split at (a + b) // 2, along the side on which it is widest.

    Parameters
    ----------
    columns : (m, n) float64 ndarray
        IN, the points, column by column.
    depth : int
        IN, levels of splits; the number of cells is ``2 ** depth``.
    sides, cuts : (2 ** depth,) int64 and float64 ndarray
        OUT, variable and place of every cut, in the order of a heap: the cuts of node i are
        2i + 1 and 2i + 2. The last entry has no meaning.

    Returns
    -------
    (n,) int64 ndarray
    """
    m, n = columns.shape
    order = np.empty(n, np.int64)
    for i in range(n):
        order[i] = i
    edges = np.empty(2, np.int64)
    edges[0] = 0
    edges[1] = n
    for level in range(depth):
        finer = np.empty(2 * edges.shape[0] - 1, np.int64)
        for cell in range(edges.shape[0] - 1):
            first = edges[cell]
            last = edges[cell + 1]
            middle = (first + last) // 2
            finer[2 * cell] = first
            finer[2 * cell + 1] = middle
            widest = -1.0
            side = 0
            for j in range(m):
                low = np.inf
                high = -np.inf
                keys = columns[j]
                for i in range(U(first), U(last)):
                    value = keys[U(order[i])]
                    low = min(low, value)
                    high = max(high, value)
                if high - low > widest:
                    widest = high - low
                    side = j
            if last - first > 1:
                _select(columns[side], order, first, last, middle)
            node = 2**level - 1 + cell
            sides[node] = side
            # The middle of an empty range may lie behind the last point.
            cuts[node] = columns[side, order[min(middle, n - 1)]]
        finer[-1] = n
        edges = finer
    return order


def deal(cells: NDArray[np.int64], n_cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the points cell by cell, in their order in each, and the edges of the cells.

    Parameters
    ----------
    cells : (n,) int64 ndarray
        The cell of each point.
    n_cells : int

    Returns
    -------
    order : (n,) int64 ndarray
    edges : (n_cells + 1,) int64 ndarray
    """
    # Made by numpy, not in the kernel: see pages in docs/performance.md.
    order = np.empty(len(cells), dtype=np.int64)
    edges = np.zeros(n_cells + 1, dtype=np.int64)
    _deal(cells, order, edges)
    return order, edges


@kernel
def _deal(cells, order, edges):  # type: ignore[no-untyped-def]
    n_cells = edges.shape[0] - 1
    place = np.empty(n_cells, np.int64)
    for i in range(U(cells.shape[0])):
        edges[U(cells[i] + 1)] += 1
    for past in range(n_cells):
        edges[past + 1] += edges[past]
        place[past] = edges[past]
    for i in range(cells.shape[0]):
        cell = U(cells[U(i)])
        order[U(place[cell])] = i
        place[cell] += 1


@kernel
def side_of_cuts(columns, first, last, depth, sides, cuts, cell_of):  # type: ignore[no-untyped-def]
    """Fill in the cells of points ``first .. last - 1``.

    Parameters
    ----------
    columns : (m, n) float64 ndarray  # IN
    first, last, depth : int  # IN
    sides, cuts : (2 ** depth,) int64 and float64 ndarray  # IN, see :func:`cell_cuts`
    cell_of : (>= last,) int64 ndarray  # OUT
    """
    begin = first
    while begin < last:
        # A tile at a time, which stays in the cache; and in it level by level, so that no point
        # waits for another.
        end = min(last, begin + TILE)
        for i in range(U(begin), U(end)):
            cell_of[i] = 0
        # By arithmetic on the comparison: a branch would be mispredicted every other time.
        for _ in range(depth):
            for i in range(U(begin), U(end)):
                node = cell_of[i]
                cell_of[i] = 2 * node + 1 + np.int64(columns[U(sides[U(node)]), i] >= cuts[U(node)])
        for i in range(U(begin), U(end)):
            cell_of[i] -= 2**depth - 1
        begin = end


def cell_edges(n_points: int, depth: int) -> NDArray[np.int64]:
    """Return the ``2 ** depth + 1`` edges of the cells at one level of :func:`split_order`."""
    edges = np.array([0, n_points], dtype=np.int64)
    for _ in range(depth):
        middles = (edges[:-1] + edges[1:]) // 2
        finer = np.empty(2 * len(edges) - 1, dtype=np.int64)
        finer[0::2] = edges
        finer[1::2] = middles
        edges = finer
    return edges


def cell_cuts(
    columns: NDArray[np.float64], depth: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the order of :func:`split_order`, the edges of its cells, and the cuts it made.

    Parameters
    ----------
    columns : (m, n) float64 ndarray
    depth : int

    Returns
    -------
    order : (n,) int64 ndarray
    edges : (2 ** depth + 1,) int64 ndarray
    sides, cuts : (2 ** depth,) int64 and float64 ndarray
    """
    sides = np.zeros(2**depth, dtype=np.int64)
    cuts = np.zeros(2**depth)
    order = split_order(columns, depth, sides, cuts)
    return order, cell_edges(columns.shape[1], depth), sides, cuts


def cells_of(
    points: NDArray[np.float64], size: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut points at medians into cells of ``size`` points or up to twice as many.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        n >= 1.
    size : float

    Returns
    -------
    order : (n,) int64 ndarray
        Cell after cell.
    edges : (n_cells + 1,) int64 ndarray
    """
    depth = max(0, int(np.log2(len(points) / size)))
    order, edges, _, _ = cell_cuts(np.ascontiguousarray(points.T), depth)
    return order, edges
