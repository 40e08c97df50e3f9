"""Fits, means, ratios and advice, on made-up records."""

import math
from typing import Any

import pytest

from momentc.study.bench_summary import (
    memory_growth,
    speedups,
    time_exponents,
    wrong_baselines,
)
from momentc.study.fit import fit_power, theory_exponent
from momentc.study.run import TimeLeft
from momentc.study.summary import exponents, means, polylog_rows, ratios, recommend
from momentc.study.table import records_to_csv


def record(**changes: Any) -> dict[str, Any]:
    error = changes.pop("error", 1e-6)
    made = {
        "source": "uniform", "m": 2, "d": 1000, "method": "momentc", "k": 3, "target": 100,
        "trial": 0, "seconds": 0.5, "n_kept": 100, "kept_order": 4,
        "moment_error": [0.0, 1e-17, 2e-17, 1e-16, 3e-17, 1e-5, 2e-5],
        "errors": {"eq13": {"rms": error, "mean_abs": error, "worst": error},
                   "relu": {"rms": 1e-3, "mean_abs": 5e-4, "worst": 2e-3}},
    }  # fmt: skip
    return made | changes


def test_a_power_law_is_found_with_its_uncertainty() -> None:
    x = [1e3, 2e3, 4e3, 8e3, 16e3]
    law = fit_power(x, [5.0 * v**-2.5 for v in x])
    assert law is not None
    assert law.exponent == pytest.approx(-2.5)
    assert law.standard_error < 1e-12
    assert law(3e3) == pytest.approx(5.0 * 3e3**-2.5)
    noisy = fit_power(x, [v**-1.0 * f for v, f in zip(x, (1.1, 0.9, 1.0, 1.1, 0.9), strict=True)])
    assert noisy is not None
    assert abs(noisy.exponent + 1.0) < 2.0 * noisy.standard_error < 0.2


def test_rounding_and_too_few_points_are_not_fitted() -> None:
    assert fit_power([1, 2, 4], [1e-3, 1e-5, 1e-16], 1e-14) is None
    assert fit_power([1, 1, 1], [1e-3, 1e-5, 1e-6]) is None
    assert theory_exponent(2, 3, "bumps") == 2.5
    assert theory_exponent(2, 3, "relu") is None
    assert theory_exponent(2, 0, "bumps") is None
    assert theory_exponent(0, 3, "bumps") is None


def test_means_over_trials_and_the_worst_matched_moment() -> None:
    (row,) = means([record(error=1e-6), record(error=3e-6, trial=1), record(failed="no", trial=2)])
    assert row["trials"] == 2
    assert row["errors"]["eq13"]["mean_abs"] == pytest.approx(2e-6)
    assert row["errors"]["eq13"]["std"] == pytest.approx(1e-6)
    assert row["moment_error"] == 1e-16


def test_of_several_trials_the_least_order_and_the_most_points_are_named() -> None:
    trials = [record(kept_order=kept, n_kept=n) for kept, n in ((5, 99), (4, 100), (6, 98))]
    (row,) = means(trials)
    assert (row["kept_order"], row["n_kept"]) == (4, 100)


def test_exponents_are_those_of_the_mean_absolute_error() -> None:
    def errors(d: int) -> dict[str, dict[str, float]]:
        return {"eq13": {"rms": d**-1.0, "mean_abs": d**-2.0, "worst": d**-0.5}}

    rows = means(record(d=d, target=d // 10, errors=errors(d)) for d in (1000, 2000, 4000))
    assert [row["exponent"] for row in exponents(rows, 0.1)] == pytest.approx([2.0])


def test_exponents_stand_beside_the_theory() -> None:
    rows = means(record(d=d, target=d // 10, error=d**-2.0) for d in (1000, 2000, 4000, 8000))
    found = {row["family"]: row for row in exponents(rows, 0.1)}
    assert found["eq13"]["exponent"] == pytest.approx(2.0)
    assert (found["eq13"]["theory"], found["eq13"]["along"]) == (2.5, "d")
    assert found["relu"]["theory"] is None, "it is for smooth functions"
    assert exponents(rows, 0.1, rank=1)[0]["theory"] == 4.5, "a column that depends on the other"
    assert exponents(rows, 0.1, rank=0)[0]["theory"] is None
    rows = means(record(target=n, error=n**-3.0) for n in (100, 200, 400))
    assert exponents(rows)[0]["along"] == "target"


def test_what_keeps_more_than_the_fraction_is_no_point_of_the_line() -> None:
    """Where C(m+k, k) is more than the fraction: also of the methods that know no order."""
    sizes = (500, 1000, 2000, 4000)
    rows = means(
        record(d=d, method=method, k=k, target=max(d // 10, 84), error=d**-2.0 if d > 900 else 1.0)
        for d in sizes
        for method, k in (("momentc", 6), ("random", 0))
    )
    assert [row["exponent"] for row in exponents(rows, 0.1)][::2] == pytest.approx([2.0, 2.0])
    assert {row["points"] for row in exponents(rows, 0.1)} == {3}


def test_given_targets_are_lines_of_their_own() -> None:
    rows = means(
        record(d=d, target=n, error=1e4 * d**-2.0 * n**-3.0)
        for d in (1000, 2000, 4000, 8000) for n in (50, 100, 400)
    )  # fmt: skip
    found = [row for row in exponents(rows) if row["family"] == "eq13"]
    assert [(row["along"], row["target"], row["d"]) for row in found] == [
        ("d", n, None) for n in (50, 100, 400)
    ]
    assert [row["exponent"] for row in found] == pytest.approx([2.0] * 3)
    assert {row["theory"] for row in found} == {None}, "it is for a fixed fraction"
    rows = [row for row in rows if row["d"] > 2000]
    found = [row for row in exponents(rows) if row["family"] == "eq13"]
    assert [(row["along"], row["target"], row["d"]) for row in found] == [
        ("target", None, d) for d in (4000, 8000)
    ]
    assert [row["exponent"] for row in found] == pytest.approx([3.0] * 2)


def test_ratios_compare_equal_cells_only() -> None:
    rows = means(
        [
            record(error=1e-8), record(method="paper", error=1e-6),
            record(k=4, error=1e-9), record(method="kmeans", k=0, error=1e-5),
            record(method="paper", k=9, error=1.0), record(method="paper", k=4, error=1e-15),
        ]
    )  # fmt: skip
    found = {(row["other"], row["family"]): row for row in ratios(rows)}
    assert found["paper", "eq13"]["geometric_mean"] == pytest.approx(1e-2)
    assert found["paper", "eq13"]["cells"] == 1
    assert found["kmeans", "eq13"]["cells"] == 2
    assert found["kmeans", "eq13"]["worst"] == pytest.approx(1e-3)


def test_ratios_do_not_compare_other_targets_or_sizes() -> None:
    rows = means(
        record(method=method, k=k, d=d, target=n, error=error * d * n)
        for method, k, error in (("momentc", 3, 1e-9), ("random", 0, 1e-7))
        for d in (1000, 2000)
        for n in (50, 100)
    )
    found = {row["family"]: row for row in ratios(rows)}["eq13"]
    assert found["cells"] == 4
    assert (found["geometric_mean"], found["worst"]) == pytest.approx((1e-2, 1e-2))


def test_the_cheapest_setting_is_recommended() -> None:
    rows = means(
        [record(target=400, error=1e-9), record(target=200, error=1e-7), record(error=1e-4),
         record(target=200, k=2, kept_order=3, error=2e-7)]
    )  # fmt: skip
    found = {row["family"]: row for row in recommend(rows, 1e-6)}
    assert (found["eq13"]["k"], found["eq13"]["target"]) == (2, 200)
    assert found["all"] == {
        "m": 2, "d": 1000, "family": "all", "k": None, "target": None, "rms": 1e-3, "worst": None,
        "trials": 0,
    }  # fmt: skip
    assert found["relu"]["k"] is None
    assert recommend(means([record(method="random", k=0)]), 1e-6) == []


def test_of_equal_targets_the_least_work_and_then_the_most_is_recommended() -> None:
    """k = 1 at the default effort keeps a higher order: k = 4 may be less work."""
    rows = means(record(k=k, kept_order=kept, error=1e-9) for k, kept in ((1, 3), (3, 3), (4, 4)))
    found = {row["family"]: row["k"] for row in recommend(rows, 1e-6)}
    assert found == {"all": None, "eq13": 3, "relu": None}


def test_a_setting_that_failed_in_a_trial_is_not_recommended() -> None:
    rows = means(
        [record(target=50, error=1e-9), record(target=50, trial=1, failed="no"),
         record(target=200, error=1e-8), record(target=200, error=1e-8, trial=1)]
    )  # fmt: skip
    assert [(row["target"], row["trials"], row["failed"]) for row in rows] == [
        (50, 1, 1), (200, 2, 0),
    ]  # fmt: skip
    found = {row["family"]: row for row in recommend(rows, 1e-6)}
    assert (found["eq13"]["target"], found["eq13"]["trials"]) == (200, 2)


def test_no_advice_where_nothing_was_done_in_every_trial() -> None:
    assert recommend(means([record(), record(trial=1, failed="no")]), 1.0) == []


def test_a_baseline_that_is_wrong_has_no_exponent() -> None:
    cells = [
        {"m": 1, "k": 2, "threads": 1, "d": d, "target": 3, "seconds": d * 1e-6,
         "baselines": {"svd": {"seconds": d * 1e-3, "ok": False},
                       "paper": {"seconds": d * 1e-3, "ok": True}}}
        for d in (1000, 2000, 4000)
    ]  # fmt: skip
    assert [row["system"] for row in time_exponents(cells)] == ["momentc", "paper"]
    assert wrong_baselines(cells) == {"svd": 3}
    skipped = [cell | {"baselines": {"svd": {"skipped": "too slow"}}} for cell in cells]
    assert [row["system"] for row in time_exponents(skipped)] == ["momentc"]
    assert wrong_baselines(skipped) == {}


def test_what_holds_for_one_size_is_not_advised_for_another() -> None:
    rows = means([record(d=1000, error=1e-4), record(d=4000, error=1e-8, target=50)])
    found = [row for row in recommend(rows, 1e-2) if row["family"] == "all"]
    assert [(row["d"], row["target"]) for row in found] == [(1000, 100), (4000, 50)]
    found = [row for row in recommend(rows, 1e-6) if row["family"] == "eq13"]
    assert [(row["d"], row["target"]) for row in found] == [(1000, None), (4000, 50)]


def test_the_least_error_is_named_where_no_setting_will_do() -> None:
    rows = means([record(error=1e-4), record(target=200, error=1e-5), record(k=2, error=1e-3)])
    found = {row["family"]: row for row in recommend(rows, 1e-6)}
    assert (found["eq13"]["target"], found["eq13"]["rms"]) == (None, 1e-5)


def test_the_error_of_all_families_is_that_of_the_largest() -> None:
    found = {row["family"]: row["rms"] for row in recommend(means([record()]), 1e-2)}
    assert found == {"all": 1e-3, "eq13": 1e-6, "relu": 1e-3}


def test_the_worst_function_is_named() -> None:
    trials = [record(trial=trial) for trial in range(3)]
    trials[1]["errors"]["relu"]["worst"] = 0.07
    found = {row["family"]: row["worst"] for row in recommend(means(trials), 1e-2)}
    assert found == {"all": 0.07, "eq13": 1e-6, "relu": 0.07}


def test_polylog_takes_the_best_order_of_every_trial() -> None:
    def one(trial: int, k: int, error: float) -> dict[str, Any]:
        made = {"rms": error, "mean_abs": error, "worst": error}
        return record(trial=trial, k=k, errors={"eq98": made})

    (row,) = polylog_rows([one(0, 3, 1e-6), one(0, 5, 1e-8), one(1, 3, 3e-8), one(1, 5, 1e-7)])
    assert row["mean_least_error"] == pytest.approx(2e-8)
    assert row["median_k"] == 4.0
    assert row["std"] == pytest.approx(1e-8)


def test_time_left_learns_from_each_method() -> None:
    left = TimeLeft([("a", 1.0), ("a", 1.0), ("b", 10.0)], 2)
    assert left.seconds() is None
    left.finish("a", 1.0, 4.0)
    assert left.seconds() == pytest.approx((4.0 + 40.0) / 2)
    left.finish("b", 10.0, 10.0)
    assert left.seconds() == pytest.approx(2.0)


def test_the_csv_has_a_column_for_everything() -> None:
    text = records_to_csv([record(), record(kept_order=None), record(failed="because, so")])
    head, first, second, third = text.splitlines()
    names = head.split(",")
    assert names[:4] == ["source", "m", "d", "method"]
    assert {"moment_error_6", "rms_eq13", "mean_abs_relu", "worst_relu", "failed"} <= set(names)
    assert first.split(",")[names.index("rms_eq13")] == "1e-06"
    assert second.split(",")[names.index("kept_order")] == ""
    assert '"because, so"' in third


def test_bench_exponents_speedups_and_memory() -> None:
    cells = [
        {
            "m": 2, "k": 5, "d": d, "target": 100, "threads": t, "seconds": d / t * 1e-5,
            "peak_memory": 1e8 + 80 * d, "baselines": {"svd": {"seconds": d**2 * 1e-6, "ok": True}},
        }
        for d in (1000, 2000, 4000) for t in (1, 2)
    ]  # fmt: skip
    found = {(row["system"], row["threads"]): row["exponent"] for row in time_exponents(cells)}
    assert found["momentc", 2] == pytest.approx(1.0)
    assert found["svd", 1] == pytest.approx(2.0)
    assert [row["speedup"] for row in speedups(cells)] == pytest.approx([2.0] * 3)
    memory = memory_growth(cells)
    assert [line["threads"] for line in memory] == [1, 2]
    for line in memory:
        assert line["bytes_per_object"] == pytest.approx(80.0)
        assert math.isclose(line["fixed"], 1e8)


def test_the_uncertainty_of_memory_by_hand() -> None:
    """Residuals 1, -2, 1 about the line: sqrt(6 / (3 - 2) / 2) for sizes -1, 0, 1."""
    cells: list[dict[str, Any]] = [
        {"m": 2, "k": 5, "d": d, "target": 100, "threads": 1, "peak_memory": 100 + 7 * d + miss}
        for d, miss in ((1, 1), (2, -2), (3, 1))
    ]
    (line,) = memory_growth(cells)
    assert line["bytes_per_object"] == pytest.approx(7.0)
    assert line["standard_error"] == pytest.approx(3.0**0.5)


def test_speedups_are_over_the_fewest_threads() -> None:
    cells = [
        {"m": 2, "k": 5, "d": 9, "target": 3, "threads": t, "seconds": 8.0 / t} for t in (16, 8, 2)
    ]
    found = [(row["threads"], row["than"], row["speedup"]) for row in speedups(cells)]
    assert found == [(8, 2, 4.0), (16, 2, 8.0)]


def test_bench_lines_do_not_mix_targets_or_threads() -> None:
    cells: list[dict[str, Any]] = [
        {
            "m": 2, "k": 5, "d": d, "target": n, "threads": t, "seconds": d * n / t * 1e-7,
            "peak_memory": 1e8 * t + n * d, "baselines": {},
        }
        for d in (1000, 2000, 4000) for n in (50, 200) for t in (1, 2)
    ]  # fmt: skip
    found = time_exponents(cells)
    assert [(row["threads"], row["target"]) for row in found] == [
        (1, 50), (1, 200), (2, 50), (2, 200)
    ]  # fmt: skip
    assert [row["exponent"] for row in found] == pytest.approx([1.0] * 4)
    assert max(row["standard_error"] for row in found) < 1e-9
    slopes = [row["bytes_per_object"] for row in memory_growth(cells)]
    assert slopes == pytest.approx([50.0, 200.0, 50.0, 200.0])
    # At a fixed fraction: 200 of 1,000 are the least that may be kept, another job.
    cells = [{**cell, "target": max(200, cell["d"] // 10)} for cell in cells]
    assert {row["points"] for row in time_exponents(cells, 0.1)} == set()
    assert memory_growth(cells, 0.1) == []
