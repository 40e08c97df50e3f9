"""Runs that are killed or interrupted. The same command goes on.

Ten kills by default; MOMENTC_KILLS says how many (`make nightly`).
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from momentc.io.checkpoint import checkpoint_path

from .conftest import momentc_command
from .large import SMALL, npy_bytes, require
from .unfinished import N_KILLS, PATIENCE, ROOT, Command, hidden


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, bytes, float]:
    """A run that takes long enough to be hit, its result, and its seconds after the start."""
    folder = tmp_path_factory.mktemp("slow")
    rows = np.random.default_rng(1).normal(size=(400_000, 3))
    np.save(folder / "x.npy", rows)
    command = Command(
        folder, "x.npy", "-k", "3", "-n", "400", *SMALL, "-T", "1",
        "--checkpoint-every", "0.1",
    )  # fmt: skip
    expected = command.finish()  # compiles, if need be
    with command.start() as process:
        command.wait_for_lock(process)
        began = time.monotonic()
        process.wait(PATIENCE)
        seconds = time.monotonic() - began
    assert command.output.read_bytes() == expected
    require(command.output, rows, 3, 400)
    return command, expected, seconds


@pytest.mark.timeout(60 + 30 * N_KILLS)  # 6 a kill, on a machine with other guests 15
def test_kills_at_random_moments(slow: tuple[Command, bytes, float]) -> None:
    """SIGKILL, SIGTERM and SIGINT; whatever is under the final name is complete."""
    command, expected, seconds = slow
    moments = random.Random(20)
    came_too_late = went_on = kills = 0
    while kills < N_KILLS:
        sent = moments.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        with command.start() as process:
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
