"""`partial_fit`, `merge` and `finalize`: the moments of all rows, whatever the batches were."""

import copy
import itertools
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc import MomentCompressor, compress, verify_moments
from momentc import incremental as incremental_module
from momentc.clustering.router import CellRouter
from momentc.errors import (
    InputError,
    MemoryBudgetError,
    PartsError,
    RequestError,
    UsageError,
    VerificationError,
)
from momentc.incremental import FIRST_ROWS, Batch
from momentc.map_function import MapFunction
from momentc.streaming import cell_store as cell_store_module
from momentc.streaming import stream as stream_module
from momentc.streaming.cell_store import CellStore
from momentc.streaming.stream import CellStream
from momentc.weighted import WeightedSet, bytes_as_rows
from tests import oracle

Array = NDArray[Any]

GAP = 1e-13


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def taken_in(
    batches: Sequence[Array], weights: Sequence[Array] | None = None, **options: Any
) -> MomentCompressor:
    """Return a compressor that has seen batches of rows."""
    asked: dict[str, Any] = {"k": 3, "target": 60, "effort": "low", "threads": 1, **options}
    compressor = MomentCompressor(**asked)
    for number, batch in enumerate(batches):
        compressor.partial_fit(batch, sample_weight=None if weights is None else weights[number])
    return compressor


def require(
    kept: WeightedSet, rows: Array, weights: Array | None = None, k: int = 3, target: int = 60
) -> None:
    """Hold a result to every promise, in exact arithmetic."""
    mass = np.ones(len(rows)) if weights is None else weights
    assert len(kept) <= target
    assert kept.points.dtype == rows.dtype
    assert kept.points.tobytes() == rows[kept.index].tobytes()
    assert np.all(np.diff(kept.index) > 0)
    assert np.all(kept.weights > 0)
    counts = mass > 0
    assert counts[kept.index].all()
    gap = oracle.frame_gap(rows[counts], mass[counts], kept.points, kept.weights, k)
    assert gap <= GAP, f"{gap:.1e}"


@pytest.mark.parametrize("cuts", [[], [1000], [700, 701, 2500], list(range(200, 3000, 200))])
def test_batches(cuts: list[int]) -> None:
    rows = rng(1).normal(size=(3000, 2))
    compressor = taken_in(np.split(rows, cuts)).finalize()
    require(compressor.compressed_, rows)
    assert compressor.result_.ok
    assert compressor.result_.n_points == 3000
    assert len(compressor.compressed_) == 60


def test_weights_and_rows_without_any() -> None:
    rows, weights = rng(2).normal(size=(2000, 2)), rng(3).uniform(0.0, 3.0, 2000)
    weights[::7] = 0.0
    compressor = taken_in(np.split(rows, [900]), np.split(weights, [900])).finalize()
    require(compressor.compressed_, rows, weights)
    assert compressor.result_.n_points == np.count_nonzero(weights)


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u1"])
def test_rows_stay_what_they_are(dtype: str) -> None:
    rows = rng(4).integers(0, 200, (2500, 2)).astype(dtype)
    compressor = taken_in(np.split(rows, [800, 1600])).finalize()
    require(compressor.compressed_, rows)


@pytest.mark.parametrize("dtype", [">f8", ">i4", "<f4"])
def test_rows_of_another_order_of_bytes(dtype: str) -> None:
    """Joined or pickled, numpy gives them that of the machine."""
    rows = (100.0 * rng(4).normal(size=(900, 2))).astype(dtype)
    halves = rows[:400], rows[400:]
    first, second = (taken_in([half[:100], half[100:]]) for half in halves)
    require(copy.deepcopy(first).merge(second).finalize().compressed_, rows)
    first, second = (pickle.loads(pickle.dumps(each, protocol=4)) for each in (first, second))
    require(copy.deepcopy(first).finalize().compressed_, halves[0])
    require(
        first.merge(second).partial_fit(rows[:1]).finalize().compressed_,
        np.concatenate([rows, rows[:1]], dtype=dtype),
    )


def test_a_result_is_checked_as_it_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rng(5).normal(size=(500, 2))
    compressor = taken_in([rows])
    monkeypatch.setattr(
        incremental_module, "bytes_as_rows", lambda raw, dtype: bytes_as_rows(raw, dtype)[::-1]
    )
    with pytest.raises(VerificationError):
        compressor.finalize()


def test_batches_that_are_not_like_the_first() -> None:
    """Far outside of its box, on another scale, and where its columns were constant."""
    first = np.column_stack([rng(5).normal(size=400), np.full(400, 3.0)])
    second = np.column_stack([100.0 + rng(6).normal(size=600), rng(7).normal(size=600)])
    third = rng(8).normal(size=(700, 2)) * 1e-3
    compressor = taken_in([first, second, third]).finalize()
    require(compressor.compressed_, np.concatenate([first, second, third]))


def test_one_flat_column() -> None:
    rows = rng(9).normal(size=2000)
    compressor = taken_in(np.split(rows, [500]), k=5).finalize()
    require(compressor.compressed_, rows[:, None], k=5)


def test_fewer_rows_than_the_target() -> None:
    rows = rng(10).normal(size=(40, 2))
    compressor = taken_in(np.split(rows, [15])).finalize()
    assert compressor.compressed_.points.tobytes() == rows.tobytes()
    assert compressor.compressed_.weights.tolist() == [1.0] * 40


def test_more_may_follow() -> None:
    """A result now and then does not disturb what comes after."""
    rows = rng(11).normal(size=(4000, 2))
    plain = taken_in(np.split(rows, [1000, 2000, 3000]))
    watched = taken_in([rows[:1000]])
    for start in (1000, 2000, 3000):
        require(watched.finalize().compressed_, rows[:start])
        watched.partial_fit(rows[start : start + 1000])
    require(watched.finalize().compressed_, rows)
    again = watched.compressed_
    watched.finalize()
    assert again.weights.tobytes() == watched.compressed_.weights.tobytes()
    require(plain.finalize().compressed_, rows)


def test_the_same_bytes_for_every_number_of_threads() -> None:
    rows = rng(12).normal(size=(60_000, 3))
    results = [
        taken_in(np.split(rows, [20_000]), threads=threads, target=100).finalize().compressed_
        for threads in (1, 2, 3)
    ]
    assert len({result.weights.tobytes() + result.index.tobytes() for result in results}) == 1


def test_merge_of_other_frames_units_and_sizes() -> None:
    """Two compressors that have never heard of each other: the rows of the second come after."""
    first = rng(13).normal(size=(1500, 2))
    second = 5.0 + 0.2 * rng(14).normal(size=(2500, 2))
    ours, theirs = rng(15).uniform(1e-9, 1e-8, 1500), rng(16).uniform(1.0, 1e3, 2500)
    one = taken_in(np.split(first, [700]), np.split(ours, [700]))
    other = taken_in(np.split(second, [100]), np.split(theirs, [100]), random_state=9)
    rows, weights = np.concatenate([first, second]), np.concatenate([ours, theirs])
    require(one.merge(other).finalize().compressed_, rows, weights)
    assert one.result_.n_points == 4000
    require(other.finalize().compressed_, second, theirs)  # not changed


@pytest.mark.parametrize("sizes", [(1e-3, 1e6), (1e6, 1e-3)])
def test_merge_of_weights_in_other_units(
    sizes: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each keeps its sums in a unit of its own, from its first rows."""
    monkeypatch.setattr(incremental_module, "FIRST_ROWS", 300)
    rows = rng(33).normal(size=(1200, 2))
    weights = rng(34).uniform(1.0, 2.0, 1200) * np.repeat(sizes, 600)
    one, other = (
        taken_in([rows[half]], [weights[half]]) for half in (slice(600), slice(600, None))
    )
    kept = one.merge(other).finalize().compressed_
    require(kept, rows, weights)
    assert kept.total_weight == pytest.approx(weights.sum(), rel=1e-14)
    assert verify_moments(rows, kept, k=3, weights=weights).ok


def test_merge_counts_rows_that_were_left_out() -> None:
    rows = rng(17).normal(size=(2000, 2))
    weights = np.ones(2000)
    weights[900:1000] = 0.0
    one = taken_in([rows[:1000]], [weights[:1000]])
    other = taken_in([rows[1000:]], [weights[1000:]])
    require(one.merge(other).finalize().compressed_, rows, weights)


def test_a_tree_of_merges() -> None:
    rows = rng(18).normal(size=(4000, 2)) * [1.0, 1e-6] + [0.0, 1e3]
    parts = [taken_in([piece]) for piece in np.split(rows, 4)]
    parts[0].merge(parts[1])
    parts[2].merge(parts[3])
    parts[0].merge(parts[2])
    parts[0].partial_fit(rows[:10])
    require(parts[0].finalize().compressed_, np.concatenate([rows, rows[:10]]))


def test_fit_forgets_the_batches() -> None:
    rows = rng(19).normal(size=(900, 2))
    compressor = taken_in([rows])
    compressor.fit(rows[:500])
    expected = compress(rows[:500], k=3, target=60, effort="low")
    assert compressor.compressed_.weights.tobytes() == expected.weights.tobytes()
    with pytest.raises(UsageError, match="comes after partial_fit"):
        compressor.finalize()


@pytest.mark.parametrize(
    "batch", [np.ones((5, 3)), np.ones((5, 2), dtype="f4"), np.ones((5, 2), dtype=int), np.ones(5)]
)
def test_batches_of_another_kind(batch: Array) -> None:
    """The message has both kinds; what was taken in before stays."""
    rows = rng(20).normal(size=(500, 2))
    compressor = taken_in([rows])
    width = 1 if batch.ndim == 1 else batch.shape[1]
    with pytest.raises(UsageError) as caught:
        compressor.partial_fit(batch)
    assert str(caught.value) == (
        f"this batch has {width} columns of {batch.dtype}, the first one had 2 of float64"
    )
    require(compressor.finalize().compressed_, rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 2}, "same k, got 3 and 2"),
        ({"target": 61}, "same target, got 60 and 61"),
        ({"effort": "high"}, "same effort, got 'low' and 'high'"),
    ],
)
def test_merge_of_other_requests(options: dict[str, Any], said: str) -> None:
    rows = rng(21).normal(size=(500, 2))
    one = taken_in([rows])
    with pytest.raises(PartsError, match=said):
        one.merge(taken_in([rows], **options))
    require(one.finalize().compressed_, rows)


@pytest.mark.parametrize("other", [np.ones((5, 3)), np.ones((5, 2), dtype="f4")])
def test_merge_of_other_rows(other: Array) -> None:
    with pytest.raises(PartsError, match="merge needs the same columns, got 2 of float64 and"):
        taken_in([rng(22).normal(size=(500, 2))]).merge(taken_in([other]))


def test_nothing_has_been_taken_in() -> None:
    rows = rng(23).normal(size=(500, 2))
    with pytest.raises(UsageError, match=r"finalize\(\) comes after partial_fit\(\)"):
        MomentCompressor().finalize()
    for one, other in (
        (MomentCompressor(), taken_in([rows])),
        (taken_in([rows]), MomentCompressor(k=3, target=60, effort="low")),
    ):
        with pytest.raises(UsageError, match="have seen rows by partial_fit"):
            one.merge(other)


def test_rows_that_cannot_be_used() -> None:
    """A bad batch is refused whole."""
    rows = rng(24).normal(size=(500, 2))
    compressor = taken_in([rows])
    bad = rows.copy()
    bad[7, 1] = np.nan
    with pytest.raises(InputError, match="row 7, column 1"):
        compressor.partial_fit(bad)
    with pytest.raises(InputError):
        compressor.partial_fit(rows, sample_weight=-np.ones(500))
    require(compressor.finalize().compressed_, rows)


def test_a_target_below_the_bound() -> None:
    with pytest.raises(RequestError):
        taken_in([rng(25).normal(size=(500, 2))], target=9)
    with pytest.raises(RequestError):
        # Fewer rows than the bound may have come so far, others may follow.
        taken_in([rng(25).normal(size=(5, 2))], target=9)


@pytest.mark.parametrize("value", [1.7e18, 1e40, 1e300])
def test_a_constant_column_of_any_size(value: float) -> None:
    """Nanoseconds since 1970, say: what is constant rounds nothing."""
    rows = np.random.default_rng(5).normal(size=(4000, 1))
    rows = np.column_stack([np.full(4000, value), rows])
    result = MomentCompressor(5, 60).partial_fit(rows).finalize().result_
    assert max(result.error[:6]) < 1e-14


def test_a_constant_column_beside_one_of_denormal_numbers() -> None:
    rows = np.column_stack([np.zeros(30), 1e-310 * np.arange(30)])
    assert MomentCompressor(1, 10).partial_fit(rows).finalize().result_.ok


@pytest.mark.filterwarnings("error")
def test_what_leaves_float64_is_an_error_of_the_input() -> None:
    random, n = np.random.default_rng(6), FIRST_ROWS
    near = MomentCompressor(2, 20).partial_fit(random.normal(size=(n, 1)))
    far = MomentCompressor(2, 20).partial_fit(1e290 * random.normal(size=(n, 1)))
    with pytest.raises(InputError, match="so far outside of the place of the sample"):
        near.merge(far)
    rows = random.normal(size=(n, 1))
    light = MomentCompressor(2, 20).partial_fit(rows, sample_weight=np.full(n, 1e-300))
    with pytest.raises(InputError, match="a weight is more than float64 can hold"):
        light.partial_fit(rows, sample_weight=np.full(n, 1e300))
    heavy = MomentCompressor(2, 20).partial_fit(rows, sample_weight=np.full(n, 1e300))
    with pytest.raises(InputError, match="a weight is more than float64 can hold"):
        light.merge(heavy)


@pytest.mark.parametrize("first", [1, 2, 5, 20])
@pytest.mark.parametrize("merged", [False, True])
def test_a_small_first_batch(first: int, merged: bool) -> None:
    """Frame and cells wait for more rows: all of the target is used."""
    rows = rng(30).normal(size=(9000, 2))
    compressor = taken_in([rows[:first]])
    if merged:
        compressor.merge(taken_in([rows[first:5000], rows[5000:]]))
    else:
        compressor.partial_fit(rows[first:5000]).partial_fit(rows[5000:])
    require(compressor.finalize().compressed_, rows)
    assert len(compressor.compressed_) == 60


def test_batches_in_which_nothing_counts() -> None:
    """Burn-in of weight 0, or an empty last chunk: their rows are numbered, and no more."""
    rows = rng(32).normal(size=(6000, 2))
    mass = np.ones(6000)
    mass[:500] = mass[3000:3100] = 0.0
    compressor = MomentCompressor(k=3, target=60, effort="low", threads=1)
    for first, last in (
        (0, 200),
        (200, 500),
        (500, 3000),
        (3000, 3100),
        (3100, 3100),
        (3100, 6000),
    ):
        compressor.partial_fit(rows[first:last], sample_weight=mass[first:last])
    require(compressor.finalize().compressed_, rows, mass)
    nothing = MomentCompressor(k=3, target=60).partial_fit(rows[:9], sample_weight=np.zeros(9))
    with pytest.raises(UsageError, match="no row has been taken in"):
        nothing.finalize()


def test_merge_with_what_is_none() -> None:
    compressor = taken_in([rng(31).normal(size=(500, 2))])
    with pytest.raises(UsageError, match="its own rows would count twice"):
        compressor.merge(compressor)
    with pytest.raises(UsageError, match="got a NoneType"):
        compressor.merge(None)  # type: ignore[arg-type]


def test_merge_with_one_whose_only_batch_was_refused() -> None:
    rows = rng(50).normal(size=(FIRST_ROWS, 2))
    one, other = taken_in([rows]), MomentCompressor(3, 60, effort="low")
    with pytest.raises(InputError, match="multiply all weights"):
        other.partial_fit(rows, sample_weight=np.full(FIRST_ROWS, 1e-310))
    require(one.merge(other).finalize().compressed_, rows)


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the tests."""


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at_call: int = 1) -> None:
    """Let a method do its work, and be interrupted then."""
    whole = getattr(owner, name)
    calls = itertools.count(1)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        result = whole(*arguments, **options)
        if next(calls) == at_call:
            raise Interrupted
        return result

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(("owner", "name"), [(CellStore, "add"), (CellStore, "_reduce")])
def test_a_batch_that_was_taken_in_halfway(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """In a notebook: Ctrl-C, and the same cell again. Its rows must not count twice."""
    rows = rng(11).normal(size=(2 * FIRST_ROWS, 2))
    compressor = taken_in([rows[:FIRST_ROWS]])
    with monkeypatch.context() as patch:
        interrupt(patch, owner, name)
        with pytest.raises(Interrupted):
            compressor.partial_fit(np.tile(rows, (8, 1)))
    uses: list[Callable[[], object]] = [
        lambda: compressor.partial_fit(rows),
        compressor.finalize,
        lambda: compressor.merge(taken_in([rows])),
        lambda: taken_in([rows]).merge(compressor),
        lambda: taken_in([rows[:9]]).merge(compressor),
    ]
    for use in uses:
        with pytest.raises(UsageError, match="begin again with the first row"):
            use()


@pytest.mark.parametrize("function", ["assign", "accumulate_moments"])
def test_an_interruption_before_anything_counts(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    rows = rng(12).normal(size=(2 * FIRST_ROWS, 2))
    compressor = taken_in([rows[:FIRST_ROWS]])
    with monkeypatch.context() as patch:
        interrupt(patch, CellRouter if function == "assign" else stream_module, function)
        with pytest.raises(Interrupted):
            compressor.partial_fit(rows[FIRST_ROWS:])
    require(compressor.partial_fit(rows[FIRST_ROWS:]).finalize().compressed_, rows)


def test_an_interruption_of_the_first_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait until there are enough of them, and still do when that fails."""
    rows = rng(13).normal(size=(FIRST_ROWS, 2))
    compressor = taken_in([rows[:100], rows[100:200]])
    with monkeypatch.context() as patch:
        interrupt(patch, CellStore, "add", at_call=2)
        with pytest.raises(Interrupted):
            compressor.partial_fit(rows[200:])
    require(compressor.partial_fit(rows[200:]).finalize().compressed_, rows)


def test_an_interruption_while_it_is_looked_how_many_rows_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = rng(13).normal(size=(FIRST_ROWS, 2))
    compressor = taken_in([rows[:200]])
    with monkeypatch.context() as patch:
        interrupt(patch, incremental_module, "merge_duplicates")
        with pytest.raises(Interrupted):
            compressor.partial_fit(rows[200:])
    require(compressor.partial_fit(rows[200:]).finalize().compressed_, rows)


def test_an_interrupted_merge_of_batches_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rng(14).normal(size=(3000, 2))
    compressor, other = taken_in([rows[:1000]]), taken_in([rows[1000:1500], rows[1500:]])
    with monkeypatch.context() as patch:
        patch.setattr(incremental_module, "FIRST_ROWS", 2000)
        interrupt(patch, CellStore, "add", at_call=2)
        with pytest.raises(Interrupted):
            compressor.merge(other)
        patch.undo()
        patch.setattr(incremental_module, "FIRST_ROWS", 2000)
        require(compressor.merge(other).finalize().compressed_, rows)


@pytest.mark.parametrize("at_call", [1, 2])
def test_an_interrupted_finalize(monkeypatch: pytest.MonkeyPatch, at_call: int) -> None:
    """Of each cell, all has been reduced then or nothing."""
    rows = rng(15).normal(size=(3 * FIRST_ROWS, 2))
    compressor = taken_in([rows])
    with monkeypatch.context() as patch:
        patch.setattr(cell_store_module, "BATCH_ROWS", 100)
        interrupt(patch, cell_store_module, "reduce_groups", at_call=at_call)
        with pytest.raises(Interrupted):
            compressor.finalize()
    require(compressor.finalize().compressed_, rows)
    more = rng(16).normal(size=(FIRST_ROWS, 2))
    compressor.partial_fit(more)
    require(compressor.finalize().compressed_, np.concatenate([rows, more]))


def test_points_that_do_not_weigh_what_passed() -> None:
    """The final solve would give them the moments of all rows, and the certificate would hold."""
    rows = rng(17).normal(size=(2 * FIRST_ROWS, 2))
    compressor = taken_in([rows])
    assert compressor._batches is not None
    assert compressor._batches._accumulation is not None
    store = compressor._batches._accumulation.stream._store
    store.count[0] -= 1
    with pytest.raises(VerificationError, match="some were lost, or came twice"):
        compressor.finalize()


def test_first_rows_that_are_all_equal() -> None:
    """Cells are found on rows that differ: on equal ones there is one, which leaves few points."""
    rows = np.concatenate([np.zeros((5000, 3)), rng(18).normal(size=(20_000, 3))])
    compressor = taken_in(np.array_split(rows, 20), target=200).finalize()
    require(compressor.compressed_, rows, target=200)
    assert len(compressor.compressed_) == 200
    assert compressor.result_.notes == ()


def test_so_many_equal_rows_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the result says that it is smaller than it could be."""
    monkeypatch.setattr(incremental_module, "MOST_WAITING", 200_000)
    rows = np.concatenate([np.zeros((30_000, 3)), rng(19).normal(size=(20_000, 3))])
    compressor = taken_in(np.array_split(rows, 50), target=200).finalize()
    require(compressor.compressed_, rows, target=200)
    assert len(compressor.compressed_) < 200
    assert any("fewer than the target" in note for note in compressor.result_.notes)


def test_the_bytes_of_a_refused_batch_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would let the cells be found on the first rows, which are all equal."""
    monkeypatch.setattr(incremental_module, "MOST_WAITING", 600_000)
    rows = np.concatenate([np.zeros((5000, 3)), rng(45).normal(size=(20_000, 3))])
    compressor = MomentCompressor(3, 200, effort="low", threads=1)
    with pytest.raises(InputError, match="multiply all weights"):
        compressor.partial_fit(rows[5000:10_000], sample_weight=np.full(5000, 1e-310))
    for batch in np.array_split(rows, 20):
        compressor.partial_fit(batch)
    kept = compressor.finalize().compressed_
    require(kept, rows, target=200)
    assert len(kept) == 200


def test_what_waited_is_let_go() -> None:
    compressor = taken_in(np.array_split(rng(46).normal(size=(2 * FIRST_ROWS, 2)), 8))
    assert compressor._batches is not None
    assert compressor._batches._accumulation is not None
    assert compressor._batches._waiting == []


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_the_bytes_of_a_batch_are_no_fewer_than_it_takes(n: int) -> None:
    """Millions of batches of a row each take far more than their numbers."""
    batch = Batch(np.ones((n, 2), "f4"), np.ones((n, 2)), np.ones(n), np.arange(n), n)
    arrays = (batch.rows, batch.points, batch.weights, batch.index)
    assert batch.n_bytes >= sys.getsizeof(batch) + sum(map(sys.getsizeof, arrays))


def test_the_cells_keep_to_their_memory() -> None:
    compressor = taken_in([rng(47).normal(size=(FIRST_ROWS, 3))], k=6, target=8000)
    assert compressor._batches is not None
    assert compressor._batches._accumulation is not None
    assert 2**27 < compressor._batches._accumulation.stream.plan.memory <= 2**28


@pytest.mark.parametrize(("n", "reductions"), [(500, 0), (3 * FIRST_ROWS, 1)])
def test_cells_are_reduced_for_a_result_where_they_hold_many_points(
    n: int, reductions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reduce, calls = CellStream.reduce, []

    def noting(stream: CellStream, map_function: MapFunction) -> None:
        calls.append(len(stream))
        reduce(stream, map_function)

    monkeypatch.setattr(CellStream, "reduce", noting)
    rows = rng(48).normal(size=(n, 2))
    require(taken_in([rows]).finalize().compressed_, rows)
    assert len(calls) == reductions


def test_a_result_says_the_order_that_is_verified() -> None:
    rows = rng(49).normal(size=(3000, 2))
    assert verify_moments(rows, taken_in([rows]).finalize().compressed_).k == 3


def test_too_many_moments_for_batches() -> None:
    with pytest.raises(MemoryBudgetError, match="all rows at once to fit"):
        taken_in([rng(20).normal(size=(FIRST_ROWS, 3))], k=30, target=100_000)


def test_a_copy_takes_in_its_own_batches() -> None:
    rows = rng(21).normal(size=(1000, 2))
    compressor = taken_in([rows[:500]])
    copied = copy.copy(compressor).partial_fit(rows[500:])
    require(copied.finalize().compressed_, rows)
    require(compressor.finalize().compressed_, rows[:500])


def test_an_empty_first_batch_settles_no_columns() -> None:
    rows = rng(22).normal(size=(1000, 2))
    compressor = MomentCompressor(3, 60, effort="low").partial_fit([]).partial_fit(rows)
    require(compressor.finalize().compressed_, rows)


def test_a_fit_that_fails_leaves_no_older_result() -> None:
    compressor = MomentCompressor(3, 60).fit(rng(23).normal(size=(1000, 2)))
    with pytest.raises(InputError):
        compressor.fit(np.full((10, 2), np.nan))
    assert not hasattr(compressor, "compressed_")
    assert not hasattr(compressor, "result_")


@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_row_so_far_out_that_the_others_look_equal(m: int) -> None:
    """They are distinct all the same, and as many are kept as asked for."""
    rows = rng(24).normal(size=(3 * FIRST_ROWS, m))
    rows[-7] = 1e22
    kept = taken_in([rows[:FIRST_ROWS], rows[FIRST_ROWS:]]).finalize().compressed_
    require(kept, rows)
    assert len(kept) == 60


def test_batches_after_fit_are_refused() -> None:
    """The rows of ``fit`` are gone: a result without them would look like one of all."""
    rows = rng(40).normal(size=(3000, 2))
    compressor = MomentCompressor(2, 100, threads=1).fit(rows[:2000])
    before = compressor.compressed_
    with pytest.raises(UsageError, match=r"the rows of fit\(\) are gone"):
        compressor.partial_fit(rows[2000:])
    assert compressor.compressed_ is before
    again = MomentCompressor(2, 100, threads=1).partial_fit(rows[:2000]).finalize()
    again.partial_fit(rows[2000:]).finalize()
    assert again.compressed_.total_weight == pytest.approx(3000.0, rel=1e-14)
    assert again.fit(rows[:500]).compressed_.total_weight == pytest.approx(500.0, rel=1e-14)


@pytest.mark.parametrize("heavy", [1e290, 1e300, 1e303])
def test_batches_of_weights_of_very_different_sizes(heavy: float) -> None:
    first, second = rng(41).normal(size=(2, 6000, 2))
    weights = np.concatenate([np.ones(6000), np.full(6000, heavy)])
    rows = np.concatenate([first, second])
    one = MomentCompressor(3, 60, threads=1).partial_fit(first)
    other = MomentCompressor(3, 60, threads=1).partial_fit(second, sample_weight=weights[6000:])
    merged = copy.deepcopy(one).merge(other)
    for compressor in (one.partial_fit(second, sample_weight=weights[6000:]), merged):
        kept = compressor.finalize().compressed_
        assert max(verify_moments(rows, kept, 3, weights=weights).error[:4]) < 1e-13


def test_a_batch_whose_sums_overflow_is_refused_whole() -> None:
    rows = rng(42).normal(size=(6000, 2))
    compressor = MomentCompressor(3, 60, threads=1)
    for weight in (1e-3, 1e305 / 6000.0):  # in units of the first
        compressor.partial_fit(rows, sample_weight=np.full(6000, weight))
    with pytest.raises(InputError, match="more than float64 can hold"):
        compressor.partial_fit(rows, sample_weight=np.full(6000, 1e306 / 6000.0))
    assert compressor.finalize().compressed_.total_weight == pytest.approx(1e305, rel=1e-14)


def test_rows_that_weigh_nothing_are_not_counted_however_they_come() -> None:
    rows = rng(44).normal(size=(8000, 2))
    weights = np.ones(8000)
    weights[4000:] = 1e-295
    result = MomentCompressor(3, 60, threads=1).partial_fit(rows, sample_weight=weights)
    assert result.finalize().result_.n_points == 4000
    apart = MomentCompressor(3, 60, threads=1)
    for part in (slice(4000, 4100), slice(0, 4000), slice(4100, 8000)):
        apart.partial_fit(rows[part], sample_weight=weights[part])
    assert apart.finalize().result_.n_points == 4000
    other = MomentCompressor(3, 60, threads=1).partial_fit(rows, sample_weight=weights)
    merged = apart.merge(other).finalize()
    assert merged.result_.n_points == 8000
    assert merged.compressed_.total_weight == pytest.approx(8000.0)


def test_a_first_batch_in_which_nothing_counts_is_one_of_numbers() -> None:
    compressor = MomentCompressor(2, 20)
    with pytest.raises(InputError, match="X has dtype <U1"):
        compressor.partial_fit(np.array([["a", "b"]]), sample_weight=[0.0])
    rows = rng(3).normal(size=(100, 2))
    compressor.partial_fit(rows, sample_weight=np.zeros(100))
    kept = compressor.partial_fit(rows).finalize().compressed_
    assert kept.index.min() >= 100
    assert kept.points.tobytes() == rows[kept.index - 100].tobytes()
