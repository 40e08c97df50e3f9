"""What a stream hands over: a compression as any other, its errors against all rows that passed."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.compression import Compression, certify
from momentc.effort import surplus_bytes
from momentc.errors import InputError, RequestError, VerificationError
from momentc.moments.frame_fit import fit_frame
from momentc.options import CompressOptions
from momentc.pipeline.points import compress_points
from momentc.pipeline.stream import compress_stream
from momentc.streaming.stream import fit_setting
from tests import oracle
from tests.streaming.streams import all_columns, let_pass, new_stream, rows_as_bytes, small_setting

Array = NDArray[np.float64]

N_ROWS, N_COLUMNS, K, TARGET = 4000, 3, 3, 120


@pytest.fixture(scope="module")
def rows() -> tuple[Array, Array]:
    """Return rows of which the sample, the first thousand, has seen the middle only."""
    rng = np.random.default_rng(9)
    points = rng.normal(size=(N_ROWS, N_COLUMNS)) + 3.0
    points[2000::50] *= 4.0
    return points, rng.uniform(0.1, 1.0, N_ROWS) * 1e-9


def compressed(rows: tuple[Array, Array], **options: Any) -> Compression:
    points, weights = rows
    wanted = CompressOptions(**({"k": K, "target": TARGET, "threads": 1} | options))
    setting = small_setting(points[:1000:3], weights[:1000:3], wanted, 12)
    stream = let_pass(new_stream(setting, 24), points, weights, [1500, 1501])
    return compress_stream(stream, wanted)


@pytest.fixture(scope="module")
def result(rows: tuple[Array, Array]) -> Compression:
    return compressed(rows)


def float_rows(result: Compression) -> Array:
    """Return the rows of the support, which are bytes, as the numbers they are."""
    assert result.support.points.dtype == np.uint8
    return np.ascontiguousarray(result.support.points).view(np.float64)


def test_the_reported_errors_are_the_true_ones(
    result: Compression, rows: tuple[Array, Array]
) -> None:
    """Above rounding: of the orders that nobody matched."""
    points, weights = rows
    kept, kept_weights = float_rows(result), result.support.weights
    n_orders = len(result.error)
    assert n_orders >= K + 3
    frame = oracle.exact_frame(points, weights)
    exact = oracle.normalised_error_by_order(
        oracle.moments(points, weights, n_orders - 1, frame),
        oracle.moments(kept, kept_weights, n_orders - 1, frame),
        n_orders - 1,
    )
    assert max(exact[result.kept_order + 1 :]) > 1e-8, "there must be something to find"
    assert result.error == pytest.approx(exact, rel=1e-9, abs=1e-15)
    exact = oracle.tensor_error_by_order(
        oracle.moments(points, weights, n_orders - 1),
        oracle.moments(kept, kept_weights, n_orders - 1),
        n_orders - 1,
    )
    assert result.relative_error == pytest.approx(exact, rel=1e-6, abs=1e-14)
    assert result.matched_order >= result.kept_order >= K
    assert max(result.error[: result.matched_order + 1]) <= result.tolerance


def test_the_certificate_repeats_what_was_found(result: Compression) -> None:
    """To rounding: the points were in the frame of the sample before."""
    error, relative = certify(result, float_rows(result), result.support.weights)
    assert error == pytest.approx(result.error, rel=1e-7, abs=1e-15)
    assert relative == pytest.approx(result.relative_error, rel=1e-7, abs=1e-14)


@pytest.mark.parametrize("change", [1e-9, 1e-6, 1e-2])
def test_the_certificate_sees_a_changed_weight(result: Compression, change: float) -> None:
    weights = result.support.weights.copy()
    weights[7] *= 1.0 + change
    error, _ = certify(result, float_rows(result), weights)
    assert max(error[: K + 1]) > 0.1 * change * weights[7] / weights.sum()


def test_the_frame_is_that_of_all_rows(result: Compression, rows: tuple[Array, Array]) -> None:
    points, weights = rows
    exact = oracle.exact_frame(points, weights)
    assert result.frame.center == pytest.approx(np.array(exact.center, dtype=float), rel=1e-13)
    assert result.frame.scale == pytest.approx(np.array(exact.scale, dtype=float), rel=1e-13)
    sampled = all_columns(points[:1000:3], weights[:1000:3])
    assert np.all(result.frame.scale > 1.5 * sampled.scale), "the sample knew less"


def test_the_counts_are_those_of_the_stream(result: Compression, rows: tuple[Array, Array]) -> None:
    assert (result.n_points, result.n_distinct, result.n_columns) == (N_ROWS, None, N_COLUMNS)
    assert (result.k, result.target, result.seed) == (K, TARGET, 0)
    assert (result.rank, result.n_moments) == (3, math.comb(3 + K, K))
    assert result.moments.mass == pytest.approx(math.fsum(rows[1]), rel=1e-15)
    assert len(result.support) == TARGET
    assert result.support.total_weight == pytest.approx(math.fsum(rows[1]), rel=1e-14)
    assert np.all(np.diff(result.support.index) > 0)
    assert result.notes == ()
    assert all(seconds >= 0.0 for _, seconds in result.stages)
    assert {"reduction", "final solve", "certificate"} <= set(dict(result.stages))


def test_a_stream_that_holds_all_rows_is_as_good_as_the_rows(rows: tuple[Array, Array]) -> None:
    """The same frame and all rows still there: the same points as in memory.

    At low effort: surplus matching tries orders of which a stream does not know the moments.
    """
    points, weights = rows
    options = CompressOptions(K, TARGET, threads=1, effort="low")
    setting = small_setting(points, weights, options, 1)
    stream = let_pass(new_stream(setting, 24, cell_rows=N_ROWS), points, weights)
    assert len(stream) == N_ROWS
    streamed, in_memory = (
        compress_stream(stream, options),
        compress_points(points, weights, options),
    )
    assert streamed.kept_order == in_memory.kept_order
    assert streamed.support.index.tolist() == in_memory.support.index.tolist()
    assert streamed.support.weights == pytest.approx(in_memory.support.weights, rel=1e-9, abs=0.0)
    assert streamed.error == pytest.approx(in_memory.error, rel=1e-6, abs=1e-14)
    assert streamed.relative_error == pytest.approx(in_memory.relative_error, rel=1e-6, abs=1e-14)


@pytest.mark.parametrize("effort", ["low", "normal", "high"])
def test_the_order_is_at_most_that_of_the_setting(rows: tuple[Array, Array], effort: Any) -> None:
    """More is asked for in the end than the stream has kept."""
    points, weights = rows
    setting = small_setting(points, weights, CompressOptions(2, TARGET, effort="low"), 12)
    stream = let_pass(new_stream(setting, 24), points, weights)
    result = compress_stream(stream, CompressOptions(2, TARGET, threads=1, effort=effort))
    assert result.ok
    if effort != "high":  # which matches what is left as well as it can
        assert result.kept_order == 2
    kept = float_rows(result)
    assert oracle.frame_gap(points, weights, kept, result.support.weights, 2) <= 1e-13


@pytest.mark.parametrize("target", [10, TARGET])
def test_a_lower_order_may_be_asked_for_in_the_end(rows: tuple[Array, Array], target: int) -> None:
    """Also for fewer points than there are moments of the order that the stream has kept."""
    points, weights = rows
    setting = small_setting(points, weights, CompressOptions(K, TARGET, effort="low"), 12)
    stream = let_pass(new_stream(setting, 24), points, weights)
    result = compress_stream(stream, CompressOptions(1, target, threads=1, effort="low"))
    assert result.ok
    assert (result.kept_order, len(result.support)) == (1, target)
    kept = float_rows(result)
    assert oracle.frame_gap(points, weights, kept, result.support.weights, 1) <= 1e-13


@pytest.mark.parametrize(("parts", "matched"), [(1.9, False), (2.0, True)])
def test_surplus_matching_takes_half_of_the_memory_at_most(
    rows: tuple[Array, Array], parts: float, matched: bool
) -> None:
    points, weights = rows
    options = CompressOptions(K, TARGET, threads=1)
    setting = small_setting(points, weights, options, 12)
    stream = let_pass(new_stream(setting, 24), points, weights)
    memory = int(parts * surplus_bytes(K, N_COLUMNS, TARGET, "normal"))
    stream.plan = replace(stream.plan, memory=memory)
    result = compress_stream(stream, options)
    assert result.ok
    assert ("surplus matching" in dict(result.stages)) == matched


def test_the_seed_is_that_of_the_request(rows: tuple[Array, Array]) -> None:
    results = [compressed(rows, seed=seed) for seed in (0, 5, 5)]
    assert [result.seed for result in results] == [0, 5, 5]
    kept = [result.support.index.tolist() for result in results]
    assert kept[0] != kept[1] == kept[2]


def test_rows_at_or_below_the_target_stay(rows: tuple[Array, Array]) -> None:
    points, weights = rows[0][:100], rows[1][:100]
    options = CompressOptions(K, 100, threads=1)
    setting = small_setting(points, weights, options)
    result = compress_stream(let_pass(new_stream(setting, 24), points, weights), options)
    assert result.support.index.tolist() == list(range(100))
    assert result.support.weights.tobytes() == weights.tobytes()
    assert result.support.points.tobytes() == rows_as_bytes(points).tobytes()
    assert result.kept_order >= K
    assert max(result.error) <= 1e-15
    assert result.notes == ()


def test_fewer_rows_than_the_target_are_no_few_distinct_ones(rows: tuple[Array, Array]) -> None:
    points, weights = rows[0][:100], rows[1][:100]
    options = CompressOptions(K, 101, threads=1)
    setting = small_setting(points, weights, options)
    result = compress_stream(let_pass(new_stream(setting, 24), points, weights), options)
    assert len(result.support) == 100
    assert result.notes == ()


def test_equal_rows_become_one() -> None:
    points = np.random.default_rng(3).normal(size=(20, 2))[np.arange(300) % 20]
    options = CompressOptions(2, 25, threads=1)
    setting = small_setting(points, np.ones(300), options)
    stream = let_pass(new_stream(setting, 16, cell_rows=300), points, np.ones(300))
    result = compress_stream(stream, options)
    assert result.support.index.tolist() == list(range(20))
    assert result.support.weights.tolist() == [15.0] * 20


def test_progress_ends_at_the_target(rows: tuple[Array, Array]) -> None:
    points, weights = rows
    options = CompressOptions(K, TARGET, threads=1)
    setting = small_setting(points, weights, options, 12)
    stream = let_pass(new_stream(setting, 24), points, weights)
    left = len(stream)
    calls: list[tuple[str, int, int]] = []
    compress_stream(stream, options, progress=lambda *call: calls.append(call))
    assert calls[-1][1:] == (left - TARGET, left - TARGET)
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)


def test_a_stream_without_rows_is_refused(rows: tuple[Array, Array]) -> None:
    options = CompressOptions(K, TARGET, threads=1)
    setting = small_setting(*rows, options)
    with pytest.raises(InputError, match="no rows"):
        compress_stream(new_stream(setting, 24), options)


@pytest.mark.parametrize(("change", "refused"), [(1e-7, True), (-1e-7, True), (1e-9, False)])
def test_points_that_weigh_more_or_less_than_the_rows_are_refused(
    rows: tuple[Array, Array], change: float, refused: bool
) -> None:
    """By a part in ten million, which no rounding explains."""
    points, weights = rows
    options = CompressOptions(K, TARGET, threads=1, effort="low")
    setting = small_setting(points[:1000:3], weights[:1000:3], options, 12)
    stream = let_pass(new_stream(setting, 24), points, weights)
    assert stream.totals is not None
    stream._store.weights[0] += change * stream.totals.extent.mass
    if not refused:
        assert compress_stream(stream, options).ok
        return
    with pytest.raises(VerificationError, match="some were lost, or came twice"):
        compress_stream(stream, options)


def test_a_target_below_the_bound_is_refused(rows: tuple[Array, Array]) -> None:
    points, weights = rows
    setting = small_setting(points, weights, CompressOptions(K, TARGET), 12)
    stream = let_pass(new_stream(setting, 24), points, weights)
    with pytest.raises(RequestError, match="k = 3 needs a target of at least 20"):
        compress_stream(stream, CompressOptions(K, 19, threads=1))


def test_columns_that_drop_out_are_named() -> None:
    """Those that the setting's frame leaves out; a frame of all columns keeps them."""
    points = np.random.default_rng(4).normal(size=(300, 3))
    points[:, 1] = 7.0
    options = CompressOptions(2, 40, threads=1)
    weights = np.ones(300)
    setting = small_setting(points, weights, options)
    every = compress_stream(let_pass(new_stream(setting, 24), points, weights), options)
    assert (every.rank, every.notes) == (3, ())
    setting = fit_setting(points, weights, fit_frame(points, weights, 5), options, 3)
    result = compress_stream(let_pass(new_stream(setting, 24), points, weights), options)
    assert result.rank == 2
    assert any("constant columns drop out of the moments: 1" in note for note in result.notes)
    kept = float_rows(result)
    assert oracle.frame_gap(points, weights, kept, result.support.weights, 2) <= 1e-13
