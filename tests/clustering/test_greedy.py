"""Rounds of the smallest disjoint groups, against brute force."""

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.clustering.greedy import SmallestGroups
from momentc.engine.threads import thread_map
from momentc.groups import Groups

Array = NDArray[np.float64]


def seed(number: int = 0) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


def parts(groups: Groups) -> list[NDArray[np.int64]]:
    return list(np.split(groups.members, groups.offsets[1:-1]))


def is_ball(points: Array, alive: NDArray[np.int64], part: NDArray[np.int64]) -> bool:
    """Tell whether the part is the nearest living points of some point, alive or not."""
    others = np.setdiff1d(alive, part)
    inside = np.linalg.norm(points[:, None] - points[part], axis=2).max(axis=1)
    outside = np.linalg.norm(points[:, None] - points[others], axis=2).min(axis=1, initial=np.inf)
    return bool(np.any(inside <= outside * (1.0 + 1e-12)))


def check_round(
    points: Array, weights: Array, groups: Groups, n_keep: int, surplus: int, n_remove: int
) -> None:
    alive = np.flatnonzero(weights)
    assert len(set(groups.members.tolist())) == len(groups.members), "the groups are disjoint"
    assert np.all(weights[groups.members] > 0.0)
    assert np.all(groups.sizes == min(n_keep + surplus, len(alive)))
    assert np.all(groups.keep >= n_keep)
    assert 1 <= int(np.sum(groups.sizes - groups.keep)) <= n_remove
    assert all(is_ball(points, alive, part) for part in parts(groups))


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("surplus", [1, 3])
@pytest.mark.parametrize("n_remove", [1, 7, 100])
def test_a_round_takes_true_neighbourhoods(m: int, surplus: int, n_remove: int) -> None:
    points = np.random.default_rng(m).normal(size=(400, m))
    weights = np.ones(400)
    nearest = SmallestGroups(points, np.arange(400), surplus, 10, seed())
    groups = nearest.next(weights, n_remove)
    assert groups is not None
    check_round(points, weights, groups, 10, surplus, n_remove)


@pytest.mark.parametrize("m", [2, 4])
def test_lists_stay_true_while_points_go(m: int) -> None:
    """Points that are gone are replaced by the next nearest, round after round."""
    rng = np.random.default_rng(10 + m)
    points = rng.normal(size=(500, m))
    weights = np.ones(500)
    nearest = SmallestGroups(points, np.arange(500), 1, 8, seed())
    n_rounds = 0
    while (groups := nearest.next(weights, 20)) is not None:
        check_round(points, weights, groups, 8, 1, 20)
        for part in parts(groups):
            weights[rng.choice(part)] = 0.0
        n_rounds += 1
    assert n_rounds >= 2


def test_points_that_were_gone_at_the_start_are_not_in_any_group() -> None:
    rng = np.random.default_rng(20)
    points = rng.normal(size=(300, 2))
    weights = np.where(rng.random(300) < 0.5, 0.0, 1.0)
    groups = SmallestGroups(points, np.flatnonzero(weights), 2, 6, seed()).next(weights, 50)
    assert groups is not None
    check_round(points, weights, groups, 6, 2, 50)


@pytest.mark.parametrize("m", [2, 3])
def test_small_groups_come_first(m: int) -> None:
    """Where half the points are crowded, groups are taken there."""
    rng = np.random.default_rng(21)
    points = np.concatenate([rng.normal(size=(200, m)), 5.0 + 1e-3 * rng.normal(size=(200, m))])
    groups = SmallestGroups(points, np.arange(400), 1, 9, seed()).next(np.ones(400), 5)
    assert groups is not None
    assert 1 <= len(groups) <= 5
    assert np.all(groups.members >= 200)


def test_of_groups_as_wide_the_light_ones_come_first() -> None:
    """The size is the radius times the root of the mass, not the radius alone."""
    crowd = np.random.default_rng(24).uniform(size=(200, 2))
    points = np.concatenate([crowd, 100.0 + 0.5 * crowd])
    weights = np.repeat([1.0, 9.0], 200)
    groups = SmallestGroups(points, np.arange(400), 1, 9, seed()).next(weights, 5)
    assert groups is not None
    assert np.all(groups.members < 200)
    groups = SmallestGroups(points, np.arange(400), 1, 9, seed()).next(np.ones(400), 5)
    assert groups is not None
    assert np.all(groups.members >= 200)


def test_the_unit_of_the_weights_does_not_matter() -> None:
    """Also where sizes are far beyond what float32 holds, in which they are compared."""
    points = np.random.default_rng(25).normal(size=(400, 2))
    weights = np.random.default_rng(26).uniform(0.5, 2.0, 400)
    found = []
    for unit in (1.0, 2.0**-900, 2.0**900):
        groups = SmallestGroups(points, np.arange(400), 1, 9, seed()).next(unit * weights, 20)
        assert groups is not None
        found.append(groups.members.tolist())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("m", [2, 3])
def test_one_group_of_all_points(m: int) -> None:
    """The last steps towards N + 1 points."""
    points = np.random.default_rng(22).normal(size=(11, m))
    groups = SmallestGroups(points, np.arange(11), 1, 10, seed()).next(np.ones(11), 1)
    assert groups is not None
    assert sorted(groups.members.tolist()) == list(range(11))
    assert groups.keep.tolist() == [10]


@pytest.mark.parametrize("m", [2, 3])
def test_equal_points(m: int) -> None:
    weights = np.ones(60)
    groups = SmallestGroups(np.zeros((60, m)), np.arange(60), 1, 4, seed()).next(weights, 3)
    assert groups is not None
    check_round(np.zeros((60, m)), weights, groups, 4, 1, 3)


@pytest.mark.parametrize("m", [2, 3])
def test_the_seed_chooses_and_threads_do_not(m: int) -> None:
    points = np.random.default_rng(23).normal(size=(2000, m))

    def members(number: int, n_threads: int) -> bytes:
        with thread_map(n_threads) as map_function:
            nearest = SmallestGroups(
                points, np.arange(2000), 2, 10, seed(number), map_function=map_function
            )
            groups = nearest.next(np.ones(2000), 300)
        assert groups is not None
        return groups.members.tobytes()

    assert members(1, 1) == members(1, 2) == members(1, 4)
    assert members(1, 1) != members(2, 1)


@pytest.mark.parametrize("m", [2, 3])
def test_no_group_reaches_to_the_next_cluster_before_it_must(m: int) -> None:
    """Twenty clusters far apart, of which most have no group left inside: the others go first."""
    rng = np.random.default_rng(m)
    centres = 100.0 * np.arange(20.0)
    sizes = np.where(np.arange(20) < 3, 40, 8)
    cluster = np.repeat(np.arange(20), sizes)
    points = rng.uniform(size=(len(cluster), m))
    points[:, 0] += centres[cluster]
    weights = np.ones(len(points))
    groups = SmallestGroups(points, np.arange(len(points)), 1, 10, seed()).next(weights, 100)
    assert groups is not None
    assert all(len(set(cluster[part])) == 1 for part in parts(groups))
