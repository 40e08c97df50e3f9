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
README = (ROOT / "README.md").read_text(encoding="utf-8")
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
        if re.search(rf"\bmomentc ({'|'.join(PROGRAM.commands)})\b", line):
            assert names_of(line.partition("momentc ")[2]) <= known, line


def section(title: str) -> str:
    """Return what stands under a heading of the README, up to the next one."""
    _, _, rest = README.partition(f"# {title}\n")
    assert rest, f"no section {title}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_every_exit_code_is_explained() -> None:
    codes = {error.exit_code for error in MomentcError.__subclasses__()}
    rows = re.findall(r"^\| (\d+) \|", section("Exit codes"), re.MULTILINE)
    assert [int(code) for code in rows] == sorted({0, 1, 130, 141, 143} | codes)


LETTERS = {
    "C": "compress", "M": "merge", "V": "verify-moments", "I": "info", "S": "error-scan",
    "B": "bench",
}  # fmt: skip
ROWS = re.findall(r"^\| (`-[^|]*(?:\\\|[^|]*)*) \| ([^|]*) \|", README, re.MULTILINE)


def test_the_tables_of_options_are_read() -> None:
    assert len(ROWS) > 40
    assert {letter for _, where in ROWS for letter in where.split()} == {*LETTERS, "all"}


@pytest.mark.parametrize(
    ("name", "option"), [pair for pair in options() if pair[0] in LETTERS.values()]
)
def test_the_tables_say_which_command_has_an_option(name: str, option: str) -> None:
    letter = next(key for key, value in LETTERS.items() if value == name)
    rows = [where.split() for words, where in ROWS if option in names_of(words)]
    assert any(letter in where or where in ([], ["all"]) for where in rows)


@pytest.mark.parametrize(("words", "where"), ROWS, ids=[words.split(",")[0] for words, _ in ROWS])
def test_the_tables_name_no_command_without_the_option(words: str, where: str) -> None:
    for letter in LETTERS if where.strip() == "all" else where.split():
        for option in names_of(words):
            assert (LETTERS[letter], option) in options(), f"{letter} {option}"
