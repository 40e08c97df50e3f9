"""Cells by median splits along the widest side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.cells import cell_edges, split_order
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
    order = split_order(np.ascontiguousarray(points.T), depth)
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
        order = split_order(values[None, :].copy(), 6)
        halves = np.split(values[order], [50])
        assert halves[0].max() <= halves[1].min()


@pytest.mark.parametrize("depth", [1, 5])
def test_fewer_points_than_cells(depth: int) -> None:
    assert sorted(split_order(np.random.default_rng(0).normal(size=(2, 3)), depth).tolist()) == [
        0,
        1,
        2,
    ]
