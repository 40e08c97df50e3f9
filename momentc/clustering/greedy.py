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

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from momentc.groups import Groups
from momentc.indexing import U
from momentc.jit import kernel
from momentc.map_function import MapFunction, run_in_parts

__all__ = ["SmallestGroups"]

# Candidate centres per group that would tile the points. More change the error by less than its
# noise; fewer cost accuracy.
CENTRES_PER_GROUP: Final = 6

# Part of the candidates, smallest first, that a round may use: the others wait for the next round,
# when the groups around them may have become smaller relative to the rest.
SMALLEST_PART: Final = 0.7

# Times the smallest size that a group of a round may have. Where the density varies, 70 % of the
# candidates reach from the one cluster to the next long before the last one inside a cluster is
# used up.
WIDEST: Final = 1.5

# Spare neighbours on each list, as a part of the group, and the part of the lists that may be used
# up before the neighbours are searched anew.
SPARE_PART: Final = 0.5
USED_UP_PART: Final = 0.25

# Neighbours that a search must find for each task, and members of groups that a look through the
# lists must give for it (about 0.5 ms).
WORTH_A_SEARCH: Final = 2_500
WORTH_A_LOOK: Final = 40_000


class SmallestGroups:
    """Rounds of the smallest disjoint groups among the points that still have a weight.

    The size of a group is its radius times the root of its mass. Removing a point errs by about
    mass x radius^(k+1) for smooth functions and mass x radius for those with a kink; the radius
    alone, as in the paper, thins crowded places too much for kinks (``docs/algorithm.md``).

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
    map_function : callable
        The result does not depend on it.
    """

    def __init__(
        self,
        points: NDArray[np.float64],
        alive: NDArray[np.int64],
        surplus: int,
        n_keep: int,
        seed: np.random.SeedSequence,
        *,
        map_function: MapFunction = map,
    ) -> None:
        n_alive = len(alive)
        self._size = min(n_keep + surplus, n_alive)
        self._n_keep = n_keep
        listed = min(n_alive, self._size + int(SPARE_PART * n_keep) + 2)
        n_centres = min(n_alive, CENTRES_PER_GROUP * max(1, n_alive // n_keep))
        generator = np.random.default_rng(seed)
        centres = generator.choice(n_alive, n_centres, replace=False, shuffle=False)
        local = points[alive]
        tree = cKDTree(local, balanced_tree=False, compact_nodes=False)
        self._distances = np.empty((n_centres, listed))
        self._lists = np.empty((n_centres, listed), dtype=np.int64)

        def search(first: int, last: int) -> None:
            part = slice(first, last)
            self._distances[part], neighbours = tree.query(local[centres[part]], k=listed)
            self._lists[part] = alive[neighbours]

        run_in_parts(search, n_centres, max(1, WORTH_A_SEARCH // listed), map_function)
        self._map = map_function
        self._members = np.empty((n_centres, self._size), dtype=np.int64)
        self._sizes = np.empty(n_centres)

    def next(self, weights: NDArray[np.float64], n_remove: int) -> Groups | None:
        """Return disjoint groups of the smallest size, or None if the lists are used up.

        Parameters
        ----------
        weights : (n,) float64 ndarray
            0 where a point is gone.
        n_remove : int
            Points to remove at most, >= 1; the last group keeps more if it must.
        """
        sizes = self._sizes_of_balls(weights)
        n_usable = np.count_nonzero(np.isfinite(sizes))
        if n_usable == 0 or n_usable < (1.0 - USED_UP_PART) * len(sizes):
            return None
        least = sizes.min()
        compact = np.flatnonzero(sizes <= WIDEST * least)
        n_used = int(np.ceil(SMALLEST_PART * n_usable))
        ratios = sizes[compact] / least if least > 0.0 else sizes[compact]
        smallest_first = compact[_ranked(ratios)[:n_used]]
        per_group = self._size - self._n_keep
        n_wanted = -(-n_remove // per_group)
        found = _disjoint(self._members, smallest_first, np.zeros(len(weights), np.bool_), n_wanted)
        chosen = self._members[found]
        keep = np.full(len(chosen), self._n_keep, dtype=np.int64)
        keep[-1] += max(0, len(chosen) * per_group - n_remove)
        offsets = np.arange(len(chosen) + 1, dtype=np.int64) * self._size
        return Groups(chosen.ravel(), offsets, keep)

    def _sizes_of_balls(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fill in the members of the balls around the centres, and return their sizes."""
        n_lists = len(self._lists)

        def run(first: int, last: int) -> None:
            _first_alive(
                self._lists, self._distances, weights, first, last, self._members, self._sizes
            )

        run_in_parts(run, n_lists, max(1, WORTH_A_LOOK // self._size), self._map)
        return self._sizes


def _ranked(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions in ascending order of size, ties by position.

    One sort of integers that hold the size, in the range of float32 and rounded to it, above the
    position: all distinct, so the order is the same on every machine, and several times faster than
    a stable argsort.
    """
    bits = sizes.astype(np.float32).view(np.uint32).astype(np.uint64)
    keys = (bits << np.uint64(32)) | np.arange(len(sizes), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


@kernel
def _first_alive(lists, distances, weights, first, last, members, sizes):  # type: ignore[no-untyped-def]
    """Find the first points of lists ``first .. last - 1`` that have a weight, as many as asked.

    Parameters
    ----------
    lists, distances : (n_lists, listed) ndarray  # IN, int64 and float64
    weights : (n,) float64 ndarray  # IN
    first, last : int  # IN
    members : (n_lists, size) int64 ndarray  # OUT
    sizes : (n_lists,) float64 ndarray
        OUT: distance of the last times the root of their mass; infinite where there are fewer
    """
    listed = lists.shape[1]
    size = U(members.shape[1])
    for row in range(U(first), U(last)):
        count = U(0)
        mass = 0.0
        sizes[row] = np.inf
        for place in range(U(listed)):
            point = lists[row, place]
            weight = weights[U(point)]
            # At the next place, and there to stay if it has one: a branch is mispredicted.
            members[row, count] = point
            mass += weight
            count += U(weight > 0.0)
            if count == size:
                sizes[row] = distances[row, place] * np.sqrt(mass)
                break


@kernel
def _disjoint(members, candidates, taken, n_wanted):  # type: ignore[no-untyped-def]
    """Return the candidates, in the order given, that share no point with an earlier one taken.

    ``taken``, one for each point, is false at first.
    """
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
