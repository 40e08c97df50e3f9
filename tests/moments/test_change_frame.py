"""Moments in another frame, and those of parts put together, against exact fractions."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.moments.accumulate import Moments
from momentc.moments.change_frame import change_frame
from momentc.moments.frame import Extent, Frame, extent_of
from momentc.moments.multi_index import product_plan
from tests import oracle

Array = NDArray[np.float64]


def frame_of(center: list[float], scale: list[float]) -> Frame:
    return Frame(np.array(center), np.array(scale), np.arange(len(center)))


def exact_moments(local: NDArray[Any], weights: list[int], order: int) -> list[Fraction]:
    """Return the Legendre moments in the order of the plan, by the oracle."""
    found = oracle.legendre_moments(local, weights, order)
    plan = product_plan(local.shape[1], order)
    return [Fraction(found[tuple(row)]) for row in plan.exponents.tolist()]


def as_moments(values: list[Fraction], n_variables: int, order: int) -> Moments:
    high = np.array([float(value) for value in values])
    low = np.array([float(v - Fraction(h)) for v, h in zip(values, high.tolist(), strict=True)])
    return Moments("legendre", product_plan(n_variables, order), high, low)


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[Any], list[int], int, Frame, Frame]:
    """A few points whose coordinates in the old frame, and so their moments, have few digits."""
    m = draw(st.integers(1, 3))
    order = draw(st.integers(0, 4 if m < 3 else 3))
    n = draw(st.integers(1, 4))
    numerators = draw(
        st.lists(st.lists(st.integers(-16, 16), min_size=m, max_size=m), min_size=n, max_size=n)
    )
    weights = draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
    centers = st.lists(st.floats(-1e6, 1e6), min_size=m, max_size=m)
    scales = st.lists(st.floats(1e-3, 1e6), min_size=m, max_size=m)
    old = frame_of(draw(centers), draw(scales))
    new = frame_of(draw(centers), draw(scales))
    local = np.array([[Fraction(value, 16) for value in row] for row in numerators], dtype=object)
    return local, weights, order, old, new


def in_frame(local: NDArray[Any], old: Frame, new: Frame) -> NDArray[Any]:
    """Return the same points in another frame, exactly."""
    columns = []
    for j in range(local.shape[1]):
        center, scale = Fraction(float(old.center[j])), Fraction(float(old.scale[j]))
        shift, unit = Fraction(float(new.center[j])), Fraction(float(new.scale[j]))
        columns.append([(center + scale * y - shift) / unit for y in local[:, j]])
    return np.array(columns, dtype=object).T


def gaps(found: Moments, exact: list[Fraction]) -> list[float]:
    """Return by how much each moment is off."""
    sums = zip(found.high.tolist(), found.low.tolist(), exact, strict=True)
    return [abs(float(Fraction(high) + Fraction(low) - value)) for high, low, value in sums]


def growth(old: Frame, new: Frame, order: int) -> float:
    """Return a bound of the sum of the coefficients in ``P_n(shift + ratio y)``, n <= order."""
    reach = (np.abs(old.center - new.center) + old.scale) / new.scale
    return float((1.0 + 2.0 * reach.max()) ** order)


@given(case=cases())
def test_two_times_the_digits(case: tuple[NDArray[Any], list[int], int, Frame, Frame]) -> None:
    local, weights, order, old, new = case
    m = local.shape[1]
    moments = as_moments(exact_moments(local, weights, order), m, order)
    changed = change_frame(moments, old, new)
    assert changed.basis == "legendre"
    exact = exact_moments(in_frame(local, old, new), weights, order)
    assert max(gaps(changed, exact)) <= 1e-29 * growth(old, new, order) * sum(weights)
    assert np.all(np.abs(changed.low) <= np.spacing(np.abs(changed.high)))


@given(case=cases())
def test_the_same_frame_changes_nothing(
    case: tuple[NDArray[Any], list[int], int, Frame, Frame],
) -> None:
    local, weights, order, old, _ = case
    moments = as_moments(exact_moments(local, weights, order), local.shape[1], order)
    changed = change_frame(moments, old, old)
    assert np.array_equal(changed.high, moments.high)
    assert np.array_equal(changed.low, moments.low)


@pytest.mark.parametrize("order", [5, 20, 40])
@pytest.mark.parametrize(
    ("center", "scale"), [(0.0, 1.0), (30.0, 31.0), (-1e8, 1.1e8), (0.0, 1e200)]
)
def test_in_a_frame_that_holds_the_box_nothing_grows(
    order: int, center: float, scale: float
) -> None:
    """What the sums are off by stays so small a part of the mass, at any order and distance."""
    numerators = np.random.default_rng(order).integers(-256, 257, 9)
    local = np.array([[Fraction(int(value), 256)] for value in numerators], dtype=object)
    old, new = frame_of([0.1], [0.9]), frame_of([center], [scale])
    moments = as_moments(exact_moments(local, [1] * 9, order), 1, order)
    exact = exact_moments(in_frame(local, old, new), [1] * 9, order)
    assert max(gaps(change_frame(moments, old, new), exact)) < 1e-29
    rough = Moments("legendre", moments.plan, moments.high, np.zeros_like(moments.low))
    assert max(gaps(change_frame(rough, old, new), exact)) < 1e-14


@pytest.mark.parametrize("place", [0, 1, -1])
def test_sums_that_are_no_numbers_are_an_error(place: int) -> None:
    local = np.array([[Fraction(1, 2)]], dtype=object)
    moments = as_moments(exact_moments(local, [1], 3), 1, 3)
    moments.high[place] = np.inf
    with pytest.raises(InputError, match="more than float64 can hold"):
        change_frame(moments, frame_of([0.0], [1.0]), frame_of([0.5], [2.0]))


def test_columns_that_do_not_count_are_passed_over() -> None:
    """A frame of three columns, of which the outer two are kept."""
    kept = np.array([0, 2])
    old = Frame(np.array([0.0, 7.0, 1.0]), np.array([1.0, 1.0, 2.0]), kept, (1,))
    new = Frame(np.array([1.0, 8.0, 0.0]), np.array([4.0, 3.0, 1.0]), kept, (1,))
    local = np.array([[Fraction(1, 4), Fraction(1, 2)]], dtype=object)
    changed = change_frame(as_moments(exact_moments(local, [1], 2), 2, 2), old, new)
    there = np.array([[Fraction(-3, 16), Fraction(2)]], dtype=object)
    assert max(gaps(changed, exact_moments(there, [1], 2))) < 1e-29


@given(
    seed=st.integers(0, 10**6),
    exponent=st.integers(-900, 900),
)
def test_extents_in_other_units(seed: int, exponent: int) -> None:
    """The mass is multiplied, exactly; where the rows lie does not depend on the unit."""
    rng = np.random.default_rng(seed)
    points, weights = rng.normal(size=(20, 3)), rng.uniform(0.5, 2.0, 20)
    extent = extent_of(points, weights)
    other = extent.in_units(exponent)
    assert other.mass == np.ldexp(extent.mass, exponent)
    assert other.n_rows == 20
    for name in ("low", "high", "mean"):
        assert getattr(other, name).tobytes() == getattr(extent, name).tobytes()
    scaled = extent_of(points, np.ldexp(weights, exponent))
    assert scaled.mass == other.mass
    assert scaled.mean.tobytes() == other.mean.tobytes()
    back = other.in_units(-exponent)
    assert back.mass == extent.mass


def test_extents_of_two_units_add_up() -> None:
    first = Extent(np.zeros(1), np.ones(1), np.array([0.25]), 3.0, 4)
    second = Extent(np.array([-1.0]), np.zeros(1), np.array([-0.5]), 16.0, 5)
    both = first.with_part(second.in_units(-4))
    assert (both.mass, both.n_rows) == (4.0, 9)
    assert both.mean[0] == pytest.approx((3 * 0.25 - 0.5) / 4)
    assert (both.low[0], both.high[0]) == (-1.0, 1.0)
