"""The recipes of docs/learning.md run as they stand there."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "learning.md"
RECIPES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_recipes_are_found() -> None:
    assert len(RECIPES) == 3


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_recipe(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(compile(RECIPES[number], f"{PAGE.name}, recipe {number + 1}", "exec"), space)
    if "ordinary" in space:
        import torch

        x = torch.rand(50, 2)
        torch.testing.assert_close(space["ordinary"](x), space["moving"](x), rtol=1e-4, atol=1e-5)
        whole, narrow = space["model"](x), space["narrow"](x)
        assert (whole - narrow).abs().max() < 0.01
