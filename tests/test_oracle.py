"""The oracle against numbers worked out by hand: what judges must be judged."""

import math
from fractions import Fraction

import numpy as np
import pytest

from tests import oracle

POINTS = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0]])
WEIGHTS = np.array([1.0, 2.0, 1.0])


def test_moments_in_the_users_coordinates() -> None:
    found = oracle.moments(POINTS, WEIGHTS, 2)
    assert found == {(0, 0): 4, (1, 0): 12, (0, 1): 8, (2, 0): 44, (1, 1): 32, (0, 2): 24}


def test_the_frame_is_the_mean_and_the_largest_deviation() -> None:
    frame = oracle.exact_frame(POINTS, np.array([3.0, 0.0, 1.0]))
    assert frame == oracle.ExactFrame((Fraction(2), Fraction(1)), (Fraction(3), Fraction(3)))
    assert set(oracle.exact_frame(POINTS[:1], WEIGHTS[:1]).scale) == {1}
    frame = oracle.exact_frame(POINTS / -8.0, np.array([3.0, 0.0, 1.0]))
    assert frame.center == (Fraction(-1, 4), Fraction(-1, 8))
    assert frame.scale == (Fraction(3, 8), Fraction(3, 8))


def test_moments_in_the_frame() -> None:
    found = oracle.moments(POINTS, WEIGHTS, 2, oracle.exact_frame(POINTS, WEIGHTS))
    assert found == {(0, 0): 4, (1, 0): 0, (0, 1): 0, (2, 0): 2, (1, 1): 2, (0, 2): 2}


def test_no_digit_is_lost_to_offsets_and_units() -> None:
    points = np.array([[1e39 + 0.0], [1e39 * 3.0], [-1e-300]])
    found = oracle.moments(points, np.array([1e-300, 1.0, 1e300]), 1)
    terms = [
        Fraction(1e-300) * Fraction(1e39),
        Fraction(1e39 * 3.0),
        Fraction(1e300 * 1.0) * -Fraction(1e-300),
    ]
    assert found[(1,)] == sum(terms)


def test_gaps_are_by_degree_and_per_mass() -> None:
    first = oracle.moments(POINTS, WEIGHTS, 2)
    second = oracle.moments(POINTS, WEIGHTS * [1.0, 1.0, 1.5], 2)
    assert oracle.gap_by_order(first, second, 2) == [0.125, 0.625, 3.125]
    assert oracle.frame_gap(POINTS, WEIGHTS, POINTS, WEIGHTS * [1.0, 1.0, 1.5], 2) == 0.125


def test_normalised_errors() -> None:
    first = oracle.moments(POINTS, WEIGHTS, 1)
    assert oracle.normalised_error_by_order(first, oracle.moments(POINTS, 3 * WEIGHTS, 1), 1) == [
        2.0,
        0.0,
    ]


def test_tensor_errors() -> None:
    first = oracle.moments(np.array([[1.0, 2.0]]), [1.0], 2)
    second = oracle.moments(np.array([[1.0, 3.0]]), [2.0], 2)
    # [[1, 2], [2, 4]] against [[1, 3], [3, 9]]
    assert oracle.tensor_error_by_order(first, second, 2) == pytest.approx(
        [0.0, 1.0 / math.sqrt(5.0), math.sqrt(27.0) / 5.0]
    )
    zero = oracle.moments(np.zeros((1, 1)), [1.0], 1)
    assert (
        oracle.tensor_error_by_order(zero, oracle.moments(np.full((1, 1), 0.25), [1.0], 1), 1)[1]
        == 0.25
    )


def test_tiny_tensor_errors_do_not_underflow() -> None:
    first = oracle.moments(np.array([[1.0]]), [1.0], 1)
    second = oracle.moments(np.array([[1.0], [2.0]]), [1.0, 1e-200], 1)
    assert oracle.tensor_error_by_order(first, second, 1)[1] == pytest.approx(
        1e-200, rel=1e-12, abs=0.0
    )


def test_legendre_polynomials() -> None:
    half = Fraction(1, 2)
    assert oracle.legendre_values(half, 3) == [1, half, Fraction(-1, 8), Fraction(-7, 16)]
    found = oracle.legendre_moments(np.array([[0.5, -1.0], [0.0, 1.0]]), [2.0, 1.0], 2)
    assert found == {
        (0, 0): 3,
        (1, 0): 1,
        (0, 1): -1,
        (2, 0): Fraction(-3, 4),
        (1, 1): -1,
        (0, 2): 3,
    }
