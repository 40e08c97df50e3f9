"""Greedy groups: the smallest balls of N + p points (Algorithm 1 with the greedy strategy).

The paper takes the smallest group, removes one point, and searches again. Here a round takes all
groups that are among the smallest and share no point: none of them can change the others, so this
is many greedy steps at once, and threads can share them. Groups of p > 1 points too many let one
factorisation remove p points where N is large.
"""

from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from momentc.reduction.groups import Groups

__all__ = ["smallest_groups"]

# Candidate centres per group that would tile the points. More change the error by less than its
# noise; fewer cost accuracy.
CENTRES_PER_GROUP: Final = 8

# Part of the candidates, smallest first, that a round may use: the others wait for the next round,
# when the groups around them may have become smaller relative to the rest.
SMALLEST_PART: Final = 0.5


@nb.njit(cache=True, nogil=True)
def _disjoint(neighbours, by_size, n_points, n_wanted):  # type: ignore[no-untyped-def]
    """Return the candidates, in the order given, that share no point with an earlier one taken."""
    taken = np.zeros(n_points, np.bool_)
    chosen = np.empty(min(n_wanted, by_size.shape[0]), np.int64)
    n_chosen = 0
    for candidate in by_size:
        if n_chosen == n_wanted:
            break
        free = True
        for i in range(neighbours.shape[1]):
            if taken[neighbours[candidate, i]]:
                free = False
                break
        if free:
            for i in range(neighbours.shape[1]):
                taken[neighbours[candidate, i]] = True
            chosen[n_chosen] = candidate
            n_chosen += 1
    return chosen[:n_chosen]


def smallest_groups(
    points: NDArray[np.float64],
    group_size: int,
    n_keep: int,
    n_remove: int,
    seed: np.random.SeedSequence,
    *,
    n_threads: int = 1,
) -> Groups:
    """Return disjoint groups of the smallest diameter that together lose ``n_remove`` points.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        n >= group_size.
    group_size : int
        N + p.
    n_keep : int
        Points each group keeps, N. The last group keeps more if n_remove asks for it.
    n_remove : int
        Points to remove at most, >= 1.
    seed : numpy.random.SeedSequence
        Chooses the candidate centres.
    n_threads : int
        For the neighbour search, whose result does not depend on it.

    Returns
    -------
    Groups
        At least one.
    """
    n, m = points.shape
    if group_size >= n:
        neighbours = np.arange(n)[None, :]
        by_size = np.zeros(1, dtype=np.int64)
    elif m == 1:
        order = np.argsort(points[:, 0], kind="stable")
        values = points[order, 0]
        starts = np.arange(n - group_size + 1)
        by_size = _smallest_first(values[group_size - 1 :] - values[: n - group_size + 1])
        neighbours = order[starts[:, None] + np.arange(group_size)]
    else:
        n_centres = min(n, CENTRES_PER_GROUP * max(1, n // n_keep))
        centres = np.random.default_rng(seed).choice(n, n_centres, replace=False, shuffle=False)
        tree = cKDTree(points, balanced_tree=False)
        distances, neighbours = tree.query(points[centres], k=group_size, workers=n_threads)
        by_size = _smallest_first(distances[:, -1])
    per_group = neighbours.shape[1] - n_keep
    n_wanted = -(-n_remove // per_group)
    chosen = _disjoint(neighbours, by_size, n, n_wanted)
    keep = np.full(len(chosen), n_keep, dtype=np.int64)
    keep[-1] += max(0, len(chosen) * per_group - n_remove)
    offsets = np.arange(len(chosen) + 1, dtype=np.int64) * neighbours.shape[1]
    return Groups(neighbours[chosen].ravel().astype(np.int64), offsets, keep)


def _smallest_first(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    n_used = max(1, int(np.ceil(SMALLEST_PART * len(sizes))))
    return np.argsort(sizes, kind="stable")[:n_used]
