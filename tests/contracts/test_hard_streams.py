"""Named inputs that break careless arithmetic, as rows that pass by small buffers."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.compression import Compression
from momentc.options import CompressOptions
from momentc.pipeline.stream import compress_stream
from tests import oracle
from tests.streaming.streams import let_pass, new_stream, rows_as_bytes, small_setting

Array = NDArray[np.float64]


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def streamed(
    points: Array,
    weights: Array | None,
    k: int,
    target: int,
    *,
    sample: Any = slice(None, None, 7),
    n_cells: int = 4,
    bound: float = 1e-12,
    **options: Any,
) -> Compression:
    """Compress rows that pass by, and hold the result to every promise."""
    n = len(points)
    weights = np.ones(n) if weights is None else weights
    wanted = CompressOptions(k, target, threads=1, **options)
    setting = small_setting(points[sample], weights[sample], wanted, n_cells)
    stream = new_stream(setting, 8 * points.shape[1])
    let_pass(stream, points, weights, sorted([1, n // 3, n // 2]))
    stream.reduce()
    result = compress_stream(stream, wanted)
    kept = result.support
    assert result.ok, result.error
    assert result.n_points == n
    assert len(kept) <= target
    assert np.all(kept.weights > 0.0)
    assert np.all(np.diff(kept.index) > 0)
    assert kept.points.tobytes() == rows_as_bytes(points[kept.index]).tobytes()
    assert kept.total_weight == pytest.approx(math.fsum(weights), rel=1e-13)
    gap = oracle.frame_gap(points, weights, points[kept.index], kept.weights, k)
    assert gap <= bound, f"{gap:.1e}"
    return result


@pytest.mark.parametrize("effort", ["low", "high"])
@pytest.mark.parametrize("k", [5, 12, 20])
@pytest.mark.parametrize("spread", ["uniform", "normal", "equidistant", "far away"])
def test_high_orders_on_a_line(spread: str, k: int, effort: str) -> None:
    n = 1200
    points = {
        "uniform": rng(1).uniform(-1.0, 1.0, n),
        "normal": rng(1).normal(size=n),
        "equidistant": np.linspace(5.0, 6.0, n),
        "far away": 1e8 + rng(1).normal(size=n),
    }[spread]
    assert len(streamed(points[:, None], None, k, 40, n_cells=8, effort=effort).support) == 40


@pytest.mark.parametrize("effort", ["low", "high"])
@pytest.mark.parametrize(
    ("factor", "m", "k"),
    [(100.0, 1, 5), (100.0, 1, 20), (100.0, 2, 4), (100.0, 3, 3), (1e5, 1, 5), (1e5, 2, 4)],
)
def test_rows_far_outside_of_the_samples_box(factor: float, m: int, k: int, effort: str) -> None:
    points = rng(2).normal(size=(1500, m))
    points[::50] *= factor
    inside = np.flatnonzero(np.arange(1500) % 50)[::7]
    result = streamed(points, None, k, 60, sample=inside, effort=effort)
    assert np.all(result.frame.scale > 0.3 * factor), "the rows do lie outside"


def test_rows_all_outside_of_the_samples_box() -> None:
    """The sample was of another place altogether."""
    points = rng(3).normal(size=(1500, 2))
    points[20:, 0] += 100.0
    streamed(points, None, 4, 60, sample=slice(0, 20))


@pytest.mark.parametrize("order", ["sorted", "reversed", "by turns"])
def test_rows_that_come_cell_by_cell(order: str) -> None:
    points = rng(4).normal(size=(2000, 2))
    points = points[np.argsort(points[:, 0])]
    if order == "reversed":
        points = np.ascontiguousarray(points[::-1])
    if order == "by turns":
        points = np.concatenate([points[::2], points[::-2]])
    streamed(points, None, 3, 60, n_cells=20)


def test_all_rows_in_one_cell() -> None:
    """The sample saw a hundred places, and all rows that follow come to one of them."""
    places = rng(5).uniform(-1.0, 1.0, (100, 2))
    points = np.vstack([places, places[7] + 1e-4 * rng(6).normal(size=(1500, 2))])
    streamed(points, None, 3, 60, sample=slice(0, 100), n_cells=50)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("kind", ["decades", "dominant", "rising"])
def test_weights_over_fifteen_decades(kind: str, k: int) -> None:
    n = 1500
    weights = {
        "decades": 10.0 ** rng(7).uniform(-15.0, 0.0, n),
        "dominant": np.where(np.arange(n) == 777, 1.0, 1e-15 / n),
        "rising": np.geomspace(1e-15, 1.0, n),
    }[kind]
    result = streamed(rng(8).normal(size=(n, 2)), weights, k, 45)
    if kind == "dominant":
        assert 777 in result.support.index


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_the_unit_of_the_weights(unit: float) -> None:
    streamed(rng(9).normal(size=(800, 2)), rng(10).uniform(0.1, 1.0, 800) * unit, 3, 40)


@pytest.mark.parametrize("kind", ["copy", "sum", "constant", "nearly"])
def test_columns_that_say_nothing_new_do_no_harm(kind: str) -> None:
    """They are in the frame, since a stream cannot know them before its end."""
    x = rng(11).normal(size=(1500, 2))
    column = {
        "copy": x[:, 0], "sum": x[:, 0] - 2.0 * x[:, 1], "constant": np.full(1500, 3.7),
        "nearly": x[:, 1] + 1e-12 * rng(12).normal(size=1500),
    }[kind]  # fmt: skip
    assert streamed(np.column_stack([x, column]), None, 3, 70).rank == 3


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_a_column_that_is_constant_in_the_sample_only(size: float) -> None:
    points = rng(13).normal(size=(1500, 2))
    points[:100, 1], points[100:, 1] = 0.0, size * points[100:, 1]
    streamed(points, None, 4, 60, sample=slice(0, 100))


@pytest.mark.parametrize("m", [1, 3])
def test_all_rows_equal(m: int) -> None:
    result = streamed(np.full((500, m), 0.1), rng(14).uniform(0.1, 1.0, 500), 3, 30)
    assert len(result.support) == 1


@pytest.mark.parametrize("levels", [2, 3])
def test_lattices_of_few_levels(levels: int) -> None:
    """Equal rows in many cells and blocks: the features have a lower rank than C(m + k, k)."""
    streamed(rng(15).integers(0, levels, (2500, 4)).astype(np.float64), None, 2, 30)


def test_few_places_among_many_rows() -> None:
    points = rng(16).normal(size=(30, 2))[rng(17).integers(0, 30, 2000)]
    streamed(points, None, 3, 20, n_cells=10)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows(n: int) -> None:
    points = rng(18).normal(size=(n, 2))
    result = streamed(points, None, 3, 10, sample=slice(None), n_cells=5)
    assert result.support.index.tolist() == list(range(n))
    assert result.support.weights.tolist() == [1.0] * n


def test_heavy_tails() -> None:
    """A Cauchy sample of a Cauchy stream: what comes is far beyond what was seen."""
    points = rng(19).standard_cauchy((3000, 2))
    assert len(streamed(points, None, 4, 60, sample=slice(0, 300), n_cells=10).support) == 60


def test_clusters_far_apart() -> None:
    centres = rng(20).uniform(-1e6, 1e6, (10, 2))
    points = centres[rng(21).integers(0, 10, 2000)] + rng(22).normal(size=(2000, 2))
    streamed(points, None, 3, 60, n_cells=10)


def test_values_at_the_ends_of_float64() -> None:
    points = rng(23).uniform(0.0, 1.0, (1500, 2)) * [1.7e308, 1e-307]
    streamed(points, None, 3, 40)
