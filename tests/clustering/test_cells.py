"""Cells by median splits along the widest side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.cells import cell_cuts, cell_edges, deal, side_of_cuts
from tests.strategies import weighted_sets

Array = NDArray[np.float64]


@given(n=st.integers(1, 3000), depth=st.integers(0, 9))
def test_edges_halve_every_cell(n: int, depth: int) -> None:
    edges = cell_edges(n, depth)
    assert len(edges) == 2**depth + 1
    assert edges[0] == 0
    assert edges[-1] == n
    sizes = np.diff(edges)
    assert sizes.max() - sizes.min() <= 1
    if depth:
        assert np.array_equal(edges[::2], cell_edges(n, depth - 1))
        assert np.array_equal(edges[1::2], (edges[:-1:2] + edges[2::2]) // 2)


@given(data=weighted_sets(max_rows=300, max_columns=4), depth=st.integers(0, 7))
def test_each_split_separates_the_widest_side(data: tuple[Array, Array], depth: int) -> None:
    points, _ = data
    order = cell_cuts(np.ascontiguousarray(points.T), depth)[0]
    assert sorted(order.tolist()) == list(range(len(points)))
    for level in range(depth):
        edges = cell_edges(len(points), level)
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if last - first < 2:
                continue
            middle = (first + last) // 2
            cell = points[order[first:last]]
            side = int(np.argmax(np.ptp(cell, axis=0)))
            left, right = points[order[first:middle], side], points[order[middle:last], side]
            assert left.max() <= right.min()


def test_sorted_reversed_and_equal_values() -> None:
    for values in (np.arange(100.0), np.arange(100.0)[::-1], np.zeros(100), np.arange(100.0) % 3):
        order = cell_cuts(values[None, :].copy(), 6)[0]
        halves = np.split(values[order], [50])
        assert halves[0].max() <= halves[1].min()


@pytest.mark.parametrize("depth", [1, 5])
def test_fewer_points_than_cells(depth: int) -> None:
    order = cell_cuts(np.random.default_rng(0).normal(size=(2, 3)), depth)[0]
    assert sorted(order.tolist()) == [0, 1, 2]


def sampled_cells(
    columns: Array, sample: Array, depth: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the points cell by cell, and the edges of the cells, which a sample's medians cut."""
    _, _, sides, cuts = cell_cuts(np.ascontiguousarray(sample), depth)
    cell_of = np.empty(columns.shape[1], dtype=np.int64)
    side_of_cuts(columns, 0, len(cell_of), depth, sides, cuts, cell_of)
    return deal(cell_of, 2**depth)


@given(
    data=weighted_sets(max_rows=3000, max_columns=4),
    depth=st.integers(0, 6),
)
def test_sampled_cells_hold_every_point_once(data: tuple[Array, Array], depth: int) -> None:
    points, _ = data
    columns = np.ascontiguousarray(points.T)
    sample = columns[:, np.random.default_rng(0).integers(len(points), size=2**depth)]
    order, edges = sampled_cells(columns, sample, depth)
    assert edges[0] == 0
    assert edges[-1] == len(points)
    assert np.all(np.diff(edges) >= 0)
    assert sorted(order.tolist()) == list(range(len(points)))


@pytest.mark.parametrize("m", [1, 3])
def test_cells_of_a_sample_are_compact_and_about_even(m: int) -> None:
    """The runs of the order must be nearly as small in space as those of exact medians."""
    points = np.random.default_rng(m).random((50_000, m))
    columns = np.ascontiguousarray(points.T)

    def mean_extent(order: NDArray[np.int64]) -> float:
        runs = points[order].reshape(50, 1000, m)
        return float(np.ptp(runs, axis=1).max(axis=1).mean())

    # A run may straddle two cells of one and three of the other; in no order it is 10 times wider.
    sampled = sampled_cells(columns, columns[:, ::200].copy(), 6)[0]
    assert mean_extent(sampled) < 2.0 * mean_extent(cell_cuts(columns, 6)[0])


def test_points_that_come_sorted_get_the_same_cells() -> None:
    columns = np.arange(10_000.0)[None, :]
    order, edges = sampled_cells(columns, columns[:, ::100].copy(), 4)
    assert np.array_equal(order, np.arange(10_000))
    assert np.ptp(np.diff(edges)) <= 100
