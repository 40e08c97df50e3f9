"""Algorithm 1 of the paper with the k-means/greedy hybrid of its Appendix D.

Three stages, each ending at a multiple of the target t (N = C(m+k, k) moments):

- *cells*, only where the support is more than ``TREE_FROM x CELLS_UNTIL`` times t: one k-means with
  CELLS_UNTIL t / N centroids, each cluster to N points by the barycentre tree (more of them for
  surplus matching);
- *k-means rounds* down to GREEDY_FROM t: clusters of 2N to 4N points, each to N, the compact ones
  first (cells of as many points, cut at medians, where tails are so heavy that k-means finds one
  cluster of nearly all);
- *greedy rounds* down to t: the smallest balls of N + p points lose p points each.

On a line all of it is the business of ``reduction/line.py``, where groups need no search and null
vectors no factorisation.

Removing a point from a group of diameter r errs by about its weight times r^(k+1) (Theorem 3), and
r^(k+1) grows as the support shrinks: nearly all of the error is made at the end, so the end gets
the smallest groups. Where each stage stops is measured; see ``docs/algorithm.md``.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.greedy import SmallestGroups
from momentc.clustering.kmeans import kmeans_groups
from momentc.clustering.medians import median_groups
from momentc.errors import VerificationError
from momentc.groups import Groups
from momentc.jit import kernel
from momentc.map_function import MapFunction
from momentc.moments.multi_index import ProductPlan
from momentc.progress import ProgressCallback
from momentc.reduction.groups import TREE_FROM, reduce_groups
from momentc.reduction.line import reduce_line

__all__ = ["CELLS_UNTIL", "most_compact", "reduce_support"]

# Multiples of the target at which the cells and the k-means rounds stop.
CELLS_UNTIL: Final = 4
GREEDY_FROM: Final = 2.5

# Points in a k-means cluster, in multiples of N. At ten times the target a cluster of 4N points is
# no wider than one of 2N at five times it, and one round does what two would do.
LEAST_GROUP: Final = 2.0
LARGEST_GROUP: Final = 4.0

# Greedy groups have N + N // SURPLUS_PART points (at least N + 1): one factorisation removes
# several points where N is large.
SURPLUS_PART: Final = 8

# Rounds without progress before the reduction gives up.
PATIENCE: Final = 3


def reduce_support(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    target: int,
    plan: ProductPlan,
    seed: int,
    *,
    cells_until: int = CELLS_UNTIL,
    map_function: MapFunction = map,
    progress: ProgressCallback | None = None,
    on_source: Callable[[NDArray[np.int64]], None] | None = None,
) -> NDArray[np.int64]:
    """Bring weights to 0 until at most ``target`` points have one, and keep the moments.

    Exactly ``target`` are left, but for the rare step in which two weights reach 0 together
    (lattices with equal weights).

    Parameters
    ----------
    points : (n, m) float64 ndarray
        In the frame.
    weights : (n,) float64 ndarray
        > 0. Changed in place: >= 0.
    target : int
        At least ``plan.n_moments``.
    plan : ProductPlan
        Of m variables and the order to keep.
    seed : int
        Every stage and round draws from a stream of its own, derived from it. On a line nothing is
        drawn.
    cells_until : int
        Multiple of the target at which the cells stop. Not on a line.
    map_function : callable
        The result does not depend on it.
    progress : callable, optional
        Called after each round with (stage, points removed, points to remove).
    on_source : callable, optional
        Called once, before the rounds, with the points that have a weight then: some times the
        target, so that they stand for all. Not on a line.

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
    if points.shape[1] == 1:
        return reduce_line(
            points[:, 0], weights, target, n_moments,
            map_function=map_function, progress=progress,
        )  # fmt: skip
    alive = np.flatnonzero(weights > 0.0)
    n_start, n_round = len(alive), 0
    limit = int(GREEDY_FROM * target)

    def stream() -> np.random.SeedSequence:
        return np.random.SeedSequence(seed, spawn_key=(n_round,))

    def apply(stage: str, groups: Groups) -> bool:
        """Reduce the groups; tell whether that made progress."""
        nonlocal alive, n_round
        n_before = len(alive)
        reduce_groups(points, weights, groups, plan, map_function)
        # Where nearly all were alive, looking through all is quicker than looking each of them up.
        few = 2 * n_before < len(weights)
        alive = alive[weights[alive] > 0.0] if few else np.flatnonzero(weights > 0.0)
        n_round += 1
        if progress is not None:
            progress(stage, n_start - len(alive), n_start - target)
        return len(alive) < n_before

    def cut(group_size: float, *, by_medians: bool = False) -> Groups:
        # Where every point is alive, positions are the points: no copy, no look-up.
        whole = len(alive) == len(points)
        here = points if whole else points[alive]
        groups = (
            median_groups(here, group_size, n_moments) if by_medians
            else kmeans_groups(here, group_size, n_moments, stream(), map_function=map_function)
        )  # fmt: skip
        return groups if whole else Groups(alive[groups.members], groups.offsets, groups.keep)

    if len(alive) > TREE_FROM * cells_until * target:
        n_groups = max(1, cells_until * target // n_moments)
        groups = cut(len(alive) / n_groups)
        apply("cells", most_compact(points, groups, len(alive) - limit))
    if on_source is not None:
        on_source(alive)

    by_medians = False
    while len(alive) > 1.05 * limit:
        # As large as brings the support to the limit at once, within what is compact enough.
        size = n_moments * min(LARGEST_GROUP, max(LEAST_GROUP, len(alive) / limit))
        groups = most_compact(points, cut(size, by_medians=by_medians), len(alive) - limit)
        if not apply("k-means rounds", groups):
            if by_medians:
                break
            # With very heavy tails nearly all points are in one cluster, which would lose too many.
            by_medians = True

    surplus = max(1, n_moments // SURPLUS_PART)
    idle = 0
    while len(alive) > target:
        nearest = SmallestGroups(
            points, alive, surplus, n_moments, stream(), map_function=map_function
        )
        n_before = len(alive)
        while len(alive) > target:
            groups_or_none = nearest.next(weights, len(alive) - target)
            if groups_or_none is None or not apply("greedy rounds", groups_or_none):
                break
        if len(alive) < n_before:
            idle = 0
        else:
            # Other centres and the smallest groups may still go where these could not.
            idle, surplus, n_round = idle + 1, 1, n_round + 1
            if idle > PATIENCE:
                raise VerificationError(
                    f"no group of points can be reduced further within the tolerance: {n_before} "
                    f"points are left, {target} were asked for; a lower k or a larger target "
                    "will do"
                )
    return alive


@kernel
def _extents(points, members, offsets):  # type: ignore[no-untyped-def]
    """Return the widest side of each group's box, shape (n_groups,)."""
    m = points.shape[1]
    widest = np.empty(offsets.shape[0] - 1)
    for group in range(offsets.shape[0] - 1):
        widest[group] = 0.0
        for j in range(m):
            low = np.inf
            high = -np.inf
            for place in range(offsets[group], offsets[group + 1]):
                value = points[members[place], j]
                low = min(low, value)
                high = max(high, value)
            widest[group] = max(widest[group], high - low)
    return widest


def most_compact(points: NDArray[np.float64], groups: Groups, n_remove: int) -> Groups:
    """Let the groups of the smallest extent lose ``n_remove`` points together, and no more.

    The group in which the count is reached loses a part, if the tableau can stop anywhere in it;
    the barycentre tree, which takes the groups above its size, cannot.
    """
    removable = np.maximum(groups.sizes - groups.keep, 0)
    if removable.sum() <= n_remove:
        return groups
    order = np.argsort(_extents(points, groups.members, groups.offsets), kind="stable")
    removed = np.cumsum(removable[order])
    whole = int(np.searchsorted(removed, n_remove, side="right"))
    keep = groups.sizes.copy()
    keep[order[:whole]] = groups.keep[order[:whole]]
    last = order[whole]
    if groups.sizes[last] <= TREE_FROM * groups.keep[last]:
        keep[last] -= n_remove - (removed[whole - 1] if whole else 0)
    return Groups(groups.members, groups.offsets, keep)
