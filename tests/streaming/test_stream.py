"""Rows that pass by: the same state however they are cut, shared, interrupted or put together."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import UsageError
from momentc.map_function import MapFunction
from momentc.moments.frame import extent_of
from momentc.moments.multi_index import n_moments
from momentc.options import CompressOptions
from momentc.pipeline.stream import compress_stream
from momentc.streaming import cell_store as cell_store_module
from momentc.streaming import stream as stream_module
from momentc.streaming.cell_store import CellStore
from momentc.streaming.stream import CellStream, Setting, fit_setting
from tests import oracle
from tests.strategies import Case, StreamCase, divisions, stream_cases
from tests.streaming.streams import (
    all_columns,
    as_bytes,
    let_pass,
    new_stream,
    rows_as_bytes,
    small_setting,
)

Array = NDArray[np.float64]

# Largest difference of a moment in the frame, per unit of mass: of a result, and of two sums.
MOMENT_GAP = 1e-12
SUM_GAP = 16 * 2.0**-52  # 5 were seen


def low_effort(case: Case) -> CompressOptions:
    """Keep k alone, so that the buffers are as small as may be."""
    return CompressOptions(case.k, case.target, case.seed, threads=1, effort="low")


def setting_of(request: StreamCase) -> Setting:
    case = request.case
    return small_setting(
        case.points[request.sample],
        case.weights[request.sample],
        low_effort(case),
        request.n_cells,
    )


def empty(request: StreamCase, setting: Setting) -> CellStream:
    return new_stream(setting, 8 * request.case.points.shape[1])


def state_of(stream: CellStream) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in stream.state().items()}


def assert_carried(stream: CellStream, points: Array) -> None:
    """The points that are left are rows that passed: bit for bit, and with their own numbers."""
    local, weights, index, raw = stream.points()
    assert np.all(weights > 0.0)
    assert np.all(np.diff(index) > 0)
    assert raw.tobytes() == rows_as_bytes(points[index]).tobytes()
    assert local.tobytes() == stream.setting.frame.apply(points[index]).tobytes()


def gap(stream: CellStream, points: Array, weights: Array) -> float:
    """Return the largest moment difference up to the stream's own order K, in the exact frame."""
    _, kept_weights, index, _ = stream.points()
    kept_weights = np.ldexp(kept_weights, stream.setting.exponent)
    return oracle.frame_gap(points, weights, points[index], kept_weights, stream.setting.order)


@given(request=stream_cases())
def test_what_is_left_has_the_moments_of_all_rows(request: StreamCase) -> None:
    case = request.case
    stream = empty(request, setting_of(request))
    let_pass(stream, case.points, case.weights, request.cuts)
    assert stream.n_rows == len(case.points)
    assert_carried(stream, case.points)
    stream.reduce()
    assert_carried(stream, case.points)
    least = n_moments(stream.setting.frame.rank, stream.setting.order)
    assert len(stream) <= stream.setting.router.n_cells * least
    assert gap(stream, case.points, case.weights) <= MOMENT_GAP


@settings(max_examples=30)
@given(request=stream_cases(max_rows=800), effort=st.sampled_from(("low", "normal", "high")))
def test_the_result_holds_up_to_the_order_that_was_kept(request: StreamCase, effort: Any) -> None:
    case = request.case
    options = CompressOptions(case.k, case.target, case.seed, threads=1, effort=effort)
    points, weights, sample = case.points, case.weights, request.sample
    setting = small_setting(points[sample], weights[sample], options, request.n_cells)
    stream = let_pass(empty(request, setting), points, weights, request.cuts)
    result = compress_stream(stream, options)
    assert result.ok, result.error
    kept = result.support
    assert len(kept) <= case.target
    assert np.all(kept.weights >= 0.0)
    assert kept.points.tobytes() == rows_as_bytes(points[kept.index]).tobytes()
    order = result.kept_order if n_moments(points.shape[1], result.kept_order) < 100 else case.k
    moment_gap = oracle.frame_gap(points, weights, points[kept.index], kept.weights, order)
    assert moment_gap <= MOMENT_GAP
    assert math.fsum(kept.weights) == pytest.approx(math.fsum(weights), rel=1e-13)


def assert_same_totals(first: CellStream, second: CellStream) -> None:
    """But for rounding; in the box of all rows no feature is beyond 1."""
    assert first.totals is not None
    assert second.totals is not None
    assert np.array_equal(first.totals.extent.low, second.totals.extent.low)
    assert np.array_equal(first.totals.extent.high, second.totals.extent.high)
    missing = np.abs(first.totals.moments.missing_in(second.totals.moments))
    assert np.all(missing <= SUM_GAP * second.totals.moments.mass)


@settings(max_examples=20)
@given(request=stream_cases(), other=st.data())
def test_the_division_into_blocks_does_not_matter(
    request: StreamCase, other: st.DataObject
) -> None:
    """Not to a bit of the points, and to no more than rounding of the sums."""
    case = request.case
    setting = setting_of(request)
    cuts = other.draw(divisions(len(case.points)))
    first = let_pass(empty(request, setting), case.points, case.weights, request.cuts)
    second = let_pass(empty(request, setting), case.points, case.weights, cuts)
    assert as_bytes(first.points()) == as_bytes(second.points())
    assert_same_totals(first, second)


@given(request=stream_cases(max_rows=600), where=st.floats(0.0, 1.0))
def test_going_on_from_a_state_is_going_on(request: StreamCase, where: float) -> None:
    case = request.case
    setting = setting_of(request)
    edges = [0, *request.cuts, len(case.points)]
    border = edges[round(where * (len(edges) - 1))]
    later = [cut - border for cut in request.cuts if cut > border]
    rest = (case.points[border:], case.weights[border:], later)

    going = let_pass(
        empty(request, setting),
        case.points[:border],
        case.weights[:border],
        [cut for cut in request.cuts if cut < border],
    )
    state = going.state()
    saved = {name: array.copy() for name, array in state.items()}
    let_pass(going, *rest, first=border)
    assert {name: array.tobytes() for name, array in state.items()} == {
        name: array.tobytes() for name, array in saved.items()
    }, "a state is what it was, whatever becomes of the stream"

    used = let_pass(empty(request, setting), case.points[:9], case.weights[:9])
    for restored in (empty(request, setting), used):
        restored.restore(state)
        assert state_of(restored) == as_dict(saved)
        let_pass(restored, *rest, first=border)
        assert state_of(restored) == state_of(going)
        assert restored.n_rows == going.n_rows == len(case.points)


def as_dict(state: dict[str, NDArray[Any]]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


def backwards(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Work on the last item first."""
    tasks = list(items)
    done = {place: function(tasks[place]) for place in reversed(range(len(tasks)))}
    return iter([done[place] for place in range(len(tasks))])


def large_stream(map_function: MapFunction = map) -> tuple[bytes, ...]:
    """Return all that a stream and its compression leave, of enough rows to be shared."""
    rng = np.random.default_rng(1)
    points, weights = rng.normal(size=(45_000, 3)), rng.uniform(0.1, 1.0, 45_000)
    options = CompressOptions(3, 100, 0, effort="low")
    setting = small_setting(points[::20], weights[::20], options, 30)
    stream = new_stream(setting, 24, cell_rows=600)
    let_pass(stream, points, weights, [40_000], map_function)
    state = list(stream.state().values())
    stream.reduce(map_function)
    result = compress_stream(stream, options, map_function=map_function)
    kept = result.support
    error = np.array(result.error)
    return tuple(as_bytes([*state, kept.points, kept.weights, kept.index, error]))


@pytest.fixture(scope="module")
def alone() -> tuple[bytes, ...]:
    return large_stream()


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_do_not_change_a_bit(n_threads: int, alone: tuple[bytes, ...]) -> None:
    with ThreadPoolExecutor(n_threads) as pool:
        assert large_stream(pool.map) == alone


def test_the_order_of_the_tasks_does_not_change_a_bit(alone: tuple[bytes, ...]) -> None:
    n_tasks = []

    def counting(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        tasks = list(items)
        n_tasks.append(len(tasks))
        return backwards(function, tasks)

    assert large_stream(counting) == alone
    assert sum(count > 1 for count in n_tasks) >= 4, "this much work is shared"


def in_parts(n_parts: int) -> tuple[list[CellStream], CellStream, Array, Array]:
    """Return streams of every ``n_parts``-th row, one of all rows, and the rows."""
    rng = np.random.default_rng(2)
    points, weights = rng.normal(size=(3000, 2)) + 1e3, rng.uniform(0.1, 1.0, 3000)
    points[::100] += 50.0
    options = CompressOptions(3, 60, 0, threads=1, effort="low")
    setting = small_setting(points[1:300], weights[1:300], options, 6)
    parts = []
    for part in range(n_parts):
        own = slice(part * 3000 // n_parts, (part + 1) * 3000 // n_parts)
        parts.append(let_pass(new_stream(setting, 16), points[own], weights[own], first=own.start))
    return parts, let_pass(new_stream(setting, 16), points, weights), points, weights


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_streams_merge_in_any_order(order: tuple[int, ...]) -> None:
    parts, whole, points, weights = in_parts(3)
    before = [state_of(part) for part in parts]
    merged = new_stream(whole.setting, 16)
    for part in order:
        merged.merge(parts[part])
    assert [state_of(part) for part in parts] == before
    assert merged.n_rows == 3000
    assert_same_totals(merged, whole)
    assert_carried(merged, points)
    assert gap(merged, points, weights) <= MOMENT_GAP

    result = compress_stream(merged, CompressOptions(3, 60, 0, threads=1, effort="low"))
    kept = result.support
    assert result.ok
    assert len(kept) == 60
    assert kept.points.tobytes() == rows_as_bytes(points[kept.index]).tobytes()
    assert oracle.frame_gap(points, weights, points[kept.index], kept.weights, 3) <= MOMENT_GAP


def test_streams_merge_in_any_grouping() -> None:
    """(a + b) + (c + d), as machines would hand on what they have."""
    parts, whole, points, weights = in_parts(4)
    parts[0].merge(parts[1])
    parts[2].merge(parts[3])
    parts[0].merge(parts[2])
    assert parts[0].n_rows == whole.n_rows == 3000
    assert_carried(parts[0], points)
    assert gap(parts[0], points, weights) <= MOMENT_GAP


def test_an_empty_stream_adds_nothing() -> None:
    parts, _, _, _ = in_parts(1)
    before = state_of(parts[0])
    parts[0].merge(new_stream(parts[0].setting, 16))
    assert state_of(parts[0]) == before
    assert len(new_stream(parts[0].setting, 16)) == 0
    assert new_stream(parts[0].setting, 16).n_rows == 0


def test_blocks_without_rows_change_nothing() -> None:
    parts, _, points, weights = in_parts(1)
    before = state_of(parts[0])
    let_pass(parts[0], points[:0], weights[:0])
    assert state_of(parts[0]) == before


def test_the_sums_are_those_of_all_rows() -> None:
    _, whole, points, weights = in_parts(1)
    scaled = np.ldexp(weights, -whole.setting.exponent)
    assert whole.totals is not None
    extent = extent_of(points, scaled)
    assert np.array_equal(whole.totals.extent.low, extent.low)
    assert np.array_equal(whole.totals.extent.high, extent.high)
    assert whole.totals.extent.mean == pytest.approx(extent.mean, rel=1e-15)
    assert whole.totals.extent.mass == pytest.approx(extent.mass, rel=1e-15)
    some = np.arange(0, 3000, 100)  # the slow oracle does not want them all
    stream = let_pass(new_stream(whole.setting, 16), points[some], weights[some])
    assert stream.totals is not None
    local = stream.totals.box.apply(points[some])
    exact = oracle.legendre_moments(local, scaled[some], whole.setting.compared)
    moments = stream.totals.moments
    found = moments.high + moments.low
    expected = np.array([float(exact[tuple(row)]) for row in moments.plan.exponents.tolist()])
    assert found == pytest.approx(expected, rel=1e-14, abs=1e-15 * moments.mass)


@pytest.mark.parametrize("m", [1, 2])
def test_many_rows_through_few_places(m: int) -> None:
    """Each place is taken over and over, and what rounding leaves does not add up."""
    rng = np.random.default_rng(m)
    points, weights = rng.normal(size=(12_000, m)), rng.uniform(0.1, 1.0, 12_000)
    options = CompressOptions(2, 30, 0, threads=1, effort="low")
    stream = new_stream(small_setting(points[:100], weights[:100], options, 2), 8 * m)
    let_pass(stream, points, weights, range(1000, 12_000, 1000))
    assert len(stream) <= 2 * 4 * n_moments(m, 2)
    assert gap(stream, points, weights) <= 1e-14


def test_weights_beside_which_nothing_is_left() -> None:
    """Below 1e-289 of the largest, rows are as rows without weight, even a block of them."""
    rng = np.random.default_rng(3)
    points, weights = rng.normal(size=(300, 2)), np.full(300, 1e250)
    options = CompressOptions(2, 30, 0, threads=1)
    setting = small_setting(points, weights, options)
    plain = let_pass(new_stream(setting, 16), points, weights)
    weights = np.concatenate([np.full(50, 1e-250), weights])
    padded = let_pass(
        new_stream(setting, 16), np.vstack([1e3 * points[:50], points]), weights, [50]
    )
    _, kept_weights, index, raw = plain.points()
    _, padded_weights, padded_index, padded_raw = padded.points()
    assert np.array_equal(padded_index, index + 50)
    assert padded_weights.tobytes() == kept_weights.tobytes()
    assert padded_raw.tobytes() == raw.tobytes()


def test_rows_beside_light_ones_of_a_block_come_along() -> None:
    rng = np.random.default_rng(6)
    points, weights = rng.normal(size=(300, 2)), np.full(300, 1e250)
    weights[::3] = 1e-250
    heavy = weights > 1.0
    options = CompressOptions(2, 30, 0, threads=1)
    setting = small_setting(points[heavy], weights[heavy], options)
    stream = let_pass(new_stream(setting, 16), points, weights)
    assert stream.n_rows == 200
    assert np.all(heavy[stream.points()[2]])
    assert_carried(stream, points)


def test_a_stream_that_has_taken_in_a_part_of_its_rows_gives_nothing_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until it goes on from a state that was whole."""
    (stream,), _, points, weights = in_parts(1)
    state, n_rows = stream.state(), stream.n_rows

    def failing(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(CellStore, "add", failing)
        with pytest.raises(MemoryError):
            let_pass(stream, points, weights)
    uses: list[Callable[[], object]] = [
        stream.points,
        stream.state,
        stream.runs,
        stream.sums,
        lambda: let_pass(stream, points, weights),
        lambda: new_stream(stream.setting, 16).merge(stream),
    ]
    for use in uses:
        with pytest.raises(UsageError, match="begin again with the first row"):
            use()
    stream.restore(state)
    assert state_of(stream) == as_dict(state)
    assert stream.n_rows == n_rows


def test_columns_that_are_views_pass_as_copies_do() -> None:
    """Rows may be a part of a wider array, and the bytes read-only."""
    rng = np.random.default_rng(4)
    wide, weights = rng.normal(size=(500, 5)), np.ones(500)
    points = wide[:, 1:4]
    options = CompressOptions(2, 30, 0, threads=1)
    setting = fit_setting(points, weights, all_columns(points, weights), options, 2)
    raw = np.frombuffer(points.tobytes(), dtype=np.uint8).reshape(500, 24)
    viewed = new_stream(setting, 24)
    viewed.add(points, weights, np.arange(500), raw)
    copied = let_pass(new_stream(setting, 24), np.ascontiguousarray(points), weights)
    assert state_of(viewed) == state_of(copied)


def test_the_seed_settles_the_cells() -> None:
    points, weights = np.random.default_rng(5).normal(size=(2000, 2)), np.ones(2000)
    settings = [
        small_setting(points, weights, CompressOptions(3, 60, seed), 20) for seed in (0, 7, 7)
    ]
    cells = [setting.router.centroids.tobytes() for setting in settings]
    assert cells[0] != cells[1] == cells[2]


def test_the_size_of_a_task_is_no_part_of_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole, points, weights = in_parts(1)
    monkeypatch.setattr(stream_module, "TASK_ROWS", 100)
    monkeypatch.setattr(cell_store_module, "TASK_ROWS", 100)
    monkeypatch.setattr(cell_store_module, "BATCH_ROWS", 50)
    tasks = let_pass(new_stream(whole.setting, 16), points, weights, map_function=backwards)
    assert as_bytes(tasks.points()) == as_bytes(whole.points())
