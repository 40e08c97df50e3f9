"""Accumulated moments against exact sums: the sum itself must add no error."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.moments.accumulate import (
    BLOCK_ROWS,
    Moments,
    accumulate_moments,
    combine_moments,
    require_finite,
)
from momentc.moments.features import TILE
from tests import oracle

EPS = float(np.finfo(np.float64).eps)


def exactly(moments: Moments) -> dict[tuple[int, ...], Fraction]:
    """Return high + low without rounding, by multi-index."""
    values = zip(moments.high.tolist(), moments.low.tolist(), strict=True)
    return {
        tuple(exponents): Fraction(high) + Fraction(low)
        for exponents, (high, low) in zip(moments.plan.exponents.tolist(), values, strict=True)
    }


def points_and_weights(
    n: int, m: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (n, m)), 10.0 ** rng.uniform(-15.0, 0.0, n)


@given(n=st.integers(1, 600), m=st.integers(1, 4), seed=st.integers(0, 1000))
def test_monomial_moments_are_exact_to_the_last_digits(n: int, m: int, seed: int) -> None:
    points, weights = points_and_weights(n, m, seed)
    found = exactly(accumulate_moments(points, weights, 4, "monomial"))
    exact = oracle.moments(points, weights, 4)
    assert max(oracle.gap_by_order(exact, found, 4)) <= 16 * EPS


@given(n=st.integers(1, 40), m=st.integers(1, 3), seed=st.integers(0, 1000))
def test_legendre_moments(n: int, m: int, seed: int) -> None:
    points, weights = points_and_weights(n, m, seed)
    found = exactly(accumulate_moments(points, weights, 5, "legendre"))
    exact = oracle.legendre_moments(points, weights, 5)
    assert max(oracle.gap_by_order(exact, found, 5)) <= 32 * EPS


def test_nothing_is_lost_below_the_last_digit_of_the_sum() -> None:
    """A tile of these weights is less than half a unit of the first one's last digit."""
    n = BLOCK_ROWS
    weights = np.full(n, 2.0**-62)
    weights[0] = 1.0
    found = exactly(accumulate_moments(np.ones((n, 1)), weights, 2, "monomial"))
    # The tile that holds the 1 is summed plainly, all others in full.
    assert abs(found[(2,)] - (1 + Fraction(n - 1, 2**62))) <= Fraction(1, 2**53)


@pytest.mark.parametrize("sums", [(1.0, 1e16, -1e16), (1e16, 1.0, -1e16)])
def test_a_small_tile_survives_large_ones(sums: tuple[float, ...]) -> None:
    """Before it or after it: what the sum loses is in the low part, whichever term it is of."""
    points, weights = np.zeros((3 * TILE, 1)), np.zeros(3 * TILE)
    points[::TILE, 0], weights[::TILE] = np.sign(sums), np.abs(sums)
    assert exactly(accumulate_moments(points, weights, 1, "monomial"))[(1,)] == 1


def test_the_error_does_not_grow_with_the_number_of_rows() -> None:
    """Plain summation of these 200,000 equal terms is wrong by 1e-12."""
    points = np.full((200_000, 1), 0.1)
    moments = accumulate_moments(points, np.full(200_000, 0.1), 3, "monomial")
    for power in range(4):
        exact = 200_000 * Fraction(0.1) ** (power + 1)
        assert abs(exactly(moments)[(power,)] / exact - 1) <= 16 * EPS


@pytest.mark.parametrize("basis", ["monomial", "legendre"])
@pytest.mark.parametrize("cuts", [[1], [256], [100, 101, 900], [500, 500]])
def test_parts_combine_to_the_whole(
    basis: Literal["monomial", "legendre"], cuts: list[int]
) -> None:
    points, weights = points_and_weights(1000, 2, 3)
    whole = accumulate_moments(points, weights, 4, basis)
    total = accumulate_moments(points[: cuts[0]], weights[: cuts[0]], 4, basis)
    for first, last in zip(cuts, [*cuts[1:], 1000], strict=True):
        part = (
            accumulate_moments(points[first:last], weights[first:last], 4, basis)
            if first < last
            else None
        )
        total = total if part is None else combine_moments(total, part)
    assert max(oracle.gap_by_order(exactly(whole), exactly(total), 4)) <= 4 * EPS


def test_combining_loses_nothing() -> None:
    """The sum of two moments is kept in full: high + low hold what one float64 cannot."""
    points = np.ones((1, 1))
    large = accumulate_moments(points, np.array([1.0]), 1, "monomial")
    small = accumulate_moments(points, np.array([2.0**-70]), 1, "monomial")
    for total in (combine_moments(large, small), combine_moments(small, large)):
        assert exactly(total)[(1,)] == 1 + Fraction(1, 2**70)


def test_the_mass_is_the_total_weight() -> None:
    points, weights = points_and_weights(777, 3, 5)
    exact = float(sum(map(Fraction, weights.tolist())))
    assert accumulate_moments(points, weights, 2, "monomial").mass == pytest.approx(
        exact, rel=2 * EPS
    )


def test_blocks_on_threads_give_the_same_bytes() -> None:
    # So many features that each block is a task.
    points, weights = points_and_weights(3 * BLOCK_ROWS + 17, 3, 8)
    alone = accumulate_moments(points, weights, 6, "legendre")
    with ThreadPoolExecutor(4) as pool:
        shared = accumulate_moments(points, weights, 6, "legendre", pool.map)
    assert alone.high.tobytes() == shared.high.tobytes()
    assert alone.low.tobytes() == shared.low.tobytes()


@pytest.mark.parametrize(("m", "order", "n_tasks"), [(3, 6, 3), (2, 6, 2), (1, 1, 0)])
def test_tasks_of_so_many_blocks_that_they_are_worth_it(m: int, order: int, n_tasks: int) -> None:
    calls = []

    def recording(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        calls.extend(items := list(items))
        return map(function, items)

    points, weights = points_and_weights(2 * BLOCK_ROWS + 1, m, 2)
    found = accumulate_moments(points, weights, order, "monomial", recording)
    assert len(calls) == n_tasks
    assert calls == sorted(calls)
    alone = accumulate_moments(points, weights, order, "monomial")
    assert found.high.tobytes() == alone.high.tobytes()


def test_normalised_difference() -> None:
    points, weights = points_and_weights(200, 2, 4)
    other_weights = weights[::-1].copy()
    mine = accumulate_moments(points, weights, 3, "monomial")
    theirs = accumulate_moments(points, other_weights, 3, "monomial")
    first = oracle.moments(points, weights, 3)
    second = oracle.moments(points, other_weights, 3)
    for found, exponents in zip(
        mine.normalised_difference(theirs), mine.plan.exponents.tolist(), strict=True
    ):
        index = tuple(exponents)
        exact = second[index] / second[0, 0] - first[index] / first[0, 0]
        assert found == pytest.approx(float(exact), abs=16 * EPS)


@pytest.mark.parametrize("basis", ["monomial", "legendre"])
@pytest.mark.parametrize("m", [0, 1, 3])
def test_moments_up_to_an_order_come_first(m: int, basis: Literal["monomial", "legendre"]) -> None:
    points, weights = points_and_weights(3000, m, 1)
    moments = accumulate_moments(points, weights, 6, basis)
    for order in range(7):
        lower = moments.up_to(order)
        alone = accumulate_moments(points, weights, order, basis)
        assert lower.basis == basis
        assert lower.plan.order == order
        assert lower.plan.exponents.tolist() == alone.plan.exponents.tolist()
        assert lower.mass == moments.mass
        assert np.abs(lower.missing_in(alone)).max() <= 4 * EPS * moments.mass
    same = moments.up_to(6)
    assert same.high.tobytes() == moments.high.tobytes()
    assert same.low.tobytes() == moments.low.tobytes()


@pytest.mark.parametrize("part", ["high", "low"])
@pytest.mark.parametrize("place", [0, 1, -1])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_any_sum_beyond_float64_is_refused(part: str, place: int, value: float) -> None:
    moments = accumulate_moments(*points_and_weights(10, 2, 0), 3, "monomial")
    require_finite(moments)
    getattr(moments, part)[place] = value
    with pytest.raises(InputError, match="more than float64 can hold"):
        require_finite(moments)
