"""Greedy groups: the smallest balls of N + p points (Algorithm 1 with the greedy strategy).

The paper takes the smallest group, removes one point, and searches again. Here a round takes all
groups that are among the smallest and share no point: none of them can change the others, so this
is many greedy steps at once, and threads can share them. Groups of p > 1 points too many let one
factorisation remove p points where N is large.

The neighbours of a set of candidate centres are found once for many rounds. Each list is longer
than a group; when points go, the next ones on the list move up, and the list still holds the
nearest of those that are left. Only when many lists are used up is the search repeated.
"""

from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from momentc.groups import Groups

__all__ = ["SmallestGroups"]

# Candidate centres per group that would tile the points. More change the error by less than its
# noise; fewer cost accuracy.
CENTRES_PER_GROUP: Final = 8

# Part of the candidates, smallest first, that a round may use: the others wait for the next round,
# when the groups around them may have become smaller relative to the rest.
SMALLEST_PART: Final = 0.7

# Spare neighbours on each list, as a part of the group, and the part of the lists that may be used
# up before the neighbours are searched anew.
SPARE_PART: Final = 0.5
USED_UP_PART: Final = 0.25


class SmallestGroups:
    """Rounds of the smallest disjoint groups among the points that still have a weight.

    Parameters
    ----------
    points : (n, m) float64 ndarray
    alive : (n_alive,) int64 ndarray
        Positions of the points that have a weight; more than ``n_keep``.
    surplus : int
        Points that a group may lose, p.
    n_keep : int
        Points that a group keeps, N.
    seed : numpy.random.SeedSequence
        Chooses the candidate centres.
    n_threads : int
        For the neighbour search, whose result does not depend on it.
    """

    def __init__(
        self,
        points: NDArray[np.float64],
        alive: NDArray[np.int64],
        surplus: int,
        n_keep: int,
        seed: np.random.SeedSequence,
        *,
        n_threads: int = 1,
    ) -> None:
        n_alive = len(alive)
        self._size = min(n_keep + surplus, n_alive)
        self._n_keep = n_keep
        listed = min(n_alive, self._size + int(SPARE_PART * n_keep) + 2)
        self._all_listed = listed == n_alive
        if points.shape[1] == 1:
            order = alive[np.argsort(points[alive, 0], kind="stable")]
            self._lists = _windows(order, listed)
            self._values: NDArray[np.float64] | None = points[:, 0]
            return
        self._values = None
        n_centres = min(n_alive, CENTRES_PER_GROUP * max(1, n_alive // n_keep))
        centres = np.random.default_rng(seed).choice(
            n_alive, n_centres, replace=False, shuffle=False
        )
        local = points[alive]
        tree = cKDTree(local, balanced_tree=False, compact_nodes=False)
        distances, neighbours = tree.query(
            local[centres], k=[*range(1, listed + 1)], workers=n_threads
        )
        self._distances = distances
        self._lists = alive[neighbours]

    def next(self, weights: NDArray[np.float64], n_remove: int) -> Groups | None:
        """Return disjoint groups of the smallest diameter, or None if the lists are used up.

        Parameters
        ----------
        weights : (n,) float64 ndarray
            0 where a point is gone.
        n_remove : int
            Points to remove at most, >= 1; the last group keeps more if it must.
        """
        if self._values is None:
            members, sizes = _first_alive(self._lists, self._distances, weights, self._size)
        else:
            members, sizes = _narrowest_alive(self._lists, self._values, weights, self._size)
        usable = np.flatnonzero(np.isfinite(sizes))
        if len(usable) == 0 or len(usable) < (1.0 - USED_UP_PART) * len(sizes):
            return None
        n_used = max(1, int(np.ceil(SMALLEST_PART * len(usable))))
        smallest_first = usable[np.argsort(sizes[usable], kind="stable")[:n_used]]
        per_group = self._size - self._n_keep
        chosen = _disjoint(members, smallest_first, len(weights), -(-n_remove // per_group))
        keep = np.full(len(chosen), self._n_keep, dtype=np.int64)
        keep[-1] += max(0, len(chosen) * per_group - n_remove)
        offsets = np.arange(len(chosen) + 1, dtype=np.int64) * self._size
        return Groups(members[chosen].ravel(), offsets, keep)


def _windows(order: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return all runs of ``size`` consecutive entries, one a row."""
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(order, size))


@nb.njit(cache=True, nogil=True)
def _first_alive(lists, distances, weights, size):  # type: ignore[no-untyped-def]
    """Return the first ``size`` points of each list that have a weight, and the last's distance.

    The distance is infinite where a list holds fewer.
    """
    n_lists, listed = lists.shape
    members = np.empty((n_lists, size), np.int64)
    radius = np.full(n_lists, np.inf)
    for row in range(n_lists):
        count = 0
        for place in range(listed):
            point = lists[row, place]
            if weights[point] > 0.0:
                members[row, count] = point
                count += 1
                if count == size:
                    radius[row] = distances[row, place]
                    break
    return members, radius


@nb.njit(cache=True, nogil=True)
def _narrowest_alive(lists, values, weights, size):  # type: ignore[no-untyped-def]
    """As :func:`_first_alive` for runs on a line, whose extent is last minus first value."""
    n_lists, listed = lists.shape
    members = np.empty((n_lists, size), np.int64)
    extent = np.full(n_lists, np.inf)
    for row in range(n_lists):
        if weights[lists[row, 0]] == 0.0:
            # The run that starts at the next point covers this one; it only must not count as
            # used up, so it ranks behind all others.
            extent[row] = 1e300
        count = 0
        for place in range(listed):
            point = lists[row, place]
            if weights[point] > 0.0:
                members[row, count] = point
                count += 1
                if count == size:
                    if extent[row] == np.inf:
                        extent[row] = values[point] - values[members[row, 0]]
                    break
        if count < size:
            extent[row] = np.inf
    return members, extent


@nb.njit(cache=True, nogil=True)
def _disjoint(members, candidates, n_points, n_wanted):  # type: ignore[no-untyped-def]
    """Return the candidates, in the order given, that share no point with an earlier one taken."""
    taken = np.zeros(n_points, np.bool_)
    chosen = np.empty(min(n_wanted, candidates.shape[0]), np.int64)
    n_chosen = 0
    for candidate in candidates:
        if n_chosen == n_wanted:
            break
        free = True
        for i in range(members.shape[1]):
            if taken[members[candidate, i]]:
                free = False
                break
        if free:
            for i in range(members.shape[1]):
                taken[members[candidate, i]] = True
            chosen[n_chosen] = candidate
            n_chosen += 1
    return chosen[:n_chosen]
