"""Many points to about 2N: reduce the barycentres of groups, drop the dead groups, repeat.

For n points with n much larger than N, eliminating them one by one costs O(n N^2). Instead the
points are cut into G consecutive groups, each is replaced by the weighted mean of its features,
and Algorithm 2 runs on the G barycentres. A group whose weight becomes 0 loses all its points at
once, the others are rescaled, and the moments stay. About half the points go in a pass, so all
passes together cost O(n N + N^3 log(n/N)) (Litterer and Lyons 2012; Tchernychova 2015, section 4.4;
Maalouf et al. 2019).

The caller passes the points in an order in which neighbours are near each other: then the groups
are small in space too, and the moments of order k+1 change little.
"""

import numpy as np

from momentc.indexing import U
from momentc.jit import kernel
from momentc.moments.features import TILE, evaluate_features
from momentc.reduction.compiled_apart import call_remove_points

__all__ = ["remove_groups", "shrink_by_barycentres"]


@kernel
def _add_by_group(tile, weights, start, end, n, sums):  # type: ignore[no-untyped-def]
    """Add the weighted features of points ``start .. end - 1`` to the sums of their groups.

    Point i of n belongs to the group g with ``g n // G <= i < (g + 1) n // G``.
    """
    n_groups = sums.shape[1]
    for a in range(U(sums.shape[0])):
        group = ((start + 1) * n_groups - 1) // n
        i = start
        while i < end:
            last = min(end, (group + 1) * n // n_groups)
            shift = U(start)
            whole = U(i + (last - i) // 4 * 4)
            s0 = s1 = s2 = s3 = 0.0
            place = U(i)
            while place < whole:
                s0 += tile[a, place - shift] * weights[place]
                s1 += tile[a, place - shift + U(1)] * weights[place + U(1)]
                s2 += tile[a, place - shift + U(2)] * weights[place + U(2)]
                s3 += tile[a, place - shift + U(3)] * weights[place + U(3)]
                place += U(4)
            while place < U(last):
                s0 += tile[a, place - shift] * weights[place]
                place += U(1)
            sums[a, U(group)] += (s0 + s1) + (s2 + s3)
            i = last
            group += 1


@kernel
def remove_groups(sums, n_remove, ratios, remove_at, tolerance, order_of, spare):  # type: ignore[no-untyped-def]
    """Run Algorithm 2 on the barycentres of groups.

    Parameters
    ----------
    sums : (N, G) float64 ndarray
        IN, destroyed: weighted features of each group; the first, its mass, is > 0.
    n_remove : int
        Groups to remove at most.
    ratios : (G,) float64 ndarray
        OUT: the factor of the weights of each group, 0 where it goes.
    remove_at : int
        See ``remove_points_address``.
    tolerance : float
        Pivot tolerance.
    order_of : (>= G,) int64 ndarray
        Work space.
    spare : (>= N G,) float64 ndarray
        Work space.

    Returns
    -------
    int
        The number of groups that go.
    """
    n_features, n_groups = sums.shape
    masses = np.empty(n_groups)
    left = np.empty(n_groups)
    for group in range(n_groups):
        # The first feature is the constant 1: its sum is the mass.
        masses[group] = left[group] = sums[0, group]
        for a in range(n_features):
            sums[a, group] /= masses[group]
    n_removed = call_remove_points(remove_at, sums, left, n_remove, tolerance, order_of, spare)
    for group in range(n_groups):
        ratios[group] = left[group] / masses[group]
    return n_removed


@kernel
def shrink_by_barycentres(  # type: ignore[no-untyped-def]
    columns, weights, n_stop, parent, axis, power, order,
    remove_at, tolerance, order_of, work, spare,
):  # fmt: skip
    """Bring weights to 0, group by group, until at most ``n_stop`` are left or none will go.

    Parameters
    ----------
    columns : (m, n) float64 ndarray  # IN, points in the box [-1, 1]^m, near ones adjacent
    weights : (n,) float64 ndarray  # IN, OUT: >= 0
    n_stop : int  # IN, at least 2N
    parent, axis, power : (N,) int64 ndarray  # IN, see ProductPlan
    order : int  # IN
    remove_at : int  # IN, see ``remove_points_address``
    tolerance : float  # IN, pivot tolerance
    order_of : (>= 2N,) int64 ndarray  # work space
    work, spare : (>= N max(2N, TILE),) float64 ndarray  # work space
    """
    m, n = columns.shape
    n_features = parent.shape[0]
    # The points that are left, closed up after each pass.
    left = np.empty((m, n))
    left_weights = np.empty(n)
    alive = np.empty(n, np.int64)
    # Of a literal 0 numba makes a version of its own of each kernel that it is passed to.
    n_alive = np.int64(0)
    for i in range(n):
        if weights[i] > 0.0:
            alive[n_alive] = i
            left_weights[n_alive] = weights[i]
            for j in range(m):
                left[j, n_alive] = columns[j, i]
            n_alive += 1
    tables = np.empty((m, order + 1, TILE))
    # Taken by the tile while the features are summed, by the reduction after that.
    tile = spare[: n_features * TILE].reshape((n_features, TILE))
    while n_alive > n_stop:
        n_groups = min(2 * n_features, n_alive)
        sums = work[: n_features * n_groups].reshape((n_features, n_groups))
        for a in range(n_features):
            for group in range(n_groups):
                sums[a, group] = 0.0
        for start in range(0, n_alive, TILE):
            end = start + TILE if start + TILE < n_alive else n_alive
            evaluate_features(left, start, end, tables, parent, axis, power, tile)
            _add_by_group(tile, left_weights, start, end, n_alive, sums)
        ratios = np.empty(n_groups)
        if remove_groups(sums, n_groups, ratios, remove_at, tolerance, order_of, spare) == 0:
            break
        n_kept = np.int64(0)
        for group in range(n_groups):
            first = group * n_alive // n_groups
            last = (group + 1) * n_alive // n_groups
            ratio = ratios[group]
            for place in range(first, last):
                scaled = left_weights[place] * ratio
                if scaled > 0.0:
                    left_weights[n_kept] = scaled
                    alive[n_kept] = alive[place]
                    for j in range(m):
                        left[j, n_kept] = left[j, place]
                    n_kept += 1
        n_alive = n_kept
    for i in range(n):
        weights[i] = 0.0
    for i in range(n_alive):
        weights[alive[i]] = left_weights[i]
