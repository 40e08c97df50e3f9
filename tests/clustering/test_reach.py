"""Orders are raised where the larger groups stay compact, and only there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.clustering.reach import order_within_clusters
from momentc.options import CompressOptions
from momentc.pipeline.points import compress_points


def clusters(n: int, m: int, width: float) -> NDArray[np.float64]:
    """Return points in twenty clusters of the same number."""
    random = np.random.default_rng([n, m])
    centres = random.uniform(-1.0, 1.0, (20, m))
    return np.repeat(centres, n // 20, axis=0) + width * random.normal(size=(n, m))


@pytest.mark.parametrize(("m", "highest"), [(1, 9), (2, 7), (3, 6), (5, 4)])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_uniform_points_allow_any_order(m: int, k: int, highest: int) -> None:
    points = np.random.default_rng(m).uniform(-1.0, 1.0, (4000, m))
    found = {order_within_clusters(points, k, highest, 400, seed) for seed in range(10)}
    assert found == {highest}


def test_a_smooth_density_is_no_cluster() -> None:
    points = np.random.default_rng(0).normal(size=(4000, 2))
    assert order_within_clusters(points, 5, 7, 400, 0) == 7


@pytest.mark.parametrize(
    ("n_left", "expected"),
    [
        (400, {3, 4}),  # 20 +- 4 of a cluster are left: room for 10 moments, not for 21
        (680, {5, 6}),  # 34 +- 6: room for 21, not for 36
        (4000, {9}),  # 200: room for 55
    ],
)
def test_groups_stay_inside_of_clusters(n_left: int, expected: set[int]) -> None:
    points = clusters(20_000, 2, 1e-3)
    found = {order_within_clusters(points, 3, 9, n_left, seed) for seed in range(5)}
    assert found <= expected


def test_k_is_kept_where_its_own_groups_reach_across() -> None:
    assert order_within_clusters(clusters(4000, 2, 1e-3), 5, 7, 100, 0) >= 5
    assert order_within_clusters(clusters(4000, 2, 1e-3), 5, 5, 400, 0) == 5


def test_the_same_seed_gives_the_same_order() -> None:
    points = clusters(4000, 2, 0.03)
    found = {order_within_clusters(points, 3, 7, 400, 7) for _ in range(3)}
    assert len(found) == 1


@pytest.mark.parametrize("effort", ["normal", "high"])
def test_a_compression_does_not_raise_the_order_across_gaps(effort: str) -> None:
    weights = np.ones(4000)
    options = CompressOptions(5, 1200, effort=effort)  # type: ignore[arg-type]
    smooth = np.random.default_rng(0).uniform(-1.0, 1.0, (4000, 1))
    assert compress_points(smooth, weights, options).kept_order > 5
    # 7 points of a cluster are left: one more than there are moments.
    points = clusters(4000, 1, 1e-4)
    done = compress_points(points, weights, CompressOptions(5, 140, effort=effort))  # type: ignore[arg-type]
    assert done.ok
    assert done.kept_order == 5
