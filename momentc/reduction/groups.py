"""Algorithm 2 on every group of a clustering: the batch that threads share.

Each group is reduced in its own box, scaled to [-1, 1]^m: moments are closed under affine maps, so
this keeps the moments in any coordinates, and the features of a small group are as well
conditioned as those of a large one. After the reduction the moments of the group are evaluated
again from its points; a group that misses the tolerance is reduced again with care, and left as it
was if that does not help (``repair.py``). Nothing is taken on trust.
"""

import threading
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from momentc.cells import split_order
from momentc.groups import Groups
from momentc.jit import kernel
from momentc.lapack import add_weighted_sums
from momentc.map_function import MapFunction
from momentc.moments.features import TILE, evaluate_features
from momentc.moments.multi_index import ProductPlan, product_plan
from momentc.reduction.barycentre_pieces import pieces_wanted, thin_by_pieces
from momentc.reduction.barycentre_tree import shrink_by_barycentres
from momentc.reduction.box import scale_to_box
from momentc.reduction.compiled_apart import call_remove_points, remove_points_address
from momentc.reduction.repair import repair_group
from momentc.tolerances import group_tolerance, pivot_tolerance

__all__ = ["TREE_FROM", "compile_groups", "reduce_groups"]

# Above this many points per moment the barycentre tree halves a group cheaper than the tableau
# removes its points (measured for N = 20 .. 252: the tableau wins up to about 3 N).
TREE_FROM = 3

# Compact pieces per moment in which the points of a group are ordered for the tree: it starts with
# 2N groups of consecutive points, so each has about two of them.
PIECES = 4

# Multiply-adds below which a batch is not worth another thread (about 0.5 ms: one that sleeps takes
# 0.2 to wake up), and batches at most, of equal cost: more gain nothing.
WORTH_A_TASK = 3_000_000
MOST_TASKS = 12

# Multiply-adds that take as long as what is done for a group whatever its size (about 2 us).
GROUP_COST = 20_000

# Entries of a work space that stays with its thread (8 MB); larger ones are allocated as needed.
MOST_KEPT = 1_000_000


@kernel
def _living(reduced, start, end, places):  # type: ignore[no-untyped-def]
    """Fill in the places in ``reduced[start:end]`` with a weight, and return how many there are."""
    # Of a literal 0 numba makes a version of its own of each kernel that it is passed to.
    n = np.int64(0)
    for place in range(start, end):
        if reduced[place] > 0.0:
            places[n] = place
            n += 1
    return n


@kernel
def _shrink_range(  # type: ignore[no-untyped-def]
    points, reduced, members, offsets, keep, first, last,
    parent, axis, power, order, remove_at, pivot_tol, work, spare,
):  # fmt: skip
    """Bring the large ones of groups ``first .. last - 1`` to 2N points by the barycentre tree.

    ``reduced`` holds the weights of all members of these groups, some of them 0 already.
    """
    m = points.shape[1]
    n_features = parent.shape[0]
    order_of = np.empty(2 * n_features, np.int64)
    sides = np.empty(2 * PIECES * n_features, np.int64)
    cuts = np.empty(2 * PIECES * n_features)
    base = offsets[first]
    for group in range(first, last):
        size = offsets[group + 1] - offsets[group]
        if size <= TREE_FROM * n_features or keep[group] > n_features:
            continue
        places = np.empty(size, np.int64)
        n = _living(reduced, offsets[group] - base, offsets[group + 1] - base, places)
        if n <= TREE_FROM * n_features:
            continue
        rows = np.empty(n, np.int64)
        for i in range(n):
            rows[i] = members[base + places[i]]
        columns = np.empty((m, n))
        scale_to_box(points, rows, columns)
        depth = np.int64(0)
        while 2**depth < PIECES * n_features and n > 2 ** (depth + 1):
            depth += 1
        # The tree wants near points next to each other.
        near = split_order(columns, depth, sides, cuts)
        ordered = np.empty((m, n))
        weights = np.empty(n)
        for i in range(n):
            weights[i] = reduced[places[near[i]]]
            for j in range(m):
                ordered[j, i] = columns[j, near[i]]
        shrink_by_barycentres(
            ordered, weights, 2 * n_features, parent, axis, power, order,
            remove_at, pivot_tol, order_of, work, spare,
        )  # fmt: skip
        for i in range(n):
            reduced[places[near[i]]] = weights[i]


@kernel
def _reduce_range(  # type: ignore[no-untyped-def]
    points, reduced, members, offsets, keep, first, last,
    parent, axis, power, order, remove_at, pivot_tol, largest, work, spare,
):  # fmt: skip
    """Reduce groups ``first .. last - 1``, without a look at what comes of it.

    ``reduced`` holds the weights of all members of these groups, some of them 0 already;
    ``largest`` is the size of the largest that must lose points. For ``work`` and ``spare`` see
    ``_work_space``.
    """
    m = points.shape[1]
    n_features = parent.shape[0]
    tables = np.empty((m, order + 1, largest))
    order_of = np.empty(largest, np.int64)
    places = np.empty(largest, np.int64)
    base = offsets[first]
    for group in range(first, last):
        if offsets[group + 1] - offsets[group] <= keep[group]:
            continue
        n = _living(reduced, offsets[group] - base, offsets[group + 1] - base, places)
        if n <= keep[group]:
            continue
        rows = np.empty(n, np.int64)
        weights = np.empty(n)
        for i in range(n):
            rows[i] = members[base + places[i]]
            weights[i] = reduced[places[i]]
        columns = np.empty((m, n))
        scale_to_box(points, rows, columns)
        if n_features * n > work.shape[0]:
            # Not the usual groups: many points of which most are to stay.
            work = np.empty(n_features * n)
            spare = np.empty(n_features * n)
        features = work[: n_features * n].reshape((n_features, n))
        evaluate_features(columns, np.int64(0), n, tables, parent, axis, power, features)
        call_remove_points(
            remove_at, features, weights, n - keep[group], pivot_tol, order_of, spare
        )
        for i in range(n):
            reduced[places[i]] = weights[i]


@kernel
def _accept_range(  # type: ignore[no-untyped-def]
    points, weights, reduced, members, offsets, first, last,
    parent, axis, power, order, group_tol, missed, work,
):  # fmt: skip
    """Take over the weights of groups ``first .. last - 1`` from ``reduced``, if moments agree.

    ``weights`` is changed only at their members. The moments of a group are evaluated again from
    its points, tile by tile. A group that misses the tolerance is left as it was and marked in
    ``missed``. Returns the numbers of weights that became 0 and of groups missed.
    """
    m = points.shape[1]
    n_features = parent.shape[0]
    tables = np.empty((m, order + 1, TILE))
    tile = work[: n_features * TILE].reshape((n_features, TILE))
    residual = np.empty(n_features)
    n_removed = 0
    n_missed = 0
    for group in range(first, last):
        own = members[offsets[group] : offsets[group + 1]]
        after = reduced[offsets[group] - offsets[first] : offsets[group + 1] - offsets[first]]
        n = own.shape[0]
        change = np.empty(n)
        mass = 0.0
        gone = 0
        for i in range(n):
            before = weights[own[i]]
            change[i] = before - after[i]
            mass += before
            if after[i] == 0.0 and before > 0.0:
                gone += 1
        if gone == 0:
            continue
        columns = np.empty((m, n))
        scale_to_box(points, own, columns)
        for a in range(n_features):
            residual[a] = 0.0
        for start in range(0, n, TILE):
            end = min(n, start + TILE)
            evaluate_features(columns, start, end, tables, parent, axis, power, tile)
            add_weighted_sums(tile, change, start, end, residual)
        worst = 0.0
        for a in range(n_features):
            # Written so that a NaN counts as too large.
            if not abs(residual[a]) <= worst:
                worst = abs(residual[a])
        if worst <= group_tol * mass:
            n_removed += gone
            for i in range(n):
                weights[own[i]] = after[i]
        else:
            missed[group] = True
            n_missed += 1
    return n_removed, n_missed


_kept = threading.local()


def _work_space(n_features: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two arrays that hold the features of TREE_FROM N points, or of a tile.

    They stay with the thread. What is allocated and freed for every batch goes back to the system,
    and fetching its pages again takes as long as a factorisation.
    """
    size = n_features * max(TREE_FROM * n_features, TILE)
    arrays: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    arrays = getattr(_kept, "arrays", None)
    if arrays is None or len(arrays[0]) < size:
        arrays = np.empty(size), np.empty(size)
        if size <= MOST_KEPT:
            _kept.arrays = arrays
    return arrays


def _cost(
    sizes: NDArray[np.int64], keep: NDArray[np.int64], n_features: int
) -> NDArray[np.float64]:
    """Return a rough number of multiply-adds for each group; 0 for those left alone."""
    tree = sizes > TREE_FROM * n_features
    direct = 2.0 * n_features**2 * sizes
    work = np.where(tree, 3.0 * n_features * sizes + 8.0 * n_features**3, direct)
    return np.where(sizes > keep, GROUP_COST + work, 0.0)


def _run_kernels(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: Groups,
    bounds: tuple[int, int],
    plan: ProductPlan,
    remove_at: int,
    missed: NDArray[np.bool_],
) -> tuple[int, int]:
    """Reduce a range of groups; return the numbers of weights gone and of groups missed."""
    first, last = bounds
    reduced = weights[groups.members[groups.offsets[first] : groups.offsets[last]]]
    which = groups.members, groups.offsets, groups.keep, first, last
    features = plan.parent, plan.axis, plan.power, plan.order
    how = *features, remove_at, pivot_tolerance(plan.n_moments)
    space = _work_space(plan.n_moments)
    sizes = groups.sizes[first:last]
    largest = int(sizes.max())
    if largest > TREE_FROM * plan.n_moments:
        _shrink_range(points, reduced, *which, *how, *space)
        largest = int(sizes[sizes > groups.keep[first:last]].max(initial=0))
    _reduce_range(points, reduced, *which, *how, largest, *space)
    n_removed, n_missed = _accept_range(
        points, weights, reduced, groups.members, groups.offsets, first, last, *features,
        group_tolerance(plan.n_moments), missed, space[0],
    )  # fmt: skip
    return int(n_removed), int(n_missed)


def _thinned(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: Groups,
    plan: ProductPlan,
    map_function: MapFunction,
) -> Groups:
    """Return the groups after those of very many points have lost most of them."""
    wanted = pieces_wanted(plan.n_moments, groups.sizes, groups.keep).tolist()
    if not wanted:
        return groups
    members = np.split(groups.members, groups.offsets[1:-1])

    def thin(group: int) -> NDArray[np.int64]:
        tolerance = group_tolerance(plan.n_moments)
        return thin_by_pieces(points, weights, members[group], plan, tolerance)

    for group, left in zip(wanted, map_function(thin, wanted), strict=True):
        members[group] = left
    offsets = np.cumsum([0, *map(len, members)])
    return Groups(np.concatenate(members), offsets, groups.keep)


def compile_groups() -> None:
    """Compile the kernels of :func:`reduce_groups`, by calls that have nothing to do.

    The tableau is not called, so it may be compiled elsewhere meanwhile.
    """
    # All points stay. The second group is large enough for a barycentre tree, whose kernels share
    # some with the clustering: by then they are compiled there (see ``momentc.kernels``).
    for n in (1, TREE_FROM + 1):
        group = Groups(np.arange(n), np.array([0, n]), np.array([n]))
        _run_kernels(
            np.zeros((n, 1)), np.ones(n), group, (0, 1), product_plan(1, 0), 0,
            np.zeros(1, np.bool_),
        )  # fmt: skip


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
    if len(groups) == 0:
        return 0
    if points.shape[1] == 0:
        # All points are one; the kernels cut boxes, which have a side.
        points, plan = np.zeros((len(points), 1)), product_plan(1, 0)
    remove_at = remove_points_address()
    n_before = len(groups.members)
    groups = _thinned(points, weights, groups, plan, map_function)
    n_thinned = n_before - len(groups.members)
    missed = np.zeros(len(groups), dtype=np.bool_)

    def run(bounds: tuple[int, int]) -> int:
        first, last = bounds
        n_removed, n_missed = _run_kernels(points, weights, groups, bounds, plan, remove_at, missed)
        if n_missed == 0:
            return n_removed
        for group in np.flatnonzero(missed[first:last]) + first:
            own = groups.members[groups.offsets[group] : groups.offsets[group + 1]]
            n_keep = int(groups.keep[group])
            n_removed += repair_group(points, weights, own, n_keep, plan)
        return n_removed

    most = 2 * plan.n_moments**2 * len(groups.members) + GROUP_COST * len(groups)
    if most <= 2 * WORTH_A_TASK:
        return n_thinned + run((0, len(groups)))
    cost = np.cumsum(_cost(groups.sizes, groups.keep, plan.n_moments))
    n_tasks = int(min(MOST_TASKS, cost[-1] // WORTH_A_TASK, len(groups)))
    if n_tasks <= 1:
        return n_thinned + run((0, len(groups)))
    cuts = np.searchsorted(cost, cost[-1] * np.arange(1, n_tasks) / n_tasks)
    edges = np.unique(np.concatenate([[0], cuts, [len(groups)]])).tolist()
    return n_thinned + sum(map_function(run, list(pairwise(edges))))
