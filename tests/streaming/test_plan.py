"""The plan of a stream: within its budget, or a figure that says what is missing."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from momentc.errors import MemoryBudgetError
from momentc.moments.multi_index import product_plan
from momentc.streaming.cell_store import LEAST_CELL, CellStore
from momentc.streaming.plan import (
    BLOCK_BYTES,
    BLOCK_COPIES,
    BLOCK_ROW_BYTES,
    BLOCK_SHARE,
    LEAST_BLOCK_ROWS,
    LEAST_LEFT,
    LEAST_SAMPLE,
    LEFT_COPIES,
    LEFT_ROW_BYTES,
    MOST_CELL,
    RESTORED,
    TABLEAUS,
    StreamPlan,
    plan_stream,
)
from momentc.text import format_bytes

MIB = 2**20

# A million pixels of three bytes and more; the budget is for the test to choose.
USUAL: dict[str, Any] = {
    "row_bytes": 24, "n_raw": 24, "n_variables": 3, "n_moments": 56, "target": 1000,
}  # fmt: skip


@st.composite
def sizes(draw: st.DrawFn) -> dict[str, Any]:
    n_variables = draw(st.integers(0, 40))
    row_bytes = max(1, n_variables) * draw(st.sampled_from((1, 4, 8, 80)))
    return {
        "row_bytes": row_bytes,
        "n_raw": draw(st.integers(0, row_bytes)),
        "n_variables": n_variables,
        "n_moments": draw(st.integers(1, 800)),
        "target": draw(st.integers(1, 20_000)),
        "n_rows": draw(st.none() | st.integers(1, 10**10)),
    }


def planned(size: dict[str, Any], budget: int) -> StreamPlan | None:
    try:
        return plan_stream(**size, budget=budget)
    except MemoryBudgetError:
        return None


def least_budget(size: dict[str, Any]) -> int:
    """Return the least budget for which there is a plan."""
    too_little, enough = 0, 1 << 50
    while enough - too_little > 1:
        middle = (too_little + enough) // 2
        if planned(size, middle) is None:
            too_little = middle
        else:
            enough = middle
    return enough


@settings(max_examples=100)
@given(size=sizes(), budget=st.integers(0, 1 << 34))
def test_a_plan_keeps_to_its_budget(size: dict[str, Any], budget: int) -> None:
    plan = planned(size, max(budget, least_budget(size)))
    assert plan is not None
    assert plan.memory <= max(budget, least_budget(size))
    assert plan.left == plan.n_cells * size["n_moments"] >= LEAST_LEFT * size["target"]
    assert plan.block_rows >= 64
    assert plan.sample_rows >= plan.n_cells
    slots = plan.n_cells * size["n_moments"]
    assert LEAST_CELL * slots <= plan.slots <= MOST_CELL * slots


@given(size=sizes())
def test_the_least_budget_is_used_up(size: dict[str, Any]) -> None:
    plan = planned(size, least_budget(size))
    assert plan is not None
    assert plan.memory == least_budget(size)


@settings(max_examples=100)
@given(size=sizes(), low=st.integers(0, 1 << 34), more=st.integers(0, 1 << 33))
def test_more_memory_is_never_worse(size: dict[str, Any], low: int, more: int) -> None:
    first, second = planned(size, low), planned(size, low + more)
    if first is None:
        return
    assert second is not None
    assert second.slots >= first.slots
    assert second.memory >= first.memory
    assert second.cell_rows(second.n_cells, size["n_moments"]) >= first.cell_rows(
        first.n_cells, size["n_moments"]
    )


@settings(max_examples=100)
@given(size=sizes(), budget=st.integers(0, 1 << 27))
def test_blocks_and_the_sample_are_small_beside_the_budget(
    size: dict[str, Any], budget: int
) -> None:
    budget = max(budget, least_budget(size))
    plan = planned(size, budget)
    assert plan is not None
    row, m = size["row_bytes"], size["n_variables"]
    block_row = row + BLOCK_COPIES * 8 * m + BLOCK_ROW_BYTES
    assert plan.block_rows <= max(LEAST_BLOCK_ROWS, BLOCK_BYTES // row)
    assert plan.block_rows * block_row <= max(LEAST_BLOCK_ROWS * block_row, budget / BLOCK_SHARE)
    assert plan.sample_rows <= max(2 * plan.n_cells, budget / 2 / (row + 3 * 8 * m))


@given(size=sizes(), budget=st.integers(0, 1 << 34))
def test_all_that_takes_memory_is_counted(size: dict[str, Any], budget: int) -> None:
    plan = planned(size, max(budget, least_budget(size)))
    assert plan is not None
    m, n_raw = size["n_variables"], size["n_raw"]
    tableaus = TABLEAUS * 8 * size["n_moments"] ** 2
    assert plan.memory >= tableaus + RESTORED * plan.slots * (8 * m + 16 + n_raw)
    left = plan.left * (LEFT_COPIES * 8 * m + LEFT_ROW_BYTES + 2 * n_raw)
    assert plan.memory >= tableaus + left


def test_the_sample_has_rows_for_every_cell() -> None:
    few, many = planned(USUAL, 1000 * MIB), planned(USUAL | {"target": 50_000}, 10_000 * MIB)
    assert few is not None
    assert many is not None
    assert few.sample_rows == LEAST_SAMPLE > 24 * few.n_cells
    assert many.sample_rows == 24 * many.n_cells > LEAST_SAMPLE


def test_memory_that_is_there_is_used() -> None:
    plans = [planned(USUAL, mib * MIB) for mib in (80, 100, 150, 1000)]
    slots = [plan.slots for plan in plans if plan is not None]
    assert len(slots) == 4
    assert slots == sorted(slots)
    assert slots[0] < slots[1] < slots[2]
    most = plans[-1]
    assert most is not None
    assert most.slots == most.n_cells * MOST_CELL * 56, "beyond that, longer buffers gain nothing"


@given(size=sizes(), budget=st.integers(0, 1 << 34), ratio=st.floats(0.01, 1.06))
def test_the_rows_of_a_cell(size: dict[str, Any], budget: int, ratio: float) -> None:
    """However many cells were found, each has room for a reduction, and no more than helps."""
    plan = planned(size, max(budget, least_budget(size)))
    assert plan is not None
    n_moments = size["n_moments"]
    n_cells = max(1, int(plan.n_cells * ratio))
    rows = plan.cell_rows(n_cells, n_moments)
    assert LEAST_CELL * n_moments <= rows <= MOST_CELL * n_moments
    if rows > LEAST_CELL * n_moments:
        assert rows * n_cells <= plan.slots
        more = (rows + 1) * n_cells
        assert more > plan.slots or rows == MOST_CELL * n_moments


@pytest.mark.parametrize("n_raw", [0, 3, 24])
@pytest.mark.parametrize("mib", [70, 100])
def test_the_arrays_of_the_cells_fit(n_raw: int, mib: int) -> None:
    plan = planned(USUAL | {"n_raw": n_raw}, mib * MIB)
    assert plan is not None
    rows = plan.cell_rows(plan.n_cells, 56)
    store = CellStore(plan.n_cells, rows, product_plan(3, 5), n_raw)
    arrays = (value for value in vars(store).values() if hasattr(value, "nbytes"))
    assert sum(array.nbytes for array in arrays) <= plan.memory


@pytest.mark.parametrize("n_raw", [3, 24])
@pytest.mark.parametrize("target", [5000, 50_000])
def test_too_little_memory_is_an_error_with_figures(target: int, n_raw: int) -> None:
    size = USUAL | {"target": target, "n_raw": n_raw}
    with pytest.raises(MemoryBudgetError) as caught:
        plan_stream(**size, budget=2 * MIB)
    message = str(caught.value)
    needed = -(-caught.value.needed // MIB)
    assert f"need about {format_bytes(caught.value.needed)} of memory" in message
    assert "the budget leaves 2 MiB" in message
    assert f"for {target} points with 56 moments" in message
    assert "--memory" in message
    assert planned(size, needed * MIB) is not None
    assert planned(size, (needed - 1) * MIB) is None


def test_no_memory_at_all() -> None:
    with pytest.raises(MemoryBudgetError, match="the budget leaves 0 B"):
        plan_stream(**USUAL, budget=-3)


@pytest.mark.parametrize("budget", [600 * MIB, 6000 * MIB])
def test_few_rows_need_few_slots(budget: int) -> None:
    """And nothing else changes: all parts of a job have the same cells and the same sample."""
    whole = plan_stream(**USUAL, budget=budget)
    part = plan_stream(**USUAL, budget=budget, n_rows=50_000)
    assert part.slots < whole.slots / 4
    assert part.slots >= 4 * 50_000
    assert part.memory <= whole.memory
    assert replace(part, slots=whole.slots, memory=whole.memory) == whole
    assert plan_stream(**USUAL, budget=budget, n_rows=10**9) == whole
