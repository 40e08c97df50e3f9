"""Work on other processes: what they return, and how they fail."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from momentc.engine.processes import run_in_processes
from momentc.errors import MemoryBudgetError

_given: list[Any] = []


def prepare(*arguments: Any) -> None:
    _given[:] = arguments


def fail_to_prepare(text: str) -> None:
    raise LookupError(text)


def times(number: int) -> int:
    return int(number * _given[0])


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def be_killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def variable(name: str) -> str | None:
    return os.environ.get(name)


def test_every_item_once_in_processes_that_are_prepared() -> None:
    found = dict(run_in_processes(times, [1, 2, 3], 2, prepare=prepare, arguments=(7,)))
    assert found == {0: 7, 1: 14, 2: 21}


def test_their_environment_and_not_that_of_this_process() -> None:
    names = ["OMP_NUM_THREADS", "MOMENTC_TEST"]
    before = dict(os.environ)
    assert dict(run_in_processes(variable, names, 1)) == {0: "1", 1: None}
    given = {"MOMENTC_TEST": "x"}
    assert dict(run_in_processes(variable, names, 1, environment=given))[1] == "x"
    assert dict(os.environ) == before


def test_an_error_is_raised_here() -> None:
    with pytest.raises(ValueError, match="two"):
        dict(run_in_processes(fail_at_two, [1, 2], 1))


def test_an_error_of_the_preparation_is_what_it_is() -> None:
    """Not want of memory, which is what a pool whose processes end makes one think of."""
    with pytest.raises(LookupError, match="said so"):
        dict(run_in_processes(times, [1], 1, prepare=fail_to_prepare, arguments=("said so",)))


def test_a_process_that_is_killed() -> None:
    with pytest.raises(MemoryBudgetError, match="ended from outside"):
        dict(run_in_processes(be_killed, [1, 2], 2))


SLOW_TO_START = """
import sys, time
from momentc.engine.processes import run_in_processes

if __name__ == "__main__":
    try:
        print("begun", flush=True)
        dict(run_in_processes(time.sleep, [60, 60], 2))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("after", [0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_ctrl_c_while_processes_start_is_for_the_parent(after: float, tmp_path: Path) -> None:
    """A terminal sends it to all: those that are about to start must say nothing of it."""
    script = tmp_path / "script.py"
    script.write_text(SLOW_TO_START)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, b"")
