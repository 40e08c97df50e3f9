"""Extent and moments of rows that come in parts, wherever these lie, against exact fractions."""

from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.moments.accumulate import accumulate_moments
from momentc.moments.frame import extent_of
from momentc.moments.totals import Totals
from tests import oracle

Array = NDArray[np.float64]


def totals_of(points: Array, weights: Array, order: int) -> Totals:
    columns = np.arange(points.shape[1])
    extent = extent_of(points, weights)
    local = extent.box(columns).apply(points)
    return Totals.of_parts(extent, [accumulate_moments(local, weights, order, "legendre")], columns)


def gap(totals: Totals, points: Array, weights: Array) -> float:
    """Return the largest miss of a moment, for each unit of mass."""
    box, plan = totals.box, totals.moments.plan
    local = np.array(
        [
            [
                (Fraction(value) - Fraction(center)) / Fraction(scale)
                for value, center, scale in zip(
                    row, box.center.tolist(), box.scale.tolist(), strict=True
                )
            ]
            for row in points.tolist()
        ],
        dtype=object,
    )
    exact = oracle.legendre_moments(local, weights.tolist(), plan.order)
    found = (totals.moments.high + totals.moments.low).tolist()
    rows = map(tuple, plan.exponents.tolist())
    worst = max(abs(value - float(exact[row])) for value, row in zip(found, rows, strict=True))
    return float(worst / weights.sum())


PLACES = st.tuples(
    st.sampled_from([0.0, 1.0, -3.0, 1e3, -1e9, 1e40]),
    # Also parts in which a column has one value, and no extent.
    st.sampled_from([0.0, 1.0, 1e-6, 1e5, 1e60]),
)


@settings(max_examples=60)
@given(
    places=st.lists(st.lists(PLACES, min_size=2, max_size=2), min_size=1, max_size=5),
    n_columns=st.sampled_from([1, 2]),
    seed=st.integers(0, 1000),
    heaviest=st.sampled_from([0, 12]),
)
def test_parts_add_up_wherever_they_lie(
    places: list[list[tuple[float, float]]], n_columns: int, seed: int, heaviest: int
) -> None:
    """In turn, backwards, and in pairs: the moments are right to a part of the mass."""
    random = np.random.default_rng(seed)
    order = 14 if n_columns == 1 else 6
    parts = []
    for place in places:
        columns = [
            center + size * random.uniform(-1.0, 1.0, 3) for center, size in place[:n_columns]
        ]
        weights = random.uniform(0.1, 1.0, 3) * 10.0 ** random.uniform(-heaviest, heaviest)
        parts.append((np.column_stack(columns), weights))
    points = np.concatenate([part for part, _ in parts])
    mass = np.concatenate([weights for _, weights in parts])
    totals = [totals_of(*part, order) for part in parts]
    forwards = reduce(Totals.with_part, totals)
    backwards = reduce(Totals.with_part, totals[::-1])
    while len(totals) > 1:
        pairs = [a.with_part(b) for a, b in zip(totals[::2], totals[1::2], strict=False)]
        totals = pairs + totals[2 * len(pairs) :]
    for found in (forwards, backwards, totals[0]):
        assert gap(found, points, mass) < 1e-14
        assert found.extent.n_rows == len(points)
        assert np.array_equal(found.extent.low, points.min(axis=0))
        assert np.array_equal(found.extent.high, points.max(axis=0))


@pytest.mark.parametrize("size", [1e-300, 1e-20, 1e20, 1e300])
def test_a_column_that_begins_to_vary_later(size: float) -> None:
    """As long as it has one value it has no scale, and none that it could have may do harm."""
    first, later = np.zeros((3, 1)), size * np.array([[0.3], [-1.0], [0.7]])
    points, weights = np.concatenate([first, later]), np.ones(6)
    together = totals_of(first, np.ones(3), 20).with_part(totals_of(later, np.ones(3), 20))
    assert gap(together, points, weights) < 1e-14


def test_units_are_powers_of_two_and_exact() -> None:
    totals = totals_of(np.random.default_rng(0).normal(size=(9, 2)), np.ones(9), 4)
    other = totals.in_units(-70)
    assert other.extent.mass == np.ldexp(totals.extent.mass, -70)
    back = other.in_units(70)
    assert back.moments.high.tobytes() == totals.moments.high.tobytes()
    assert back.moments.low.tobytes() == totals.moments.low.tobytes()


def test_sums_that_overflow_are_an_error() -> None:
    totals = totals_of(np.random.default_rng(0).normal(size=(9, 2)), np.ones(9), 4)
    with np.errstate(over="ignore"), pytest.raises(InputError, match="more than float64 can hold"):
        totals.with_part(totals.in_units(1024))
