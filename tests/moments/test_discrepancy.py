"""Errors by order against exact tensors."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.moments.accumulate import Moments, accumulate_moments
from momentc.moments.discrepancy import (
    error_by_order,
    relative_error_by_order,
    with_dependent,
)
from momentc.moments.frame import Dependence, Frame
from momentc.moments.frame_fit import fit_frame
from tests import oracle
from tests.strategies import weighted_sets

Points = NDArray[np.float64]
ORDER = 4


def both(
    points: Points, weights: Points, other_points: Points, other_weights: Points
) -> tuple[Moments, Moments, Frame]:
    frame = fit_frame(points, weights, 5)
    first = accumulate_moments(frame.apply(points), weights, ORDER, "monomial")
    second = accumulate_moments(frame.apply(other_points), other_weights, ORDER, "monomial")
    return first, second, frame


def exact_of(frame: Frame) -> oracle.ExactFrame:
    return oracle.ExactFrame(
        tuple(map(Fraction, frame.center.tolist())), tuple(map(Fraction, frame.scale.tolist()))
    )


def reweighted(weights: Points, seed: int, size: float) -> Points:
    return weights * (1.0 + size * np.random.default_rng(seed).uniform(-1.0, 1.0, len(weights)))


@given(data=weighted_sets(max_rows=60, max_columns=3), size=st.sampled_from([0.5, 1e-6, 1e-13]))
def test_errors_in_the_frame(data: tuple[Points, Points], size: float) -> None:
    points, weights = data
    other_weights = reweighted(weights, 1, size)
    first, second, frame = both(points, weights, points, other_weights)
    assume(frame.rank == points.shape[1])  # the oracle measures all columns
    exact = oracle.normalised_error_by_order(
        oracle.moments(points, weights, ORDER, exact_of(frame)),
        oracle.moments(points, other_weights, ORDER, exact_of(frame)),
        ORDER,
    )
    assert error_by_order(first, second) == pytest.approx(exact, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e8])
@pytest.mark.parametrize("size", [0.3, 1e-3, 1e-9])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_relative_errors_in_the_users_coordinates(m: int, size: float, offset: float) -> None:
    rng = np.random.default_rng(m)
    points = offset + rng.normal(size=(80, m)) * 10.0 ** rng.integers(-2, 3, m)
    weights = rng.uniform(0.1, 1.0, 80)
    other_weights = reweighted(weights, 2, size)
    first, second, frame = both(points, weights, points, other_weights)
    exact = oracle.tensor_error_by_order(
        oracle.moments(points, weights, ORDER), oracle.moments(points, other_weights, ORDER), ORDER
    )
    # What is left of a small difference after rounding, wherever the points lie.
    digits = 1e-6 + 2e-14 / size
    noise = digits * max(exact[1:])
    found = relative_error_by_order(first, second, frame)[1:]
    assert found == pytest.approx(exact[1:], rel=digits, abs=noise)


def test_relative_errors_of_a_kept_subset() -> None:
    rng = np.random.default_rng(6)
    points, weights = rng.normal(size=(50, 2)) + 2.0, rng.uniform(0.1, 1.0, 50)
    first, second, frame = both(points, weights, points[::3].copy(), weights[::3].copy())
    exact = oracle.tensor_error_by_order(
        oracle.moments(points, weights, ORDER),
        oracle.moments(points[::3], weights[::3], ORDER),
        ORDER,
    )
    assert relative_error_by_order(first, second, frame)[1:] == pytest.approx(
        exact[1:], rel=1e-12, abs=0.0
    )
    assert min(exact[1:]) > 1e-3, "the comparison must have something to find"


@pytest.mark.parametrize("unit", [1e-300, 1e39, 1e200])
def test_relative_errors_do_not_depend_on_the_unit(unit: float) -> None:
    """Where raw moments of order 4 would be 1e-1200 or 1e800."""
    rng = np.random.default_rng(7)
    points, weights = rng.normal(size=(60, 2)) + 1.0, rng.uniform(0.1, 1.0, 60)
    other = reweighted(weights, 3, 1e-3)
    plain = relative_error_by_order(*both(points, weights, points, other))
    scaled = relative_error_by_order(*both(points * unit, weights, points * unit, other))
    assert scaled == pytest.approx(plain, rel=1e-9, abs=0.0)


def test_columns_of_extreme_units_together() -> None:
    """The large column is all that a relative error of the whole tensor can show."""
    rng = np.random.default_rng(8)
    points, weights = rng.normal(size=(60, 2)), rng.uniform(0.1, 1.0, 60)
    mixed = points * [1e39, 1e-300]
    other = reweighted(weights, 3, 1e-3)
    exact = oracle.tensor_error_by_order(
        oracle.moments(mixed, weights, ORDER), oracle.moments(mixed, other, ORDER), ORDER
    )
    found = relative_error_by_order(*both(mixed, weights, mixed, other))
    assert found[1:] == pytest.approx(exact[1:], rel=1e-6, abs=0.0)


def test_a_lost_weight_is_an_error_of_order_0_only() -> None:
    rng = np.random.default_rng(9)
    points, weights = rng.normal(size=(60, 2)), rng.uniform(0.1, 1.0, 60)
    first, second, frame = both(points, weights, points, 0.75 * weights)
    assert error_by_order(first, second) == pytest.approx([0.25, 0, 0, 0, 0], abs=1e-15)
    assert relative_error_by_order(first, second, frame) == pytest.approx([0.0] * 5, abs=1e-15)


def test_a_set_does_not_differ_from_itself() -> None:
    points = np.random.default_rng(10).normal(size=(60, 2))
    weights = np.ones(60)
    first, second, frame = both(points, weights, points, weights)
    assert error_by_order(first, second) == (0.0,) * 5
    assert relative_error_by_order(first, second, frame) == (0.0,) * 5


def test_constant_columns_only() -> None:
    points, weights = np.full((5, 2), 3.0), np.ones(5)
    first, second, frame = both(points, weights, points[:1], np.array([5.0]))
    assert error_by_order(first, second) == (0.0,) * 5
    assert relative_error_by_order(first, second, frame) == (0.0,) * 5


def test_a_tensor_that_vanishes_counts_absolutely() -> None:
    """Points symmetric about 0 have no odd moments to be relative to."""
    points = np.array([[-1.0], [1.0]])
    first, second, frame = both(points, np.ones(2), points, np.array([1.0, 1.5]))
    assert relative_error_by_order(first, second, frame) == pytest.approx([0, 0.2, 0, 0.2, 0])


def moved(frame: Frame, shift: float | Points, factor: float | Points) -> Frame:
    """Return the frame that a sample might have had: elsewhere, and of another size."""
    center = frame.center + shift * frame.scale
    return Frame(center, factor * frame.scale, frame.columns, frame.constant, frame.dependent)


def test_a_case_to_check_by_hand() -> None:
    """Points 0, 1, 3 in eighths: E[y^2] moves from (0 + 1 + 9)/3 to (0 + 1 + 27)/5."""
    points, weights, other = np.array([[0.0], [1.0], [3.0]]), np.ones(3), np.array([1.0, 1.0, 3.0])
    summed = [accumulate_moments(points / 8.0, each, 2, "legendre") for each in (weights, other)]
    expected = [2 / 3, (10 / 5 - 4 / 3) / 8, (28 / 5 - 10 / 3) / 64]
    assert error_by_order(summed[0], summed[1]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_basis_does_not_matter(m: int) -> None:
    rng = np.random.default_rng(m)
    points, weights = rng.normal(size=(70, m)) + 3.0, rng.uniform(0.1, 1.0, 70)
    other = reweighted(weights, 2, 0.1)
    first, second, frame = both(points, weights, points, other)
    summed = [
        accumulate_moments(frame.apply(points), each, ORDER, "legendre")
        for each in (weights, other)
    ]
    expected = error_by_order(first, second)
    assert min(expected[1:]) > 1e-5
    assert error_by_order(summed[0], summed[1]) == pytest.approx(expected, rel=1e-11)
    assert error_by_order(summed[0], summed[1], frame) == pytest.approx(expected, rel=1e-11)
    relative = relative_error_by_order(first, second, frame)
    assert relative_error_by_order(summed[0], summed[1], frame) == pytest.approx(relative, rel=1e-9)


def test_constant_columns_and_another_mass() -> None:
    points, weights = np.full((5, 2), 3.0), np.ones(5)
    frame = fit_frame(points, weights, 5)
    summed = [
        accumulate_moments(frame.apply(points), each, ORDER, "legendre")
        for each in (weights, 2.0 * weights)
    ]
    assert error_by_order(summed[0], summed[1], frame) == (1.0, 0.0, 0.0, 0.0, 0.0)


@given(
    seed=st.integers(0, 10_000),
    small=st.sampled_from([1.0, 0.5, 0.1, 0.01]),
    miss=st.sampled_from([0.0, 1e-3]),
)
def test_what_follows_for_columns_that_depend_on_others(
    seed: int, small: float, miss: float
) -> None:
    """No monomial in all columns is off by more, also where the combination is missed a little."""
    random = np.random.default_rng(seed)
    first, third = random.uniform(-1.0, 1.0, (2, 30))
    points = np.column_stack([first, (1.0 - small) * first + small * third, third])
    points[:, 2] = np.clip(third + random.uniform(-miss, miss, 30), -1.0, 1.0)
    weights, other = np.ones(30), random.uniform(0.9, 1.1, 30)

    def errors(columns: list[int]) -> list[float]:
        frame = oracle.identity(len(columns))  # the box as it is
        return oracle.normalised_error_by_order(
            oracle.moments(points[:, columns], weights, ORDER, frame),
            oracle.moments(points[:, columns], other, ORDER, frame),
            ORDER,
        )

    bound = with_dependent(tuple(errors([0, 1])), (2.0 - small) / small, 2.0 * miss)
    assert all(
        error <= most * (1.0 + 1e-12) + 1e-15
        for error, most in zip(errors([0, 1, 2]), bound, strict=True)
    )


def test_a_number_that_is_none_is_passed_on() -> None:
    found = with_dependent((0.0, 1e-3, math.nan, 1e-3), 1.0, 0.0)
    assert found[:2] == (0.0, 1e-3)
    assert all(math.isnan(value) for value in found[2:])


def test_an_outlier_that_weighs_nothing_is_the_original_s_tensor() -> None:
    """Small beside the box is not small beside itself: what is off by all of it must say so."""
    points = np.abs(np.random.default_rng(2).normal(size=(300, 1))) + 1.0
    points[0] = 1e12
    weights, other = np.ones(300), np.ones(300)
    weights[0] = 1e-30
    other[0] = 2e-30
    first, second, frame = both(points, weights, points, other)
    exact = oracle.tensor_error_by_order(
        oracle.moments(points, weights, ORDER), oracle.moments(points, other, ORDER), ORDER
    )
    assert exact[3] > 0.9
    assert relative_error_by_order(first, second, frame)[3] == pytest.approx(exact[3], rel=1e-3)


def test_what_the_combinations_miss_by_hand() -> None:
    """A product of l factors, each off by d and at most 1 + d, is off by l d (1 + d)^(l - 1)."""
    d = 1e-3
    wanted = [0.0, d, 2 * d * (1 + d), 3 * d * (1 + d) ** 2]
    assert with_dependent((0.0,) * 4, 1.0, d) == pytest.approx(wanted, rel=1e-14, abs=0.0)


def test_both_sets_may_miss_a_combination() -> None:
    """Each by the residual, and to different sides."""
    residual = 1e-3
    points, weights = np.random.default_rng(12).uniform(-1.0, 1.0, (40, 1)), np.ones(40)
    moments = accumulate_moments(points, weights, 3, "monomial")
    dependent = (Dependence(1, residual, 1.0), Dependence(2, 0.1 * residual, 0.5))
    frame = Frame(np.zeros(3), np.ones(3), np.array([0]), (), dependent)
    d = 2.0 * residual
    wanted = [0.0, d, 2 * d * (1 + d), 3 * d * (1 + d) ** 2]
    assert error_by_order(moments, moments, frame) == pytest.approx(wanted, rel=1e-14, abs=0.0)
