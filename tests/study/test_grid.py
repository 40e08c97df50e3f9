"""The planner: which cells, in which slices, and what is said of the rest."""

from dataclasses import replace
from typing import Any

import pytest

from momentc.errors import RequestError, UsageError
from momentc.study.grid import (
    Cell,
    cost_of,
    cut_for_task,
    part_of,
    plan_file,
    plan_polylog,
    plan_synthetic,
)
from momentc.study.synthetic import polylog_setting


def test_methods_without_an_order_stand_once_for_each_target() -> None:
    plan = plan_file(2, 1000, 2, [1, 2, 3], [50, 100], ["momentc", "random"], 2)
    assert len(plan.cells) == 2 * 2 * (3 + 1)
    assert {cell.k for cell in plan.cells if cell.method == "random"} == {0}


def test_what_cannot_be_is_left_out_and_said() -> None:
    plan = plan_file(3, 1000, 3, [2, 5], [20, 60, 1000], ["momentc"], 1)
    assert [(cell.k, cell.target) for cell in plan.cells] == [(2, 20), (2, 60), (5, 60)]
    assert (
        "k = 5 in 3 columns has 56 moments, too many for target 20; k = 3 is the largest that will "
        "do" in plan.skipped
    )
    assert "target 1000 keeps all 1000 rows: nothing to measure" in plan.skipped
    plan = plan_file(2, 1000, 2, range(1, 10_001), [50], ["momentc"], 1)
    assert plan.skipped == (
        "k = 9 .. 10000 in 2 columns has 55 moments or more, too many for target 50; k = 8 is the "
        "largest that will do",
    )


def test_no_target_helps_where_there_are_too_many_moments() -> None:
    said = (
        "k = 20000 in 1 column has 20001 moments, and more than 20000 cannot be worked with; "
        "k = 19999 is the largest that will do"
    )
    plan = plan_file(1, 30_000, 1, [3, 20_000], [25_000], ["momentc"], 1)
    assert ([cell.k for cell in plan.cells], plan.skipped) == ([3], (said,))
    for targets, fraction in (([25_000], None), ([], 0.9)):
        synthetic = plan_synthetic(
            "uniform", [1], [30_000], [3, 20_000], targets, fraction, ["momentc"], 1
        )
        assert ([cell.k for cell in synthetic.cells], synthetic.skipped) == ([3], (said,))


def test_a_part_is_that_of_the_decimal_fraction() -> None:
    assert [part_of(0.29, 100), part_of(0.1, 1999), part_of(0.57, 100)] == [29, 199, 57]


def test_the_rank_counts_and_not_the_columns() -> None:
    plan = plan_file(30, 1000, 1, [9], [20], ["momentc"], 1)
    assert [cell.k for cell in plan.cells] == [9]


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(RequestError, match="nothing to scan: k = 9 in 3 columns has 220"):
        plan_file(3, 1000, 3, [9], [20], ["momentc"], 1)


def test_the_paper_keeps_a_tenth_but_never_too_few() -> None:
    plan = plan_synthetic("uniform", [5], [1000, 4000], [5], [], 0.1, ["momentc"], 1)
    assert [(cell.d, cell.target) for cell in plan.cells] == [(1000, 252), (4000, 400)]


def test_a_baseline_serves_all_orders_of_the_same_target() -> None:
    plan = plan_synthetic("uniform", [2], [1000], [1, 2, 3], [], 0.1, ["momentc", "kmeans"], 1)
    assert [cell.method for cell in plan.cells].count("kmeans") == 1


def test_polylog_targets_are_those_of_the_paper() -> None:
    plan = plan_polylog("uniform", [1, 2], [1000, 64_000], [5], ["momentc"], 1)
    found = {(cell.m, cell.d): cell.target for cell in plan.cells}
    assert [polylog_setting(m, 1000)[1] for m in (1, 2)] == [1.05, 2.05]
    assert found == {(1, 1000): 828, (1, 64_000): 1327, (2, 1000): 954, (2, 64_000): 2449}
    assert (
        max(cell.k for cell in plan_polylog("uniform", [1], [1000], [], ["momentc"], 1).cells) == 60
    )
    with pytest.raises(UsageError, match="--m 1 and 2"):
        plan_polylog("uniform", [3], [1000], [5], ["momentc"], 1)


def test_tasks_share_the_cells_without_loss_or_overlap() -> None:
    cells = plan_synthetic("uniform", [1, 2, 3], [500, 1000], [1, 2, 3], [], 0.1,
                           ["momentc", "paper"], 3).cells  # fmt: skip
    slices = [cut_for_task(cells, (i, 4)) for i in range(1, 5)]
    assert sorted(cell.key for part in slices for cell in part) == sorted(c.key for c in cells)
    costs = [sum(map(cost_of, part)) for part in slices]
    assert max(costs) < 1.5 * min(costs)
    assert cut_for_task(cells[::-1], (2, 4)) == slices[1]


def test_keys_tell_all_cells_apart() -> None:
    cell = Cell("file", 2, 100, "momentc", 3, 10, 0)
    changes: list[dict[str, Any]] = [
        {"source": "uniform"}, {"m": 3}, {"d": 101}, {"method": "paper"}, {"k": 4}, {"target": 11},
        {"trial": 1},
    ]  # fmt: skip
    assert {name for change in changes for name in change} == cell.as_json().keys()
    assert len({cell.key, *(replace(cell, **change).key for change in changes)}) == 8


def test_moments_that_nobody_can_count() -> None:
    with pytest.raises(RequestError, match="has about 1e12039 moments"):
        plan_synthetic("uniform", [20_000], [1000], [20_000], [], 0.1, ["momentc"], 1)
