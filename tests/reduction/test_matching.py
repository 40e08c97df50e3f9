"""The least change of the weights that corrects their moments, and the orders beyond."""

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.moments.features import legendre_features
from momentc.moments.multi_index import ProductPlan, product_plan
from momentc.reduction.matching import least_change, matched_further

Array = NDArray[np.float64]


@pytest.fixture
def points() -> Array:
    return np.random.default_rng(31).uniform(-1.0, 1.0, (60, 2))


@pytest.fixture
def features(points: Array) -> Array:
    return legendre_features(points, product_plan(2, 4))


@pytest.fixture
def weights() -> Array:
    return np.random.default_rng(32).uniform(0.1, 1.0, 60)


def test_the_residual_is_met(features: Array, weights: Array) -> None:
    residual = 1e-6 * np.random.default_rng(33).normal(size=len(features))
    change = least_change(features, weights, residual)
    assert features @ (weights * change) == pytest.approx(residual, rel=1e-9, abs=1e-18)


def test_the_change_is_the_least(features: Array, weights: Array) -> None:
    """In the norm of the weights: the least-squares solution for sqrt(c) z."""
    residual = np.random.default_rng(34).normal(size=len(features))
    change = least_change(features, weights, residual)
    root = np.sqrt(weights)
    plain = np.linalg.lstsq(features * root, residual, rcond=None)[0] / root
    assert change == pytest.approx(plain, rel=1e-8, abs=1e-10)


def test_no_residual_needs_no_change(features: Array, weights: Array) -> None:
    assert not least_change(features, weights, np.zeros(len(features))).any()


def test_what_the_points_cannot_move_is_left() -> None:
    """Two equal points: no change of weights moves their mean away from their mass."""
    features = np.array([[1.0, 1.0], [0.5, 0.5]])
    weights = np.array([1.0, 3.0])
    change = least_change(features, weights, np.array([1.0, -2.0]))
    assert np.all(np.isfinite(change))
    assert features @ (weights * change) == pytest.approx([0.0, 0.0], abs=1e-12)


def test_points_without_weight_do_no_harm(features: Array, weights: Array) -> None:
    weights[:20] = 0.0
    residual = 1e-6 * np.random.default_rng(36).normal(size=len(features))
    change = least_change(features, weights, residual)
    assert features @ (weights * change) == pytest.approx(residual, rel=1e-9, abs=1e-18)


def test_weights_of_many_sizes(features: Array) -> None:
    weights = 10.0 ** np.random.default_rng(35).uniform(-15.0, 0.0, 60)
    residual = features @ (weights * 1e-8)
    change = least_change(features, weights, residual)
    assert features @ (weights * change) == pytest.approx(residual, rel=1e-9, abs=1e-19)


def further(
    points: Array, weights: Array, size: float, least_ratio: float = 0.2, highest: int = 8
) -> tuple[list[tuple[int, Array]], Array, Array, ProductPlan]:
    """Ask for orders 3 and up, whose residual has this relative size; orders 0 .. 2 agree."""
    plan = product_plan(points.shape[1], highest)
    features = legendre_features(points, plan)
    residual = size * weights.sum() * np.random.default_rng(37).normal(size=plan.n_moments)
    residual[: plan.first[3]] = 0.0
    found = [*matched_further(features, weights, residual, plan, 3, least_ratio)]
    return found, features, residual, plan


def test_each_order_is_matched_with_all_below(points: Array, weights: Array) -> None:
    found, features, residual, plan = further(points, weights, 1e-4)
    assert [order for order, _ in found] == [3, 4, 5, 6, 7, 8]
    for order, changed in found:
        count = plan.first[order + 1]
        moved = features[:count] @ (changed - weights)
        assert moved == pytest.approx(residual[:count], abs=1e-10 * weights.sum())


def test_each_order_takes_the_least_change(points: Array, weights: Array) -> None:
    found, features, residual, plan = further(points, weights, 1e-4, highest=5)
    root = np.sqrt(weights)
    for order, changed in found:
        count = plan.first[order + 1]
        plain = np.linalg.lstsq(features[:count] * root, residual[:count], rcond=None)[0] / root
        assert changed / weights - 1.0 == pytest.approx(plain, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("least_ratio", [0.0, 0.2, 0.9])
def test_it_ends_before_a_weight_falls_too_low(
    points: Array, weights: Array, least_ratio: float
) -> None:
    found, _, _, _ = further(points, weights, 1e-2, least_ratio)
    free, _, _, _ = further(points, weights, 1e-2, -np.inf)
    assert all(np.all(changed >= least_ratio * weights) for _, changed in found)
    assert len(found) < len(free), "there is an end to come to"
    for (order, changed), (same_order, same) in zip(found, free, strict=False):
        assert order == same_order
        assert changed.tobytes() == same.tobytes()
    stopped = free[len(found)][1]
    assert np.any(stopped < least_ratio * weights)


def test_it_ends_where_the_points_carry_no_more(weights: Array) -> None:
    """Five places on a line have five moments."""
    points = np.repeat(np.linspace(-1.0, 1.0, 5), 12)[:, None]
    found, features, residual, plan = further(points, weights, 1e-6)
    for order, changed in found:
        count = plan.first[order + 1]
        assert count <= 5
        moved = features[:count] @ (changed - weights)
        assert moved == pytest.approx(residual[:count], abs=1e-10 * weights.sum())


def test_nothing_to_ask(points: Array, weights: Array) -> None:
    assert further(points, weights, 1e-4, highest=2)[0] == []
