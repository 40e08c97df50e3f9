"""Cells for rows that pass by: near, about even, and found by a few comparisons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.cells import cell_cuts
from momentc.clustering.router import CellRouter, fit_router
from tests.strategies import weighted_sets

Array = NDArray[np.float64]


def uniform(n: int, m: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (n, m))


def squared_distances(points: Array, centroids: Array) -> Array:
    return np.asarray(((points[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2))


def plainly_assigned(router: CellRouter, points: Array) -> list[int]:
    """Go down the cuts one by one, then compare with every centroid of the leaf."""
    cells = []
    for point in points:
        node = 0
        for _ in range(router.depth):
            node = 2 * node + (2 if point[router.sides[node]] >= router.cuts[node] else 1)
        leaf = node - (2**router.depth - 1)
        first, last = router.firsts[leaf], router.firsts[leaf + 1]
        distances = squared_distances(point[None, :], router.centroids[first:last])[0]
        cells.append(int(first + np.argmin(distances)))
    return cells


def shares(router: CellRouter, points: Array) -> NDArray[np.int64]:
    return np.bincount(router.assign(points), minlength=router.n_cells)


@given(data=weighted_sets(max_rows=300, max_columns=4), n_cells=st.integers(1, 400))
def test_every_point_goes_to_the_nearest_centroid_of_its_leaf(
    data: tuple[Array, Array], n_cells: int
) -> None:
    points, _ = data
    local = (points - points[0]) / np.maximum(np.ptp(points, axis=0), 1e-300)
    router = fit_router(local[::2], n_cells, 0)
    assert len(router.firsts) == 2**router.depth + 1
    assert np.all(np.diff(router.firsts) >= 1), "no leaf is without a centroid"
    assert router.firsts[-1] == router.n_cells == len(router.centroids)
    cells = router.assign(local)
    assert cells.dtype == np.int64
    places = router.centroids[cells], router.centroids[plainly_assigned(router, local)]
    # Rounding may choose between centroids that are as near.
    distance, plain = (((local - place) ** 2).sum(axis=1) for place in places)
    assert distance == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("m", [1, 2, 3, 6])
@pytest.mark.parametrize("n_cells", [10, 16, 17, 150])
def test_the_cells_are_compact(m: int, n_cells: int) -> None:
    """Nearly as much as if every point were compared with every centroid."""
    router = fit_router(uniform(40 * n_cells, m), n_cells, 0)
    points = uniform(3000, m, 1)
    distances = squared_distances(points, router.centroids)
    found = distances[np.arange(3000), router.assign(points)]
    assert found.mean() <= 1.3 * distances.min(axis=1).mean()


@pytest.mark.parametrize("m", [1, 2, 3, 6])
def test_a_centroid_lies_in_its_own_cell(m: int) -> None:
    router = fit_router(uniform(8000, m), 200, 0)
    assert router.assign(router.centroids).tolist() == list(range(router.n_cells))


@pytest.mark.parametrize("m", [1, 2, 5])
@pytest.mark.parametrize("n_cells", [10, 100, 200, 1000])
def test_as_many_cells_as_asked_of_about_even_shares(m: int, n_cells: int) -> None:
    router = fit_router(uniform(24 * n_cells, m), n_cells, 0)
    assert router.n_cells == pytest.approx(n_cells, rel=0.06)
    counts = shares(router, uniform(100 * n_cells, m, 1))
    assert counts.min() > 0
    assert counts.max() < 5.0 * counts.mean()
    assert np.quantile(counts, 0.95) < 2.5 * counts.mean()


def test_the_leaves_halve_the_sample() -> None:
    sample = uniform(8192, 2)
    router = fit_router(sample, 250, 0)
    leaves = np.searchsorted(router.firsts, router.assign(sample), side="right") - 1
    counts = np.bincount(leaves, minlength=2**router.depth)
    assert router.depth == 4
    assert counts.tolist() == [512] * 16


@pytest.mark.parametrize("m", [1, 3])
def test_the_seed_alone_decides(m: int) -> None:
    sample = uniform(4000, m)
    first, second, other = (fit_router(sample, 90, seed) for seed in (1, 1, 2))
    for name in ("sides", "cuts", "firsts", "centroids"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.centroids.tobytes() != other.centroids.tobytes()


def test_a_point_goes_where_it_goes_whatever_comes_with_it() -> None:
    router, points = fit_router(uniform(2000, 2), 60, 0), uniform(500, 2, 1)
    one_by_one = [int(router.assign(points[i : i + 1])[0]) for i in range(500)]
    assert router.assign(points).tolist() == one_by_one
    assert router.assign(points[:0]).shape == (0,)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_one_cell_is_the_mean(m: int) -> None:
    sample = uniform(300, m)
    router = fit_router(sample, 1, 0)
    assert router.n_cells == 1
    assert router.centroids == pytest.approx(sample.mean(axis=0, keepdims=True))
    assert set(router.assign(1e3 * uniform(50, m)).tolist()) == {0}


@pytest.mark.parametrize("n_cells", [1, 50])
def test_no_variables(n_cells: int) -> None:
    router = fit_router(np.empty((20, 0)), n_cells, 0)
    assert router.n_cells == 1
    assert router.assign(np.empty((7, 0))).tolist() == [0] * 7


@pytest.mark.parametrize("m", [1, 2, 5])
@pytest.mark.parametrize(("n", "n_cells"), [(1, 2), (1, 50), (5, 50), (10, 1000), (100, 101)])
def test_fewer_points_than_cells(n: int, n_cells: int, m: int) -> None:
    """Nearly each point is a cell of its own; the cells of empty leaves wait for other rows."""
    sample = uniform(n, m)
    router = fit_router(sample, n_cells, 0)
    assert router.n_cells <= max(n_cells, 2**router.depth)
    assert len(set(router.assign(sample).tolist())) >= 0.9 * n
    cells = router.assign(3.0 * uniform(200, m, 1))
    assert 0 <= cells.min() <= cells.max() < router.n_cells


@pytest.mark.parametrize("n_cells", [3, 100])
def test_a_sample_of_equal_points(n_cells: int) -> None:
    router = fit_router(np.full((3000, 2), 0.3), n_cells, 0)
    assert router.centroids == pytest.approx(np.full((router.n_cells, 2), 0.3), rel=1e-6)
    assert len(set(router.assign(np.full((10, 2), 0.3)).tolist())) == 1
    cells = router.assign(uniform(100, 2))
    assert 0 <= cells.min() <= cells.max() < router.n_cells


def test_clusters_of_very_different_weight_do_not_share_cells() -> None:
    rng = np.random.default_rng(5)
    centres = np.array([[-0.5, 0.0], [0.5, 0.1], [0.4, -0.6]])
    labels = rng.choice(3, 6000, p=[0.9, 0.08, 0.02])
    points = centres[labels] + 0.02 * rng.normal(size=(6000, 2))
    router = fit_router(points[:3000], 120, 0)
    cells = router.assign(points[3000:])
    for cell in np.unique(cells):
        assert len(set(labels[3000:][cells == cell].tolist())) == 1


def test_a_point_that_is_half_of_the_sample_leaves_cells_for_the_others() -> None:
    sample = uniform(4000, 2)
    sample[::2] = 0.125
    router = fit_router(sample, 100, 0)
    counts = shares(router, uniform(4000, 2, 1))
    assert np.count_nonzero(counts) >= 0.4 * router.n_cells
    assert counts.max() <= 0.1 * counts.sum()


@pytest.mark.parametrize("far", [10.0, 1e3, 1e9])
def test_rows_outside_of_the_sample_go_to_a_cell_on_their_side(far: float) -> None:
    router = fit_router(uniform(4000, 2), 100, 0)
    for corner in ([1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]):
        place = router.centroids[router.assign(far * np.array([corner]))[0]]
        assert np.all(place * corner > 0.3)


@given(data=weighted_sets(max_rows=300, max_columns=4), depth=st.integers(0, 7))
def test_the_cuts_lead_to_the_cells_they_made(data: tuple[Array, Array], depth: int) -> None:
    points, _ = data
    columns = np.ascontiguousarray(points.T)
    order, edges, sides, cuts = cell_cuts(columns, depth)
    assert sorted(order.tolist()) == list(range(len(points)))
    assert len(edges) == 2**depth + 1
    for leaf, (first, last) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        node = leaf + 2**depth - 1
        inside = points[order[first:last]]
        while node > 0:
            parent = (node - 1) // 2
            values = inside[:, sides[parent]]
            # Values at the cut may be on either side: the halves are equal in number.
            assert np.all(values >= cuts[parent] if node % 2 == 0 else values <= cuts[parent])
            node = parent
