"""`momentc bench`: a tiny grid, every result verified."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.cli.options import whole_number
from momentc.cli.ranges import parse_doublings, parse_numbers, parse_words
from momentc.cpus import available_threads
from momentc.errors import UsageError
from momentc.files import bench as bench_files
from momentc.study.baselines import BASELINES
from momentc.study.timing import measure_cell

from .conftest import Invoke

Points = NDArray[np.float64]

TINY = ("bench", "--m", "1", "--k", "2", "--repeats", "1", "--threads", "1", "--no-progress")


def test_a_grid_with_figure_and_baseline(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke(
        *TINY, "--d", "200,400", "--baseline", "svd", "-o", "b.json", "--plot", "b.png", "--json"
    )
    assert (outcome.code, outcome.stderr) == (0, "")
    report = json.loads(outcome.text)
    assert report == json.loads((tmp_path / "b.json").read_text())
    assert report["ok"]
    assert [cell["d"] for cell in report["cells"]] == [200, 400]
    assert all(cell["baselines"]["svd"]["ok"] for cell in report["cells"])
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json", "b.png"]


def test_the_table_says_that_results_were_verified(invoke: Invoke) -> None:
    outcome = invoke(*TINY, "--d", "300", "--target", "min")
    assert outcome.code == 0
    assert "verified  every timed result of momentc, moment error at most" in outcome.text
    assert "moment error" in outcome.text
    assert "\n1  2  300       3        1  " in outcome.text


def test_a_wrong_result_is_exit_code_5(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(_function: object, items: list[Any], *_: object, **__: object) -> Iterator[Any]:
        yield 0, {**measure_cell(items[0]), "ok": False}

    monkeypatch.setattr(bench_files, "run_in_processes", here)
    outcome = invoke(*TINY, "--d", "200")
    assert outcome.code == 5
    assert "FAILED" in outcome.text


def test_a_baseline_that_is_wrong_is_named(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its time counts for nothing. Momentc's own results are right all the same."""

    def here(_function: object, items: list[Any], *_: object, **__: object) -> Iterator[Any]:
        yield 0, measure_cell(items[0])

    def half(
        points: Points, weights: Points, k: int, target: int
    ) -> tuple[NDArray[np.int64], Points]:
        kept, found = svd(points, weights, k, target)
        return kept, 0.5 * found

    svd = BASELINES["svd"]
    monkeypatch.setattr(bench_files, "run_in_processes", here)
    monkeypatch.setitem(BASELINES, "svd", half)
    outcome = invoke(*TINY, "--d", "200,400", "--baseline", "svd", "-o", "b.json")
    assert outcome.code == 0
    assert "svd       2 of its results FAILED the verification" in outcome.text
    lines = [line.split() for line in outcome.text.splitlines() if "  svd  " in line]
    assert [line[-3:] for line in lines] == [
        ["-", lines[0][-2], "FAILED"],
        ["-", lines[1][-2], "FAILED"],
    ]
    assert json.loads((tmp_path / "b.json").read_text())["wrong_baselines"] == {"svd": 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--baseline", "magic"), "--baseline names magic"),
        (("--fraction", "2"), "between 0 and 1"),
        (("--fraction", "0.2", "--target", "50"), "give one of them"),
        (("--fraction", "0.2", "--target", "min"), "give one of them"),
        (("--repeats", "0"), "--repeats must be at least 1"),
        (("--d", "10:5"), "the range is empty"),
        (("--effort", "much"), "effort must be one of"),
    ],
)
def test_wrong_usage(invoke: Invoke, arguments: tuple[str, ...], said: str) -> None:
    outcome = invoke(*TINY, *arguments)
    assert (outcome.code, outcome.stdout) == (2, b"")
    assert said in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--target", "1"), "the target must be at least C(m+k,k) = 3"),
        (("--m", "20000", "--k", "20000", "--d", "1000"), "C(m+k,k) = about 1e12039"),
        (("--k", "20000", "--d", "30000"), "20001 moments no more than 20000 can be worked with"),
    ],
)
def test_what_cannot_be_met(invoke: Invoke, arguments: tuple[str, ...], said: str) -> None:
    outcome = invoke(*TINY, *arguments)
    assert (outcome.code, outcome.stdout) == (4, b"")
    assert "nothing to time" in outcome.stderr
    assert said in outcome.stderr


def test_no_threads_are_all_threads(invoke: Invoke) -> None:
    outcome = invoke(*TINY, "--d", "200", "--threads", "0", "--json")
    assert outcome.code == 0
    (cell,) = json.loads(outcome.text)["cells"]
    assert cell["threads"] == available_threads()


def test_the_columns_of_a_table_stand_in_one_order(invoke: Invoke, tmp_path: Path) -> None:
    """Whatever stages the first cell has: those of all stand behind the rest."""
    outcome = invoke(*TINY, "--m", "2,1", "--d", "200,400", "--baseline", "svd", "-o", "b.csv")
    assert outcome.code == 0
    head = (tmp_path / "b.csv").read_text().splitlines()[0].split(",")
    stages = [name for name in head if name.startswith("stage_")]
    assert {"stage_reduction", "stage_surplus_matching"} <= set(stages)
    assert head[-len(stages) :] == stages


def test_lists_of_numbers() -> None:
    assert parse_numbers("--threads", "0,2", least=0) == (0, 2)
    assert parse_numbers("--k", "1:4,8, 2") == (1, 2, 3, 4, 8)
    assert parse_numbers("--k", None) == ()
    assert parse_doublings("--d", "1000:9000") == (1000, 2000, 4000, 8000)
    assert parse_words(" a, b,,") == ("a", "b")
    for text in ("", "0", "-1", "1:", ":3", "4:2", "1:99999999", "x", "1.5", "9" * 20):
        with pytest.raises(UsageError):
            parse_numbers("--k", text)


@pytest.mark.parametrize("text", ["1000", " 1000", "1_000", "1e3", "1E3", "1000.0", "+1000"])
def test_whole_numbers_as_people_type_them(text: str) -> None:
    assert whole_number(text) == 1000
    assert parse_numbers("--target", f"5,{text}") == (5, 1000)
    assert parse_doublings("--d", f"{text}:4e3") == (1000, 2000, 4000)


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e-3", "nan", "inf", "1e30", "1,000", "0x10"])
def test_what_is_no_whole_number_is_said_so(invoke: Invoke, text: str) -> None:
    outcome = invoke("compress", "x.npy", "-n", text)
    assert outcome.code == 2
    assert f"{text!r} is no whole number; expected one as 1000 or 1e3" in outcome.stderr
