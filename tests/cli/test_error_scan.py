"""`momentc error-scan`, `momentc compress --k auto`, as a user would."""

import csv
import fcntl
import io
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from momentc.errors import VerificationError
from momentc.files import scan as scan_on_files
from momentc.files import study_outputs
from momentc.pipeline.points import compress_points
from momentc.study import methods
from momentc.study.methods import METHODS, Dataset, Reduced, Task

from .conftest import Invoke, Outcome, momentc_command

Method = Callable[[Dataset, Task], Reduced]

UNIFORM = ("error-scan", "--synthetic", "uniform")
SCAN = ("error-scan", "data.h5", "-d", "x", "--functions", "4", "-T", "1", "--no-progress")


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_a_file_gets_a_table_and_a_figure(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    outcome = invoke(*SCAN, "--k", "1:3", "--target", "30,60", "-o", "s.csv", "--plot", "s.png")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert "Error of momentc over that of the other methods" in outcome.text
    rows = table(tmp_path / "s.csv")
    assert len(rows) == 2 * (3 + 2)
    for row in rows:
        if row["method"] == "momentc":
            assert float(row[f"moment_error_{row['k']}"]) < 1e-12
            assert float(row["rms_sigmoid"]) < 1e-2
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_the_name_is_derived_and_an_existing_table_is_kept(invoke: Invoke, data: Path) -> None:
    scan = (*SCAN, "--k", "2", "--target", "30", "--method", "momentc")
    assert "data.error-scan.csv" in invoke(*scan).text
    outcome = invoke(*scan)
    assert outcome.code == 6
    assert invoke(*scan, "--force").code == 0


def test_json_holds_everything(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    outcome = invoke(
        *SCAN, "--k", "1:2", "--target", "20,40,80", "-o", "s.json", "--json", "--max-error", "1e-2"
    )
    printed, written = json.loads(outcome.text), json.loads((tmp_path / "s.json").read_text())
    assert printed == written
    assert written["complete"]
    assert len(written["cells"]) == 3 * (2 + 2)
    assert written["recommended"][0]["family"] == "all"
    assert {row["along"] for row in written["exponents"]} == {"target"}


def test_advice(invoke: Invoke, data: Path) -> None:
    scan = (*SCAN, "--k", "2", "--target", "30,60", "--families", "sigmoid", "--method", "momentc")
    good = invoke(*scan, "--max-error", "0.5")
    assert "advice        --k 2 --target 30 is the cheapest setting seen" in good.text
    assert "in one trial: --trials 5 is surer" in good.text
    again = invoke(*scan, "--max-error", "0.5", "--trials", "2", "--force")
    assert "cheapest" in again.text
    assert "surer" not in again.text
    bad = invoke(*scan, "--max-error", "1e-30", "--force")
    assert bad.code == 0
    assert "no setting seen holds 1.0e-30" in bad.text
    several = invoke(
        "error-scan", "--synthetic", "uniform", "--m", "1:2", "--d", "300:600", "--k", "1", "-T",
        "1", "--functions", "2", "--max-error", "1", "--no-progress", "--method", "momentc",
    )  # fmt: skip
    assert "the last table has the cheapest settings seen" in several.text
    lines = several.text.split("Cheapest setting seen")[1].splitlines()
    assert lines[1].split()[:3] == ["m", "d", "family"]
    assert [line.split()[:3] for line in lines if " all " in line] == [
        [m, d, "all"] for m in ("1", "2") for d in ("300", "600")
    ]


def test_synthetic_points_have_the_published_function(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke(
        "error-scan", "--synthetic", "uniform", "--m", "1:2", "--k", "1,2", "--d", "250:1000",
        "--trials", "2", "--functions", "2", "-T", "1", "-o", "s.csv", "--method", "momentc",
    )  # fmt: skip
    assert outcome.code == 0
    assert "Exponent of the error of eq13 in d" in outcome.text
    assert len(table(tmp_path / "s.csv")) == 2 * 2 * 3 * 2


def test_a_narrow_terminal_cuts_no_digits(data: Path, tmp_path: Path) -> None:
    command = [*momentc_command(), *SCAN, "--k", "1:2", "--target", "30,60", "-o", "s.csv"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
    with subprocess.Popen(command, cwd=tmp_path, stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # the end of a terminal is an error
            while part := os.read(ours, 4096):
                shown += part
        os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "…" not in text
    assert "method  k  kept to  target" in text
    errors = [row[f"rms_{name}"] for row in table(tmp_path / "s.csv") for name in ("relu", "bumps")]
    assert all(f"{float(error):.1e}" in text for error in errors)


def test_what_is_left_out_is_said(invoke: Invoke) -> None:
    outcome = invoke(
        *UNIFORM, "--m", "2", "--k", "1,9", "--d", "100:400", "--target", "20,200", "-T", "1",
        "--functions", "2", "--no-progress", "--method", "momentc",
    )  # fmt: skip
    assert outcome.code == 0
    assert "cells         5\n" in outcome.text
    for sentence in (
        "target 200 keeps all 100 rows", "target 200 keeps all 200 rows",
        "k = 9 in 2 columns has 55 moments, too many for target 20",
    ):  # fmt: skip
        assert sentence in outcome.stderr
    outcome = invoke(
        *UNIFORM, "--m", "2", "--d", "500:1000", "--k", "1", "--polylog", "-T", "1",
        "--functions", "2", "--no-progress", "--method", "momentc", "--restart", "--force",
    )  # fmt: skip
    assert "target 772 keeps all 500 rows" in outcome.stderr


def test_a_cell_that_momentc_cannot_do_is_no_success(
    invoke: Invoke, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 5, and the table of the others; what a baseline cannot do is a measurement."""
    scan = (*SCAN, "--k", "2", "--target", "30,60", "-T", "1", "-f")
    for name, code in (("momentc", 5), ("random", 0)):
        method = METHODS[name]

        def at_times(data: Dataset, task: Task, method: Method = method) -> Reduced:
            if task.target == 60:
                raise VerificationError("the moments of order 1 are off by 1.0e-03")
            return method(data, task)

        with monkeypatch.context() as patch:
            patch.setitem(METHODS, name, at_times)
            outcome = invoke(*scan, "-o", f"{name}.csv")
        assert outcome.code == code, outcome.stderr
        assert "off by 1.0e-03" in outcome.text
        assert len(table(tmp_path / f"{name}.csv")) > 1


def test_constant_columns(invoke: Invoke, tmp_path: Path) -> None:
    """All rows are one: every method is exact."""
    np.save(tmp_path / "x.npy", np.full((200, 2), 3.0))
    outcome = invoke(
        "error-scan", "x.npy", "--k", "1:2", "--target", "10,20", "-o", "s.csv", "-T", "1",
        "--method", "momentc,paper,random,kmeans", "--functions", "2", "--no-progress",
    )  # fmt: skip
    assert outcome.code == 0
    rows = table(tmp_path / "s.csv")
    assert len(rows) == 2 * (2 + 2 + 1 + 1)
    assert all(float(row["rms_relu"]) < 1e-15 for row in rows)


def test_the_exponents_have_rows_or_are_not_shown(
    invoke: Invoke, data: Path, tmp_path: Path
) -> None:
    scan = (*SCAN, "--k", "2", "--target", "20,40,80", "--families", "steps,relu,sigmoid")
    text = invoke(*scan, "-o", "s.csv").text
    head = text.split("Exponent of the error of ")[1].splitlines()
    assert head[0] == "sigmoid in the target", "the first of the panel that has a theory beside it"
    assert head[2].split()[1] == "momentc"
    baselines = invoke(*scan, "-o", "t.csv", "--method", "random,kmeans").text
    assert "Exponent of" not in baselines
    kinks = invoke(*scan, "-o", "u.csv", "--families", "relu").text.split("Exponent of the ")[1]
    assert kinks.splitlines()[0] == "error of relu in the target"
    assert kinks.splitlines()[2].split()[-2] == "-", "the theory is for smooth functions"


def test_exponents_in_d_for_fixed_targets_name_them(invoke: Invoke) -> None:
    outcome = invoke(
        *UNIFORM, "--m", "3", "--k", "1", "--d", "200,400,800", "--target", "20,40", "-o", "t.csv",
        "--method", "momentc", "--families", "relu", "--no-progress", "-T", "1",
    )  # fmt: skip
    lines = outcome.text.split("Exponent of the error of ")[1].splitlines()
    assert lines[1].split()[:4] == ["m", "target", "method", "k"]
    assert [line.split()[1] for line in lines[2:4]] == ["20", "40"]


def test_a_table_that_is_too_long_for_a_terminal_is_said_to_be(
    invoke: Invoke, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("momentc.cli.render_scan.MOST_ROWS", 3)
    outcome = invoke(*SCAN, "--k", "1,2", "--target", "20,40", "--method", "momentc")
    assert "Error of the function panel" not in outcome.text
    assert "4 rows, more than a terminal shows" in outcome.text


def test_the_theory_counts_independent_columns(invoke: Invoke, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(300, 1))
    np.save(tmp_path / "x.npy", np.hstack([points, 2.0 * points + 1.0, np.ones((300, 1))]))
    outcome = invoke(
        "error-scan", "x.npy", "--k", "1", "--target", "10,20,40", "-T", "1", "--method", "momentc",
        "--families", "rational", "--functions", "2", "-o", "s.json", "--plot", "s.png",
    )  # fmt: skip
    assert outcome.code == 0
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["rank"] == 1
    assert [row["theory"] for row in found["exponents"]] == [2.5]
    assert outcome.text.split("(k+1)/m + 0.5  points\n")[1].split()[0] == "1", "its m"


def test_polylog(invoke: Invoke) -> None:
    outcome = invoke(
        "error-scan", "--synthetic", "uniform", "--m", "1", "--d", "1000", "--polylog",
        "--k", "3,60", "--functions", "2", "-T", "1", "--method", "momentc", "--plot", "p.png",
    )  # fmt: skip
    assert outcome.code == 0
    assert "Least error of Eq. (98)" in outcome.text
    assert "momentc  1  1,000     828" in outcome.text


def test_stdout_takes_the_table(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    outcome = invoke(*SCAN, "--k", "2", "--target", "30", "-o", "-")
    assert outcome.text.startswith("source,m,d,method,k,target,trial,")
    assert [path.name for path in tmp_path.iterdir()] == ["data.h5"]


def test_tasks_join_when_the_last_has_ended(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    scan = (*SCAN, "--k", "1:3", "--target", "30,60")
    whole = invoke(*scan, "-o", "whole.csv")
    assert whole.code == 0
    for task in ("2/3", "1/3"):
        outcome = invoke(*scan, "-o", "s.csv", "--task", task)
        assert outcome.code == 0
        assert "other tasks are still to come" in outcome.text
        assert not (tmp_path / "s.csv").exists()
    assert invoke(*scan, "-o", "s.csv", "--task", "3/3").code == 0

    def steady(name: str) -> list[dict[str, str]]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in table(tmp_path / name)]

    assert steady("s.csv") == steady("whole.csv")


def test_tasks_that_run_at_the_same_time_write_one_table(tmp_path: Path) -> None:
    """Whoever ends last sees what the others have finished meanwhile, however they overlap."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(900, 2)))
    scan = [
        *momentc_command(), "error-scan", "x.npy", "--k", "1:4", "--target", "60,120", "--trials",
        "2", "--method", "momentc", "--functions", "2", "-T", "1", "-q", "--plot", "s.png",
    ]  # fmt: skip
    for name in ("s.csv", "s.json"):
        tasks = [
            subprocess.Popen(
                [*scan, "--task", f"{task}/3", "-o", name], cwd=tmp_path, stderr=subprocess.PIPE
            )
            for task in (1, 2, 3)
        ]
        said = [task.communicate(timeout=120)[1] for task in tasks]
        assert [(task.returncode, text) for task, text in zip(tasks, said, strict=True)] == [
            (0, b"")
        ] * 3
        assert (tmp_path / name).exists()
        assert (tmp_path / "s.png").exists()
        (tmp_path / "s.png").unlink()
    assert len(table(tmp_path / "s.csv")) == 16
    assert len(json.loads((tmp_path / "s.json").read_text())["cells"]) == 16


def test_results_that_miss_their_moments_end_the_scan_with_5(
    invoke: Invoke, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(*arguments: Any) -> Any:
        result = compress_points(*arguments)
        result.support.weights[0] *= 1.0 + 1e-6
        return result

    monkeypatch.setattr(methods, "compress_points", spoilt)
    outcome = invoke(*SCAN, "--k", "2", "--target", "30")
    assert outcome.code == 5
    assert "moments up to order 2 are off by" in outcome.text


def test_a_table_that_another_task_has_written_is_as_good(
    invoke: Invoke, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen that all is done, and the other one was faster."""
    scan = (*SCAN, "--k", "1:2", "--target", "30", "-o", "s.csv", "--method", "momentc")
    assert invoke(*scan, "--task", "1/2").code == 0
    write = study_outputs.write_files

    def slower(output: str, text: str, *arguments: Any, **options: Any) -> None:
        (tmp_path / output).write_text(text)
        write(output, text, *arguments, **options)

    monkeypatch.setattr(scan_on_files, "write_files", slower)
    assert invoke(*scan, "--task", "2/2").code == 0
    assert len(table(tmp_path / "s.csv")) == 2

    def something_else(output: str, *arguments: Any, **options: Any) -> None:
        (tmp_path / output).write_text("something else")
        write(output, *arguments, **options)

    (tmp_path / "s.csv").unlink()
    monkeypatch.setattr(scan_on_files, "write_files", something_else)
    assert invoke(*scan, "--task", "2/2").code == 6
    assert (tmp_path / "s.csv").read_text() == "something else"


def test_a_task_that_comes_after_the_table_is_written(
    invoke: Invoke, data: Path, tmp_path: Path
) -> None:
    """One that is requeued, or has no cells: the work is done, and that is no error."""
    scan = (*SCAN, "--k", "1:2", "--target", "30", "-o", "s.csv", "--method", "momentc")
    for task in ("1/3", "2/3", "3/3", "1/3"):
        outcome = invoke(*scan, "--task", task)
        assert outcome.code == 0, f"{task}: {outcome.stderr}"
    assert len(table(tmp_path / "s.csv")) == 2
    # The figure that is asked for later is drawn, or it is said why not.
    assert invoke(*scan, "--task", "1/3", "--plot", "s.svg").code == 0
    assert (tmp_path / "s.svg").exists()
    assert invoke(*scan, "--task", "1/3", "--plot", "nowhere/s.svg").code == 6
    # What is finished is not forgotten by a command that is refused.
    journals = {path: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    assert invoke(*scan, "--task", "1/3", "--restart").code == 6
    assert journals == {path: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    # Another job beside the table of this one, or one that is not finished, is an error as before.
    more = (*SCAN, "--k", "1:3", "--target", "30", "-o", "s.csv", "--method", "momentc")
    assert invoke(*more, "--task", "1/3").code == 6
    (tmp_path / "s.csv").write_text("something else")
    assert invoke(*scan, "--task", "1/3").code == 6
    assert (tmp_path / "s.csv").read_text() == "something else"


def test_a_task_waits_for_another_one_that_looks_at_the_same_file(
    invoke: Invoke, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each makes sure at its start that the table can be written, under the lock of the output."""
    scan = (*SCAN, "--k", "1", "--target", "30", "-o", "s.csv", "--method", "momentc")
    lock = tmp_path / ".s.csv.lock"
    owner = {"host": socket.gethostname(), "pid": os.getppid(), "time": "now"}
    lock.write_text(json.dumps(owner))
    waited: list[float] = []

    def released(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            lock.unlink()

    monkeypatch.setattr(time, "sleep", released)
    assert invoke(*scan, "--task", "1/2").code == 0
    assert len(waited) == 3
    (tmp_path / "s.csv").unlink()
    lock.write_text(json.dumps(owner))
    waited.clear()
    monkeypatch.setattr(time, "sleep", waited.append)
    for task in ((), ("--task", "2/2")):
        outcome = invoke(*scan, *task)
        assert outcome.code == 6
        assert "is being written by another run" in outcome.stderr
    assert len(waited) == study_outputs.TRIES - 1
    lock.unlink()


def test_a_task_forgets_an_earlier_job(invoke: Invoke, data: Path) -> None:
    scan = (*SCAN, "--k", "1:3", "--target", "30", "-o", "s.csv", "--method", "momentc")
    for task in ("1/2", "2/2"):
        assert invoke(*scan, "--task", task).code == 0
    other = (*scan, "--seed", "3", "--force", "--restart")
    assert "other tasks are still to come" in invoke(*other, "--task", "2/2").text
    done = invoke(*other, "--task", "1/2")
    assert done.code == 0
    assert "cells         3 (1 of them from before)" in done.text


def test_what_a_running_task_has_finished_is_not_forgotten(
    invoke: Invoke, data: Path, tmp_path: Path
) -> None:
    scan = (*SCAN, "--k", "1:3", "--target", "30", "-o", "s.csv", "--method", "momentc")
    for task in ("1/3", "2/3"):
        assert invoke(*scan, "--task", task).code == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("s.csv.task-*.jsonl")}
    assert len(before) == 2
    for journal in before:
        lock = journal.with_name(f".{journal.name}.lock")
        owner = {"host": socket.gethostname(), "pid": os.getppid(), "time": "just now"}
        lock.write_text(json.dumps(owner))
        refused = invoke(*scan, "--restart")
        assert refused.code == 6
        assert f"{journal.name} is being written by another run" in refused.stderr
        assert {path: path.read_bytes() for path in before} == before
        lock.unlink()
    assert invoke(*scan, "--restart").code == 0
    assert list(tmp_path.glob("s.csv.task-*.jsonl")) == []


@pytest.mark.parametrize("output", [("-o", "w.csv"), ("-o", "s.csv", "--plot", "w.png")])
def test_the_weights_are_an_input_too(
    invoke: Invoke, data: Path, tmp_path: Path, output: tuple[str, ...]
) -> None:
    """Also under a name that looks like a table or a picture."""
    name = output[-1]
    np.save(tmp_path / "w.npy", np.arange(1.0, 401.0))
    (tmp_path / "w.npy").rename(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    outcome = invoke(*SCAN, "--k", "1", "--target", "30", "-w", name, *output, "--force")
    assert outcome.code == 6
    assert "Inputs are never replaced" in outcome.stderr
    assert (tmp_path / name).read_bytes() == before


def test_an_interrupted_scan_ends_with_the_same_table(
    invoke: Invoke, data: Path, tmp_path: Path
) -> None:
    scan = (*SCAN, "--k", "1:3", "--target", "30,60", "--force")

    def steady(name: str) -> str:
        rows = list(csv.reader((tmp_path / name).read_text().splitlines()))
        times = rows[0].index("seconds")
        return "\n".join(",".join(row[:times] + row[times + 1 :]) for row in rows)

    whole = invoke(*scan, "-o", "whole.csv", "--plot", "whole.png")
    assert invoke(*scan, "-o", "s.csv", "--plot", "s.png").code == 0
    journal = tmp_path / "s.csv.cells.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:5]))
    again = invoke(*scan, "-o", "s.csv", "--plot", "s.png")
    assert "(4 of them from before)" in again.text
    assert steady("s.csv") == steady("whole.csv")
    assert (tmp_path / "s.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert again.text.split("Error of")[1:] == whole.text.split("Error of")[1:]


def test_finished_cells_are_used_again_unless_told(
    invoke: Invoke, data: Path, tmp_path: Path
) -> None:
    scan = (*SCAN, "--target", "30", "-o", "s.csv", "--force", "--method", "momentc")
    assert "cells         1\n" in invoke(*scan, "--k", "2").text
    assert "cells         3 (1 of them from before)" in invoke(*scan, "--k", "1:3").text
    other = invoke(*scan, "--k", "2", "--seed", "1")
    assert other.code == 8
    assert "its seed is 0, this job's is 1" in other.stderr
    assert invoke(*scan, "--k", "2", "--seed", "1", "--restart").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("error-scan",), 2, "neither was given"),
        (("error-scan", "data.h5", "--synthetic", "uniform"), 2, "both were given"),
        (("error-scan", "--synthetic", "cubic"), 2, "expected uniform or gaussian"),
        (("error-scan", "data.h5", "-d", "x"), 2, "--target 200,500,1000"),
        ((*SCAN, "--target", "30", "--k", "3:1"), 2, "the range is empty"),
        ((*SCAN, "--target", "30", "--k", "two"), 2, "expected numbers above 0"),
        ((*SCAN, "--target", "30", "--method", "magic"), 2, "--method names magic"),
        ((*SCAN, "--target", "30", "--families", "magic"), 2, "--families names magic"),
        ((*SCAN, "--target", "30", "--effort", "much"), 2, "effort must be one of"),
        ((*SCAN, "--target", "30", "--plot", "x.bmp"), 2, ".png, .pdf, .svg"),
        ((*SCAN, "--target", "30", "-o", "x.txt"), 2, ".csv or .json"),
        ((*SCAN, "--target", "30", "--task", "4/3"), 2, "expected i/n"),
        ((*SCAN, "--target", "30", "--m", "3"), 2, "a file has its own size"),
        ((*SCAN, "--target", "30", "--task", "1/3", "-o", "-"), 2, "needs a file for --output"),
        ((*SCAN, "--target", "30", "--json", "-o", "-"), 2, "give a file for one of them"),
        ((*SCAN, "--target", "30", "--fraction", "0.2"), 2, "--fraction is for --synthetic"),
        ((*UNIFORM, "--target", "30", "--fraction", "0.2"), 2, "without --target"),
        ((*UNIFORM, "--fraction", "0"), 2, "between 0 and 1"),
        ((*UNIFORM, "--polylog", "--target", "30"), 2, "has targets of its own"),
        ((*UNIFORM, "--polylog", "--max-error", "1"), 2, "has targets of its own"),
        ((*UNIFORM, "--polylog", "--d", "200"), 4, "keeps all 200 rows"),
        ((*UNIFORM, "-w", "w.npy", "--columns", "0"), 2, "--weights, --columns: for an input"),
        ((*UNIFORM, "--d", "100", "--target", "100"), 4, "target 100 keeps all 100 rows"),
        ((*SCAN, "--target", "30", "--max-error", "inf"), 2, "expected a finite number above 0"),
        ((*SCAN, "--target", "30", "-o", "none/x.csv"), 6, "none"),
        ((*SCAN, "--target", "400"), 4, "keeps all 400 rows"),
        ((*SCAN, "--target", "30", "--k", "200"), 4, "is the largest that will do"),
        ((*UNIFORM, "--m", "1", "--k", "20000", "--d", "30000"), 4, "more than 20000 cannot be"),
        (("error-scan", "missing.h5", "--target", "3"), 3, "no such file"),
    ],
)
def test_what_cannot_be(
    invoke: Invoke, data: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    outcome = invoke(*arguments)
    assert (outcome.code, outcome.stdout) == (code, b"")
    assert said in outcome.stderr


def test_interrupted_and_gone_on_with(tmp_path: Path) -> None:
    """Ctrl-C during a scan over processes: 130, finished cells kept, nobody left behind."""
    command = [
        *momentc_command(), "error-scan", "--synthetic", "uniform", "--m", "2", "--d", "600",
        "--k", "2", "--trials", "20", "--method", "paper,random", "--functions", "2", "-T", "2",
        "-o", "s.csv",
    ]  # fmt: skip
    journal = tmp_path / "s.csv.cells.jsonl"
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        until = time.monotonic() + 40
        while time.monotonic() < until and process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") > 3:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=40)
    assert process.returncode == 130
    assert b"the same command goes on from there" in stderr
    assert b"Traceback" not in stderr
    assert b"Warning" not in stderr
    n_done = journal.read_bytes().count(b"\n") - 1
    assert 0 < n_done < 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv.cells.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=90, check=True)
    assert f"40 ({n_done} of them from before)" in done.stdout.decode()
    assert len(table(tmp_path / "s.csv")) == 40


def test_k_auto_chooses_says_why_and_records_it(
    invoke: Invoke, shell: Callable[..., Outcome], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(size=(3000, 2)))
    outcome = invoke(
        "compress", "x.npy", "--k", "auto", "-n", "60", "-o", "x.h5", "--json", "-T", "1"
    )
    assert outcome.code == 0
    report: dict[str, Any] = json.loads(outcome.text)
    choice = report["k_choice"]
    assert report["k"] == choice["k"] > 1
    assert choice["reason"] in report["notes"]
    assert f"note: k = {choice['k']}" in outcome.stderr
    assert choice["reason"] in invoke("info", "x.h5").text
    assert invoke("verify-moments", "x.npy", "x.h5").code == 0
    again = invoke("compress", "x.npy", "--k", "AUTO", "-n", "60", "-o", "y.h5", "-T", "2")
    assert again.code == 0
    assert (tmp_path / "x.h5").read_bytes() == (tmp_path / "y.h5").read_bytes()


def test_k_auto_plans_and_refuses(invoke: Invoke, data: Path) -> None:
    plan = invoke("compress", "data.h5", "-d", "x", "--k", "auto", "-n", "60", "--dry-run")
    assert "of the order that measurements on a part of the rows will choose" in plan.text
    command = ("compress", "data.h5", "-d", "x", "--k", "auto", "-n", "60", "--dry-run", "--json")
    assert json.loads(invoke(*command).text)["k"] == "auto"
    low = invoke("compress", "data.h5", "-d", "x", "--k", "auto", "-n", "2")
    assert low.code == 4
    word = invoke("compress", "data.h5", "-d", "x", "--k", "best")
    assert word.code == 2
    assert "expected a whole number, or auto" in word.stderr
