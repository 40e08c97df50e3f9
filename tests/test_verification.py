"""The comparison of two sets from their rows alone, block by block."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import momentc
from momentc.errors import RequestError
from momentc.moments.accumulate import accumulate_moments
from momentc.moments.discrepancy import error_by_order
from momentc.moments.frame_fit import fit_frame
from momentc.verification import MomentComparison, compare_moments
from momentc.weighted import WeightedSet
from tests import oracle

Points = NDArray[np.float64]


def blocks_of(
    points: Points, weights: Points, *cuts: int
) -> Callable[[], Iterator[tuple[Points, Points]]]:
    def blocks() -> Iterator[tuple[Points, Points]]:
        for first, last in itertools.pairwise([0, *cuts, len(points)]):
            yield points[first:last], weights[first:last]

    return blocks


@pytest.fixture
def points() -> Points:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(900, 3))
    x[:, 2] = x[:, 0] - x[:, 1]
    return x


@pytest.fixture
def weights() -> Points:
    return np.random.default_rng(12).uniform(0.1, 1.0, 900)


@pytest.mark.parametrize("cuts", [(), (1,), (300, 600), (300, 300, 899)])
def test_blocks_compare_as_the_whole(
    points: Points, weights: Points, cuts: tuple[int, ...]
) -> None:
    other = 2.0 * np.sort(weights)
    found = compare_moments(blocks_of(points, weights, *cuts), points, other, 3, 1e-10)
    frame = fit_frame(points, weights, 5)
    local = frame.apply(points)
    first = accumulate_moments(local, weights, 5, "monomial")
    second = accumulate_moments(local, other, 5, "monomial")
    expected = error_by_order(first, second, frame)
    assert found.error == pytest.approx(expected, rel=1e-9, abs=1e-14)
    assert found.rank == 2
    assert found.n_moments == 10
    assert found.n_points == (900, 900)
    assert found.total_weight == pytest.approx((weights.sum(), 2.0 * weights.sum()))
    assert not found.ok


def test_errors_are_those_of_exact_arithmetic(points: Points, weights: Points) -> None:
    points = points[:, :2].copy()
    found = compare_moments(blocks_of(points, weights, 400), points[:50], weights[:50], 2, 1e-10)
    frame = oracle.exact_frame(points, weights)
    exact = oracle.normalised_error_by_order(
        oracle.moments(points, weights, 4, frame),
        oracle.moments(points[:50], weights[:50], 4, frame),
        4,
    )
    assert found.error == pytest.approx(exact, rel=1e-12, abs=0.0)


def test_the_same_set_is_the_same(points: Points, weights: Points) -> None:
    assert compare_moments(blocks_of(points, weights, 450), points, weights, 5, 1e-10).ok


@pytest.mark.parametrize("change", [1e-9, 1e-3, 0.5])
def test_one_changed_weight_is_seen(points: Points, weights: Points, change: float) -> None:
    other = weights.copy()
    other[17] += change * weights.sum()
    found = compare_moments(blocks_of(points, weights), points, other, 2, 1e-10)
    assert not found.ok
    assert found.error[0] == pytest.approx(change, rel=1e-6, abs=0.0)


def test_one_changed_coordinate_is_seen(points: Points, weights: Points) -> None:
    other = points.copy()
    other[17, 0] += 1e-3
    assert not compare_moments(blocks_of(points, weights), other, weights, 2, 1e-10).ok


@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_a_changed_coordinate_of_a_column_without_moments_of_its_own_is_seen(
    points: Points, weights: Points, column: int
) -> None:
    points = np.column_stack([points, np.full(900, 5.0)])
    assert compare_moments(blocks_of(points, weights), points, weights, 2, 1e-10).ok
    other = points.copy()
    other[17, column] += 1e-3
    found = compare_moments(blocks_of(points, weights), other, weights, 2, 1e-10)
    assert not found.ok
    assert found.rank == 2
    other[:, column] = 99.0
    found = compare_moments(blocks_of(points, weights), other, weights, 2, 1e-10)
    assert found.error[1] > 0.1


def test_a_changed_constant_beside_independent_columns_is_seen(
    points: Points, weights: Points
) -> None:
    """No column depends on others there."""
    points = np.column_stack([points[:, :2], np.full(900, 5.0)])
    assert compare_moments(blocks_of(points, weights), points, weights, 2, 1e-10).ok
    other = points.copy()
    other[17, 2] += 1e-3
    found = compare_moments(blocks_of(points, weights), other, weights, 2, 1e-10)
    assert found.rank == 2
    assert not found.ok
    assert found.error[0] < 1e-14
    assert found.error[1] > 1e-4


def test_progress_names_each_pass_and_reaches_its_end(points: Points, weights: Points) -> None:
    calls: list[tuple[str, int, int]] = []
    compare_moments(
        blocks_of(points, weights, 300, 600), points, weights, 2, 1e-10,
        progress=lambda *call: calls.append(call),
    )  # fmt: skip
    stages = list(dict.fromkeys(stage for stage, _, _ in calls))
    assert stages == ["extent", "affine rank", "moments"]
    for stage in stages:
        last = [(done, total) for name, done, total in calls if name == stage][-1]
        assert last == (900, 0 if stage == "extent" else 900)


def test_too_many_moments_are_refused_before_they_are_counted(weights: Points) -> None:
    points = np.random.default_rng(13).normal(size=(900, 40))
    with pytest.raises(RequestError, match="the largest k is 3"):
        compare_moments(blocks_of(points, weights), points, weights, 5, 1e-10)


def test_an_error_that_is_no_number_is_not_ok() -> None:
    """Whatever order it is at: Python's max would pass over it."""
    errors = (0.0, 1e-17, math.nan, 1e-17)

    def comparison(k: int) -> MomentComparison:
        return MomentComparison(k, 1, 4, errors, errors, (2, 2), (1.0, 1.0), 1e-10)

    assert not comparison(3).ok
    assert not comparison(2).ok
    assert comparison(1).ok


@pytest.mark.parametrize(
    ("wanted", "found", "ok"),
    [
        (1.67e-27, 9.1e-31, False), (1.67e-27, 1.67e-27, True), (0.0, 1e-300, False),
        (1e-300, 0.0, False), (0.0, -0.0, True), (1e8, 1e8 + 1e-3, False), (5e-324, 1e-323, False),
    ],
)  # fmt: skip
def test_constant_columns_of_any_size(wanted: float, found: float, ok: bool) -> None:
    rows = np.random.default_rng(6).normal(size=(400, 2))
    kept = momentc.compress(rows, 2, 20)
    original = np.column_stack([rows, np.full(400, wanted)])
    other = np.column_stack([kept.points, np.full(20, found)])
    compressed = WeightedSet(other, kept.weights, kept.index)
    assert momentc.verify_moments(original, compressed, 2).ok is ok
