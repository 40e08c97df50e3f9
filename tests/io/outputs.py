"""What the tests of outputs and of their locks share: contents, and runs in other processes."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from momentc.io.atomic import probe_output, write_bytes_atomic

__all__ = ["NEW", "OLD", "REFUSING", "here", "run", "start"]

OLD, NEW = b"the old content", b"the new content" * 1000


def write_new(path: str, *, force: bool, inputs: Sequence[Path] = ()) -> None:
    write_bytes_atomic(path, NEW, force=force, inputs=inputs)


REFUSING: tuple[Callable[..., None], ...] = (probe_output, write_new)
"""What is refused before the work must be refused after it too."""


def here() -> list[str]:
    """Names in the folder, hidden ones included."""
    return sorted(path.name for path in Path().iterdir())


def run(script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python in another process."""
    return subprocess.run(
        _command(script, *arguments), capture_output=True, text=True, check=False,
        env=_environment(), timeout=60, **options,
    )  # fmt: skip


def start(script: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a piece of Python in another process, and leave it to the test."""
    return subprocess.Popen(
        _command(script, *arguments), text=True, env=_environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _command(script: str, *arguments: str) -> list[str]:
    code = "from momentc.io.atomic import *\nfrom pathlib import Path\nimport os, sys, time\n"
    return [sys.executable, "-W", "error", "-c", code + textwrap.dedent(script), *arguments]


def _environment() -> dict[str, str]:
    """Where the package is found as this process found it, whatever folder the test stands in."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
