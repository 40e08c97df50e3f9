"""Compiled code is used only with the sources that it was compiled from."""

import ast
import gc
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba as nb
import pytest
from numba.core import event

from momentc import compiled_code
from momentc.compiled_code import PACKAGE, STAMP, discard_outdated_code, has_current_code
from momentc.jit import Announcement, CollectorPause
from momentc.moments.features import fill_products

CALLEE = """
from momentc.jit import kernel

@kernel
def answer():
    return {answer}
"""

CALLER = """
from momentc.callee import answer
from momentc.jit import kernel

@kernel
def ask():
    return answer()

if __name__ == "__main__":
    print(ask(), sum(ask.stats.cache_hits.values()))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with code of which nobody knows what it was compiled from."""
    monkeypatch.setattr(compiled_code, "_sources_stamp", lambda: "these sources")
    discard_outdated_code.cache_clear()
    (tmp_path / "kernel.nbi").touch()
    (tmp_path / "kernel.1.nbc").touch()
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_code_of_other_sources_goes(folder: Path) -> None:
    assert not has_current_code([folder])
    discard_outdated_code(folder)
    assert names(folder) == ["kernel.1.nbc", STAMP]
    assert not has_current_code([folder]), "nothing is compiled yet"


def test_code_of_these_sources_stays(folder: Path) -> None:
    (folder / STAMP).write_text("these sources")
    assert has_current_code([folder.parent])
    discard_outdated_code(folder)
    assert names(folder) == ["kernel.1.nbc", "kernel.nbi", STAMP]


def test_a_stamp_that_is_no_text(folder: Path) -> None:
    (folder / STAMP).write_bytes(b"\xff\xfe")
    discard_outdated_code(folder)
    assert (folder / STAMP).read_text() == "these sources"
    assert names(folder) == ["kernel.1.nbc", STAMP]


def test_what_the_stamp_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_code, "PACKAGE", tmp_path)
    for room in ("reduction", "cli"):
        (tmp_path / room).mkdir()

    def stamp(name: str, source: str) -> str:
        (tmp_path / name).write_text(source)
        compiled_code._sources_stamp.cache_clear()
        return compiled_code._sources_stamp()

    try:
        stamps = [
            stamp("reduction/tableau.py", "a = 1"),
            stamp("reduction/tableau.py", "a = 2"),
            stamp("tolerances.py", "a = 1"),
            stamp("tolerances.py", "b = 1"),
        ]
        assert len(set(stamps)) == 4
        assert stamp("cli/app.py", "calls kernels, is called by none") == stamps[-1]
    finally:
        compiled_code._sources_stamp.cache_clear()


def test_the_stamp_covers_all_that_kernels_use() -> None:
    """All files with kernels, and what these import, and so on."""
    names = {path: set(imported(path)) for path in PACKAGE.rglob("*.py")}
    used = {path for path, modules in names.items() if "momentc.jit" in modules}
    assert len(used) > 10
    pending = list(used)
    while pending:
        for name in names[pending.pop()]:
            module = PACKAGE.joinpath(*name.split(".")[1:])
            new = {module.with_suffix(".py"), module / "__init__.py"} & names.keys() - used
            used |= new
            pending.extend(new)
    rooms = {PACKAGE / room for room in compiled_code.ROOMS}
    assert {path.parent for path in used} <= rooms


def imported(path: Path) -> Iterator[str]:
    """The names of momentc's modules in a file's imports, and of objects in them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "momentc")


def test_a_caller_follows_the_change_of_what_it_calls(tmp_path: Path) -> None:
    """numba alone would answer 1 again: the caller's own file is the same."""
    package = tmp_path / "momentc"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "caller.py").write_text(CALLER)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)

    def run(answer: int) -> str:
        (package / "callee.py").write_text(CALLEE.format(answer=answer))
        done = subprocess.run(
            [sys.executable, "-m", "momentc.caller"],
            capture_output=True, text=True, env=environment, cwd=tmp_path, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    assert run(1) == "1 0"
    assert run(1) == "1 1", "the kept code is used"
    assert run(2) == "2 0"


def test_the_collector_rests_while_a_kernel_is_compiled() -> None:
    def compiling() -> Any:
        return event.trigger_event("numba:compile", data={"dispatcher": fill_products})

    assert gc.isenabled()
    with compiling():
        with compiling():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with compiling():
            pass
        assert not gc.isenabled(), "whoever switched it off wants it off"
    finally:
        gc.enable()
    pause = CollectorPause()
    pause.on_end(None)  # of a kernel whose start another listener has cut short
    pause.on_start(None)
    assert not gc.isenabled()
    pause.on_end(None)
    assert gc.isenabled()


def test_compiling_is_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    of_others = nb.njit(names)

    def compiling(dispatcher: Any) -> Any:
        return event.trigger_event("numba:compile", data={"dispatcher": dispatcher})

    with caplog.at_level(logging.INFO, "momentc.jit"), compiling(fill_products):
        caplog.clear()  # from here on the process has said it, if it had not before
    with (
        caplog.at_level(logging.INFO, "momentc.jit"),
        event.install_listener("numba:compile", Announcement()),
    ):
        with compiling(of_others):
            pass
        assert caplog.messages == []
        for _ in range(2):
            with compiling(fill_products):
                pass
    assert caplog.messages == ["compiling for this machine: seconds to half a minute, once"]
