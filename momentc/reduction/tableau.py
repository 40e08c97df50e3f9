"""Algorithm 2 of the paper on one group of points, by a tableau of null vectors.

Problem. Given weights c >= 0 on g points with features phi(w_j) in R^N, find weights c' >= 0 with
at most r = rank of the features nonzero and ``sum_j c'_j phi(w_j) = sum_j c_j phi(w_j)``
(Caratheodory, Tchakaloff 1957; Theorem 2 and Algorithm 2 of the paper).

Symbols. A (N, g) the features, feature-major. B the r basis points, the others are the rest.
T (g - r, r) the tableau: ``phi(w_i) = sum_s T[i, s] phi(w_B(s))`` for each rest point i.
``v_i = e_i - sum_s T[i, s] e_B(s)`` is then a null vector, A v_i = 0, and these g - r vectors span
the null space: one factorisation gives all of them, where the paper takes one SVD a removed point.

One step moves the weights along ``-v_i`` or ``+v_i`` to the first weight that reaches 0. Of the
two ends the nearer is taken: less mass moves, and the moments of order k+1, which nothing holds,
change less (measured: 0.6 to 0.95 of the error). If the point that leaves is the rest point
itself, the tableau of the others stands. If it is a basis point, the rest point takes its place,
which is one pivot of the simplex method. The pivots are kept. The last few are applied to a row of
the tableau when its turn comes, O(N) each; whenever there are BLOCK of them, they are applied to
all rows that are left, by one matrix product.

Cost of a group of g = 2N points: about 1.3 N^3 multiply-adds for the factorisation and 0.5 N^3 for
the N removals, O(N^2) a point; the paper's way is O(N^3) a point.

The idea of eliminating a whole null basis is known: Tchernychova, "Caratheodory cubature
measures" (PhD thesis, Oxford 2015), algorithm 6; Maalouf, Jubran, Feldman (NeurIPS 2019).
"""

import numpy as np
from numba import carray  # type: ignore[attr-defined]

from momentc.indexing import U
from momentc.jit import kernel
from momentc.lapack import factorise_lu, solve_unit_lower, subtract_product

__all__ = ["express_in_basis", "remove_points_at", "resolve_weights"]

# From this number of features on LAPACK factorises; below, plain loops are faster.
LAPACK_FROM = 64

# Changes of the basis that are applied to all directions to come at once, by a matrix product.
BLOCK = 16


@kernel
def _apply_pivots(features, i, last):  # type: ignore[no-untyped-def]
    """Subtract from row i what makes its entries at pivots ``0 .. last - 1`` zero.

    Rows ``0 .. last - 1`` of ``features`` are unit upper triangular at those columns. Four
    pivots are fused: the row is then loaded and stored once for four multiply-adds.
    """
    end = U(features.shape[1])
    own = U(i)
    r = 0
    while r + 4 <= last:
        r0 = U(r)
        r1 = U(r + 1)
        r2 = U(r + 2)
        r3 = U(r + 3)
        f0 = features[own, r0]
        f1 = features[own, r1] - f0 * features[r0, r1]
        f2 = features[own, r2] - f0 * features[r0, r2] - f1 * features[r1, r2]
        f3 = (
            features[own, r3]
            - f0 * features[r0, r3]
            - f1 * features[r1, r3]
            - f2 * features[r2, r3]
        )
        for j in range(U(r + 4), end):
            features[own, j] -= (f0 * features[r0, j] + f1 * features[r1, j]) + (
                f2 * features[r2, j] + f3 * features[r3, j]
            )
        r += 4
    while r < last:
        r0 = U(r)
        f0 = features[own, r0]
        for j in range(U(r + 1), end):
            features[own, j] -= f0 * features[r0, j]
        r += 1


@kernel
def _eliminate(features, n_pivot_columns, tolerance, order_of, done):  # type: ignore[no-untyped-def]
    """Bring ``features`` to unit upper trapezoidal form by eliminating rows, with column pivoting.

    Rows are taken in the order given (low degrees first). In each the largest entry over the
    points that are not in the basis is the pivot; a row without an entry above ``tolerance`` is
    dependent on the earlier ones and is put aside. This is the LU factorisation with partial
    pivoting of the transposed matrix: all multipliers are at most 1. Rows ``0 .. done - 1`` are in
    that form already.

    Returns
    -------
    int
        The rank r: rows 0 .. r-1 are unit upper triangular at columns 0 .. r-1, the basis points.
    """
    n_rows, g = features.shape
    end = U(g)
    rank = np.int64(done)
    for i in range(done, n_rows):
        if rank >= n_pivot_columns:
            break
        _apply_pivots(features, i, rank)
        own = U(i)
        best = tolerance
        column = -1
        for j in range(rank, n_pivot_columns):
            size = abs(features[own, U(j)])
            if size > best:
                best = size
                column = j
        if column < 0:
            continue
        pivot = U(rank)
        if i != rank:
            for j in range(end):
                swap = features[own, j]
                features[own, j] = features[pivot, j]
                features[pivot, j] = swap
        if column != rank:
            other = U(column)
            for row in range(U(n_rows)):
                swap = features[row, other]
                features[row, other] = features[row, pivot]
                features[row, pivot] = swap
            place = order_of[column]
            order_of[column] = order_of[rank]
            order_of[rank] = place
        inverse = 1.0 / features[pivot, pivot]
        features[pivot, pivot] = 1.0
        for j in range(U(rank + 1), end):
            features[pivot, j] *= inverse
        rank += 1
    return rank


@kernel
def _factorise(features, tolerance, order_of, spare):  # type: ignore[no-untyped-def]
    """Do the same as ``_eliminate`` from the start, by LAPACK as far as it goes.

    LAPACK chooses the same pivots, but goes on with one that is too small. The rows before it are
    as good as ever, and the others are to be eliminated anew.

    Returns
    -------
    int
        The number of rows that are done.
    """
    n_rows, g = features.shape
    untouched = spare[: n_rows * g].reshape((n_rows, g))
    for i in range(n_rows):
        for j in range(g):
            untouched[i, j] = features[i, j]
    factorise_lu(features, order_of)
    done = 0
    while done < n_rows and abs(features[done, done]) > tolerance:
        done += 1
    for i in range(done, n_rows):
        for j in range(g):
            features[i, j] = untouched[i, order_of[j]]
    return done


@kernel
def _substitute(features, rank):  # type: ignore[no-untyped-def]
    """Substitute back in rows ``0 .. rank - 1``, for the columns from ``rank`` on."""
    begin = U(rank)
    end = U(features.shape[1])
    for r in range(rank - 2, -1, -1):
        own = U(r)
        s = r + 1
        while s + 4 <= rank:
            s0 = U(s)
            s1 = U(s + 1)
            s2 = U(s + 2)
            s3 = U(s + 3)
            f0 = features[own, s0]
            f1 = features[own, s1]
            f2 = features[own, s2]
            f3 = features[own, s3]
            for j in range(begin, end):
                features[own, j] -= (f0 * features[s0, j] + f1 * features[s1, j]) + (
                    f2 * features[s2, j] + f3 * features[s3, j]
                )
            s += 4
        while s < rank:
            s0 = U(s)
            f0 = features[own, s0]
            for j in range(begin, end):
                features[own, j] -= f0 * features[s0, j]
            s += 1


@kernel
def express_in_basis(  # type: ignore[no-untyped-def]
    features, n_pivot_columns, tolerance, order_of, spare
):
    """Choose basis points and express the features of all other points in theirs.

    Parameters
    ----------
    features : (N, g) float64 ndarray  # IN, OUT: see below, columns permuted
    n_pivot_columns : int  # IN, only the first so many columns may become basis points
    tolerance : float  # IN, pivot below which a row counts as dependent
    order_of : (>= g,) int64 ndarray  # OUT, order_of[p] is the column that now stands at p
    spare : (>= N g,) float64 ndarray  # work space

    Returns
    -------
    int
        The rank r. Columns 0 .. r-1 are the basis; ``features[s, r:]`` holds the coefficients of
        basis point s in all other points.
    """
    n_rows, g = features.shape
    large = n_rows >= LAPACK_FROM
    if large and n_pivot_columns == g and n_rows <= g:
        rank = _factorise(features, tolerance, order_of, spare)
    else:
        rank = np.int64(0)
        for j in range(g):
            order_of[j] = j
    if rank < n_rows:
        rank = _eliminate(features, n_pivot_columns, tolerance, order_of, rank)
    if rank == g:
        return rank
    if large:
        solve_unit_lower(features, rank)
    else:
        _substitute(features, rank)
    return rank


@kernel
def _first_at(values, wanted):  # type: ignore[no-untyped-def]
    """Return the first position of a value."""
    for s in range(values.shape[0]):
        if values[s] == wanted:
            return s
    return -1


@kernel
def _least(values, start):  # type: ignore[no-untyped-def]
    """Return the least of the values and ``start``, by four chains of comparisons."""
    n = values.shape[0]
    whole = U(n // 4 * 4)
    least0 = least1 = least2 = least3 = start
    s = U(0)
    while s < whole:
        least0 = min(least0, values[s])
        least1 = min(least1, values[s + U(1)])
        least2 = min(least2, values[s + U(2)])
        least3 = min(least3, values[s + U(3)])
        s += U(4)
    while s < U(n):
        least0 = min(least0, values[s])
        s += U(1)
    return min(least0, least1, least2, least3)


@kernel
def _nearest_end(direction, basis_weights, own_weight, reach):  # type: ignore[no-untyped-def]
    """Return (step, leaving basis point or -1 for the rest point itself, sign) of the nearer end.

    With sign +1 the rest point loses ``step`` and basis point s gains ``step * direction[s]``.
    The direction's entries sum to 1 (the constant is a feature), so one is positive and both ends
    exist. ``reach`` (2, rank) is work space.
    """
    # In loops without branches: the signs cannot be guessed, and every wrong guess would cost as
    # much as several entries.
    rank = direction.shape[0]
    to_down = reach[0]
    to_up = reach[1]
    for s in range(rank):
        end = basis_weights[s] / direction[s]
        to_down[s] = -end if direction[s] < 0.0 else np.inf
        to_up[s] = end if direction[s] > 0.0 else np.inf
    down = _least(to_down, own_weight)
    up = _least(to_up, np.inf)
    if down <= up:
        return down, _first_at(to_down, down) if down < own_weight else -1, 1.0
    return up, _first_at(to_up, up), -1.0


@kernel
def _change_basis(direction, changes, left, pivots, n_changes):  # type: ignore[no-untyped-def]
    """Apply all changes of the basis so far to a direction, four at a time."""
    rank = U(direction.shape[0])
    p = 0
    while p + 4 <= n_changes:
        p0 = U(p)
        p1 = U(p + 1)
        p2 = U(p + 2)
        p3 = U(p + 3)
        at = U(left[p0])
        f0 = direction[at] * pivots[p0]
        at = U(left[p1])
        f1 = (direction[at] - f0 * changes[p0, at]) * pivots[p1]
        at = U(left[p2])
        f2 = (direction[at] - f0 * changes[p0, at] - f1 * changes[p1, at]) * pivots[p2]
        at = U(left[p3])
        f3 = (
            direction[at] - f0 * changes[p0, at] - f1 * changes[p1, at] - f2 * changes[p2, at]
        ) * pivots[p3]
        for s in range(rank):
            direction[s] -= (f0 * changes[p0, s] + f1 * changes[p1, s]) + (
                f2 * changes[p2, s] + f3 * changes[p3, s]
            )
        p += 4
    while p < n_changes:
        p0 = U(p)
        f0 = direction[U(left[p0])] * pivots[p0]
        for s in range(rank):
            direction[s] -= f0 * changes[p0, s]
        p += 1


@kernel
def _change_all(  # type: ignore[no-untyped-def]
    features, first, last, changes, left, pivots, factors
):
    """Apply the changes of the basis to the directions in columns ``first .. last - 1``.

    ``factors`` is work space, (n_changes, last - first): the multiple of each change that goes
    into each direction.
    """
    begin = U(first)
    width = U(last - first)
    for p in range(U(changes.shape[0])):
        at = U(left[p])
        for j in range(width):
            factors[p, j] = features[at, begin + j]
        for q in range(p):
            entry = changes[q, at]
            for j in range(width):
                factors[p, j] -= entry * factors[q, j]
        pivot = pivots[p]
        for j in range(width):
            factors[p, j] *= pivot
    subtract_product(features, first, last, changes, factors)


def remove_points_at(  # type: ignore[no-untyped-def]
    features_at, n_rows, g, weights_at, n_remove, tolerance, order_at, spare_at
):
    """Bring up to ``n_remove`` weights of one group to 0 and keep its moments (Algorithm 2).

    Takes addresses: see ``compiled_apart``, which compiles it.

    Parameters
    ----------
    features_at : address of (n_rows, g) float64  # IN, destroyed; n_rows is N
    n_rows, g : int  # IN
    weights_at : address of (g,) float64  # IN, OUT: >= 0
    n_remove : int  # IN
    tolerance : float  # IN, pivot tolerance
    order_at : address of (g,) int64  # work space
    spare_at : address of (N g,) float64  # work space

    Returns
    -------
    int
        The number of weights that became 0; fewer than asked only if the support reached the
        numerical rank.
    """
    features = carray(features_at, (n_rows, g))
    weights = carray(weights_at, (g,))
    order_of = carray(order_at, (g,))
    spare = carray(spare_at, (n_rows * g,))
    rank = express_in_basis(features, g, tolerance, order_of, spare)
    n_rest = g - rank
    basis = np.empty(rank, np.int64)
    basis_weights = np.empty(rank)
    for s in range(rank):
        basis[s] = order_of[s]
        basis_weights[s] = weights[basis[s]]
    # One row for each change of the basis. The last few are applied to a direction when its turn
    # comes; whenever there are BLOCK of them, to all directions that are to come.
    n_most = min(n_rest, n_remove)
    block = BLOCK if n_rows >= LAPACK_FROM else n_most
    changes = spare[: block * rank].reshape((block, rank))
    factors = spare[block * rank :]
    left = np.empty(len(changes), np.int64)
    pivots = np.empty(len(changes))
    # Of a literal 0 numba makes a version of its own of each kernel that it is passed to.
    n_changes = np.int64(0)
    direction = np.empty(rank)
    reach = np.empty((2, rank))
    n_removed = 0
    while n_removed < n_most:
        if n_changes == block:
            first = g - n_most
            last = g - n_removed
            _change_all(
                features, first, last, changes, left, pivots,
                factors[: block * (last - first)].reshape((block, last - first)),
            )  # fmt: skip
            n_changes = np.int64(0)
        column = g - 1 - n_removed
        rest = order_of[column]
        for s in range(U(rank)):
            direction[s] = features[s, U(column)]
        _change_basis(direction, changes, left, pivots, n_changes)
        own_weight = weights[rest]
        step, leaves, sign = _nearest_end(direction, basis_weights, own_weight, reach)
        change = sign * step
        for s in range(rank):
            moved = basis_weights[s] + change * direction[s]
            basis_weights[s] = moved if moved > 0.0 else 0.0
        n_removed += 1
        if leaves < 0:
            weights[rest] = 0.0
            continue
        weights[basis[leaves]] = 0.0
        basis[leaves] = rest
        left_over = own_weight - change
        basis_weights[leaves] = left_over if left_over > 0.0 else 0.0
        pivots[n_changes] = 1.0 / direction[leaves]
        left[n_changes] = leaves
        for s in range(U(rank)):
            changes[U(n_changes), s] = direction[s]
        # With f = d[leaves] / pivot the other direction becomes d - f * direction, and f itself at
        # the place that changed hands; the 1 taken off here makes both one formula.
        changes[n_changes, leaves] -= 1.0
        n_changes += 1
    for s in range(rank):
        weights[basis[s]] = basis_weights[s]
    return n_removed


@kernel
def resolve_weights(  # type: ignore[no-untyped-def]
    features, residual, weights, tolerance, order_of, spare
):
    """Correct the weights so that their moments change by ``residual``, on a basis of the points.

    Parameters
    ----------
    features : (N, s + 1) float64 ndarray  # IN, destroyed; the last column is work space
    residual : (N,) float64 ndarray  # IN
    weights : (s,) float64 ndarray  # IN, OUT if the result is >= 0, else unchanged
    tolerance : float  # IN, pivot tolerance
    order_of : (>= s + 1,) int64 ndarray  # work space
    spare : (>= N (s + 1),) float64 ndarray  # work space

    Returns
    -------
    bool
        Whether the weights were corrected.
    """
    s = weights.shape[0]
    for a in range(features.shape[0]):
        features[a, s] = residual[a]
    rank = express_in_basis(features, s, tolerance, order_of, spare)
    for p in range(rank):
        if weights[order_of[p]] + features[p, s] < 0.0:
            return False
    for p in range(rank):
        weights[order_of[p]] += features[p, s]
    return True
