"""Reduction of many points by the barycentres of groups of them."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.moments.features import TILE
from momentc.moments.multi_index import product_plan
from momentc.reduction.barycentre_tree import shrink_by_barycentres
from momentc.reduction.compiled_apart import remove_points_address
from momentc.tolerances import pivot_tolerance
from tests import oracle

Array = NDArray[np.float64]


def shrink(points: Array, weights: Array, k: int, n_stop: int | None = None) -> Array:
    plan = product_plan(points.shape[1], k)
    n = plan.n_moments
    left = weights.copy()
    size = n * max(2 * n, TILE)
    shrink_by_barycentres(
        np.ascontiguousarray(points.T), left, 2 * n if n_stop is None else n_stop,
        plan.parent, plan.axis, plan.power, k, remove_points_address(), pivot_tolerance(n),
        np.empty(2 * n + 1, np.int64), np.empty(size), np.empty(size),
    )  # fmt: skip
    return left


def gap(points: Array, weights: Array, left: Array, k: int) -> float:
    first = oracle.moments(points, weights, k)
    second = oracle.moments(points, left, k)
    return max(oracle.gap_by_order(first, second, k))


def inputs() -> Iterator[tuple[str, int, Array, Array]]:
    rng = np.random.default_rng(21)
    yield "line", 6, np.sort(rng.uniform(-1, 1, (900, 1)), axis=0), np.ones(900)
    yield "plane", 4, rng.uniform(-1, 1, (700, 2)), rng.uniform(0.1, 1.0, 700)
    yield "space", 3, rng.uniform(-1, 1, (1000, 3)), 10.0 ** rng.uniform(-15, 0, 1000)
    yield "lattice", 3, rng.integers(-1, 2, (800, 2)).astype(float), np.ones(800)
    yield "one point", 5, np.zeros((500, 1)), np.ones(500)
    yield "some gone", 3, rng.uniform(-1, 1, (900, 1)), np.where(np.arange(900) % 3, 1.0, 0.0)
    yield "a tile and a bit", 2, rng.uniform(-1, 1, (10 * 257, 1)), np.ones(2570)


@pytest.mark.parametrize("case", [*inputs()], ids=lambda case: str(case[0]))
def test_few_points_are_left_and_the_moments_stay(case: tuple[str, int, Array, Array]) -> None:
    _, k, points, weights = case
    left = shrink(points, weights, k)
    assert np.count_nonzero(left) <= 2 * math.comb(points.shape[1] + k, k)
    assert np.all(left >= 0.0)
    assert np.all(left[weights == 0.0] == 0.0)
    assert gap(points, weights, left, k) <= 1e-14


def test_nothing_happens_where_few_enough_are_left() -> None:
    points = np.random.default_rng(22).uniform(-1, 1, (10, 1))
    weights = np.ones(10)
    assert shrink(points, weights, 4).tolist() == weights.tolist()


def test_the_survivors_of_a_group_keep_their_proportions() -> None:
    """A group is rescaled as a whole: consecutive survivors share one factor."""
    rng = np.random.default_rng(23)
    points = np.sort(rng.uniform(-1, 1, (4096, 1)), axis=0)
    weights = rng.uniform(0.5, 1.0, 4096)
    left = shrink(points, weights, 1, n_stop=3000)
    factors = {round(float(ratio), 9) for ratio in (left / weights)[left > 0.0]}
    assert np.count_nonzero(left) < 4096
    assert len(factors) <= 4, "one factor for each of the 2N groups at most"
