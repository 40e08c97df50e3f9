"""One run at a time writes an output; what a run that is gone has left is cleared away."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from momentc.errors import OutputError
from momentc.io.atomic import output_lock, probe_output, write_bytes_atomic
from momentc.io.lock import BusyError

from .outputs import NEW, OLD, REFUSING, here, run, start


def gone_process() -> int:
    """Return the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def write_lock(**changes: object) -> None:
    owner = {"host": socket.gethostname(), "pid": gone_process(), "time": "yesterday", **changes}
    Path(".out.npz.lock").write_text(json.dumps(owner))


def test_a_second_run_fails_early_and_names_the_first() -> None:
    script = """
    with output_lock("out.npz"):
        print("held", flush=True)
        sys.stdin.read()
    """
    with start(script) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        for action in REFUSING:
            with pytest.raises(OutputError, match="is being written by another run") as caught:
                action("out.npz", force=True)
            assert f"process {first.pid} on {socket.gethostname()}, since 2" in str(caught.value)
            assert ".out.npz.lock" in str(caught.value)
        probe_output("other.npz", force=False)
        first.communicate("")
    write_bytes_atomic("out.npz", NEW, force=False)
    assert here() == ["out.npz"]


def test_a_lock_may_be_taken_again_by_its_owner() -> None:
    with output_lock("out.npz"):
        probe_output("out.npz", force=False)
        write_bytes_atomic("out.npz", NEW, force=False)
        assert here() == [".out.npz.lock", "out.npz"]
        with output_lock("./out.npz"):
            pass
        assert here() == [".out.npz.lock", "out.npz"]
    assert here() == ["out.npz"]


def test_a_lock_is_released_by_an_error() -> None:
    with pytest.raises(KeyboardInterrupt), output_lock("out.npz"):
        raise KeyboardInterrupt
    assert here() == []


def test_a_signal_while_the_lock_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be empty, and for a minute nobody could tell whose it is."""
    really = os.open

    def interrupted(path: Any, flags: int, *mode: int) -> int:
        descriptor = really(path, flags, *mode)
        os.kill(os.getpid(), signal.SIGINT)
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", interrupted)
        with pytest.raises(KeyboardInterrupt), output_lock("out.npz"):
            raise AssertionError("the interruption is lost")
    assert here() == []
    with output_lock("out.npz"):
        assert here() == [".out.npz.lock"]


def test_another_thread_is_another_run() -> None:
    caught: list[str] = []

    def second() -> None:
        try:
            write_bytes_atomic("out.npz", NEW, force=False)
        except OutputError as error:
            caught.append(str(error))

    with output_lock("out.npz"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert caught == ["out.npz is being written by another thread"]


def test_the_lock_of_a_dead_process_is_removed_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = gone_process()
    write_lock(pid=gone)
    Path(f".out.npz.{gone}.partial").write_bytes(b"half")
    Path(f".out.npz.more.{gone}.partial").write_bytes(b"of another output")
    write_bytes_atomic("out.npz", NEW, force=False)
    assert here() == [f".out.npz.more.{gone}.partial", "out.npz"]
    assert any("removed the stale lock" in text for text in caplog.messages)
    assert any("left behind by a run that was killed" in text for text in caplog.messages)


def test_a_lock_of_an_earlier_process_with_our_number() -> None:
    write_lock(pid=os.getpid())
    write_bytes_atomic("out.npz", NEW, force=False)
    assert here() == ["out.npz"]


@pytest.mark.parametrize(
    "changes",
    [{"host": "elsewhere"}, {"pid": 1}, {"pid": 10**20}, {"pid": "x"}, {"pid": None}],
    ids=str,
)
def test_a_lock_that_may_be_alive_is_respected(changes: dict[str, object]) -> None:
    write_lock(**changes)
    with pytest.raises(OutputError, match=r"If no such run exists, remove .*\.out\.npz\.lock"):
        write_bytes_atomic("out.npz", NEW, force=False)
    assert here() == [".out.npz.lock"]


@pytest.mark.parametrize(
    ("theirs", "ours", "gone"),
    [
        ({"job": "42", "restarts": 0}, {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "1"}, True),
        ({"job": "42", "restarts": 1}, {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "1"}, False),
        ({"job": "42", "restarts": 0}, {"SLURM_JOB_ID": "42"}, False),
        ({"job": "41", "restarts": 0}, {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "1"}, False),
        ({"job": "42"}, {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "1"}, False),
        ({}, {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "x"}, False),
        ({"job": "42", "restarts": 0}, {}, False),
    ],
)
def test_the_lock_of_a_job_that_was_requeued(
    theirs: dict[str, Any],
    ours: dict[str, str],
    gone: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node failed, and Slurm has begun the job again on another one."""
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    write_lock(host="node17", **theirs)
    if gone:
        write_bytes_atomic("out.npz", NEW, force=False)
        assert here() == ["out.npz"]
        with output_lock("out.npz"):
            assert json.loads(Path(".out.npz.lock").read_bytes())["restarts"] == 1
    else:
        with pytest.raises(OutputError, match="node17"):
            write_bytes_atomic("out.npz", NEW, force=False)


def test_a_lock_that_was_never_written_counts_for_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever made it was killed before it could say who it is."""
    lock = Path(".out.npz.lock")
    for age, content, counts in ((50, b"", True), (70, b"{", True), (70, b"", False)):
        lock.write_bytes(content)
        made = time.time() - age
        os.utime(lock, (made, made))
        if counts:
            with pytest.raises(OutputError, match="If no such run exists"):
                write_bytes_atomic("out.npz", NEW, force=False)
    write_bytes_atomic("out.npz", NEW, force=False)
    assert here() == ["out.npz"]
    assert any("its process was killed" in text for text in caplog.messages)


def test_a_lock_that_is_just_being_written_is_respected() -> None:
    Path(".out.npz.lock").write_bytes(b"")
    with pytest.raises(OutputError, match=r"is being written by another run. Wait for it"):
        write_bytes_atomic("out.npz", NEW, force=False)


def test_a_faster_run_that_found_the_same_stale_lock_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_lock()
    lock = Path(".out.npz.lock")
    theirs = json.dumps({"host": "elsewhere", "pid": 1, "time": "now"}).encode()

    def is_gone(*_: object) -> bool:
        lock.write_bytes(theirs)
        return True

    monkeypatch.setattr("momentc.io.lock._is_gone", is_gone)
    with pytest.raises(BusyError, match="by another run, which started just now"):
        write_bytes_atomic("out.npz", NEW, force=False)
    assert here() == [".out.npz.lock"]
    assert lock.read_bytes() == theirs


CONTENDER = """
from momentc.errors import OutputError
content = sys.argv[1].encode() * 100_000
n_done = 0
end = time.time() + 1.5
while time.time() < end:
    try:
        write_bytes_atomic("out.npz", content, force=True)
        n_done += 1
    except OutputError as error:
        assert "being written by another run" in str(error), error
print(n_done)
"""


def test_two_runs_never_mix_their_bytes() -> None:
    runs = [start(CONTENDER, letter) for letter in "ab"]
    while any(process.poll() is None for process in runs):
        if Path("out.npz").exists():
            content = Path("out.npz").read_bytes()
            assert content in {b"a" * 100_000, b"b" * 100_000}
    for process in runs:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert int(output) > 0
    assert here() == ["out.npz"]


def test_a_run_that_is_killed_leaves_the_old_file_and_can_be_repeated() -> None:
    Path("out.npz").write_bytes(OLD)
    script = """
    import signal
    def check(content):
        os.kill(os.getpid(), signal.SIGKILL)
    write_bytes_atomic("out.npz", bytes(1000), force=True, check=check)
    """
    assert run(script).returncode == -signal.SIGKILL
    assert Path("out.npz").read_bytes() == OLD
    assert len(here()) == 3  # the lock and a partial file
    write_bytes_atomic("out.npz", NEW, force=True)
    assert here() == ["out.npz"]
