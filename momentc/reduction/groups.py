"""Algorithm 2 on every group of a clustering: the batch that threads share.

Each group is reduced in its own box, scaled to [-1, 1]^m: moments are closed under affine maps, so
this keeps the moments in any coordinates, and the features of a small group are as well
conditioned as those of a large one. After the reduction the moments of the group are evaluated
again from its points; a group that misses the tolerance is repaired by a re-solve of its weights,
and left as it was if that does not help. Nothing is taken on trust.
"""

from itertools import pairwise

import numba as nb
import numpy as np
from numpy.typing import NDArray

from momentc.groups import Groups
from momentc.map_function import MapFunction
from momentc.moments.features import fill_products, legendre_rows, weighted_sums
from momentc.moments.multi_index import ProductPlan
from momentc.reduction.barycentre_tree import shrink_by_barycentres
from momentc.reduction.tableau import remove_points, resolve_weights
from momentc.tolerances import group_tolerance, pivot_tolerance

__all__ = ["TREE_FROM", "reduce_groups"]

# Above this many points per moment the barycentre tree halves a group cheaper than the tableau
# removes its points (measured for N = 20 .. 252: the tableau wins up to about 3 N).
TREE_FROM = 3

# Multiply-adds below which a batch is not worth a hand-over to other threads (about 0.3 ms).
WORTH_A_TASK = 1_000_000


@nb.njit(cache=True, nogil=True)
def _evaluate(points, tables, column, parent, axis, power, out):  # type: ignore[no-untyped-def]
    n, m = points.shape
    for j in range(m):
        for i in range(n):
            column[i] = points[i, j]
        legendre_rows(column[:n], tables[j, :, :n])
    fill_products(tables[:, :, :n], parent, axis, power, out)


@nb.njit(cache=True, nogil=True)
def _reduce_one(  # type: ignore[no-untyped-def]
    points, weights, n_keep, parent, axis, power, order, pivot_tol, group_tol,
    tables, column, matrix, work, order_of,
):  # fmt: skip
    """Reduce one group in place; return the number of points removed (0 if it was left alone)."""
    n = points.shape[0]
    n_features = parent.shape[0]
    before = weights.copy()
    by_tree = n > TREE_FROM * n_features and n_keep <= n_features
    if by_tree:
        shrink_by_barycentres(
            points, weights, 2 * n_features, parent, axis, power, order, pivot_tol, order_of
        )
        rest = np.flatnonzero(weights)
        rest_points = points[rest]
        rest_weights = weights[rest]
    else:
        rest_points = points
        rest_weights = weights
    n_rest = rest_weights.shape[0]
    features = matrix[: n_features * n_rest].reshape((n_features, n_rest))
    _evaluate(rest_points, tables, column, parent, axis, power, features)
    if n_rest > n_keep:
        eliminated = work[: n_features * n_rest].reshape((n_features, n_rest))
        eliminated[:] = features
        remove_points(eliminated, rest_weights, n_rest - n_keep, pivot_tol, order_of)
    if by_tree:
        for i in range(n_rest):
            weights[rest[i]] = rest_weights[i]

    mass = before.sum()
    n_removed = 0
    for i in range(n):
        if weights[i] == 0.0:
            n_removed += 1
    if n_removed == 0:
        return 0
    for attempt in range(2):
        if by_tree:
            residual = _moment_change(points, before, weights, tables, column, parent, axis, power)
        else:
            residual = weighted_sums(features, before - weights)
        if np.abs(residual).max() <= group_tol * mass:
            return n_removed
        if attempt == 1 or not _repair(
            points, weights, residual, parent, axis, power, tables, column, pivot_tol, order_of
        ):
            break
    weights[:] = before
    return 0


@nb.njit(cache=True, nogil=True)
def _repair(points, weights, residual, parent, axis, power, tables, column, tolerance, order_of):  # type: ignore[no-untyped-def]
    """Re-solve the weights of the points that are left; tell whether that kept them >= 0."""
    kept = np.flatnonzero(weights)
    kept_weights = weights[kept]
    features = np.empty((parent.shape[0], len(kept) + 1))
    _evaluate(points[kept], tables, column, parent, axis, power, features[:, : len(kept)])
    if not resolve_weights(features, residual, kept_weights, tolerance, order_of):
        return False
    for i in range(len(kept)):
        weights[kept[i]] = kept_weights[i]
    return True


@nb.njit(cache=True, nogil=True)
def _moment_change(points, before, after, tables, column, parent, axis, power):  # type: ignore[no-untyped-def]
    """Return ``sum_j (before_j - after_j) phi(w_j)``, shape (N,), evaluated tile by tile."""
    n = points.shape[0]
    n_features = parent.shape[0]
    residual = np.zeros(n_features)
    change = before - after
    tile = np.empty((n_features, min(n, 256)))
    for start in range(0, n, 256):
        count = min(256, n - start)
        _evaluate(
            points[start : start + count], tables, column, parent, axis, power, tile[:, :count]
        )
        residual += weighted_sums(tile[:, :count], change[start : start + count])
    return residual


@nb.njit(cache=True, nogil=True)
def _reduce_range(  # type: ignore[no-untyped-def]
    points,
    weights,
    members,
    offsets,
    keep,
    first,
    last,
    parent,
    axis,
    power,
    order,
    pivot_tol,
    group_tol,
):
    """Reduce groups ``first .. last - 1``; ``weights`` is changed only at their members."""
    m = points.shape[1]
    n_features = parent.shape[0]
    largest = 0
    for group in range(first, last):
        size = offsets[group + 1] - offsets[group]
        if size > keep[group]:
            # The tree passes on no more than TREE_FROM N points; it serves groups that may shrink
            # to N.
            by_tableau = size if keep[group] > n_features else min(size, TREE_FROM * n_features)
            largest = max(largest, by_tableau)
    if largest == 0:
        return 0
    tabled = max(largest, 256)
    tables = np.empty((m, order + 1, tabled))
    column = np.empty(tabled)
    matrix = np.empty(n_features * tabled)
    order_of = np.empty(max(tabled, 2 * n_features) + 1, np.int64)
    work = np.empty(n_features * tabled)
    n_removed = 0
    for group in range(first, last):
        start = offsets[group]
        size = offsets[group + 1] - start
        if size <= keep[group]:
            continue
        own = members[start : start + size]
        local = np.empty((size, m))
        local_weights = np.empty(size)
        for i in range(size):
            local_weights[i] = weights[own[i]]
        for j in range(m):
            low = np.inf
            high = -np.inf
            for i in range(size):
                value = points[own[i], j]
                low = min(low, value)
                high = max(high, value)
            centre = 0.5 * (low + high)
            half = 0.5 * (high - low)
            for i in range(size):
                local[i, j] = (points[own[i], j] - centre) / half if half > 0.0 else 0.0
        n_removed += _reduce_one(
            local, local_weights, keep[group], parent, axis, power, order, pivot_tol, group_tol,
            tables, column, matrix, work, order_of,
        )  # fmt: skip
        for i in range(size):
            weights[own[i]] = local_weights[i]
    return n_removed


def _cost(
    sizes: NDArray[np.int64], keep: NDArray[np.int64], n_features: int
) -> NDArray[np.float64]:
    """Return a rough number of multiply-adds for each group; 0 for those left alone."""
    tree = sizes > TREE_FROM * n_features
    direct = 2.0 * n_features**2 * sizes
    return np.where(
        sizes > keep, np.where(tree, 3.0 * n_features * sizes + 8.0 * n_features**3, direct), 0.0
    )


def reduce_groups(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: Groups,
    plan: ProductPlan,
    map_function: MapFunction = map,
) -> int:
    """Reduce every group that has more points than it must keep, in place.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        C-contiguous.
    weights : (n,) float64 ndarray
        Changed in place: >= 0, the moments up to ``plan.order`` of every group are kept.
    groups : Groups
        Disjoint. A group that may shrink to fewer than N points keeps at least its rank.
    plan : ProductPlan
    map_function : callable
        Runs the independent batches, the builtin ``map`` or a thread pool's. The result does not
        depend on it.

    Returns
    -------
    int
        The number of weights that became 0.
    """
    pivot_tol = pivot_tolerance(plan.n_moments)
    group_tol = group_tolerance(plan.n_moments)

    def run(bounds: tuple[int, int]) -> int:
        return int(
            _reduce_range(
                points, weights, groups.members, groups.offsets, groups.keep, bounds[0], bounds[1],
                plan.parent, plan.axis, plan.power, plan.order, pivot_tol, group_tol,
            )
        )  # fmt: skip

    if len(groups) == 0:
        return 0
    if 2 * plan.n_moments**2 * len(groups.members) <= 2 * WORTH_A_TASK:
        return run((0, len(groups)))
    cost = np.cumsum(_cost(groups.sizes, groups.keep, plan.n_moments))
    n_tasks = int(min(32, cost[-1] // WORTH_A_TASK, len(groups)))
    if n_tasks <= 1:
        return run((0, len(groups)))
    cuts = np.searchsorted(cost, cost[-1] * np.arange(1, n_tasks) / n_tasks)
    edges = np.unique(np.concatenate([[0], cuts, [len(groups)]])).tolist()
    return sum(map_function(run, list(pairwise(edges))))
