"""The map and the tree function: how independent pieces of work are run is an argument."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

__all__ = ["MapFunction", "TreeFunction"]

MapFunction = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""As the builtin ``map``: applies a function to every item, results in the order of the items."""

TreeFunction = Callable[
    [Callable[[Any], Any], Sequence[Any], Callable[[Any, Any], Any], Callable[[int], None]], Any
]
"""Called with (leaf, items, merge, on_leaves): puts the results of ``leaf(item)`` together, two
neighbours at a time, by ``merge(first, second)``, in a tree whose shape depends on the number of
items alone. ``on_leaves`` hears how many leaves are done. Neither function may change what it is
given: a result that was lost is made again from the same parts."""
