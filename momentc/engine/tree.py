"""The tree in which results are put together, and its run in the calling process."""

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["merge_in_tree", "tree_here"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def merge_in_tree(
    leaf: Callable[[Item], Result],
    items: Sequence[Item],
    merge: Callable[[Result, Result], Result],
) -> Result:
    """Return ``leaf`` of all items, put together by ``merge`` in a balanced tree.

    The first subtree is the largest full one that leaves something for the second. Depth first: of
    n results no more than log2(n) + 1 exist at a time.

    Parameters
    ----------
    leaf : callable
    items : sequence
        At least one.
    merge : callable
        Of two neighbours, the earlier one first.
    """
    if len(items) == 1:
        return leaf(items[0])
    half = 1 << ((len(items) - 1).bit_length() - 1)
    first = merge_in_tree(leaf, items[:half], merge)
    return merge(first, merge_in_tree(leaf, items[half:], merge))


def tree_here(
    leaf: Callable[[Item], Result],
    items: Sequence[Item],
    merge: Callable[[Result, Result], Result],
    on_leaves: Callable[[int], None],
) -> Result:
    """Run the tree in the calling thread; see :data:`momentc.map_function.TreeFunction`."""
    n_done = 0

    def counted(item: Item) -> Result:
        nonlocal n_done
        result = leaf(item)
        n_done += 1
        on_leaves(n_done)
        return result

    return merge_in_tree(counted, items, merge)
