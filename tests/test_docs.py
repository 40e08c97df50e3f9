"""Whatever `--help` offers is explained in README.md or docs/, and what those promise exists."""

import re
from pathlib import Path
from typing import Any

import pytest

from momentc.cli.app import build_command
from momentc.errors import MomentcError

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.is_file())
PROGRAM: Any = build_command()


def options() -> list[tuple[str, str]]:
    """Each long option with the command that has it."""
    return [
        (name, option)
        for name, command in PROGRAM.commands.items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    ]


def names_of(text: str) -> set[str]:
    """Long options that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


@pytest.mark.parametrize("name", list(PROGRAM.commands))
def test_every_command_is_explained(name: str) -> None:
    assert f"momentc {name}" in TEXT


@pytest.mark.parametrize(("name", "option"), options())
def test_every_option_is_explained(name: str, option: str) -> None:
    assert option in names_of(TEXT), f"momentc {name} {option} stands in no page"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_promise_no_option_that_does_not_exist(page: Path) -> None:
    """Only lines that show momentc itself are read; pip and git have options of their own."""
    known = {option for _, option in options()} | {"--help", "--version"}
    for line in page.read_text(encoding="utf-8").splitlines():
        if re.search(r"\bmomentc (compress|merge|verify-moments|error-scan|bench|info)\b", line):
            assert names_of(line.partition("momentc ")[2]) <= known, line


def test_every_exit_code_is_explained() -> None:
    codes = {error.exit_code for error in MomentcError.__subclasses__()}
    for code in sorted({0, 1, 130, 143} | codes):
        assert re.search(rf"^\| *`?{code}\b", TEXT, re.MULTILINE), f"exit code {code}"
