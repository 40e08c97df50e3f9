"""How long work tells where it is."""

from collections.abc import Callable

__all__ = ["ProgressCallback", "silent"]

ProgressCallback = Callable[[str, int, int], None]
"""Called with (stage, done, total): the stage's name and how many of its units are done."""


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
