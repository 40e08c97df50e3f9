"""The examples of docs/file-format.md are what its command writes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from .conftest import Invoke

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "file-format.md").read_text(encoding="utf-8")
COMMAND = re.search(r"^The examples are from `momentc (.+)`\.$", PAGE, re.MULTILINE)

# What differs from machine to machine, or from run to run.
ANY = {"checksum", "finished", "objects_per_second", "peak_memory", "seconds"}


def examples() -> dict[str, Any]:
    """Return {key: value} of the metadata, the report and ``input``."""
    part = PAGE[PAGE.index("The examples are from") : PAGE.index("## Files that come")]
    rows = re.findall(r"^\| `(\w+)` \|.*\| `([^`|]*)` \|$", part, re.MULTILINE)
    return {key: json.loads(value) for key, value in rows}


def test_examples(invoke: Invoke, tmp_path: Path) -> None:
    assert COMMAND is not None
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    outcome = invoke(*COMMAND[1].split(), "--json")
    assert outcome.code == 0, outcome.stderr
    report = json.loads(outcome.stdout)
    report |= report["input"]
    shown = examples()
    assert len(shown) > 30
    for key, value in shown.items():
        if key in ANY:
            assert isinstance(report[key], type(value))
        elif key in {"error", "relative_error"}:
            # Rounding is rounding; what is more may differ a little where BLAS does.
            assert report[key] == pytest.approx(value, rel=0.5, abs=1e-14)
        else:
            assert report[key] == value, key
