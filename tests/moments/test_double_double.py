"""Pairs of float64 against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from momentc.moments import double_double

# Far from both ends of the range, so that no error term is lost.
NUMBERS = st.floats(-1e60, 1e60).filter(lambda value: value == 0.0 or abs(value) > 1e-60)
PAIRS = st.tuples(NUMBERS, st.floats(-0.5, 0.5)).map(
    lambda drawn: (drawn[0], float(drawn[1] * np.spacing(abs(drawn[0]))))
)
UNIT = 2.0**-100


def exact(pair: tuple[float, float]) -> Fraction:
    return Fraction(pair[0]) + Fraction(pair[1])


@given(a=NUMBERS, b=NUMBERS)
def test_sum_and_product_of_two_are_exact(a: float, b: float) -> None:
    assert exact(double_double.two_sum(a, b)) == Fraction(a) + Fraction(b)
    assert exact(double_double.two_product(a, b)) == Fraction(a) * Fraction(b)


@given(a=PAIRS, b=PAIRS)
def test_pairs(a: tuple[float, float], b: tuple[float, float]) -> None:
    total = double_double.add(*a, *b)
    size = abs(exact(a)) + abs(exact(b))
    assert abs(exact(total) - (exact(a) + exact(b))) <= UNIT * size
    product = double_double.multiply(*a, *b)
    assert abs(exact(product) - exact(a) * exact(b)) <= UNIT * abs(exact(a) * exact(b))
    for high, low in (total, product):
        assert high + low == high, "the high part is the nearest float64"


@given(a=PAIRS, b=NUMBERS.filter(bool))
def test_quotients(a: tuple[float, float], b: float) -> None:
    quotient = double_double.divide(*a, b)
    expected = exact(a) / Fraction(b)
    assert abs(exact(quotient) - expected) <= UNIT * abs(expected)


@pytest.mark.parametrize("n", [10, 1000])
def test_many_terms_that_cancel(n: int) -> None:
    terms = np.random.default_rng(n).normal(size=n) * 10.0 ** np.arange(n).clip(0, 16)
    high = low = 0.0
    for term in (*terms.tolist(), *(-terms[::-1]).tolist(), 1e-9):
        high, low = double_double.add(high, low, term, 0.0)
    assert high + low == pytest.approx(1e-9, rel=1e-3, abs=0.0)
