"""`momentc reproduce`, with scales made tiny from inside."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from momentc.errors import PartsError
from momentc.files import bench as bench_files
from momentc.files import reproduce_scans
from momentc.files.jobs import JobReport
from momentc.files.reproduce import ReproduceJob, reproduce
from momentc.files.reproduce_scans import Grid
from momentc.learn.experiments import figure3, figure4, figure5, figure7
from momentc.study.run import Standing
from tests.learn.tiny import TINY

from .conftest import Invoke

MODULES: dict[str, Any] = {
    "fig3": figure3, "fig4": figure4, "fig5": figure5, "fig7": figure7,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for figure, scale in TINY.items():
        monkeypatch.setattr(MODULES[figure], "SMALL", scale)
    for figure in ("fig2", "fig6", "fig8"):
        grid = Grid((2,), (2,), (1000, 2000, 4000), 1)
        monkeypatch.setitem(reproduce_scans.GRIDS, (figure, "small"), grid)
    # Processes for the cells of Fig. 6 are what test_bench.py looks at.
    monkeypatch.setattr(bench_files, "run_in_processes", in_this_process)


def in_this_process(
    function: Callable[[Any], Any], items: list[Any], *_: object, **__: object
) -> Iterator[tuple[int, Any]]:
    yield from enumerate(map(function, items))


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.mark.parametrize("figure", [f"fig{number}" for number in range(2, 9)])
def test_every_figure_is_written_and_judged(invoke: Invoke, tmp_path: Path, figure: str) -> None:
    outcome = invoke("reproduce", figure, "-T", "1", "--no-progress", "-o", "out/here")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert "What the figure must show" in outcome.text
    assert f"out/here/{figure}-small.png" in outcome.text
    written = tmp_path / "out" / "here"
    assert (written / f"{figure}-small.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((written / f"{figure}-small.json").read_text())
    assert report["kind"] == "reproduce"
    assert report["ok"] == all(row["ok"] is not False for row in report["verdicts"])
    assert report["verdicts"]
    assert len(table(written / f"{figure}-small.csv")) >= 3
    if figure in {"fig2", "fig6", "fig8"}:
        assert 0.0 <= report["moment_error"] < 1e-12


def test_json_and_quiet(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke("reproduce", "fig3", "-T", "1", "--seeds", "1", "--json", "-q", "-v")
    assert outcome.code == 0
    report = json.loads(outcome.text)
    assert report == json.loads((tmp_path / "reproduce" / "fig3-small.json").read_text())
    assert report["seeds"] == [42]
    assert {row["panel"] for row in report["times"]} == {"a", "c"}
    assert report["times"][0]["compress"] > 0


def test_an_output_is_kept_and_finished_runs_serve_again(invoke: Invoke, tmp_path: Path) -> None:
    scan = ("reproduce", "fig3", "-T", "1", "--no-progress")
    assert invoke(*scan, "--seeds", "1").code == 0
    csv_file = tmp_path / "reproduce" / "fig3-small.csv"
    first = csv_file.read_text()
    assert invoke(*scan).code == 6
    more = invoke(*scan, "--force")
    assert "runs          12 (6 of them from before)" in more.text
    assert set(first.splitlines()) < set(csv_file.read_text().splitlines())
    other = invoke(*scan, "--force", "--seed", "7", "--seeds", "1")
    assert "seeds         7\n" in other.text
    assert csv_file.read_text() != first
    assert "from before" not in invoke(*scan, "--force", "--restart").text


def test_interrupted_and_gone_on_with_gives_the_same(tmp_path: Path) -> None:
    """Also over two processes: what was computed where must not show."""

    def job(folder: str, processes: int = 1) -> ReproduceJob:
        return ReproduceJob("fig4", output=str(tmp_path / folder), processes=processes)

    def interrupt(standing: Standing) -> None:
        assert standing.unit == "curves"
        if standing.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(job("cut"), on_standing=interrupt)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["fig4-small.csv.cells.jsonl"]
    done = reproduce(job("cut", 2))
    assert done.content["resumed"] == 4
    whole = reproduce(job("whole"))
    assert whole.content["resumed"] == 0
    for name in ("fig4-small.csv", "fig4-small.png"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_runs_of_other_settings_are_refused(tmp_path: Path) -> None:
    job = ReproduceJob("fig3", output=str(tmp_path), seeds=1)
    reproduce(job)
    forced = ReproduceJob("fig3", output=str(tmp_path), seeds=1, force=True)
    from dataclasses import replace

    with pytest.raises(PartsError, match="settings"):
        reproduce(forced, settings=replace(TINY["fig3"], k=2))


def test_a_failed_figure_says_so_and_ends_well(invoke: Invoke) -> None:
    """Three epochs of eight neurons do not make a random part five times worse."""
    outcome = invoke("reproduce", "fig3", "-T", "1", "--no-progress")
    assert outcome.code == 0
    assert "criteria: FAILED" in outcome.text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("reproduce", "fig1"), 2, "expected one of fig2, fig3"),
        (("reproduce", "fig3", "--scale", "huge"), 2, "expected small or paper"),
        (("reproduce", "fig3", "--seeds", "0"), 2, "--seeds must be at least 1"),
        (("reproduce", "fig3", "--seed", "-1"), 2, "--seed 0 to"),
        (("reproduce", "fig3", "-o", "file/below"), 6, "the folder cannot be made"),
    ],
)
def test_what_cannot_be(
    invoke: Invoke, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    outcome = invoke(*arguments)
    assert (outcome.code, outcome.stdout) == (code, b"")
    assert said in outcome.stderr


@pytest.mark.parametrize(("library", "extra"), [("torch", "learn"), ("matplotlib", "plot")])
def test_a_missing_extra_is_named(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    from importlib import util

    found = util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == library else found(name, package)

    monkeypatch.setattr("momentc.files.reproduce.find_spec", without)
    outcome = invoke("reproduce", "fig3")
    assert outcome.code == 2
    assert f"pip install 'momentc[{extra}]'" in outcome.stderr


def test_results_without_their_moments_are_an_error(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(job: ReproduceJob, **options: Any) -> JobReport:
        return replace(reproduce(job, **options), ok=False)

    monkeypatch.setattr("momentc.files.reproduce.reproduce", wrong)
    done = invoke("reproduce", "fig3", "-T", "1", "-o", "figures")
    assert done.code == 5
    assert "do not have the moments" in done.stderr
