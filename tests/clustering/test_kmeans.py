"""k-means groups: a partition, compact, and the same whoever computes it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.clustering.kmeans import kmeans_groups
from momentc.groups import Groups
from tests.strategies import weighted_sets

Array = NDArray[np.float64]


def seed(number: int = 0) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


def assert_partition(groups: Groups, n: int, n_keep: int) -> None:
    assert sorted(groups.members.tolist()) == list(range(n))
    assert groups.offsets[0] == 0
    assert groups.offsets[-1] == n
    assert np.all(groups.sizes > 0)
    assert np.all(groups.keep == n_keep)
    assert len(groups) == len(groups.sizes)


def spread(points: Array, groups: Groups) -> float:
    """Return the mean squared distance of the points from the centre of their group."""
    parts = np.split(points[groups.members], groups.offsets[1:-1])
    return float(sum(np.sum((part - part.mean(axis=0)) ** 2) for part in parts) / len(points))


@given(data=weighted_sets(max_columns=4), size=st.floats(1.0, 80.0))
def test_every_point_is_in_one_group(data: tuple[Array, Array], size: float) -> None:
    points, _ = data
    local = (points - points[0]) / np.maximum(np.ptp(points, axis=0), 1e-300)
    assert_partition(kmeans_groups(local, size, 7, seed()), len(points), 7)


@pytest.mark.parametrize("m", [1, 2, 3, 6])
def test_the_groups_are_about_as_large_as_asked(m: int) -> None:
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (6000, m))
    groups = kmeans_groups(points, 40.0, 3, seed())
    assert_partition(groups, 6000, 3)
    assert len(groups) == pytest.approx(150, rel=0.1)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_groups_are_compact(m: int) -> None:
    """Far more than groups of random points, and within a factor of 2 of perfect cubes."""
    points = np.random.default_rng(2).uniform(-1.0, 1.0, (5000, m))
    groups = kmeans_groups(points, 50.0, 3, seed())
    shuffled = Groups(np.random.default_rng(3).permutation(5000), groups.offsets, groups.keep)
    ideal = (4.0 / len(groups) ** (2.0 / m)) * m / 12.0
    assert spread(points, groups) < 0.5 * spread(points, shuffled)
    assert spread(points, groups) < 2.0 * ideal


@pytest.mark.parametrize("offset", [0.0, 0.999])
def test_narrow_clusters_are_told_apart(offset: float) -> None:
    """Clusters of a hundred-thousandth of the extent: groups do not straddle the gaps."""
    rng = np.random.default_rng(4)
    centres = rng.uniform(-1.0, 1.0, (100, 2)) * [1.0, 1.0 - offset]
    points = (centres[:, None, :] + 1e-5 * rng.normal(size=(100, 60, 2))).reshape(-1, 2)
    groups = kmeans_groups(points, 30.0, 3, seed())
    parts = np.split(groups.members // 60, groups.offsets[1:-1])
    pure = sum(len(part) for part in parts if len(set(part.tolist())) == 1)
    assert pure >= 0.5 * len(points)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_seed_alone_decides(m: int) -> None:
    points = np.random.default_rng(5).normal(size=(3000, m))
    groups = [kmeans_groups(points, 30.0, 3, seed(s)) for s in (1, 1, 2)]
    assert groups[0].members.tobytes() == groups[1].members.tobytes()
    assert groups[0].offsets.tobytes() == groups[1].offsets.tobytes()
    assert groups[0].offsets.tobytes() != groups[2].offsets.tobytes()


def test_threads_do_not_decide() -> None:
    points = np.random.default_rng(6).normal(size=(40_000, 3))
    alone = kmeans_groups(points, 25.0, 3, seed())
    with ThreadPoolExecutor(4) as pool:
        shared = kmeans_groups(points, 25.0, 3, seed(), map_function=pool.map)
    assert alone.members.tobytes() == shared.members.tobytes()
    assert alone.offsets.tobytes() == shared.offsets.tobytes()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_or_equal_points(n: int) -> None:
    assert_partition(kmeans_groups(np.zeros((n, 2)), 2.0, 1, seed()), n, 1)
    assert_partition(kmeans_groups(np.zeros((50 * n, 3)), 4.0, 1, seed()), 50 * n, 1)


def test_a_point_out_of_the_range_of_float32_has_a_cluster() -> None:
    """Its cell is measured by a sample, of which it may be no part."""
    points = np.random.default_rng(0).normal(size=(3000, 2)) * 1e-21
    points[7] = 1.0
    for number in range(6):
        assert_partition(kmeans_groups(points, 100.0, 10, seed(number)), 3000, 10)
