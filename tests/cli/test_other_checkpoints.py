"""A checkpoint that does not fit the run: other options, rows or version; damaged, or no file."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from momentc.map_function import MapFunction
from momentc.streaming.stream import CellStream

from .conftest import Invoke
from .large import TINY, above_libraries, require
from .unfinished import hidden


@pytest.fixture
def begun(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A command of which a checkpoint is left."""
    np.save(tmp_path / "x.npy", np.random.default_rng(2).normal(size=(12_000, 2)))
    command = (
        "compress", "x.npy", "-k", "2", "-n", "60", *TINY, "--effort", "low",
        "--checkpoint-every", "0", "-T", "1", "-o", "out.npz",
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("momentc.files.streamed.compress_stream", interrupted)
        outcome = invoke(*command)
    assert outcome.code == 130
    assert "goes on from the checkpoint" in outcome.stderr
    assert hidden(tmp_path) == [".out.npz.checkpoint"]
    return command


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def changed(command: tuple[str, ...], option: str, value: str) -> list[str]:
    words = list(command)
    if option in words:
        words[words.index(option) + 1] = value
        return words
    return [*words, option, value]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("-k", "3", "k = 2"),
        ("-n", "70", "target = 60"),
        ("--seed", "5", "seed = 0"),
        ("--effort", "normal", 'effort = "low"'),
        ("-M", above_libraries(1_060_000), "is for another --memory; give the same options"),
        ("--nan", "drop", 'nan = "error"'),
        ("--columns", "1,0", "columns = [0, 1]"),
        ("--shard", "1/2", "rows = [[0, 12000]]"),
    ],
)
def test_other_options(
    invoke: Invoke, begun: tuple[str, ...], tmp_path: Path, option: str, value: str, said: str
) -> None:
    """Failure mode 44: exit code 8, what differs, and --restart, which then works."""
    command = changed(begun, option, value)
    outcome = invoke(*command)
    assert (outcome.code, outcome.stdout) == (8, b"")
    assert said in outcome.stderr
    assert "--restart" in outcome.stderr
    assert ".out.npz.checkpoint is for" in outcome.stderr
    assert hidden(tmp_path) == [".out.npz.checkpoint"]
    again = invoke(*command, "--restart", "-q")
    assert (again.code, again.stderr) == (0, "")
    assert hidden(tmp_path) == []


def test_what_went_before_is_said(invoke: Invoke, begun: tuple[str, ...], tmp_path: Path) -> None:
    """And does not count as the work of this run."""
    outcome = invoke(*begun)
    assert outcome.code == 0
    assert "went on from the checkpoint of an earlier run: 12000 objects had been" in outcome.stderr
    assert "(0 objects a second)" in outcome.text
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert (report["resumed_after"], report["objects_per_second"]) == (12_000, 0.0)


def test_an_interruption_of_what_went_on_names_the_checkpoint_too(
    invoke: Invoke, begun: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though this run has written none: it is not long enough."""
    with monkeypatch.context() as patch:
        patch.setattr("momentc.files.streamed.compress_stream", interrupted)
        outcome = invoke(*changed(begun, "--checkpoint-every", "3600"))
    assert outcome.code == 130
    assert "the same command goes on from the checkpoint" in outcome.stderr
    assert invoke(*begun, "-q").code == 0


def test_an_interruption_without_a_checkpoint_names_none(
    invoke: Invoke, begun: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work of a second is sooner done again than written down."""
    with monkeypatch.context() as patch:
        patch.setattr("momentc.files.streamed.compress_stream", interrupted)
        outcome = invoke(*changed(begun, "--checkpoint-every", "3600"), "--restart")
    assert outcome.code == 130
    assert "checkpoint" not in outcome.stderr
    assert hidden(tmp_path) == []


def test_what_went_before_counts_for_the_report(
    invoke: Invoke, begun: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows without weight, and the least weight of all, which the run itself has not seen."""
    weights = np.ones(12_000)
    weights[:100], weights[100] = 0.0, 1e-17
    np.save(tmp_path / "w.npy", weights)
    command = (*begun, "-w", "w.npy", "--restart")
    whole = invoke(*command)
    assert (whole.code, "weights range from 1e-17 to 1" in whole.stderr) == (0, True), whole.stderr
    expected = json.loads((tmp_path / "out.report.json").read_text())
    with monkeypatch.context() as patch:
        patch.setattr("momentc.files.streamed.compress_stream", interrupted)
        assert invoke(*command, "--force").code == 130
    outcome = invoke(*command[:-1], "--force")
    assert outcome.code == 0
    assert "weights range from 1e-17 to 1" in outcome.stderr
    report = json.loads((tmp_path / "out.report.json").read_text())
    for name in ("n_points", "n_zero_weight", "n_dropped_nan", "n_lossy", "input"):
        assert report[name] == expected[name]
    assert (report["n_zero_weight"], report["resumed_after"]) == (100, 11_900)


def test_other_weights(invoke: Invoke, begun: tuple[str, ...], tmp_path: Path) -> None:
    """The words of the cause, not the numbers that follow from it."""
    np.save(tmp_path / "w.npy", np.full(12_000, 1e6))
    outcome = invoke(*begun, "-w", "w.npy")
    assert outcome.code == 8
    assert "is for another dataset or other weights; give the same options" in outcome.stderr


def test_more_memory_than_before(invoke: Invoke, begun: tuple[str, ...], tmp_path: Path) -> None:
    """The rows fit, nothing is streamed: what an earlier run had done is of no use."""
    outcome = invoke(*changed(begun, "-M", "2G"))
    assert outcome.code == 0
    assert "began at the first row: that of an earlier run is removed" in outcome.stderr
    assert hidden(tmp_path) == []


def test_a_signal_while_the_cells_are_reduced(
    invoke: Invoke, begun: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole pass stands behind it: it is written down before the run ends."""
    command = (*changed(begun, "--checkpoint-every", "3600"), "--restart")
    assert invoke(*command).code == 0
    expected = (tmp_path / "out.npz").read_bytes()
    (tmp_path / "out.npz").unlink()
    (tmp_path / "out.report.json").unlink()
    came: list[None] = []

    @contextmanager
    def waits() -> Iterator[Callable[[], None]]:
        def look() -> None:
            if came:
                raise KeyboardInterrupt

        yield look

    def reduce(stream: CellStream, map_function: MapFunction) -> None:
        came.append(None)
        CellStream.reduce(stream, map_function)

    with monkeypatch.context() as patch:
        patch.setattr("momentc.cli.compress.signals_wait", waits)
        patch.setattr(
            "momentc.files.streamed.CellStream", type("Slow", (CellStream,), {"reduce": reduce})
        )
        outcome = invoke(*command)
    assert outcome.code == 130
    assert "goes on from the checkpoint" in outcome.stderr
    assert invoke(*command[:-1], "-q").code == 0
    assert (tmp_path / "out.npz").read_bytes() == expected


def test_another_input(invoke: Invoke, begun: tuple[str, ...], tmp_path: Path) -> None:
    """Other rows under the same name, or only another time: the rows may have changed."""
    path = tmp_path / "x.npy"
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    outcome = invoke(*begun)
    assert outcome.code == 8
    assert "is for other files, or files that have changed since; give" in outcome.stderr
    rows = np.load(path)
    rows[:, 1] += 1.0
    np.save(path, rows)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    outcome = invoke(*begun)
    assert outcome.code == 8
    assert "is for other rows of the input; " in outcome.stderr
    assert invoke(*begun, "--restart", "-q").code == 0
    require(tmp_path / "out.npz", rows, 2, 60)


def test_another_version(
    invoke: Invoke, begun: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("momentc.files.parts.__version__", "99.0")
        outcome = invoke(*begun)
    assert outcome.code == 8
    assert '"99.0"' in outcome.stderr
    assert "momentc = " in outcome.stderr
    assert invoke(*begun, "-q").code == 0


@pytest.mark.parametrize("harm", ["flipped", "cut", "emptied", "replaced"])
def test_a_damaged_checkpoint(
    invoke: Invoke, begun: tuple[str, ...], tmp_path: Path, harm: str
) -> None:
    path = tmp_path / ".out.npz.checkpoint"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(
        {
            "flipped": bytes(content),
            "cut": bytes(content[: len(content) // 2]),
            "emptied": b"",
            "replaced": b"something else altogether",
        }[harm]
    )
    outcome = invoke(*begun)
    assert (outcome.code, outcome.stdout) == (8, b"")
    assert ".out.npz.checkpoint is damaged" in outcome.stderr
    assert "--restart" in outcome.stderr
    assert invoke(*begun, "--restart", "-q").code == 0
    assert hidden(tmp_path) == []


def test_a_checkpoint_that_more_memory_makes_needless(
    invoke: Invoke, begun: tuple[str, ...], tmp_path: Path
) -> None:
    """All rows fit now: the run does not stream, and leaves nothing of the one before."""
    outcome = invoke(*changed(begun, "-M", "2G"), "-q")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert hidden(tmp_path) == []


def test_an_interruption_after_restart_says_what_goes_on(
    invoke: Invoke, begun: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very same command would begin anew."""
    with monkeypatch.context() as patch:
        patch.setattr("momentc.files.streamed.compress_stream", interrupted)
        outcome = invoke(*begun, "--restart")
    assert outcome.code == 130
    assert "; the same command without --restart goes on from the checkpoint" in outcome.stderr
    assert invoke(*begun, "-q").code == 0


def test_a_folder_in_the_place_of_the_checkpoint(
    invoke: Invoke, begun: tuple[str, ...], tmp_path: Path
) -> None:
    """Nothing that is not a checkpoint is removed."""
    path = tmp_path / ".out.npz.checkpoint"
    path.unlink()
    path.mkdir()
    outcome = invoke(*begun)
    assert outcome.code == 8
    assert "it is not a file" in outcome.stderr
    assert invoke(*begun, "--restart").code == 6
    assert path.is_dir()
