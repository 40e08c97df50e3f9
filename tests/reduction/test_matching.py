"""The least change of the weights that corrects their moments."""

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.moments.features import legendre_features
from momentc.moments.multi_index import product_plan
from momentc.reduction.matching import least_change

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
