"""Buffers of the cells: bounded, each keeps its moments, whole rows come along."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import VerificationError
from momentc.groups import Groups
from momentc.moments.multi_index import product_plan
from momentc.reduction.groups import reduce_groups
from momentc.streaming import cell_store as cell_store_module
from momentc.streaming.cell_store import LEAST_CELL, CellStore
from tests import oracle
from tests.streaming.streams import as_bytes
from tests.tolerances import set_tolerance

Array = NDArray[np.float64]

M, K = 2, 2
PLAN = product_plan(M, K)
N = PLAN.n_moments
LEAST = LEAST_CELL * N


def rows(n: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (n, M)), rng.uniform(0.1, 1.0, n)


def put(
    store: CellStore, local: Array, weights: Array, cells: Any, first: int = 0, width: int = 0
) -> None:
    n = len(local)
    store.add(
        local,
        weights,
        np.arange(first, first + n),
        np.zeros((n, width), dtype=np.uint8),
        np.broadcast_to(cells, n).astype(np.int64),
    )


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    blocks=st.lists(st.integers(0, 150), min_size=1, max_size=8),
    n_cells=st.integers(1, 5),
    more=st.integers(0, 3 * N),
)
def test_no_cell_holds_more_than_its_slots_and_each_keeps_its_moments(
    seed: int, blocks: list[int], n_cells: int, more: int
) -> None:
    n = sum(blocks)
    local, weights = rows(n, seed)
    cells = np.random.default_rng(seed).integers(0, n_cells, n) ** 2 // n_cells  # uneven
    store = CellStore(n_cells, LEAST + more, PLAN, 0)
    first = 0
    for size in blocks:
        own = slice(first, first + size)
        put(store, local[own], weights[own], cells[own], first)
        first += size
        assert np.all(store.count <= LEAST + more)
        assert np.all(store.settled <= store.count)
        assert len(store) == store.count.sum() <= n_cells * (LEAST + more)
    for _ in range(2):
        kept, kept_weights, index, _ = store.points()
        assert np.all(np.diff(index) > 0)
        assert kept.tobytes() == local[index].tobytes()
        for cell in np.unique(cells).tolist():
            mine, left = cells == cell, cells[index] == cell
            gap = oracle.frame_gap(local[mine], weights[mine], kept[left], kept_weights[left], K)
            assert gap <= 1e-14
        store.reduce_all()
        assert np.all(store.count <= N)
        assert np.all(store.settled <= store.count)


def test_a_full_cell_waits_for_the_next_row() -> None:
    store = CellStore(2, LEAST, PLAN, 0)
    local, weights = rows(LEAST + 1)
    put(store, local[:LEAST], weights[:LEAST], 1)
    assert store.count.tolist() == [0, LEAST]
    assert store.settled.tolist() == [0, 0]
    put(store, local[LEAST:], weights[LEAST:], 1, LEAST)
    assert store.count.tolist() == [0, N + 1]
    assert store.settled.tolist() == [0, N]


def test_settled_points_rest_until_they_fill_half_of_the_cell() -> None:
    """Rows come one by one: N more points settle each time, then all are reduced together."""
    cell_rows = 8 * N
    store = CellStore(1, cell_rows, PLAN, 0)
    local, weights = rows(60 * N)
    settled = [0]
    front: bytes = b""
    for row in range(60 * N):
        put(store, local[row : row + 1], weights[row : row + 1], 0, row)
        now = int(store.settled[0])
        if now == settled[-1]:
            continue
        rested = store.weights[: settled[-1]].tobytes()
        assert (rested == front) == (now > settled[-1])
        settled.append(now)
        front = store.weights[:now].tobytes()
    # The room for fresh rows shrinks from 8 N to 4 N, and then all of it is theirs again.
    assert settled[:9] == [0, N, 2 * N, 3 * N, 4 * N, N, 2 * N, 3 * N, 4 * N]


def test_points_of_a_cell_stay_in_their_order() -> None:
    store = CellStore(1, LEAST, PLAN, 0)
    local, weights = rows(10 * LEAST)
    put(store, local, weights, 0)
    assert np.all(np.diff(store.index[: store.count[0]]) > 0)


def test_points_come_by_their_number_from_all_cells() -> None:
    store = CellStore(3, LEAST, PLAN, 0)
    local, weights = rows(30)
    put(store, local, weights, np.arange(30) % 3)
    kept, kept_weights, index, raw = store.points()
    assert index.tolist() == list(range(30))
    assert kept.tobytes() == local.tobytes()
    assert kept_weights.tobytes() == weights.tobytes()
    assert raw.shape == (30, 0)


@pytest.mark.parametrize("width", [0, 1, 2, 3, 8, 12, 24])
def test_rows_of_any_width_come_along(width: int) -> None:
    n = 10 * LEAST
    local, weights = rows(n)
    raw = np.random.default_rng(1).integers(0, 256, (n, width)).astype(np.uint8)
    cells = np.arange(n) % 3
    store = CellStore(3, LEAST, PLAN, width)
    for own in (slice(0, 7), slice(7, 7), slice(7, n)):
        store.add(local[own], weights[own], np.arange(n)[own], raw[own], cells[own])
    store.reduce_all()
    kept, _, index, kept_raw = store.points()
    assert len(index) == 3 * N
    assert kept.tobytes() == local[index].tobytes()
    assert kept_raw.dtype == np.uint8
    assert kept_raw.shape == (3 * N, width)
    assert kept_raw.tobytes() == raw[index].tobytes()


def test_no_variables() -> None:
    """One point a cell carries all there is: its mass."""
    store = CellStore(1, 4, product_plan(0, 3), 8)
    weights = rows(50)[1]
    raw = np.arange(400, dtype=np.uint64).view(np.uint8).reshape(-1, 8)[:50]
    index, cells = np.arange(50), np.zeros(50, dtype=np.int64)
    store.add(np.empty((50, 0)), weights, index, raw, cells)
    store.reduce_all()
    kept, kept_weights, index, kept_raw = store.points()
    assert kept.shape == (1, 0)
    assert kept_weights[0] == pytest.approx(weights.sum(), rel=1e-15)
    assert kept_raw.tobytes() == raw[index].tobytes()


def test_equal_points_leave_room() -> None:
    store = CellStore(1, LEAST, PLAN, 0)
    put(store, np.full((1000, M), 0.25), np.ones(1000), 0)
    store.reduce_all()
    _, weights, _, _ = store.points()
    assert len(weights) <= N
    assert weights.sum() == pytest.approx(1000.0, rel=1e-14)


def test_cells_of_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=f"{LEAST - 1} rows a cell .* {N} moments"):
        CellStore(1, LEAST - 1, PLAN, 0)


def test_a_cell_that_cannot_be_reduced_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    set_tolerance(monkeypatch, "group_tolerance", 1e-40)
    store = CellStore(2, LEAST, PLAN, 0)
    local, weights = rows(LEAST + 1)
    put(store, local[:LEAST], weights[:LEAST], 0)
    with pytest.raises(
        VerificationError, match=rf"a cell of {LEAST} points .* lower k .* --memory"
    ):
        put(store, local[LEAST:], weights[LEAST:], 0, LEAST)


def test_cells_that_cannot_be_reduced_at_the_end_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_tolerance(monkeypatch, "group_tolerance", 1e-40)
    store = CellStore(1, LEAST, PLAN, 0)
    local, weights = rows(LEAST)
    put(store, local, weights, 0)
    store.reduce_all()
    kept, kept_weights, _, _ = store.points()
    assert kept.tobytes() == local.tobytes()
    assert kept_weights.tobytes() == weights.tobytes()


def test_fresh_rows_that_do_not_go_alone_go_with_the_settled_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def only_full_cells(points: Array, weights: Array, groups: Groups, *rest: Any) -> int:
        asked.extend(groups.sizes.tolist())
        return reduce_groups(points, weights, groups, *rest) if groups.sizes[0] == 8 * N else 0

    store = CellStore(1, 8 * N, PLAN, 0)
    local, weights = rows(40 * N)
    monkeypatch.setattr(cell_store_module, "reduce_groups", only_full_cells)
    put(store, local, weights, 0)
    assert 7 * N in asked
    kept, kept_weights, _, _ = store.points()
    assert oracle.frame_gap(local, weights, kept, kept_weights, K) <= 1e-14
    assert len(store) <= 8 * N


def test_a_state_is_taken_over_whole() -> None:
    local, weights = rows(500)
    cells = np.arange(500) % 3
    store, other = CellStore(3, LEAST, PLAN, 0), CellStore(3, LEAST, PLAN, 0)
    put(store, local[:300], weights[:300], cells[:300])
    put(other, local[450:], weights[450:], cells[450:], 450)
    other.restore(store.state())
    for each in (store, other):
        put(each, local[300:], weights[300:], cells[300:], 300)
    assert as_bytes(store.points()) == as_bytes(other.points())
    assert np.array_equal(store.settled, other.settled)


def test_a_state_in_runs_is_the_same_and_takes_no_memory() -> None:
    """A checkpoint of buffers that fill the budget must not need half of it again."""
    local, weights = rows(500)
    store = CellStore(3, LEAST, PLAN, 0)
    put(store, local, weights, np.arange(500) % 3)
    runs, state = store.runs(), store.state()
    assert list(runs) == list(state)
    for name, array in state.items():
        assert (runs[name].dtype, runs[name].shape) == (array.dtype, array.shape)
        assert b"".join(part.tobytes() for part in runs[name]) == array.tobytes()
        assert all(np.shares_memory(part, runs[name].array) for part in runs[name] if part.size)


def test_many_full_cells_are_reduced_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which bounds the list of their points, and changes nothing else."""
    local, weights = rows(20 * (LEAST + 1))
    cells = np.arange(len(local)) % 20
    whole, in_batches = CellStore(20, LEAST, PLAN, 0), CellStore(20, LEAST, PLAN, 0)
    put(whole, local, weights, cells)
    sizes = []

    def noting(points: Array, weights: Array, groups: Groups, *rest: Any) -> int:
        sizes.append(len(groups.members))
        return reduce_groups(points, weights, groups, *rest)

    monkeypatch.setattr(cell_store_module, "reduce_groups", noting)
    monkeypatch.setattr(cell_store_module, "BATCH_ROWS", 3 * LEAST)
    put(in_batches, local, weights, cells)
    assert sizes == [3 * LEAST] * 6 + [2 * LEAST]
    assert as_bytes(in_batches.points()) == as_bytes(whole.points())
