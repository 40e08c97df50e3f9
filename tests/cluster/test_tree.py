"""The tree: its shape, its order, and how little of it exists at a time."""

from collections.abc import Sequence

import pytest

from momentc.engine.tree import merge_in_tree, tree_here


def by_levels(words: Sequence[str]) -> str:
    """The plain way: neighbours in pairs, level by level, a last one without a neighbour waits."""
    level = list(words)
    while len(level) > 1:
        pairs = [f"({a}{b})" for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0]


@pytest.mark.parametrize("n", [*range(1, 34), 100])
def test_the_tree_is_that_of_neighbours_level_by_level(n: int) -> None:
    words = [chr(0x4E00 + i) for i in range(n)]
    assert merge_in_tree(str, words, lambda a, b: f"({a}{b})") == by_levels(words)


def test_few_results_exist_at_a_time_and_every_leaf_is_counted() -> None:
    alive = most = 0

    def leaf(item: int) -> int:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return item

    def merge(first: int, second: int) -> int:
        nonlocal alive
        alive -= 1
        return first + second

    heard: list[int] = []
    assert tree_here(leaf, range(1000), merge, heard.append) == 499500
    assert most <= 11
    assert heard == list(range(1, 1001))
