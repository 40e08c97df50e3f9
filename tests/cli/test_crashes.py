"""Runs whose writes end or fail: a crash at every one of them, and a disk that takes no more.

Every 17th write by default; all of them with MOMENTC_KILLS=100 (`make nightly`).
"""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from momentc.cli.app import app
from momentc.io import lock as lock_module
from momentc.io.checkpoint import checkpoint_path

from .conftest import Invoke
from .large import TINY, require
from .unfinished import N_KILLS, PATIENCE, ROOT, Command, hidden


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
        "compress", "x.npy", "-k", "2", "-n", "60", *TINY, "--effort", "low", "-q",
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


def few_bytes() -> None:
    """No file may become larger than that: the result does not, a checkpoint does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk(tmp_path: Path) -> None:
    """The run goes on without checkpoints, says so once, and leaves nothing of them."""
    rows = np.random.default_rng(2).normal(size=(12_000, 2))
    np.save(tmp_path / "x.npy", rows)
    command = Command(
        tmp_path, "x.npy", "-k", "2", "-n", "60", *TINY, "--effort", "low",
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
