"""What the tests of runs that end before their time share: a command, run as often as need be."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .conftest import momentc_command

__all__ = ["N_KILLS", "PATIENCE", "ROOT", "Command", "hidden"]

# Ten by default; `make nightly` says a hundred.
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
