"""The reduction of a whole support: its stages, its end, and what it does when it cannot end."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc import MomentCompressor
from momentc import hybrid as hybrid_module
from momentc.engine.threads import thread_map
from momentc.errors import VerificationError
from momentc.groups import Groups
from momentc.hybrid import most_compact, reduce_support
from momentc.moments.multi_index import product_plan
from momentc.reduction.groups import reduce_groups
from tests import oracle
from tests.tolerances import set_tolerance

Array = NDArray[np.float64]
Call = tuple[str, int, int]


def uniform(n: int, m: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (n, m))


@pytest.mark.parametrize(
    ("n", "m", "k", "target"),
    [
        (13, 1, 2, 5),  # one k-means group holds all points
        (150, 3, 5, 57),
        (160, 3, 5, 60),
        (400, 2, 3, 10),
        (1001, 1, 4, 100),
        (2600, 2, 4, 1000),
        (5000, 2, 2, 6),  # cells, target = N
        (20_000, 3, 3, 40),  # cells
        (9000, 5, 2, 300),
    ],
)
def test_exactly_the_target_is_left(n: int, m: int, k: int, target: int) -> None:
    points, weights = uniform(n, m), np.ones(n)
    kept = reduce_support(points, weights, target, product_plan(m, k), 0)
    assert len(kept) == target
    assert np.array_equal(kept, np.flatnonzero(weights))
    assert oracle.frame_gap(points, np.ones(n), points[kept], weights[kept], k) <= 1e-13


@pytest.mark.parametrize(("m", "k"), [(1, 1), (1, 3), (2, 2), (3, 3)])
def test_the_target_is_met_for_any_small_number_of_points(m: int, k: int) -> None:
    """Where a group is as large as all there is, a round must not overshoot."""
    plan = product_plan(m, k)
    missed = []
    for target in (plan.n_moments, plan.n_moments + 1, 2 * plan.n_moments):
        for n in range(target + 1, 6 * target, max(1, target // 5)):
            kept = reduce_support(uniform(n, m, n), np.ones(n), target, plan, 0)
            if len(kept) != target:
                missed.append((n, target, len(kept)))
    assert not missed, "(points, target, kept)"


@pytest.mark.parametrize(("n", "m", "target"), [(300, 1, 50), (9000, 2, 60), (3000, 3, 400)])
def test_progress_rises_to_its_end(n: int, m: int, target: int) -> None:
    calls: list[Call] = []
    reduce_support(
        uniform(n, m), np.ones(n), target, product_plan(m, 3), 0,
        progress=lambda *call: calls.append(call),
    )  # fmt: skip
    done = [removed for _, removed, _ in calls]
    assert all(isinstance(stage, str) and stage for stage, _, _ in calls)
    assert done == sorted(done)
    assert done[0] > 0
    assert done[-1] == n - target
    assert {total for _, _, total in calls} == {n - target}
    stages = [stage for stage, _, _ in calls]
    order = list(dict.fromkeys(stages))
    assert stages == sorted(stages, key=order.index), "no stage comes back"


def test_progress_does_not_change_the_result() -> None:
    told, silent = np.ones(3000), np.ones(3000)
    plan = product_plan(2, 3)
    reduce_support(uniform(3000, 2), told, 50, plan, 1, progress=lambda *_: None)
    reduce_support(uniform(3000, 2), silent, 50, plan, 1)
    assert told.tobytes() == silent.tobytes()


@pytest.mark.parametrize(("n", "m", "k", "target"), [(30_000, 3, 3, 300), (3000, 1, 9, 200)])
def test_threads_do_not_change_a_byte(n: int, m: int, k: int, target: int) -> None:
    points, plan = uniform(n, m), product_plan(m, k)
    results = []
    for n_threads in (1, 2, 4):
        weights = np.ones(n)
        with thread_map(n_threads) as map_function:
            reduce_support(points, weights, target, plan, 3, map_function=map_function)
        results.append(weights.tobytes())
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("n", "least", "most"), [(150, 150, 150), (20_000, 100, 400)])
def test_the_source_is_told_once_after_the_cells(n: int, least: int, most: int) -> None:
    """Points that stand for all have the weights of that moment, and the moments of all."""
    points, weights, plan = uniform(n, 3), np.ones(n), product_plan(3, 3)
    told: list[NDArray[np.int64]] = []

    def hear(alive: NDArray[np.int64]) -> None:
        told.append(alive)
        assert np.array_equal(alive, np.flatnonzero(weights))
        assert oracle.frame_gap(points, np.ones(n), points[alive], weights[alive], 3) <= 1e-13

    reduce_support(points, weights, 40, plan, 0, on_source=hear)
    assert [least <= len(alive) <= most for alive in told] == [True]


def test_rounds_that_find_nothing_look_around_other_centres_for_the_smallest_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, tuple[int, ...]]] = []

    class Nothing:
        def __init__(self, *arguments: Any, **_: Any) -> None:
            asked.append((arguments[2], arguments[4].spawn_key))

        def next(self, *_: Any) -> None:
            return None

    monkeypatch.setattr(hybrid_module, "SmallestGroups", Nothing)
    with pytest.raises(VerificationError, match="can be reduced further"):
        reduce_support(uniform(60, 2), np.ones(60), 40, product_plan(2, 5), 0)
    assert [surplus for surplus, _ in asked] == [2, 1, 1, 1]
    assert len({key for _, key in asked}) == 4


def lines(*lengths: float, size: int = 10) -> tuple[Array, NDArray[np.int64]]:
    """Groups of points on lines of some lengths, by turns along both axes, and their offsets."""
    points = np.zeros((len(lengths) * size, 2))
    for group, length in enumerate(lengths):
        part = slice(group * size, (group + 1) * size)
        points[part, group % 2] = np.linspace(0.0, length, size)
    return points, size * np.arange(len(lengths) + 1, dtype=np.int64)


@pytest.mark.parametrize(
    ("n_remove", "keep"),
    [
        (3, [10, 7, 10, 10]),
        (6, [10, 4, 10, 10]),
        (8, [10, 4, 8, 10]),
        (17, [10, 4, 4, 5]),
        (24, [4, 4, 4, 4]),
        (99, [4, 4, 4, 4]),
    ],
)
def test_the_most_compact_groups_lose_as_many_points_as_asked(
    n_remove: int, keep: list[int]
) -> None:
    points, offsets = lines(9.0, 1.0, 2.0, 3.0)
    groups = Groups(np.arange(40), offsets, np.full(4, 4, dtype=np.int64))
    assert most_compact(points, groups, n_remove).keep.tolist() == keep


@pytest.mark.parametrize(("n_remove", "keep"), [(95, [100, 100]), (96, [100, 4])])
def test_a_group_for_the_tree_loses_all_or_nothing(n_remove: int, keep: list[int]) -> None:
    points, offsets = lines(9.0, 1.0, size=100)
    groups = Groups(np.arange(200), offsets, np.full(2, 4, dtype=np.int64))
    assert most_compact(points, groups, n_remove).keep.tolist() == keep


def test_other_seeds_keep_other_points() -> None:
    points, plan = uniform(2000, 2), product_plan(2, 3)
    kept = [reduce_support(points, np.ones(2000), 60, plan, seed) for seed in (0, 1, 0)]
    assert np.array_equal(kept[0], kept[2])
    assert not np.array_equal(kept[0], kept[1])


def test_groups_that_cannot_be_reduced_are_an_error_that_says_what_would_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_tolerance(monkeypatch, "group_tolerance", 1e-40)
    weights = np.random.default_rng(0).uniform(0.5, 1.0, 200)
    before = weights.copy()
    with pytest.raises(VerificationError, match=r"lower k or a larger target") as caught:
        reduce_support(uniform(200, 2), weights, 30, product_plan(2, 3), 0)
    assert "30 were asked for" in str(caught.value)
    assert weights.tobytes() == before.tobytes()


@pytest.mark.parametrize("n", [1, 10, 11])
def test_nothing_to_do(n: int) -> None:
    weights = np.random.default_rng(0).uniform(0.5, 1.0, n)
    before = weights.copy()
    kept = reduce_support(uniform(n, 2), weights, 11, product_plan(2, 3), 0)
    assert kept.tolist() == list(range(n))
    assert weights.tobytes() == before.tobytes()


def test_the_error_of_the_next_order_is_small() -> None:
    """Points are removed where they stand close: what is not held is still nearly right.

    A subset without regard to place, with the same moments, misses by some 1e-2.
    """
    n, k = 20_000, 3
    points, weights = uniform(n, 2), np.ones(n)
    kept = reduce_support(points, weights, 200, product_plan(2, k), 0)
    gaps = oracle.gap_by_order(
        oracle.moments(points, np.ones(n), k + 2),
        oracle.moments(points[kept], weights[kept], k + 2),
        k + 2,
    )
    assert max(gaps[: k + 1]) <= 1e-13
    assert max(gaps[k + 1 :]) <= 1e-4


def test_no_weight_becomes_so_small_that_it_only_looks_alive() -> None:
    weights = np.ones(5000)
    kept = reduce_support(uniform(5000, 3), weights, 100, product_plan(3, 3), 0)
    assert math.isclose(weights.sum(), 5000.0, rel_tol=1e-14)
    assert weights[kept].min() > 0.0


def test_rounds_without_progress_are_counted_from_the_last_that_had_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three of them, a success, and three again are no reason to give up; four are."""
    outcomes: list[bool] = []

    def sometimes(*arguments: Any) -> int:
        outcomes.append(len(outcomes) % period == period - 1)
        return reduce_groups(*arguments) if outcomes[-1] else 0

    monkeypatch.setattr(hybrid_module, "reduce_groups", sometimes)
    points = uniform(60, 2)
    period = hybrid_module.PATIENCE + 1
    assert len(reduce_support(points, np.ones(60), 20, product_plan(2, 2), 0)) == 20
    assert sum(outcomes) > 1
    outcomes.clear()
    period = hybrid_module.PATIENCE + 3  # the first call is a round of k-means
    with pytest.raises(VerificationError, match="can be reduced further"):
        reduce_support(points, np.ones(60), 20, product_plan(2, 2), 0)


@pytest.mark.parametrize("n", [3000, 30_000])
@pytest.mark.parametrize("sigma", [20.0, 100.0])
def test_tails_over_hundreds_of_decades_take_few_rounds(n: int, sigma: float) -> None:
    """k-means finds one cluster of nearly all points: one by one, they took minutes."""
    values = np.random.default_rng(2).lognormal(0.0, sigma, (n, 2))
    points = np.unique(values / values.max(axis=0), axis=0)
    assert len(points) > 2000
    weights, calls = np.ones(len(points)), []
    kept = reduce_support(
        points, weights, 60, product_plan(2, 4), 0, progress=lambda *call: calls.append(call)
    )
    assert len(kept) == 60
    assert len(calls) < 150
    assert oracle.frame_gap(points, np.ones(len(points)), points[kept], weights[kept], 4) <= 1e-12


@pytest.mark.parametrize("light", [1e-285, 1e-300, 1e-312, 5e-324])
def test_weights_that_are_nothing_beside_one(light: float) -> None:
    points = np.random.default_rng(1).normal(size=(4000, 2))
    weights = np.full(4000, light)
    weights[[7, 90]] = 1.0
    compressor = MomentCompressor(4, 60).fit(points, sample_weight=weights)
    kept, notes = compressor.compressed_, compressor.result_.notes
    assert any("3998 distinct rows weigh less" in note for note in notes) == (light < 1e-290)
    assert not any("distinct points" in note for note in notes), "all rows differ"
    assert {7, 90} <= set(kept.index.tolist())
    assert kept.total_weight == pytest.approx(2.0, rel=1e-15)
    assert len(kept) == (60 if light == 1e-285 else 2)
