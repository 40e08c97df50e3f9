"""Reports as JSON that every reader takes."""

import json
import math
from collections.abc import Iterable
from typing import Any

__all__ = ["finite", "report_text"]


def report_text(content: dict[str, Any]) -> str:
    """Return a report as a file has it."""
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"


def finite(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON has them: no infinity and no NaN; None stands for these."""
    return [float(value) if math.isfinite(value) else None for value in values]
