"""The map function: how independent pieces of work are run is an argument."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["MapFunction"]

MapFunction = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""As the builtin ``map``: applies a function to every item, results in the order of the items."""
