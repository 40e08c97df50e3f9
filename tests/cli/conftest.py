"""Two ways to run the command line: in this process (fast) and as a user would (true)."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from momentc.cli.app import app
from momentc.cpus import THREAD_VARIABLES

Invoke = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a command left: both streams and the exit code."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def steady(self) -> str:
        """Stdout without what differs from run to run: times, memory, tiny errors."""
        text = re.sub(r"\d\.\de-(1[4-9]|2\d)|0\.0e\+00", "TINY", self.text)
        text = re.sub(r"[\d,.]+ objects a second", "RATE objects a second", text)
        text = re.sub(r"\b\d+\.\d\d s\b", "TIME", text)
        return re.sub(r"[\d.]+ [MG]iB", "SIZE", text)


@pytest.fixture(autouse=True)
def _unchanged_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands set thread variables; they must not leak from test to test."""
    for name in (*THREAD_VARIABLES, "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        if not os.environ[name]:
            monkeypatch.delenv(name)
    monkeypatch.delenv("NO_COLOR", raising=False)
    logger = logging.getLogger("momentc")
    level = logger.level
    yield
    logger.setLevel(level)  # --quiet changes it


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in this process, inside an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path, stdin: bytes = b"") -> Outcome:
        result = CliRunner().invoke(
            app, [str(arg) for arg in args], input=stdin, prog_name="momentc"
        )
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Outcome(result.exit_code, result.stdout_bytes, result.stderr)

    return run


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Outcome]:
    """Run a command as a process of its own, inside an empty folder."""
    return partial(run_in_shell, tmp_path)


def run_in_shell(
    folder: Path,
    *args: str | Path,
    stdin: bytes = b"",
    env: dict[str, str] | None = None,
    command: Sequence[str] | None = None,
) -> Outcome:
    """Run a command as a process of its own, inside a folder."""
    done = subprocess.run(
        [*(command or momentc_command()), *(str(arg) for arg in args)],
        input=stdin,
        capture_output=True,
        cwd=folder,
        env=os.environ | {"PYTHONWARNINGS": "error::ResourceWarning"} if env is None else env,
        timeout=60,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr.decode())


def momentc_command() -> list[str]:
    """The program of this source tree, whether or not it is installed and wherever it runs."""
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from momentc.cli import main; main()"
    return [sys.executable, "-c", code]


@pytest.fixture
def points() -> np.ndarray[Any, np.dtype[np.float32]]:
    """400 x 2 float32 points; 21 moments of order 0 to 5."""
    return np.random.default_rng(5).normal(size=(400, 2)).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path, points: np.ndarray[Any, np.dtype[np.float32]]) -> Iterator[Path]:
    """The points in data.h5:/x with weights in /mass, and a second array in other.h5."""
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["x"] = points
        file["mass"] = np.random.default_rng(6).uniform(0.5, 2.0, len(points))
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before, "the input was changed"
    left = [p.name for p in tmp_path.rglob("*") if "partial" in p.name or "lock" in p.name]
    assert not left, f"temporary files were left behind: {left}"
