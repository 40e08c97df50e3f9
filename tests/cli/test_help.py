"""Help and version: instant, examples first, nothing heavy loaded."""

import subprocess
import sys

import pytest

from momentc.cli.app import COMMANDS
from momentc.version import __version__

from .conftest import Invoke

HEAVY = {"numpy", "scipy", "numba", "h5py", "faiss", "rich", "matplotlib"}
NAMES = [name for name, *_ in COMMANDS]


def test_help_names_commands_and_exit_codes(invoke: Invoke) -> None:
    outcome = invoke("--help")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.text.startswith("Usage: momentc [OPTIONS] COMMAND")
    assert outcome.text.index("Examples:") < outcome.text.index("Options:")
    for name in NAMES:
        assert f"\n  {name} " in outcome.text
    for code in range(8):
        assert f"\n    {code}  " in outcome.text


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_begins_with_examples(invoke: Invoke, name: str, flag: str) -> None:
    outcome = invoke(name, flag)
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.text.index("Examples:") < outcome.text.index("Options:")
    assert f"momentc {name} " in outcome.text.partition("Examples:")[2]


def test_version(invoke: Invoke) -> None:
    outcome = invoke("--version")
    assert (outcome.code, outcome.text) == (0, f"momentc {__version__}\n")


def test_no_command_shows_help(invoke: Invoke) -> None:
    outcome = invoke()
    assert outcome.code == 2
    assert outcome.stdout == b""
    assert outcome.stderr.startswith("Usage: momentc")
    assert "\nCommands:\n" in outcome.stderr


def test_help_loads_nothing_heavy() -> None:
    """What makes --help instant: not one of the big libraries is imported for it."""
    code = (
        "import sys; from momentc.cli.app import build_command; build_command();"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.parametrize("arguments", [["nonsense"], ["compress"], ["info", "--nonsense"]])
def test_wrong_usage_is_one_line_and_a_hint(invoke: Invoke, arguments: list[str]) -> None:
    outcome = invoke(*arguments)
    assert (outcome.code, outcome.stdout) == (2, b"")
    first, second = outcome.stderr.splitlines()
    assert first.startswith("momentc: error: ")
    assert second.startswith("Try 'momentc")
    assert second.endswith("--help' for the options and examples.")
