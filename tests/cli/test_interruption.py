"""Runs that end before their time: killed, crashed, interrupted. The same command goes on.

Ten kills by default; MOMENTC_KILLS says how many (`make nightly`).
"""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from momentc.cli.app import app
from momentc.io import lock as lock_module
from momentc.io.checkpoint import checkpoint_path

from .conftest import Invoke, momentc_command
from .large import SMALL, npy_bytes, require

Array = NDArray[Any]

N_KILLS = int(os.environ.get("MOMENTC_KILLS", "10"))

ROOT = str(Path(__file__).resolve().parents[2])

# Seconds after which a test gives up on a command.
PATIENCE = 60.0


def hidden(folder: Path) -> list[str]:
    """Return what a finished run must not leave."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


class Command:
    """A command in a folder, run as often as need be."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.folder = folder
        self.output = folder / "out.npz"
        self.args = [*momentc_command(), "compress", *args, "-o", "out.npz", "--force", "-q"]

    def start(self, **options: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.args, cwd=self.folder, stderr=subprocess.PIPE, **options)

    def start_slowly(self) -> "subprocess.Popen[bytes]":
        """Start it so that it says on stdout when a block has passed, and rests after it."""
        program = """
import sys, time
import momentc.streaming.stream as stream
real = stream.CellStream.add
def add(*args):
    real(*args)
    print("block", flush=True)
    time.sleep(0.05)
stream.CellStream.add = add
from momentc.cli import main
main()
"""
        return subprocess.Popen(
            [sys.executable, "-c", program, *self.args[len(momentc_command()) :]],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": ROOT},
        )  # fmt: skip

    def finish(self) -> bytes:
        done = subprocess.run(
            self.args, cwd=self.folder, capture_output=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return self.output.read_bytes()

    def wait_for_lock(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until a running command has taken the lock (an older one may be left)."""
        lock = self.folder / ".out.npz.lock"
        own = f'"pid": {process.pid},'.encode()
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(FileNotFoundError):
                if own in lock.read_bytes():
                    return
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.002)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, bytes, float]:
    """A run that takes long enough to be hit, its result, and its seconds after the start."""
    folder = tmp_path_factory.mktemp("slow")
    rows = np.random.default_rng(1).normal(size=(400_000, 3))
    np.save(folder / "x.npy", rows)
    command = Command(
        folder, "x.npy", "-k", "3", "-n", "400", "-M", "275M", "-T", "1",
        "--checkpoint-every", "0.1",
    )  # fmt: skip
    command.finish()  # compiles, if need be
    expected = command.finish()
    with command.start() as process:
        command.wait_for_lock(process)
        began = time.monotonic()
        process.wait(PATIENCE)
        seconds = time.monotonic() - began
    require(command.output, rows, 3, 400)
    return command, expected, seconds


@pytest.mark.timeout(60 + 10 * N_KILLS)
def test_kills_at_random_moments(slow: tuple[Command, bytes, float]) -> None:
    """SIGKILL, SIGTERM and SIGINT; whatever is under the final name is complete."""
    command, expected, seconds = slow
    moments = random.Random(20)
    came_too_late = went_on = kills = 0
    while kills < N_KILLS:
        sent = moments.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        process = command.start()
        command.wait_for_lock(process)
        time.sleep(moments.uniform(0.0, 1.1) * seconds)
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=PATIENCE)
        codes = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
        assert process.returncode in {0, codes[sent]}, stderr.decode()
        assert b"Traceback" not in stderr
        came_too_late += process.returncode == 0
        kills += process.returncode != 0
        went_on += checkpoint_path(command.output).exists()
        if command.output.exists():
            assert command.output.read_bytes() == expected
        if process.returncode != 0 and moments.random() < 0.3:
            assert command.finish() == expected
            assert hidden(command.folder) == []
            command.output.unlink()
        assert came_too_late < 3 * N_KILLS + 5, "the run is too fast to be hit"
    assert command.finish() == expected
    assert hidden(command.folder) == []
    assert went_on > 0, "no kill has left a checkpoint: nothing was tested"


@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_writes_a_checkpoint_and_names_it(
    slow: tuple[Command, bytes, float], sent: signal.Signals, code: int, word: str
) -> None:
    """Failure modes 32 and 33, with checkpoints so rare that only the signal can have made one."""
    command, expected, _ = slow
    command.output.unlink()
    rare = Command(command.folder, *command.args[len(momentc_command()) + 1 : -4])
    rare.args[rare.args.index("0.1")] = "3600"
    checkpoint = checkpoint_path(rare.output)
    process = rare.start_slowly()
    for _ in range(5):
        assert process.stdout is not None
        assert process.stdout.readline() == b"block\n"
    began = time.monotonic()
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < 10
    assert process.returncode == code
    assert stderr.decode() == (
        f"momentc: {word}; the same command goes on from the checkpoint {checkpoint}\n"
    )
    assert hidden(command.folder) == [checkpoint.name]
    assert rare.finish() == expected
    assert hidden(command.folder) == []


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    """While the first one waits for the end of a block, which is held up here."""
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(60_000, 3)))
    program = """
import sys, time
import momentc.streaming.stream as stream
def add(*_):
    print("stuck", flush=True)
    time.sleep(600)
stream.CellStream.add = add
from momentc.cli import main
main()
"""
    environment = {**os.environ, "PYTHONPATH": ROOT}
    with subprocess.Popen(
        [sys.executable, "-c", program, "compress", "x.npy", "-k", "2", "-n", "100", *SMALL],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"stuck\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None, "the first one waits"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_pipe_that_stalls_can_be_interrupted(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    """There is no checkpoint to wait for, and the next block may never come."""
    rows = np.random.default_rng(1).normal(size=(200_000, 3))
    command = Command(tmp_path, "-", "-k", "2", "-n", "100", *SMALL)
    process = command.start(stdin=subprocess.PIPE)
    assert process.stdin is not None
    half = npy_bytes(rows)[: rows.nbytes // 2]
    process.stdin.write(half)  # more than a pipe holds: most of it has been read by now
    process.stdin.flush()
    time.sleep(0.7)
    process.send_signal(sent)
    try:
        assert process.wait(10) == code
    finally:
        process.kill()
        process.communicate()
    assert hidden(tmp_path) == []


# Crashes at every write


class Crash(BaseException):
    """The process is gone: nothing that would clean up can do anything any more."""


CHANGES = [
    (os, "open"), (os, "write"), (os, "fsync"), (os, "ftruncate"), (Path, "replace"),
    (Path, "rename"), (Path, "unlink"), (Path, "mkdir"),
]  # fmt: skip


def changes_of(command: Sequence[str], n: int) -> int:
    """Run a command of which nothing reaches the disk after the n-th change; count the tries."""
    done = 0
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in CHANGES:
            real = getattr(owner, name)

            def change(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
                nonlocal done
                done += 1
                if done > n:
                    raise Crash
                return _real(*args, **kwargs)

            patch.setattr(owner, name, change)
        with suppress(Crash):
            CliRunner().invoke(app, list(command), prog_name="momentc")
    lock_module._held.clear()  # a new process knows of no locks
    return done


@pytest.fixture
def little(invoke: Invoke, tmp_path: Path) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """A stream of a few blocks, each with a checkpoint, and what it makes."""
    rows = np.random.default_rng(2).normal(size=(12_000, 2))
    np.save(tmp_path / "x.npy", rows)
    command = (
        "compress", "x.npy", "-k", "2", "-n", "60", "-M", "270M", "--effort", "low", "-q",
        "--force", "--checkpoint-every", "0", "-T", "1", "-o", "out.npz",
    )  # fmt: skip
    outcome = invoke(*command)
    assert outcome.code == 0, outcome.stderr
    require(tmp_path / "out.npz", rows, 2, 60)
    expected = (tmp_path / "out.npz").read_bytes()
    (tmp_path / "out.npz").unlink()
    yield command, expected
    assert hidden(tmp_path) == []


def test_a_crash_at_every_write(
    invoke: Invoke, little: tuple[tuple[str, ...], bytes], tmp_path: Path
) -> None:
    """At every call that changes the disk, one after the other; the output is absent or whole."""
    command, expected = little
    output = tmp_path / "out.npz"
    n_changes = changes_of(command, 10**9)
    assert output.read_bytes() == expected
    assert hidden(tmp_path) == []
    output.unlink()
    assert n_changes > 100
    # The checkpoints are all alike; what comes after the last is tried in full.
    step = 1 if N_KILLS >= 100 else 17
    went_on = 0
    for n in [*range(0, n_changes - 26, step), *range(n_changes - 26, n_changes)]:
        assert changes_of(command, n) > n
        if output.exists():
            assert output.read_bytes() == expected, f"crash {n}"
        went_on += checkpoint_path(output).exists()
        # Crashed before the lock said whose it is: it counts for a minute.
        empty = [lock for lock in tmp_path.glob(".*.lock") if lock.stat().st_size == 0]
        if any("checkpoint" not in lock.name for lock in empty):
            assert invoke(*command).code == 6, f"crash {n}"
        for lock in empty:
            os.utime(lock, (0, 0))
        outcome = invoke(*command)
        assert outcome.code == 0, f"crash {n}: {outcome.stderr}"
        assert output.read_bytes() == expected, f"crash {n}"
        assert hidden(tmp_path) == [], f"crash {n}"
        output.unlink()
    assert went_on > 15


@pytest.mark.parametrize("n", [12, 45, 70])
def test_a_process_that_vanishes_while_it_writes(
    invoke: Invoke, little: tuple[tuple[str, ...], bytes], tmp_path: Path, n: int
) -> None:
    """As above, by a process that is truly gone: `os._exit` at the n-th write or flush."""
    command, expected = little
    program = f"""
import os, sys
left = {n}
def counted(real):
    def call(*args):
        global left
        left -= 1
        if left == 0:
            os._exit(99)
        return real(*args)
    return call
os.write, os.fsync = counted(os.write), counted(os.fsync)
from momentc.cli import main
main()
"""
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=tmp_path, env=environment, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 99
    assert hidden(tmp_path) != []
    outcome = invoke(*command)
    assert outcome.code == 0, outcome.stderr
    assert (tmp_path / "out.npz").read_bytes() == expected


# Going on with something else


@pytest.fixture
def begun(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A command of which a checkpoint is left."""
    np.save(tmp_path / "x.npy", np.random.default_rng(2).normal(size=(12_000, 2)))
    command = (
        "compress", "x.npy", "-k", "2", "-n", "60", "-M", "270M", "--effort", "low",
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
        ("-M", "269500000", "stream = "),
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


def test_another_input(invoke: Invoke, begun: tuple[str, ...], tmp_path: Path) -> None:
    """Other rows under the same name, or only another time: the rows may have changed."""
    path = tmp_path / "x.npy"
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    outcome = invoke(*begun)
    assert outcome.code == 8
    assert "is for files = " in outcome.stderr
    rows = np.load(path)
    rows[:, 1] += 1.0
    np.save(path, rows)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    outcome = invoke(*begun)
    assert outcome.code == 8
    assert "sample = " in outcome.stderr
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


# Checkpoints that cannot be written


def few_bytes() -> None:
    """No file may become larger than that: the result does not, a checkpoint does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk(tmp_path: Path) -> None:
    """The run goes on without checkpoints, says so once, and leaves nothing of them."""
    rows = np.random.default_rng(2).normal(size=(12_000, 2))
    np.save(tmp_path / "x.npy", rows)
    command = Command(
        tmp_path, "x.npy", "-k", "2", "-n", "60", "-M", "270M", "--effort", "low",
        "--checkpoint-every", "0", "-T", "1",
    )  # fmt: skip
    command.finish()  # compiles, if need be
    command.output.unlink()
    command.args.remove("-q")
    done = subprocess.run(
        command.args, cwd=tmp_path, capture_output=True, preexec_fn=few_bytes,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert len(re.findall("no checkpoint could be written: ", said)) == 1
    assert "File too large. A limit on file sizes is set (ulimit -f)" in said
    require(command.output, rows, 2, 60)
    assert hidden(tmp_path) == []


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
