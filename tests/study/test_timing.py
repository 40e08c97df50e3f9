"""One cell of the bench: what is timed is checked."""

from dataclasses import replace

import numpy as np
import pytest

from momentc.errors import RequestError
from momentc.study.baselines import BASELINES, why_not
from momentc.study.timing import BenchCell, BenchSetting, measure_cell, plan_bench


def test_cells_follow_the_rule_or_the_list() -> None:
    cells, skipped = plan_bench([1, 5], [5], [1000], [], 0.1, [1, 2])
    assert [(c.m, c.target, c.threads) for c in cells] == [
        (1, 100, 1), (1, 100, 2), (5, 252, 1), (5, 252, 2)
    ]  # fmt: skip
    assert skipped == ()
    cells, skipped = plan_bench([3], [5], [1000], [20, 500, 1000], None, [1])
    assert [c.target for c in cells] == [500]
    assert len(skipped) == 2
    assert plan_bench([3], [5], [1000], [], None, [1])[0][0].target == 56
    with pytest.raises(RequestError, match="nothing to time"):
        plan_bench([3], [5], [50], [], None, [1])
    cells, skipped = plan_bench([1], [3, 20_000], [30_000], [], None, [1, 2])
    assert {c.k for c in cells} == {3}
    assert len(skipped) == 1


def test_keys_tell_all_cells_apart() -> None:
    cell = BenchCell(2, 2, 300, 30, 1)
    others = [replace(cell, **{name: 9}) for name in ("m", "k", "d", "target", "threads")]
    assert len({cell.key, *(other.key for other in others)}) == 6


def test_a_cell_is_timed_and_verified() -> None:
    cell = BenchCell(2, 2, 300, 6, 1)
    setting = BenchSetting(2, "normal", 0, 1e-10, ("svd", "paper"))
    record = measure_cell((cell, setting))
    assert record["ok"]
    assert record["moment_error"] < 1e-13
    assert 0.0 < record["seconds"] <= record["median"]
    assert record["objects_per_second"] == pytest.approx(300 / record["seconds"])
    assert sum(record["stages"].values()) <= record["seconds"] * 1.01
    assert record["peak_memory"] > 1e7
    assert record["baselines"]["svd"]["ok"]
    assert record["baselines"]["paper"]["n_kept"] == 6


def test_a_wrong_result_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(points: object, weights: object, k: int, target: int) -> object:
        return np.arange(target), np.full(target, 300.0 / target)

    monkeypatch.setitem(BASELINES, "svd", wrong)
    setting = BenchSetting(1, "normal", 0, 1e-10, ("svd",))
    record = measure_cell((BenchCell(2, 2, 300, 30, 1), setting))
    assert record["ok"]
    assert not record["baselines"]["svd"]["ok"]
    assert record["baselines"]["svd"]["moment_error"] > 1e-3


def test_baselines_say_why_they_do_not_run() -> None:
    assert why_not("svd", BenchCell(5, 5, 100_000, 1000, 1), 1) == "too slow for this size"
    # Many cheap steps, and many runs, take as long as dear ones.
    assert why_not("svd", BenchCell(1, 1, 100_000, 2, 1), 1) is None
    assert why_not("svd", BenchCell(1, 1, 1_000_000, 2, 1), 1) == "too slow for this size"
    assert why_not("svd", BenchCell(1, 1, 100_000, 2, 1), 5) == "too slow for this size"
    assert why_not("svd", BenchCell(3, 5, 10_000, 56, 1), 3) is None
    assert why_not("pyrecombine", BenchCell(2, 2, 100, 50, 1), 3) == "only for target = C(m+k, k)"
    assert why_not("pyrecombine", BenchCell(2, 2, 100, 6, 1), 3) is None


def test_pyrecombine_where_it_is_installed() -> None:
    pytest.importorskip("pyrecombine")
    setting = BenchSetting(1, "normal", 0, 1e-10, ("pyrecombine",))
    record = measure_cell((BenchCell(2, 2, 300, 6, 1), setting))
    assert record["baselines"]["pyrecombine"]["ok"]
