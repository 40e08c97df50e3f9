"""Named inputs that break careless arithmetic, each against exact moments."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import momentc
from momentc.compression import Compression
from momentc.errors import InputError, MomentcError, RequestError
from momentc.options import CompressOptions
from momentc.pipeline.points import compress_points
from tests import oracle

Array = NDArray[np.float64]


def compressed(
    points: Array, weights: Array | None, k: int, target: int, bound: float = 1e-12
) -> Compression:
    """Compress, and hold the result to every promise before a test looks at it."""
    weights = np.ones(len(points)) if weights is None else weights
    result = compress_points(points, weights, CompressOptions(k, target, 0, threads=1))
    kept = result.support
    assert result.ok
    assert np.all(kept.weights > 0.0)
    assert np.all(np.diff(kept.index) > 0)
    assert points[kept.index].tobytes() == kept.points.tobytes()
    assert len(kept) <= max(target, 1)
    gap = oracle.frame_gap(points, weights, kept.points, kept.weights, k)
    assert gap <= bound, f"{gap:.1e}"
    return result


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("target", [41, 42, 60, 200])
@pytest.mark.parametrize("spread", ["uniform", "normal", "equidistant"])
def test_order_40_on_a_line(target: int, spread: str) -> None:
    n = 1500
    points = {
        "uniform": rng(1).uniform(-1.0, 1.0, n),
        "normal": rng(1).normal(size=n),
        "equidistant": np.linspace(5.0, 6.0, n),
    }[spread]
    result = compressed(points[:, None], None, 40, target)
    assert len(result.support) == target


def test_order_100_on_a_line() -> None:
    """101! has no place in float64's integers, but nothing of the moments needs it."""
    result = compressed(rng(1).uniform(-1.0, 1.0, (600, 1)), None, 100, 150)
    assert len(result.support) == 150


@pytest.mark.parametrize("target", [136, 137, 300])
def test_order_15_in_the_plane(target: int) -> None:
    result = compressed(rng(2).normal(size=(1500, 2)), None, 15, target)
    assert len(result.support) == target


@pytest.mark.parametrize("target", [286, 400])
def test_order_10_in_space(target: int) -> None:
    result = compressed(rng(3).normal(size=(1200, 3)), None, 10, target, bound=1e-11)
    assert len(result.support) == target


@pytest.mark.parametrize("k", [2, 4])
def test_pixels(k: int) -> None:
    """Colours of a dull picture: bytes, most of them many times."""
    colours = np.clip(rng(4).normal([90, 120, 60], [6, 9, 4], (4000, 3)), 0, 255).astype(np.uint8)
    kept = momentc.compress(colours, k, 100, threads=1)
    assert kept.points.dtype == np.uint8
    assert kept.points.tobytes() == colours[kept.index].tobytes()
    assert len({row.tobytes() for row in kept.points}) == len(kept) == 100
    assert oracle.frame_gap(colours, np.ones(4000), kept.points, kept.weights, k) <= 1e-12


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("factor", [60.0, 1e3, 86_400.0, 1e6])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
def test_a_column_that_is_a_small_difference_of_large_ones(
    k: int, factor: float, order: tuple[int, ...]
) -> None:
    """Days, days in seconds and the seconds beside them: all three have the promised moments."""
    day, second = rng(7).integers(0, 1000, 3000), rng(8).integers(0, int(factor), 3000)
    points = np.column_stack([day, factor * day + second, second]).astype(np.float64)[:, order]
    result = compressed(points, None, k, 60)
    assert result.rank == 2
    kept = result.support
    frame = oracle.exact_frame(points, np.ones(3000))
    exact = oracle.normalised_error_by_order(
        oracle.moments(points, np.ones(3000), k + 1, frame),
        oracle.moments(kept.points, kept.weights, k + 1, frame),
        k + 1,
    )
    # What is reported holds for all columns, the one that dropped out included.
    assert all(error <= told + 1e-15 for error, told in zip(exact, result.error, strict=False))


@pytest.mark.parametrize("levels", [2, 3])
def test_lattices_of_few_levels(levels: int) -> None:
    """x^2 = x on two levels: the features have a lower rank than C(m + k, k)."""
    points = rng(5).integers(0, levels, (3000, 6)).astype(np.float64)
    compressed(points + 1e-3 * (np.arange(3000) % 2)[:, None], None, 2, 30)
    compressed(points, None, 2, 30)


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", [2, 500])
def test_all_rows_equal(n: int, m: int) -> None:
    points, weights = np.full((n, m), 0.1), rng(6).uniform(0.1, 1.0, n)
    result = compressed(points, weights, 5, 1)
    assert result.rank == 0
    assert result.support.index.tolist() == [0]


def test_fewer_distinct_rows_than_the_target() -> None:
    distinct = rng(7).normal(size=(30, 3))
    points = distinct[rng(8).integers(0, 30, 2000)]
    result = compressed(points, None, 3, 50)
    assert result.n_distinct == len(result.support) == 30
    assert any("30 distinct" in note for note in result.notes)


def test_fewer_distinct_rows_than_moments() -> None:
    """A target below C(m + k, k) is no matter where no more rows are distinct."""
    points = rng(9).normal(size=(5, 3))[rng(10).integers(0, 5, 400)]
    assert len(compressed(points, None, 5, 6).support) == 5


@pytest.mark.parametrize("noise", [1e-9, 1e-13])
def test_a_nearly_dependent_column(noise: float) -> None:
    x = rng(11).uniform(-1.0, 1.0, (2000, 2))
    points = np.column_stack([x, x[:, 0] - x[:, 1] + noise * rng(12).normal(size=2000)])
    result = compressed(points, None, 3, 60)
    assert result.rank == 3


@pytest.mark.parametrize("kind", ["copy", "sum", "constant", "shifted"])
def test_columns_that_say_nothing_new_shrink_the_bound(kind: str) -> None:
    x = rng(13).normal(size=(1000, 2))
    column = {
        "copy": x[:, 0], "sum": x[:, 0] + x[:, 1], "constant": np.full(1000, 3.7),
        "shifted": 1.0 - x[:, 1] / 3.0,
    }[kind]  # fmt: skip
    result = compressed(np.column_stack([x, column]), None, 4, math.comb(6, 4))
    assert result.rank == 2
    assert result.n_moments == 15
    assert len(result.notes) == 1


def test_one_point_holds_nearly_all_of_the_mass() -> None:
    points = rng(14).normal(size=(1500, 2))
    weights = np.full(1500, 1e-15 / 1500)
    weights[777] = 1.0
    result = compressed(points, weights, 4, 40)
    assert 777 in result.support.index
    assert result.support.weights.max() == pytest.approx(1.0, rel=1e-14)


def test_an_offset_of_1e8() -> None:
    points = rng(15).normal(size=(2000, 3))
    moved = points + 1e8
    near, far = compressed(points, None, 4, 100), compressed(moved, None, 4, 100)
    assert far.rank == near.rank == 3
    assert max(far.error[:5]) <= 1e-14


def test_columns_of_1e39_and_1e_minus_300() -> None:
    points = rng(16).normal(size=(1500, 3)) * [1e39, 1e-300, 1.0]
    result = compressed(points, None, 4, 80)
    assert result.rank == 3


def test_values_at_the_ends_of_float64() -> None:
    points = rng(17).uniform(0.0, 1.0, (500, 2)) * [1.7e308, 1e-307]
    assert compressed(points, None, 3, 40).rank == 2


def test_a_span_beyond_float64_is_refused() -> None:
    points = rng(18).uniform(-1.0, 1.0, (200, 2))
    points[:, 1] *= 1.7e308
    points[0, 1], points[1:, 1] = -1.7e308, np.abs(points[1:, 1])
    with pytest.raises(InputError, match="column 1 spans"):
        momentc.compress(points, 2, 20, threads=1)


@pytest.mark.parametrize("unit", [1e-300, 1e-8, 1e300])
def test_the_unit_of_the_weights(unit: float) -> None:
    points, weights = rng(19).normal(size=(800, 2)), rng(20).uniform(0.1, 1.0, 800) * unit
    result = compressed(points, weights, 3, 40)
    assert sum(result.support.weights / unit) == pytest.approx(sum(weights / unit), rel=1e-13)


def test_weights_over_fifteen_decades() -> None:
    weights = 10.0 ** rng(21).uniform(-15.0, 0.0, 3000)
    assert len(compressed(rng(22).normal(size=(3000, 3)), weights, 3, 60).support) == 60


def test_weights_over_all_of_float64() -> None:
    """What is not reduced keeps its weight, however small beside the others."""
    weights = np.array([1e-300, 1e300, 1.0])
    result = compressed(rng(30).normal(size=(3, 1)), weights, 2, 3)
    assert result.support.weights.tolist() == weights.tolist()
    assert "all are kept as they are" in result.notes[0]
    assert not any("count for nothing" in note for note in result.notes)


def test_rows_that_count_for_nothing_are_no_duplicates() -> None:
    weights = np.where(np.arange(300) % 6 == 0, 1e-300, 1.0)
    result = compressed(rng(33).normal(size=(300, 2)), weights, 2, 40)
    assert (result.n_points, result.n_distinct) == (300, 300)
    (note,) = result.notes
    assert note.startswith("50 distinct rows weigh less than")


def test_weights_without_digits_are_refused() -> None:
    """Multiples of the smallest float64 cannot be re-weighted; the user must hear why."""
    with pytest.raises(MomentcError):
        momentc.compress(rng(31).normal(size=(50, 1)), 2, 10, np.full(50, 5e-324), threads=1)


@pytest.mark.timeout(60)
def test_few_rows_of_many_columns() -> None:
    """Twenty points span 19 dimensions, whose moments up to order 7 nobody asked for."""
    points = rng(32).normal(size=(20, 30))
    kept = momentc.compress(points, k=5, target=1000, threads=1)
    assert kept.points.tobytes() == points.tobytes()
    assert kept.weights.tolist() == [1.0] * 20


def test_many_columns_are_judged_as_fast_as_they_are_reduced() -> None:
    """There are 59 thousand moments of order 4 in 32 columns, and 561 of order 2 are wanted."""
    compress_points(rng(33).normal(size=(90, 3)), np.ones(90), CompressOptions(2, 30, threads=1))
    points = rng(34).normal(size=(2000, 32))
    result = compress_points(points, np.ones(2000), CompressOptions(2, 700, threads=1))
    seconds = dict(result.stages)
    assert result.ok
    assert seconds["moments"] + seconds["certificate"] < 5.0


@pytest.mark.parametrize(("m", "k"), [(1, 7), (2, 5), (3, 5), (6, 2)])
def test_the_bound_itself_and_one_below(m: int, k: int) -> None:
    least = math.comb(m + k, k)
    points = rng(23).normal(size=(5 * least, m))
    assert len(compressed(points, None, k, least).support) == least
    with pytest.raises(RequestError) as caught:
        momentc.compress(points, k, least - 1, threads=1)
    message = str(caught.value)
    assert f"k = {k} needs a target of at least {least}" in message
    assert f"k = {k - 1} is the largest that {least - 1} points can keep" in message


@pytest.mark.parametrize("shape", [np.cos, lambda t: t**3, np.sign, lambda t: np.exp(4 * t)])
def test_points_on_a_curve(shape: Callable[[Array], Array]) -> None:
    """No column is a combination of the others, yet the features depend on each other."""
    t = rng(24).uniform(-3.0, 3.0, 1200)
    compressed(np.column_stack([t, shape(t)]), None, 4, 30)


def test_far_points() -> None:
    """A Cauchy sample: almost all points in a millionth of the extent."""
    points = rng(25).standard_cauchy((3000, 2))
    assert len(compressed(points, None, 4, 60).support) == 60


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_rows(n: int) -> None:
    points = np.array([[1.0, 2.0], [3.0, 5.0]])[:n]
    result = compressed(points, np.array([0.25, 1e-3])[:n], 3, 10)
    assert result.support.points.tolist() == points.tolist()
    assert result.support.weights.tolist() == [0.25, 1e-3][:n]


@pytest.mark.parametrize(("k", "target"), [(3, 21), (3, 200), (2, 400)])
def test_log_normal_columns(k: int, target: int) -> None:
    """Many decades in one column: k-means finds one large cluster and many of a single point."""
    points = np.exp(8.0 * rng(29).normal(size=(8000, 3)))
    assert len(compressed(points, None, k, target).support) == target


def test_clusters_far_apart() -> None:
    centres = rng(26).uniform(-1e6, 1e6, (10, 3))
    points = centres[rng(27).integers(0, 10, 4000)] + rng(28).normal(size=(4000, 3))
    assert len(compressed(points, None, 3, 100).support) == 100
