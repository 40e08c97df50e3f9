"""Many groups at once: each keeps its moments, or its points."""

import itertools
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.groups import Groups
from momentc.moments.multi_index import ProductPlan, product_plan
from momentc.reduction import groups as groups_module
from momentc.reduction import repair as repair_module
from momentc.reduction.compiled_apart import remove_points
from momentc.reduction.groups import reduce_groups
from tests import oracle
from tests.strategies import groupings
from tests.tolerances import set_tolerance

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


def grouped(parts: list[NDArray[Any]], keep: int | list[int]) -> Groups:
    sizes = [len(part) for part in parts]
    members = np.concatenate(parts).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Groups(members, offsets, np.broadcast_to(keep, len(parts)).astype(np.int64))


def in_runs(sizes: list[int]) -> list[NDArray[Any]]:
    edges = np.cumsum([0, *sizes])
    return [np.arange(first, last) for first, last in itertools.pairwise(edges)]


def gap(points: Array, before: Array, after: Array, k: int) -> float:
    """Return the largest change of a moment in the group's own frame, per unit of its mass."""
    return oracle.frame_gap(points, before, points, after, k)


@given(data=st.data(), seed=st.integers(0, 1000), m=st.integers(1, 3), k=st.integers(1, 4))
def test_every_group_keeps_its_own_moments(data: st.DataObject, seed: int, m: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(1, 300))
    parts = data.draw(groupings(n))
    points, weights = rng.normal(size=(n, m)), 10.0 ** rng.uniform(-8.0, 0.0, n)
    plan = product_plan(m, k)
    after = weights.copy()
    removed = reduce_groups(points, after, grouped(parts, plan.n_moments), plan)
    assert removed == np.count_nonzero(after == 0.0)
    outside = np.setdiff1d(np.arange(n), np.concatenate(parts))
    assert np.array_equal(after[outside], weights[outside])
    for part in parts:
        assert np.count_nonzero(after[part]) == min(len(part), plan.n_moments)
        assert np.all(after[part] >= 0.0)
        assert gap(points[part], weights[part], after[part], k) <= 1e-13


@pytest.mark.parametrize("size", [20, 25, 79, 80, 81, 300, 1000])
@pytest.mark.parametrize("extra", [0, 1, 4])
def test_as_many_points_stay_as_must(size: int, extra: int) -> None:
    """Whichever way a group of this size is reduced."""
    plan = product_plan(3, 3)
    points = np.random.default_rng(size).normal(size=(size, 3))
    weights = np.ones(size)
    keep = plan.n_moments + extra
    removed = reduce_groups(points, weights, grouped(in_runs([size]), keep), plan)
    assert removed == max(0, size - keep)
    assert np.count_nonzero(weights) == min(size, keep)
    assert gap(points, np.ones(size), weights, 3) <= 1e-13


@pytest.mark.parametrize("size", [90, 500])
def test_half_the_points_may_be_asked_to_stay(size: int) -> None:
    plan = product_plan(2, 2)
    points = np.random.default_rng(size).normal(size=(size, 2))
    weights = np.ones(size)
    assert reduce_groups(points, weights, grouped(in_runs([size]), size // 2), plan) == size // 2
    assert gap(points, np.ones(size), weights, 2) <= 1e-13


def test_a_group_that_keeps_all_its_points_is_left_alone() -> None:
    plan = product_plan(1, 2)
    points = np.random.default_rng(0).normal(size=(40, 1))
    weights = np.ones(40)
    groups = grouped(in_runs([20, 20]), [20, 3])
    assert reduce_groups(points, weights, groups, plan) == 17
    assert np.all(weights[:20] == 1.0)


@pytest.mark.parametrize("size", [30, 300])
def test_points_without_weight_are_not_removed_once_more(size: int) -> None:
    points, before, groups, plan = faulty_group(size)
    before[::3] = 0.0
    weights = before.copy()
    removed = reduce_groups(points, weights, groups, plan)
    assert removed == np.count_nonzero(before) - plan.n_moments
    assert np.count_nonzero(weights) == plan.n_moments
    assert np.all(weights[::3] == 0.0)


def test_no_groups() -> None:
    weights = np.ones(3)
    empty = Groups(np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0, np.int64))
    assert reduce_groups(np.zeros((3, 1)), weights, empty, product_plan(1, 1)) == 0
    assert weights.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("extent", [1e-12, 1.0, 1e12])
def test_groups_far_from_the_origin_or_tiny_are_as_exact(offset: float, extent: float) -> None:
    """Each works in its own box, so neither place nor size cost digits."""
    points = extent * (offset + np.random.default_rng(1).normal(size=(60, 2)))
    weights = np.ones(60)
    plan = product_plan(2, 4)
    reduce_groups(points, weights, grouped(in_runs([60]), plan.n_moments), plan)
    assert np.count_nonzero(weights) == plan.n_moments
    assert gap(points, np.ones(60), weights, 4) <= 1e-13


def test_groups_of_equal_points() -> None:
    points = np.full((50, 3), 7.0)
    weights = np.ones(50)
    plan = product_plan(3, 3)
    reduce_groups(points, weights, grouped(in_runs([50]), plan.n_moments), plan)
    assert np.count_nonzero(weights) <= plan.n_moments
    assert weights.sum() == pytest.approx(50.0, rel=1e-15)


@pytest.mark.parametrize("n_threads", [2, 4])
def test_threads_do_not_change_a_byte(n_threads: int) -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(12_000, 3))
    plan = product_plan(3, 5)
    groups = grouped(in_runs([*[112] * 100, 400, 400]), plan.n_moments)
    alone, shared = np.ones(12_000), np.ones(12_000)
    n_tasks = 0

    with ThreadPoolExecutor(n_threads) as pool:

        def counting(function: Callable[[Any], Any], items: Iterable[Any]) -> Any:
            nonlocal n_tasks
            tasks = list(items)
            n_tasks += len(tasks)
            return pool.map(function, tasks)

        removed = reduce_groups(points, shared, groups, plan, counting)
    assert n_tasks > 1, "this much work is shared"
    assert removed == reduce_groups(points, alone, groups, plan)
    assert alone.tobytes() == shared.tobytes()


# What a fault does to the weights that the elimination has left.
Fault = Callable[[Array], None]


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], None]:
    """Let the elimination go wrong: what follows it is then all that protects the moments.

    The kernels of groups run as plain Python, so that they call a replacement.
    """

    def inject(fault: Fault) -> None:
        for name, value in list(vars(groups_module).items()):
            plain = getattr(value, "py_func", None)
            if plain is not None and plain.__module__ == groups_module.__name__:
                monkeypatch.setattr(groups_module, name, plain)

        def remove_then_fail(features: Array, weights: Array, *rest: Any) -> int:
            removed = int(remove_points(features, weights, *rest))
            fault(weights)
            return removed

        def call_then_fail(_address: int, *arguments: Any) -> int:
            return remove_then_fail(*arguments)

        monkeypatch.setattr(repair_module, "remove_points", remove_then_fail)
        monkeypatch.setattr(groups_module, "call_remove_points", call_then_fail)

    return inject


def grow(weights: Array) -> None:
    """Change the largest weight by a millionth."""
    weights[np.argmax(weights)] *= 1.0 + 1e-6


def drift(weights: Array) -> None:
    """Multiply all weights, as a rounded rescaling would."""
    weights *= 1.0 + 1e-9


def swap(weights: Array) -> None:
    """Give two points each other's weights."""
    first, second = np.flatnonzero(weights)[:2]
    weights[[first, second]] = weights[[second, first]]


def lose(weights: Array) -> None:
    """Drop a point without which the others cannot carry the moments."""
    weights[np.argmax(weights)] = 0.0


def poison(weights: Array) -> None:
    weights[np.flatnonzero(weights)[0]] = np.nan


def overflow(weights: Array) -> None:
    weights[np.flatnonzero(weights)[0]] = np.inf


def faulty_group(size: int) -> tuple[Array, Array, Groups, ProductPlan]:
    points = np.random.default_rng(3).normal(size=(size, 2))
    weights = np.random.default_rng(4).uniform(0.1, 1.0, size)
    plan = product_plan(2, 3)
    return points, weights, grouped(in_runs([size]), plan.n_moments), plan


@pytest.mark.parametrize("size", [11, 25, 70])
@pytest.mark.parametrize("fault", [grow, drift, swap])
def test_a_fault_that_can_be_repaired_is_repaired(
    size: int, fault: Fault, inject: Callable[[Fault], None]
) -> None:
    points, before, groups, plan = faulty_group(size)
    inject(fault)
    weights = before.copy()
    assert reduce_groups(points, weights, groups, plan) == size - plan.n_moments
    assert np.count_nonzero(weights) == plan.n_moments
    assert np.all(weights >= 0.0)
    assert gap(points, before, weights, 3) <= 1e-13


@pytest.mark.parametrize("most", [1, 2])
def test_a_fault_of_many_removals_is_repaired_by_few_at_once(
    most: int, inject: Callable[[Fault], None]
) -> None:
    def lose_after_many(weights: Array) -> None:
        if np.count_nonzero(weights == 0.0) > most:
            lose(weights)

    points, before, groups, plan = faulty_group(25)
    inject(lose_after_many)
    weights = before.copy()
    assert reduce_groups(points, weights, groups, plan) == 25 - plan.n_moments
    assert gap(points, before, weights, 3) <= 1e-13


def test_a_repair_leaves_as_many_points_as_must_stay(inject: Callable[[Fault], None]) -> None:
    points, before, _, plan = faulty_group(25)
    inject(grow)
    weights = before.copy()
    groups = grouped(in_runs([25]), plan.n_moments + 3)
    assert reduce_groups(points, weights, groups, plan) == 25 - plan.n_moments - 3
    assert gap(points, before, weights, 3) <= 1e-13


@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60])
def test_a_repair_does_not_depend_on_the_unit_of_the_weights(
    unit: float, inject: Callable[[Fault], None]
) -> None:
    points, before, groups, plan = faulty_group(25)
    before *= unit
    inject(lose)
    weights = before.copy()
    assert reduce_groups(points, weights, groups, plan) == 0
    assert weights.tobytes() == before.tobytes()


def test_faults_are_repaired_in_every_task(
    inject: Callable[[Fault], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups_module, "WORTH_A_TASK", 1)
    points, before, _, plan = faulty_group(150)
    parts = in_runs([25] * 6)
    inject(grow)
    weights, n_tasks = before.copy(), 0

    def counting(function: Callable[[Any], Any], items: Iterable[Any]) -> Any:
        nonlocal n_tasks
        tasks = list(items)
        n_tasks += len(tasks)
        return map(function, tasks)

    removed = reduce_groups(points, weights, grouped(parts, plan.n_moments), plan, counting)
    assert n_tasks > 1
    assert removed == np.count_nonzero(weights == 0.0) == 6 * (25 - plan.n_moments)
    for part in parts:
        assert gap(points[part], before[part], weights[part], 3) <= 1e-13


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("size", [11, 25, 70])
@pytest.mark.parametrize("fault", [lose, poison, overflow])
def test_a_fault_beyond_repair_leaves_the_group_as_it_was(
    size: int, fault: Fault, inject: Callable[[Fault], None]
) -> None:
    points, before, groups, plan = faulty_group(size)
    inject(fault)
    weights = before.copy()
    assert reduce_groups(points, weights, groups, plan) == 0
    assert weights.tobytes() == before.tobytes()


@pytest.mark.parametrize("size", [20, 45, 200])
def test_a_group_that_misses_its_tolerance_is_left_as_it_was(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_tolerance(monkeypatch, "group_tolerance", 1e-40)
    points, before, groups, plan = faulty_group(size)
    weights = before.copy()
    assert reduce_groups(points, weights, groups, plan) == 0
    assert weights.tobytes() == before.tobytes()


def flat(size: int) -> Array:
    """Points of a plane that nearly lie on a line: their features have pivots of every size."""
    rng = np.random.default_rng(5)
    x = rng.uniform(-1.0, 1.0, size)
    return np.column_stack([x, x + 1e-5 * rng.normal(size=size)])


@pytest.mark.parametrize("pivot", [1e-9, 1e-6, 1e-3, 0.05, 0.3])
@pytest.mark.parametrize("size", [14, 30, 200])
def test_null_vectors_that_are_none_change_no_moment(
    size: int, pivot: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pivots up to this size are taken for zero, so the null vectors are wrong by as much."""
    set_tolerance(monkeypatch, "pivot_tolerance", pivot)
    points, weights = flat(size), np.random.default_rng(6).uniform(0.1, 1.0, size)
    before = weights.copy()
    plan = product_plan(2, 3)
    removed = reduce_groups(points, weights, grouped(in_runs([size]), plan.n_moments), plan)
    assert np.all(weights >= 0.0)
    assert gap(points, before, weights, 3) <= 1e-12
    assert removed == np.count_nonzero(weights == 0.0)
    if removed == 0:
        assert weights.tobytes() == before.tobytes()


def test_wrong_null_vectors_do_change_moments_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test above proves something only if the elimination alone would be wrong."""
    set_tolerance(monkeypatch, "pivot_tolerance", 0.3)
    set_tolerance(monkeypatch, "group_tolerance", 1.0)
    points, weights = flat(30), np.ones(30)
    plan = product_plan(2, 3)
    reduce_groups(points, weights, grouped(in_runs([30]), plan.n_moments), plan)
    assert gap(points, np.ones(30), weights, 3) > 1e-9


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_size_of_the_weights_does_not_matter(m: int) -> None:
    """A power of two as a common factor changes no digit."""
    points = np.random.default_rng(9).normal(size=(90, m))
    weights = np.random.default_rng(10).uniform(0.1, 1.0, 90)
    plan = product_plan(m, 3)
    groups = grouped(in_runs([90]), math.comb(m + 3, 3))
    plain, scaled = weights.copy(), weights * 2.0**-600
    reduce_groups(points, plain, groups, plan)
    reduce_groups(points, scaled, groups, plan)
    assert np.array_equal(scaled, plain * 2.0**-600)


@pytest.mark.parametrize("size", [3, 5, 5000])
def test_points_without_a_column_are_one(size: int) -> None:
    """All columns are constant: no box has a side that could be cut."""
    plan = product_plan(0, 2)
    weights = np.random.default_rng(size).uniform(0.1, 1.0, size)
    kept = []
    for _ in range(3):
        after = weights.copy()
        assert (
            reduce_groups(np.zeros((size, 0)), after, grouped(in_runs([size]), 1), plan) == size - 1
        )
        assert after.sum() == pytest.approx(weights.sum(), rel=1e-14)
        kept.append(int(np.flatnonzero(after)[0]))
    assert len(set(kept)) == 1


@pytest.mark.parametrize("distance", [1, 2, 3])
@pytest.mark.parametrize("size", [60, 2000])
def test_points_as_near_as_numbers_can_be(distance: int, size: int) -> None:
    """Between neighbours there is no middle: a box around one of them must hold the other."""
    plan = product_plan(1, 8)
    low = -0.00042282
    points = np.full((size, 1), low)
    high = low
    for _ in range(distance):
        high = np.nextafter(high, 0.0)
    points[size // 3 :: 7] = high
    weights = np.full(size, 0.5)
    after = weights.copy()
    assert reduce_groups(points, after, grouped(in_runs([size]), 9), plan) >= size - 9
    for place in (low, high):
        here = points[:, 0] == place
        assert after[here].sum() == pytest.approx(weights[here].sum(), rel=1e-12)


def test_a_large_group_is_repaired_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Factorised as a whole after every few removals, it would take the square of its points."""
    plan = product_plan(2, 3)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 2))
    weights = 10.0 ** rng.uniform(-15.0, 3.0, 4000)
    sizes = []

    def counted(features: Array, *rest: Any) -> int:
        sizes.append(features.shape[1])
        return remove_points(features, *rest)

    monkeypatch.setattr(repair_module, "remove_points", counted)
    after = weights.copy()
    assert repair_module.repair_group(points, after, np.arange(4000), plan.n_moments, plan) == 3990
    assert max(sizes) <= 4 * plan.n_moments
    assert sum(sizes) < 20 * len(points)
    assert gap(points, weights, after, 3) <= 1e-13
