"""Algorithm 1 of the paper with the k-means/greedy hybrid of its Appendix D.

Three stages, each ending at a multiple of the target t (N = C(m+k, k) moments):

- *cells*, only where the support is more than ``4 x CELLS_UNTIL`` times t: one k-means with
  CELLS_UNTIL t / N centroids, each cluster to N points by the barycentre tree;
- *k-means rounds* down to GREEDY_FROM t: clusters of about 2N points, each to N, the compact ones
  first;
- *greedy rounds* down to t: the smallest balls of N + p points lose p points each.

Removing a point from a group of diameter r errs by about its weight times r^(k+1) (Theorem 3), and
r^(k+1) grows as the support shrinks: nearly all of the error is made at the end, so the end gets
the smallest groups. Where each stage stops is measured; see ``docs/algorithm.md``.
"""

from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from momentc.clustering.greedy import smallest_groups
from momentc.clustering.kmeans import kmeans_groups
from momentc.errors import VerificationError
from momentc.moments.multi_index import ProductPlan
from momentc.progress import ProgressCallback
from momentc.reduction.groups import TREE_FROM, Groups, MapFunction, reduce_groups

__all__ = ["reduce_support"]

# Multiples of the target at which the cells and the k-means rounds stop.
CELLS_UNTIL: Final = 4
GREEDY_FROM: Final = 2.5

# Points in a k-means cluster, in multiples of N: a round halves the support.
ROUND_GROUP: Final = 2.0

# Greedy groups have N + N // SURPLUS_PART points (at least N + 1): one factorisation removes
# several points where N is large.
SURPLUS_PART: Final = 16

# Rounds without progress before the reduction gives up.
PATIENCE: Final = 3


def reduce_support(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    target: int,
    plan: ProductPlan,
    seed: int,
    *,
    n_threads: int = 1,
    map_function: MapFunction = map,
    progress: ProgressCallback | None = None,
) -> NDArray[np.int64]:
    """Bring weights to 0 until at most ``target`` points have one, and keep the moments.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        In the frame.
    weights : (n,) float64 ndarray
        > 0. Changed in place: >= 0.
    target : int
        At least ``plan.n_moments``.
    plan : ProductPlan
        Of m variables and order k.
    seed : int
        Every stage and round draws from a stream of its own, derived from it.
    n_threads, map_function
        The result does not depend on them.
    progress : callable, optional
        Called after each round with (stage, points removed, points to remove).

    Returns
    -------
    (n_kept,) int64 ndarray
        Positions of the points whose weight is not 0, ascending.

    Raises
    ------
    VerificationError
        If no group can be reduced within the tolerance, although more than ``target`` are left.
    """
    n_moments = plan.n_moments
    alive = np.flatnonzero(weights > 0.0)
    n_start = len(alive)
    n_round = 0
    idle = 0
    while len(alive) > target:
        n_alive = len(alive)
        local = np.ascontiguousarray(points[alive])
        local_weights = weights[alive]
        stream = np.random.SeedSequence(seed, spawn_key=(n_round,))
        limit = max(target, int(GREEDY_FROM * target))
        if n_alive > TREE_FROM * CELLS_UNTIL * target:
            stage = "cells"
            n_groups = max(1, CELLS_UNTIL * target // n_moments)
            groups = kmeans_groups(
                local, n_alive / n_groups, n_moments, stream, fine=True, map_function=map_function
            )
        elif n_alive > 1.05 * limit and idle == 0:
            stage = "k-means rounds"
            groups = kmeans_groups(
                local, ROUND_GROUP * n_moments, n_moments, stream, fine=False, map_function=map_function
            )
            groups = _most_compact(local, groups, n_alive - limit)
        else:
            stage = "greedy rounds"
            surplus = max(1, n_moments // SURPLUS_PART) if idle == 0 else 1
            groups = smallest_groups(
                local, n_moments + surplus, n_moments, n_alive - target, stream, n_threads=n_threads
            )
        reduce_groups(local, local_weights, groups, plan, map_function)
        weights[alive] = local_weights
        alive = alive[local_weights > 0.0]
        n_round += 1
        idle = idle + 1 if len(alive) == n_alive else 0
        if idle > PATIENCE:
            raise VerificationError(
                f"no group of points can be reduced further within the tolerance: {n_alive} points "
                f"are left, {target} were asked for; a lower k or a larger target will do"
            )
        if progress is not None:
            progress(stage, n_start - len(alive), n_start - target)
    return alive


@nb.njit(cache=True, nogil=True)
def _extents(points, members, offsets):  # type: ignore[no-untyped-def]
    """Return the widest side of each group's box, shape (n_groups,)."""
    m = points.shape[1]
    widest = np.zeros(offsets.shape[0] - 1)
    for group in range(offsets.shape[0] - 1):
        for j in range(m):
            low = np.inf
            high = -np.inf
            for place in range(offsets[group], offsets[group + 1]):
                value = points[members[place], j]
                low = min(low, value)
                high = max(high, value)
            widest[group] = max(widest[group], high - low)
    return widest


def _most_compact(points: NDArray[np.float64], groups: Groups, n_remove: int) -> Groups:
    """Return the groups of the smallest extent that together can lose ``n_remove`` points."""
    removable = np.maximum(groups.sizes - groups.keep, 0)
    if removable.sum() <= n_remove:
        return groups
    order = np.argsort(_extents(points, groups.members, groups.offsets), kind="stable")
    enough = int(np.searchsorted(np.cumsum(removable[order]), n_remove)) + 1
    keep = groups.sizes.copy()
    keep[order[:enough]] = groups.keep[order[:enough]]
    return Groups(groups.members, groups.offsets, keep)
