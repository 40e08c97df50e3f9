"""Very many points of one group to a few times N: barycentres of fine pieces, all at once.

The barycentre tree evaluates every point about twice, in an order that has to be made first. Where
there are hundreds of points per moment most can go before that. The group is cut into P pieces, P
between 4N and 8N, by medians of a sample; a pass over the points as they come adds up the features
of each piece; and Algorithm 2 leaves N of the P barycentres, and with them about N / P of the
points. The idea is the same as that of the tree, see ``barycentre_tree``.
"""

import numba as nb
import numpy as np

from momentc.cells import sampled_cuts, side_of_cuts
from momentc.indexing import U
from momentc.reduction.box import TILE, evaluate_features
from momentc.reduction.compiled_apart import call_remove_points

__all__ = ["MOST_FEATURES", "MOST_PIECES", "pieces_wanted", "thin_by_pieces"]

# Pieces per moment, at most, and the least points per moment that are worth a pass.
MOST_PIECES = 8
PIECES_FROM = 32

# Moments up to which it is done: the barycentres of all pieces are in memory together.
MOST_FEATURES = 256

# Points of a piece in the sample by which the pieces are cut.
SAMPLE_OF_PIECE = 8


@nb.njit(cache=True, nogil=True)
def pieces_wanted(n_features, n):  # type: ignore[no-untyped-def]
    """Tell whether ``n`` points of one group are so many that they are thinned by pieces."""
    return n_features <= MOST_FEATURES and n > PIECES_FROM * n_features


@nb.njit(cache=True, nogil=True)
def _sum_pieces(  # type: ignore[no-untyped-def]
    columns, weights, n, piece_of, depth, sides, cuts, tables, parent, axis, power, tile, sums
):
    """Add up the weighted features of each piece, and note the piece of each point.

    ``sums`` (N, P) holds zeros; ``piece_of`` (>= n,) is filled in; ``tile`` (N, TILE) is work
    space.
    """
    for first in range(0, n, TILE):
        last = min(n, first + TILE)
        side_of_cuts(columns, first, last, depth, sides, cuts, piece_of)
        evaluate_features(columns, first, last, tables, parent, axis, power, tile)
        begin = U(first)
        count = U(last - first)
        for a in range(U(sums.shape[0])):
            for i in range(count):
                sums[a, U(piece_of[begin + i])] += tile[a, i] * weights[begin + i]


@nb.njit(cache=True, nogil=True)
def thin_by_pieces(  # type: ignore[no-untyped-def]
    columns, weights, rows, parent, axis, power, order, remove_at, tolerance, order_of, work, spare
):
    """Bring most weights of a group to 0 while it has very many points, and keep its moments.

    Parameters
    ----------
    columns : (m, n) float64 ndarray
        IN, OUT: points in the box [-1, 1]^m; those that are left come first.
    weights : (n,) float64 ndarray
        IN, OUT: > 0, and likewise.
    rows : (n,) int64 ndarray
        OUT: where those that are left stood.
    parent, axis, power : (N,) int64 ndarray
        IN, see ProductPlan.
    order : int
    remove_at : int
        See ``remove_points_address``.
    tolerance : float
        Pivot tolerance.
    order_of : (>= MOST_PIECES N,) int64 ndarray
        Work space.
    work, spare : (>= N max(MOST_PIECES N, TILE),) float64 ndarray
        Work space.

    Returns
    -------
    int
        The number of points that are left.
    """
    m, n = columns.shape
    n_features = parent.shape[0]
    for i in range(n):
        rows[i] = i
    depth = 0
    while 2 ** (depth + 1) <= MOST_PIECES * n_features:
        depth += 1
    n_pieces = 2**depth
    tables = np.empty((m, order + 1, TILE))
    piece_of = np.empty(n, np.int64)
    ratio = np.empty(n_pieces)
    masses = np.empty(n_pieces)
    tile = spare[: n_features * TILE].reshape((n_features, TILE))
    while pieces_wanted(n_features, n):
        sides, cuts = sampled_cuts(columns, n, depth, SAMPLE_OF_PIECE)
        sums = work[: n_features * n_pieces].reshape((n_features, n_pieces))
        for a in range(n_features):
            for piece in range(n_pieces):
                sums[a, piece] = 0.0
        _sum_pieces(
            columns, weights, n, piece_of, depth, sides, cuts, tables, parent, axis, power, tile,
            sums,
        )  # fmt: skip
        # Pieces without a point move to the end: the first feature is 1, its sum the mass.
        n_filled = np.int64(0)
        for piece in range(n_pieces):
            mass = sums[0, piece]
            # For now the place of the piece among those that have points.
            ratio[piece] = n_filled if mass > 0.0 else -1.0
            if mass > 0.0:
                masses[n_filled] = mass
                for a in range(n_features):
                    sums[a, n_filled] = sums[a, piece] / mass
                n_filled += 1
        means = work[: n_features * n_filled].reshape((n_features, n_filled))
        for a in range(n_features):
            for piece in range(n_filled):
                means[a, piece] = work[a * n_pieces + piece]
        if n_filled <= n_features:
            break
        left = masses[:n_filled].copy()
        if call_remove_points(
            remove_at, means, left, n_filled - n_features, tolerance, order_of, spare
        ) == 0:  # fmt: skip
            break
        for piece in range(n_pieces):
            place = np.int64(ratio[piece])
            ratio[piece] = left[place] / masses[place] if place >= 0 else 0.0
        # Every point is put at the next place, and stays there if it has a weight: a branch would
        # be mispredicted for every piece that is left.
        n_left = U(0)
        for i in range(U(n)):
            scaled = weights[i] * ratio[U(piece_of[i])]
            weights[n_left] = scaled
            rows[n_left] = rows[i]
            for j in range(U(m)):
                columns[j, n_left] = columns[j, i]
            n_left += U(scaled > 0.0)
        if n_left == U(n):
            break
        n = np.int64(n_left)
    return n
