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
change less (measured: a third to a half of the error). If the point that leaves is the rest point
itself, the tableau of the others stands. If it is a basis point, the rest point takes its place,
which is one pivot of the simplex method: a rank-one update of the tableau, O(N (g - r)).

Cost of a group of g = 2N points: about 3 N^3 multiply-adds for the factorisation and N^3 for the
N removals, O(N^2) a point; the paper's way is O(N^3) a point.

The idea of eliminating a whole null basis is known: Tchernychova, "Caratheodory cubature
measures" (PhD thesis, Oxford 2015), algorithm 6; Maalouf, Jubran, Feldman (NeurIPS 2019).
"""

import numba as nb
import numpy as np

__all__ = ["gauss_jordan", "remove_points", "resolve_weights"]

# Rows of features that are eliminated together before the others follow by one matrix product.
# Up to this many rows plain loops are faster than the product's call (break-even near 40).
PANEL = 32


@nb.njit(cache=True, nogil=True)
def gauss_jordan(features, n_pivot_columns, tolerance, order_of, pivot_row):  # type: ignore[no-untyped-def]
    """Reduce ``features`` to the identity on a set of basis points, by column pivoting.

    Rows are eliminated in the order given (low degrees first). In each the largest entry over the
    points that are not in the basis is the pivot; a row without an entry above ``tolerance`` is
    dependent on the earlier ones and is passed over.

    Parameters
    ----------
    features : (N, g) float64 ndarray  # IN, OUT: reduced, columns permuted
    n_pivot_columns : int  # IN, only the first so many columns may become basis points
    tolerance : float  # IN
    order_of : (>= g,) int64 ndarray  # OUT, order_of[p] is the column that now stands at p
    pivot_row : (>= N,) int64 ndarray  # OUT, row whose pivot stands at column s, for s < rank

    Returns
    -------
    int
        The rank r. Columns 0 .. r-1 are the basis; ``features[pivot_row[s], r:]`` holds the
        coefficients of basis point s in all other points.
    """
    n_rows, g = features.shape
    for i in range(g):
        order_of[i] = i
    panel = n_rows if n_rows <= PANEL + PANEL // 4 else PANEL
    rank = 0
    top = 0
    while top < n_rows and rank < n_pivot_columns:
        bottom = min(n_rows, top + panel)
        rank_before = rank
        for i in range(top, bottom):
            if rank >= n_pivot_columns:
                break
            row = features[i]
            best = tolerance
            column = -1
            for j in range(rank, n_pivot_columns):
                size = abs(row[j])
                if size > best:
                    best = size
                    column = j
            if column < 0:
                continue
            if column != rank:
                for other in range(n_rows):
                    line = features[other]
                    swap = line[column]
                    line[column] = line[rank]
                    line[rank] = swap
                place = order_of[column]
                order_of[column] = order_of[rank]
                order_of[rank] = place
            inverse = 1.0 / row[rank]
            row[rank] = 1.0
            for j in range(rank + 1, g):
                row[j] *= inverse
            for other in range(top, bottom):
                line = features[other]
                factor = line[rank]
                if other != i and factor != 0.0:
                    line[rank] = 0.0
                    for j in range(rank + 1, g):
                        line[j] -= factor * row[j]
            pivot_row[rank] = i
            rank += 1
        width = rank - rank_before
        n_outside = n_rows - (bottom - top)
        if width > 0 and n_outside > 0 and rank < g:
            _update_outside(features, top, bottom, rank_before, rank, pivot_row)
        top = bottom
    return rank


@nb.njit(cache=True, nogil=True)
def _update_outside(features, top, bottom, rank_before, rank, pivot_row):  # type: ignore[no-untyped-def]
    """Subtract the eliminated rows ``top .. bottom`` from all other rows, as one matrix product."""
    n_rows, g = features.shape
    width = rank - rank_before
    done = np.empty((width, g - rank))
    for s in range(width):
        done[s, :] = features[pivot_row[rank_before + s], rank:]
    factors = np.empty((n_rows - (bottom - top), width))
    place = 0
    for other in range(n_rows):
        if other < top or other >= bottom:
            factors[place, :] = features[other, rank_before:rank]
            place += 1
    change = np.dot(factors, done)
    place = 0
    for other in range(n_rows):
        if other < top or other >= bottom:
            line = features[other]
            delta = change[place]
            for j in range(g - rank):
                line[rank + j] -= delta[j]
            place += 1


@nb.njit(cache=True, nogil=True)
def _nearest_end(direction, basis_weights, own_weight):  # type: ignore[no-untyped-def]
    """Return (step, leaving basis point or -1 for the rest point itself, sign) of the nearer end.

    With sign +1 the rest point loses ``step`` and basis point s gains ``step * direction[s]``.
    The direction's entries sum to 1 (the constant is a feature), so one is positive and both ends
    exist.
    """
    down = own_weight
    down_leaves = -1
    up = np.inf
    up_leaves = -1
    for s in range(direction.shape[0]):
        value = direction[s]
        if value < 0.0:
            reach = -basis_weights[s] / value
            if reach < down:
                down = reach
                down_leaves = s
        elif value > 0.0:
            reach = basis_weights[s] / value
            if reach < up:
                up = reach
                up_leaves = s
    if down <= up:
        return down, down_leaves, 1.0
    return up, up_leaves, -1.0


@nb.njit(cache=True, nogil=True)
def remove_points(features, weights, n_remove, tolerance, order_of, pivot_row):  # type: ignore[no-untyped-def]
    """Bring up to ``n_remove`` weights of one group to 0 and keep its moments (Algorithm 2).

    Parameters
    ----------
    features : (N, g) float64 ndarray  # IN, destroyed
    weights : (g,) float64 ndarray  # IN, OUT: >= 0
    n_remove : int  # IN
    tolerance : float  # IN, pivot tolerance
    order_of, pivot_row : int64 ndarray  # work space of at least g and N

    Returns
    -------
    int
        The number of weights that became 0; fewer than asked only if the support reached the
        numerical rank.
    """
    g = features.shape[1]
    rank = gauss_jordan(features, g, tolerance, order_of, pivot_row)
    n_left = g - rank
    if n_left <= 0:
        return 0
    tableau = np.empty((n_left, rank))
    for s in range(rank):
        row = features[pivot_row[s]]
        for i in range(n_left):
            tableau[i, s] = row[rank + i]
    basis = order_of[:rank].copy()
    basis_weights = np.empty(rank)
    for s in range(rank):
        basis_weights[s] = weights[basis[s]]

    n_removed = 0
    # From the last rest point to the first: the rows that still need updates stay in front.
    while n_left > 0 and n_removed < n_remove:
        n_left -= 1
        rest = order_of[rank + n_left]
        direction = tableau[n_left]
        own_weight = weights[rest]
        step, leaves, sign = _nearest_end(direction, basis_weights, own_weight)
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
        inverse = 1.0 / direction[leaves]
        for other in range(n_left):
            line = tableau[other]
            factor = line[leaves] * inverse
            if factor != 0.0:
                for s in range(rank):
                    line[s] -= factor * direction[s]
                line[leaves] = factor
    for s in range(rank):
        weights[basis[s]] = basis_weights[s]
    return n_removed


@nb.njit(cache=True, nogil=True)
def resolve_weights(features, residual, weights, tolerance, order_of, pivot_row):  # type: ignore[no-untyped-def]
    """Correct the weights so that their moments change by ``residual``, on a basis of the points.

    Parameters
    ----------
    features : (N, s + 1) float64 ndarray  # IN, destroyed; the last column is work space
    residual : (N,) float64 ndarray  # IN
    weights : (s,) float64 ndarray  # IN, OUT if the result is >= 0, else unchanged
    tolerance : float  # IN, pivot tolerance
    order_of, pivot_row : int64 ndarray  # work space of at least s + 1 and N

    Returns
    -------
    bool
        Whether the weights were corrected.
    """
    s = weights.shape[0]
    features[:, s] = residual
    rank = gauss_jordan(features, s, tolerance, order_of, pivot_row)
    for p in range(rank):
        if weights[order_of[p]] + features[pivot_row[p], s] < 0.0:
            return False
    for p in range(rank):
        weights[order_of[p]] += features[pivot_row[p], s]
    return True
