"""Moments in another frame, against exact fractions."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.moments.accumulate import Moments, accumulate_moments
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
def cases(draw: st.DrawFn) -> tuple[NDArray[Any], list[int], int, Frame, Frame, int]:
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
    return local, weights, order, old, new, draw(st.integers(-200, 200))


def in_frame(local: NDArray[Any], old: Frame, new: Frame) -> NDArray[Any]:
    """Return the same points in another frame, exactly."""
    columns = []
    for j in range(local.shape[1]):
        center, scale = Fraction(float(old.center[j])), Fraction(float(old.scale[j]))
        shift, unit = Fraction(float(new.center[j])), Fraction(float(new.scale[j]))
        columns.append([(center + scale * y - shift) / unit for y in local[:, j]])
    return np.array(columns, dtype=object).T


@given(case=cases())
def test_exact(case: tuple[NDArray[Any], list[int], int, Frame, Frame, int]) -> None:
    """High and low are the exact value, rounded twice: not a bit is lost."""
    local, weights, order, old, new, exponent = case
    m = local.shape[1]
    moments = as_moments(exact_moments(local, weights, order), m, order)
    unit = Fraction(2) ** exponent
    expected = as_moments(
        [unit * value for value in exact_moments(in_frame(local, old, new), weights, order)],
        m,
        order,
    )
    changed = change_frame(moments, old, new, exponent)
    assert changed.basis == "legendre"
    assert changed.high.tobytes() == (expected.high + 0.0).tobytes()
    assert np.array_equal(changed.low, expected.low)


@given(case=cases())
def test_the_same_frame_changes_nothing(
    case: tuple[NDArray[Any], list[int], int, Frame, Frame, int],
) -> None:
    local, weights, order, old, _, _ = case
    moments = as_moments(exact_moments(local, weights, order), local.shape[1], order)
    changed = change_frame(moments, old, old)
    assert np.array_equal(changed.high, moments.high)
    assert np.array_equal(changed.low, moments.low)


@given(
    seed=st.integers(0, 10**6),
    shift=st.floats(-3.0, 3.0),
    ratio=st.floats(0.25, 4.0),
    exponent=st.integers(-300, 300),
)
def test_there_and_back(seed: int, shift: float, ratio: float, exponent: int) -> None:
    """Two roundings to 106 bits, times what the digits of frames that differ so much can grow."""
    rng = np.random.default_rng(seed)
    points, weights = rng.uniform(-1, 1, (50, 2)), rng.uniform(0.5, 2, 50)
    moments = accumulate_moments(points, weights, 5, "legendre")
    here, there = frame_of([0.5, -2.0], [1.5, 0.7]), frame_of([0.5 + shift, 1.0], [ratio, 2.0])
    back = change_frame(change_frame(moments, here, there, exponent), there, here, -exponent)
    gap = np.abs(back.missing_in(moments))
    assert np.all(gap <= 1e-20 * weights.sum())


def test_frames_that_lie_far_apart_lose_nothing() -> None:
    """Where binomial sums in floating point would have no digit left."""
    local = np.array([[Fraction(1, 2)], [Fraction(-3, 8)], [Fraction(1)]], dtype=object)
    near, far = frame_of([0.0], [1.0]), frame_of([1e8], [1e-3])
    moments = as_moments(exact_moments(local, [1, 2, 3], 6), 1, 6)
    changed = change_frame(moments, near, far)
    expected = exact_moments(in_frame(local, near, far), [1, 2, 3], 6)
    assert changed.high.tolist() == [float(value) for value in expected]


def test_columns_that_do_not_count_are_passed_over() -> None:
    """A frame of three columns, of which the outer two are kept."""
    kept = np.array([0, 2])
    old = Frame(np.array([0.0, 7.0, 1.0]), np.array([1.0, 1.0, 2.0]), kept, (1,))
    new = Frame(np.array([1.0, 8.0, 0.0]), np.array([4.0, 3.0, 1.0]), kept, (1,))
    local = np.array([[Fraction(1, 4), Fraction(1, 2)]], dtype=object)
    changed = change_frame(as_moments(exact_moments(local, [1], 2), 2, 2), old, new)
    there = np.array([[Fraction(-3, 16), Fraction(2)]], dtype=object)
    assert changed.high.tolist() == [float(value) for value in exact_moments(there, [1], 2)]


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
