"""The frame: centre, scale and affine rank, however the rows come."""

import functools
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.moments.frame import Extent, Frame, extent_of
from momentc.moments.frame_fit import GRAM_ROWS, FrameFit, _CentredGram, fit_frame
from tests import oracle
from tests.strategies import divisions, weighted_sets

Points = NDArray[np.float64]


def fit_in_blocks(points: Points, weights: Points, cuts: list[int]) -> Frame:
    edges = [0, *cuts, len(points)]
    blocks = [(points[a:b], weights[a:b]) for a, b in itertools.pairwise(edges)]
    fit = FrameFit(5)
    for block, block_weights in blocks:
        fit.add_extent(block, block_weights)
    fit.close_extent()
    for stage in fit.passes():
        for block, _ in blocks:
            stage(block)
    assert fit.n_rows == len(points)
    return fit.frame()


@given(data=weighted_sets())
def test_every_coordinate_is_bounded_by_one(data: tuple[Points, Points]) -> None:
    points, weights = data
    frame = fit_frame(points, weights, 5)
    local = frame.apply(points)
    assert local.shape == (len(points), frame.rank)
    assert local.flags.c_contiguous
    if frame.rank:
        assert np.abs(local).max(axis=0) == pytest.approx(np.ones(frame.rank), abs=1e-15)


@given(data=weighted_sets())
def test_centre_and_scale_are_those_of_the_definition(data: tuple[Points, Points]) -> None:
    """Up to rounding in units of the column's largest value, and a few units of its spread."""
    points, weights = data
    frame = fit_frame(points, weights, 5)
    exact = oracle.exact_frame(points, weights)
    for j in range(points.shape[1]):
        rounding = Fraction(1, 2**44) * Fraction(float(np.abs(points[:, j]).max()))
        assert abs(Fraction(float(frame.center[j])) - exact.center[j]) <= rounding
        assert abs(Fraction(float(frame.scale[j])) - exact.scale[j]) <= rounding


@given(data=weighted_sets())
def test_every_column_is_kept_or_accounted_for(data: tuple[Points, Points]) -> None:
    points, weights = data
    frame = fit_frame(points, weights, 5)
    dependent = [each.column for each in frame.dependent]
    named = sorted([*frame.columns.tolist(), *frame.constant, *dependent])
    assert named == list(range(points.shape[1]))
    assert frame.columns.tolist() == sorted(frame.columns.tolist())
    for column in range(points.shape[1]):
        assert (column in frame.constant) == bool(np.all(points[:, column] == points[0, column]))


@given(data=weighted_sets())
def test_blocks_give_the_frame_of_the_whole(data: tuple[Points, Points]) -> None:
    points, weights = data
    n = len(points)
    whole = fit_frame(points, weights, 5)
    parts = fit_in_blocks(points, weights, sorted({n // 7, n // 3, n // 2, (3 * n) // 4}))
    assert parts.columns.tolist() == whole.columns.tolist()
    assert parts.constant == whole.constant
    assert [each.column for each in parts.dependent] == [each.column for each in whole.dependent]
    for j in range(points.shape[1]):
        size = np.abs(points[:, j]).max()
        assert parts.center[j] == pytest.approx(whole.center[j], rel=0, abs=1e-13 * size)
        assert parts.scale[j] == pytest.approx(whole.scale[j], rel=0, abs=1e-13 * size)


def test_blocks_without_rows_change_nothing() -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    weights = np.ones(50)
    plain = fit_frame(points, weights, 5)
    padded = fit_in_blocks(points, weights, [0, 0, 50, 50])
    assert padded.center.tobytes() == plain.center.tobytes()
    assert padded.scale.tobytes() == plain.scale.tobytes()


def test_points_are_mapped_by_centre_and_scale_of_the_kept_columns() -> None:
    frame = Frame(np.array([1.0, 9.0, -1.0]), np.array([2.0, 1.0, 4.0]), np.array([0, 2]), (1,))
    assert frame.rank == 2
    assert frame.apply(np.array([[3.0, 9.0, 1.0]])).tolist() == [[1.0, 0.5]]


def test_dependent_columns_are_found() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 3))
    points = np.column_stack(
        [x[:, 0], x[:, 1], x[:, 0] - 3.0 * x[:, 1] + 2.0, x[:, 2], 5.0 * x[:, 2]]
    )
    frame = fit_frame(points, np.ones(500), 5)
    assert frame.rank == 3
    # One of each set drops out; of two that are alike in the frame, the one on the right.
    (first, second) = frame.dependent
    assert first.column in {0, 1, 2}
    assert second.column == 4
    assert max(first.residual, second.residual) <= 1e-14
    assert second.growth == pytest.approx(1.0)


@pytest.mark.parametrize("small", [1e-3, 1e-6])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_columns_drop_out_with_small_coefficients(small: float, order: tuple[int, ...]) -> None:
    """Not the small difference of two that are nearly the same."""
    x = np.random.default_rng(2).uniform(-1.0, 1.0, (2000, 2))
    points = np.column_stack([x[:, 0], x[:, 0] + small * x[:, 1], x[:, 1]])[:, order]
    (dropped,) = fit_frame(points, np.ones(2000), 5).dependent
    assert order[dropped.column] != 2
    assert dropped.growth <= 1.0 + 2.0 * small


def test_a_column_that_needs_large_coefficients_stays_for_high_orders() -> None:
    """Of a sum of many independent columns, each is a combination with as many coefficients."""
    x = np.random.default_rng(3).normal(size=(5000, 30))
    points = np.column_stack([x, x.sum(axis=1)])
    (dropped,) = fit_frame(points, np.ones(5000), 2).dependent
    assert 3.0 < dropped.growth < 30.0
    assert fit_frame(points, np.ones(5000), 12).dependent == ()


@pytest.mark.parametrize("integers", [False, True])
def test_dependent_columns_are_found_in_many_blocks(integers: bool) -> None:
    """Every block of the factorisation rounds, however many there are."""
    x = np.random.default_rng(4).normal(size=(60_000, 2)) * 100.0
    x = np.floor(x) if integers else x
    points = np.column_stack([x, 2.0 * x[:, 0] - 1.0, x[:, 0] + x[:, 1]])
    fit = FrameFit(5)
    blocks = np.array_split(points, 300)
    for block in blocks:
        fit.add_extent(block, np.ones(len(block)))
    fit.close_extent()
    for stage in fit.passes():
        for block in blocks:
            stage(block)
    assert fit.frame().columns.tolist() == [0, 1]
    assert [each.column for each in fit.frame().dependent] == [2, 3]


@pytest.mark.parametrize("noise", [1e-9, 1e-13])
def test_a_column_that_is_nearly_dependent_stays(noise: float) -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-1.0, 1.0, (2000, 2))
    points = np.column_stack([x, x[:, 0] + x[:, 1] + noise * rng.normal(size=2000)])
    assert fit_frame(points, np.ones(2000), 5).rank == 3


@pytest.mark.parametrize(("miss", "rank"), [(1e-13, 3), (1e-16, 2)])
@pytest.mark.parametrize("k", [1, 2])
def test_a_column_drops_out_only_where_it_is_missed_by_rounding(
    miss: float, rank: int, k: int
) -> None:
    """Not where its moments would merely be good enough."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-1.0, 1.0, (2000, 2))
    points = np.column_stack([x, x[:, 0] + x[:, 1] + miss * rng.choice([-1.0, 1.0], 2000)])
    assert fit_frame(points, np.ones(2000), k).rank == rank


def test_one_row_that_breaks_a_dependence_is_enough() -> None:
    x = np.random.default_rng(3).uniform(-1.0, 1.0, 10_000)
    points = np.column_stack([x, x])
    assert fit_frame(points, np.ones(10_000), 5).rank == 1
    points[7_654, 1] += 1e-9
    assert fit_frame(points, np.ones(10_000), 5).rank == 2


def test_some_rows_settle_that_columns_are_independent() -> None:
    """Not where the others are so many that their own dependence could hide it."""
    points = np.random.default_rng(9).uniform(-1.0, 1.0, (3 * GRAM_ROWS, 3))
    frame = fit_frame(points, np.ones(len(points)), 5)
    local = frame.apply(points)
    for n_rows, settled in ((len(points), True), (10**9, False)):
        gram = _CentredGram(frame, n_rows)
        gram(points)
        used = local[:GRAM_ROWS] if settled else local
        scatter = np.cov(used, rowvar=False, bias=True) * len(used)
        assert gram._gram() == pytest.approx(scatter, rel=1e-9, abs=1e-9 * len(used))
        assert gram.clearly_independent()


@pytest.mark.parametrize("n_independent", [0, 1, GRAM_ROWS])
def test_rows_that_hide_a_dependence_or_break_it(n_independent: int) -> None:
    """Whoever comes first, and however large the rest."""
    rng = np.random.default_rng(10)
    x = 1e6 * rng.uniform(-1.0, 1.0, 4 * GRAM_ROWS)
    points = np.column_stack([x, x])
    points[:n_independent] = rng.uniform(-1.0, 1.0, (n_independent, 2))
    for order in (points, points[::-1]):
        assert fit_frame(order, np.ones(len(points)), 5).rank == (2 if n_independent else 1)


def test_the_weights_do_not_decide_the_rank() -> None:
    """A point of weight 1e-15 still has moments of its own."""
    points = np.random.default_rng(4).normal(size=(100, 3))
    weights = np.full(100, 1e-15)
    weights[0] = 1.0
    assert fit_frame(points, weights, 5).rank == 3


@pytest.mark.parametrize("offset", [1e8, -1e15])
def test_an_offset_costs_no_rank(offset: float) -> None:
    points = offset + np.random.default_rng(5).normal(size=(300, 2)) * 100.0
    assert fit_frame(points, np.ones(300), 5).rank == 2


def test_extreme_units_side_by_side() -> None:
    points = np.random.default_rng(6).normal(size=(300, 3)) * [1e39, 1e-300, 1e300]
    frame = fit_frame(points, np.ones(300), 5)
    assert frame.rank == 3
    assert np.abs(frame.apply(points)).max(axis=0).tolist() == [1.0, 1.0, 1.0]


def test_a_single_row_has_rank_0() -> None:
    frame = fit_frame(np.array([[3.0, -1.0]]), np.array([2.0]), 5)
    assert frame.rank == 0
    assert frame.center.tolist() == [3.0, -1.0]
    assert frame.scale.tolist() == [1.0, 1.0]
    assert frame.apply(np.array([[3.0, -1.0]])).shape == (1, 0)


def test_a_span_beyond_float64_is_refused_with_its_column() -> None:
    points = np.array([[0.0, -1.7e308], [1.0, 1.7e308]])
    with pytest.raises(InputError, match=r"column 1 spans -1\.7e\+308 \.\. 1\.7e\+308"):
        fit_frame(points, np.array([1.0, 9.0]), 5)


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="no rows"):
        FrameFit(5).close_extent()


def test_the_frame_is_not_there_before_the_extent_is_closed() -> None:
    with pytest.raises(RuntimeError, match="close_extent"):
        FrameFit(5).frame()


def assert_same_extent(found: Extent, whole: Extent, points: Points) -> None:
    assert np.array_equal(found.low, whole.low)
    assert np.array_equal(found.high, whole.high)
    assert found.n_rows == whole.n_rows
    assert found.mass == pytest.approx(whole.mass, rel=1e-14)
    size = np.abs(points).max(axis=0)
    assert np.all(np.abs(found.mean - whole.mean) <= 1e-13 * size)


@given(data=weighted_sets(), cuts=st.data())
def test_extents_of_parts_are_that_of_the_whole(
    data: tuple[Points, Points], cuts: st.DataObject
) -> None:
    """Whichever is added to which: from the front, from the back, or in pairs."""
    points, weights = data
    edges = sorted({0, *cuts.draw(divisions(len(points))), len(points)})
    parts = [extent_of(points[a:b], weights[a:b]) for a, b in itertools.pairwise(edges)]
    whole = extent_of(points, weights)
    forwards = functools.reduce(Extent.with_part, parts)
    back = functools.reduce(Extent.with_part, reversed(parts))
    while len(parts) > 1:
        pairs = [a.with_part(b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[2 * len(pairs) :]
    for found in (forwards, back, *parts):
        assert_same_extent(found, whole, points)


@given(data=weighted_sets())
def test_the_extent_is_what_it_says(data: tuple[Points, Points]) -> None:
    points, weights = data
    extent = extent_of(points, weights)
    assert extent.n_rows == len(points)
    assert np.array_equal(extent.low, points.min(axis=0))
    assert np.array_equal(extent.high, points.max(axis=0))
    assert extent.mass == pytest.approx(math.fsum(weights), rel=1e-14)
    # Shares, because the weights may be 1e280 and the points 1e150.
    mean = (weights / weights.max()) @ points / (weights / weights.max()).sum()
    assert np.all(np.abs(extent.mean - mean) <= 1e-13 * np.abs(points).max(axis=0))


@given(data=weighted_sets())
def test_the_frame_of_an_extent_keeps_every_column_that_varies(
    data: tuple[Points, Points],
) -> None:
    points, weights = data
    frame = extent_of(points, weights).frame()
    varies = np.ptp(points, axis=0) > 0.0
    assert frame.columns.tolist() == np.flatnonzero(varies).tolist()
    assert frame.constant == tuple(np.flatnonzero(~varies).tolist())
    assert frame.dependent == ()
    assert np.all(frame.scale > 0.0)
    assert np.abs(frame.apply(points)).max(initial=0.0) <= 1.0 + 1e-15


def test_a_part_far_away_moves_the_mean_by_its_mass() -> None:
    near = extent_of(np.zeros((10, 1)), np.full(10, 0.3))
    far = extent_of(np.full((1, 1), 1e8), np.array([1.0]))
    both = near.with_part(far)
    assert both.mean == pytest.approx([1e8 / 4.0], rel=1e-15)
    assert (both.low[0], both.high[0], both.n_rows) == (0.0, 1e8, 11)
    assert both.mass == pytest.approx(4.0, rel=1e-15)


@pytest.mark.parametrize(
    ("offset", "size"),
    [(1.7e9, 1e-2), (1e12, 1.0), (2.45e6, 1e-6), (1.7e15, 10.0), (-1e300, 1e290)],
)
@pytest.mark.parametrize("n_parts", [1, 7])
def test_the_centre_of_narrow_columns_far_from_zero(
    offset: float, size: float, n_parts: int
) -> None:
    """Timestamps, coordinates of a map: a sum of the values would not know where they are."""
    points = offset + size * np.random.default_rng(0).uniform(size=(50_000, 1))
    parts = [extent_of(part, np.ones(len(part))) for part in np.array_split(points, n_parts)]
    extent = functools.reduce(Extent.with_part, parts)
    frame = extent.frame()
    exact = sum(map(Fraction, points[:, 0].tolist())) / len(points)
    off = abs(float(Fraction(float(frame.center[0])) - exact))
    assert off <= 1e-9 * float(np.ptp(points)) + 2.0 * np.spacing(abs(offset))
    assert frame.scale[0] == pytest.approx(0.5 * float(np.ptp(points)), rel=0.05)


@pytest.mark.parametrize("far", [1e308, 1.7e308])
def test_the_mean_of_values_at_both_ends_of_float64(far: float) -> None:
    points = np.array([[-far], [far], [far], [-far], [0.0]])
    first = extent_of(points, np.ones(5))
    both = extent_of(points[:2], np.ones(2)).with_part(extent_of(points[2:], np.ones(3)))
    for extent in (first, both):
        assert abs(extent.mean[0]) <= 1e-15 * far
        assert extent.frame().scale[0] == pytest.approx(far)
