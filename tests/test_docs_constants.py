"""The values in the tables of docs/algorithm.md are those of the code."""

import re
import runpy
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import momentc
from momentc import hybrid
from momentc.effort import working_order
from momentc.options import Effort

PAGE = Path(__file__).resolve().parent.parent / "docs" / "algorithm.md"
TEXT = PAGE.read_text(encoding="utf-8")

# | `hybrid.CELLS_UNTIL` | 4 | multiples of ... |
CONSTANTS = re.findall(r"^\| `([a-z_.]+)\.([A-Z_]+)` \| ([\d.]+) \|", TEXT, re.MULTILINE)

# | m | k | target | low | normal | high |
ORDERS = re.findall(r"^\| (\d+) \| (\d+) \| ([\d,]+) \|((?: \d+ \|){3})$", TEXT, re.MULTILINE)

# (constant of the hybrid, share of the points that is kept, values)
LIMITS = runpy.run_path(str(PAGE.parent / "measure.py"))["LIMITS"]


def test_tables_are_found() -> None:
    assert len(CONSTANTS) > 10
    assert len(ORDERS) > 5


@pytest.mark.parametrize(("module", "name", "value"), CONSTANTS)
def test_constants(module: str, name: str, value: str) -> None:
    assert getattr(import_module(f"momentc.{module}"), name) == float(value)


@pytest.mark.parametrize(("m", "k", "target", "expected"), ORDERS)
def test_working_orders(m: str, k: str, target: str, expected: str) -> None:
    found = [
        working_order(int(k), int(m), int(target.replace(",", "")), effort)
        for effort in get_args(Effort)
    ]
    assert found == [int(order) for order in expected.replace("|", " ").split()]


@pytest.mark.parametrize(("name", "share", "values"), LIMITS)
def test_limits_that_the_page_compares_take_effect(
    name: str, share: float, values: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that is read too early would be measured as one that changes nothing."""
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (5000, 2))
    found = set()
    for value in values:
        monkeypatch.setattr(hybrid, name, value)
        kept = momentc.compress(points, k=4, target=int(share * len(points)), effort="low")
        found.add(kept.weights.tobytes())
    assert len(found) == len(values)
