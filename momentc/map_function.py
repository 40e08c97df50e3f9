"""The map and the tree function: how independent pieces of work are run is an argument."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

__all__ = ["MapFunction", "TreeFunction", "run_in_parts"]

MapFunction = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""As the builtin ``map``: applies a function to every item, results in the order of the items."""

TreeFunction = Callable[
    [Callable[[Any], Any], Sequence[Any], Callable[[Any, Any], Any], Callable[[int], None]], Any
]
"""Called with (leaf, items, merge, on_leaves): puts the results of ``leaf(item)`` together, two
neighbours at a time, by ``merge(first, second)``, in a tree whose shape depends on the number of
items alone. ``on_leaves`` hears how many leaves are done. Neither function may change what it is
given: a result that was lost is made again from the same parts."""


def run_in_parts(
    run: Callable[[int, int], None], n_items: int, part: int, map_function: MapFunction
) -> None:
    """Call ``run(first, last)`` for all of ``n_items``, ``part`` of them at a time."""
    if 0 < n_items <= part:
        run(0, n_items)  # starts no thread
        return

    def from_first(first: int) -> None:
        run(first, min(n_items, first + part))

    for _ in map_function(from_first, range(0, n_items, part)):
        pass
