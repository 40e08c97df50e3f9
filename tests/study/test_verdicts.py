"""Verdicts, on data made to pass and made to fail; pictures of the same."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from momentc.study.learning_figure import draw_curves, draw_laws
from momentc.study.verdicts import PUBLISHED, judge, judge_errors, judge_polylog, judge_times, laws

Losses = Mapping[str, Sequence[float]]


def records(panel: str, losses: Losses, seeds: int = 2) -> list[dict[str, Any]]:
    return [
        {
            "panel": panel, "curve": curve, "seed": seed, "d": 1000, "target": 100,
            "epochs": list(range(len(test))), "test": [value * (1 + seed) for value in test],
            "train": [None, *test[1:]],
        }
        for seed in range(seeds)
        for curve, test in losses.items()
    ]  # fmt: skip


def passed(figure: str, panel: str, losses: Losses) -> list[bool]:
    return [row["ok"] for row in judge(figure, records(panel, losses))]


@pytest.mark.parametrize(
    ("compressed", "random", "wanted"),
    [(1.2, 6.0, [True, True]), (1.4, 6.0, [False, True]), (1.0, 4.0, [True, False]),
     (0.6, 5.1, [False, True])],
)  # fmt: skip
def test_training_sets(compressed: float, random: float, wanted: list[bool]) -> None:
    losses = {"full": [9.0, 1.0], "compressed": [9.0, compressed], "random": [9.0, random]}
    assert passed("fig3", "c", losses) == wanted


def test_training_sets_that_barely_learn() -> None:
    random = [5.0, 1.2]
    near = {"full": [5.0, 1.0], "compressed": [5.0, 1.01], "random": random}
    assert passed("fig3", "b", near) == [True]
    apart = {"full": [5.0, 2.0, 1.0], "compressed": [5.0, 2.1, 1.0], "random": [5.0, 2.0, 1.2]}
    assert passed("fig3", "b", apart) == [False]


def test_networks_are_judged_at_every_epoch() -> None:
    losses = {"full": [4.0, 2.0, 1.0], "compressed": [4.0, 2.1, 1.0], "random": [4.0, 3.0, 3.5]}
    assert passed("fig4", "c", losses) == [True, True, True]
    assert passed("fig4", "b", losses) == [True, True]
    off = losses | {"compressed": [4.0, 2.6, 1.0]}
    assert passed("fig4", "c", off) == [False, True, True]
    near = losses | {"random": [4.0, 2.0, 1.1]}
    assert passed("fig4", "c", near) == [True, False, False]
    assert passed("fig7", "a", losses) == [True, True]
    assert passed("fig7", "a", losses | {"compressed": [4.6, 2.0, 1.0]}) == [False, True]


def test_one_bad_seed_is_enough_to_fail() -> None:
    losses = {"full": [4.0, 1.0], "compressed": [4.0, 1.0], "random": [4.0, 3.0]}
    found = records("c", losses)
    next(r for r in found if r["curve"] == "compressed" and r["seed"])["test"][1] *= 1.5
    assert judge("fig4", found)[0]["ok"] is False
    assert judge("fig4", found)[0]["high"] == pytest.approx(0.5)
    found = records("b", losses)
    assert judge("fig3", found)[0]["ok"] is True
    next(r for r in found if r["curve"] == "compressed" and r["seed"])["test"][1] *= 1.5
    assert judge("fig3", found)[0]["ok"] is False
    assert judge("fig3", found)[0]["found"] == pytest.approx(0.5)


def test_curves_are_compared_with_those_of_the_same_size_and_seed() -> None:
    losses = {"full": [4.0, 1.0], "compressed": [4.0, 1.01], "random": [4.0, 3.0]}
    small = records("b", losses)
    large = [r | {"d": 2000, "test": [value / 2.0 for value in r["test"]]} for r in small]
    (row,) = judge("fig3", small + large[::-1])
    assert (row["low"], row["high"]) == pytest.approx((0.01, 0.01))
    # One that has no full run beside it is not judged.
    lonely = [r for r in large if r["curve"] == "compressed"]
    assert judge("fig3", small + lonely) == judge("fig3", small)


def sizes(exponent: float, panel: str = "a", noise: float = 0.0) -> list[dict[str, Any]]:
    """Losses d^-0.5 before and d'^-exponent after."""
    return [
        {
            "panel": panel, "curve": curve, "seed": seed, "d": d, "target": round(16 * d**0.5),
            "epochs": [0, 1], "train": [None, 1.0],
            "test": [1.0, loss * (1 + noise * seed * (d == 4000))],
        }
        for d in (1000, 2000, 4000, 8000)
        for seed in (0, 1, 2)
        for curve, loss in (
            ("full", d**-0.5), ("compressed", (16 * d**0.5) ** -exponent),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("exponent", "ok"), [(1.0, True), (0.7, False), (1.4, False)])
def test_exponents(exponent: float, ok: bool) -> None:
    rows = judge("fig5", sizes(exponent))
    assert [row["ok"] for row in rows] == [None, None, ok]
    assert rows[2]["found"] == pytest.approx(2 * exponent, rel=1e-3)


def test_exponents_have_an_uncertainty() -> None:
    noisy = laws(sizes(1.0, noise=0.3))["full"]
    assert noisy["exponent"] == pytest.approx(0.5, abs=0.1)
    assert noisy["standard_error"] > 0.02
    row = judge("fig5", sizes(1.0, noise=0.3))[2]
    assert row["low"] < row["found"] < row["high"]


def test_the_uncertainty_of_exponents_by_hand() -> None:
    """Slopes 0.4, 0.5 and 0.6 scatter by 0.1: their mean by 0.1 / sqrt(3)."""
    found = [
        {
            "panel": "a", "curve": curve, "seed": seed, "d": d, "target": d, "test": [d**-exponent],
        }
        for d in (1000, 2000, 4000)
        for seed in (0, 1, 2)
        for curve, exponent in (("full", 0.4 + 0.1 * seed), ("compressed", 0.8 + 0.2 * seed))
    ]  # fmt: skip
    full, compressed = (laws(found)[curve] for curve in ("full", "compressed"))
    assert full["standard_error"] == pytest.approx(0.1 / 3**0.5)
    assert compressed["standard_error"] == pytest.approx(0.2 / 3**0.5)
    row = judge("fig5", found)[2]
    # Both are off by a part of 0.2 / sqrt(3), and so the ratio by sqrt(2) such parts.
    error = 2.0 * 0.2 * (2.0 / 3.0) ** 0.5
    assert row["found"] == pytest.approx(2.0)
    assert (row["low"], row["high"]) == pytest.approx((2.0 - error, 2.0 + error))


def test_losses_that_grow_are_no_law() -> None:
    rows = judge("fig5", [r | {"test": [1.0, float(r["d"])]} for r in sizes(1.0)])
    assert rows == [rows[0]]
    assert (rows[0]["ok"], rows[0]["found"]) == (False, None)


def test_thin_fronts() -> None:
    def exponent(value: float) -> dict[str, Any]:
        return {
            "m": 2, "k": 3, "family": "eq13", "theory": 2.5, "exponent": value,
            "standard_error": 0.1, "system": "momentc",
        }  # fmt: skip

    assert [row["ok"] for row in judge_errors([exponent(2.4)], (2,))] == [True]
    assert [row["ok"] for row in judge_errors([exponent(2.4), exponent(2.2)], (1, 2))] == [
        None,
        False,
    ]
    excess = judge_errors([exponent(2.4), exponent(3.0)], (2,))[0]
    assert (excess["found"], excess["high"]) == pytest.approx((-0.1, 0.5)), "the least over k"
    others = [exponent(0.1) | {"theory": None}, exponent(0.1) | {"family": "bumps"}]
    assert judge_errors([exponent(2.4), *others], (2,)) == judge_errors([exponent(2.4)], (2,))
    assert judge_times([exponent(1.3) | {"system": "svd"}]) == []
    assert [row["ok"] for row in judge_times([exponent(1.1)])] == [True]
    assert [row["ok"] for row in judge_times([exponent(1.3)])] == [False]

    def rows(errors: Sequence[float]) -> list[dict[str, Any]]:
        return [
            {"m": 1, "method": "momentc", "d": 1000 * 2**i, "mean_least_error": error}
            for i, error in enumerate(errors)
        ]

    assert judge_polylog(rows([1e-12, 3e-13, 1e-13, 4e-14]))[0]["ok"]
    assert not judge_polylog(rows([1e-13, 3e-13, 1e-12, 4e-12]))[0]["ok"]
    worse = [row | {"method": "random"} for row in rows([1e-4, 1e-3, 1e-2, 1e-1])]
    ours = rows([1e-12, 3e-13, 1e-13, 4e-14])
    assert judge_polylog(ours + worse) == judge_polylog(ours)
    assert judge_polylog(rows([1e-16] * 4))[0]["ok"]
    assert judge_polylog(rows([3e-12, 2e-13, 6e-15, 7e-15]))[0]["ok"], "falling to rounding"
    assert not judge_polylog(rows([6e-15, 7e-15, 3e-12, 2e-13]))[0]["ok"]


@pytest.mark.parametrize(("n_errors", "ok"), [(-3.0, True), (1.5, True), (3.0, False)])
def test_errors_that_grow_by_more_than_their_scatter(n_errors: float, ok: bool) -> None:
    """Of four sizes, each twice the one before, with a scatter that has no slope of its own."""
    scatter = 0.1 * np.array([1.0, -1.0, -1.0, 1.0])
    standard_error = 0.1 * 0.4**0.5
    errors = 1e-12 * 2.0 ** (n_errors * standard_error * np.arange(4) + scatter)
    (row,) = judge_polylog(
        [
            {"m": 1, "method": "momentc", "d": 1000 * 2**i, "mean_least_error": error}
            for i, error in enumerate(errors.tolist())
        ]
    )
    assert row["found"] == pytest.approx(n_errors * standard_error)
    assert row["high"] - row["found"] == pytest.approx(standard_error)
    assert row["ok"] is ok


def test_pictures() -> None:
    losses = {"full": [4.0, 2.0, 1.0], "compressed": [4.0, 2.2, 1.0], "random": [4.0, 3.0, 3.5]}
    found = records("b", losses) + records("c", losses)
    titles = {"b": "SGD, lr 0.001", "c": "AdamW, lr 0.1"}
    text = draw_curves(found, titles, "Fig. 4", "x.svg", with_train=True, truth=(6, 20.0)).decode()
    for word in ("test loss", "train loss", "(c) AdamW, lr 0.1", "compressed, 100", "full, 1,000"):
        assert word in text
    assert text.count("#e69f00") >= 4
    plain = draw_curves(found[:3], titles, "Fig. 3", "x.png")
    assert plain.startswith(b"\x89PNG")
    assert plain == draw_curves(found[:3], titles, "Fig. 3", "x.png")
    both = sizes(1.0) + sizes(1.0, "b")
    drawn = draw_laws(both, {"a": "samples", "b": "width"}, "Fig. 5", "x.svg").decode()
    assert "exponent 1.00" in drawn


def test_published_values_are_those_of_the_table() -> None:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "published" / "training_final.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert {(row["figure"], row["panel"]) for row in rows} == PUBLISHED.keys()
    for row in rows:
        written = [float(row[name]) for name in ("full", "compressed", "random") if row[name]]
        assert written == pytest.approx(PUBLISHED[row["figure"], row["panel"]], rel=5e-3)
