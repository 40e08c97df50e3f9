"""Very many points of one group to a few times N: barycentres of fine pieces, all at once.

The barycentre tree evaluates every point about twice, in an order that has to be made first. Where
there are hundreds of points per moment most can go before that. The group is cut into P pieces, P
between 4N and 8N, by medians of a sample; a pass over the points as they come adds up the features
of each piece; and Algorithm 2 leaves N of the P barycentres, and with them about N / P of the
points. The idea is the same as that of the tree, see ``barycentre_tree``.
"""

import numpy as np
from numpy.typing import NDArray

from momentc.cells import side_of_cuts, split_order
from momentc.indexing import U
from momentc.jit import kernel
from momentc.moments.features import TILE, evaluate_features
from momentc.reduction.barycentre_tree import remove_groups
from momentc.reduction.box import scale_to_box

__all__ = ["MOST_FEATURES", "MOST_PIECES", "pieces_wanted", "thin_by_pieces"]

# Pieces per moment, at most, and the least points per moment that are worth a pass.
MOST_PIECES = 8
PIECES_FROM = 32

# Moments up to which it is done: the barycentres of all pieces are in memory together.
MOST_FEATURES = 256

# Points of a piece in the sample by which the pieces are cut.
SAMPLE_OF_PIECE = 8


def pieces_wanted(
    n_features: int, sizes: NDArray[np.int64], keep: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell which groups have so many points that they are thinned by pieces.

    A group that keeps more than N points is left to those who know which.

    Parameters
    ----------
    n_features : int
        N.
    sizes, keep : (n_groups,) int64 ndarray
        Points of each group, and how many must stay.
    """
    if n_features > MOST_FEATURES:
        return np.zeros(len(sizes), dtype=np.bool_)
    return (sizes > PIECES_FROM * n_features) & (keep <= n_features)


@kernel
def _strided_sample(columns, n, n_wanted):  # type: ignore[no-untyped-def]
    """Return at least ``n_wanted`` of the first ``n`` points, every so many; all if n is less."""
    m = columns.shape[0]
    stride = max(1, n // n_wanted)
    n_sample = (n + stride - 1) // stride
    sample = np.empty((m, n_sample))
    for j in range(m):
        for i in range(n_sample):
            sample[j, i] = columns[j, i * stride]
    return sample


@kernel
def _sum_pieces(  # type: ignore[no-untyped-def]
    columns, weights, n, piece_of, depth, sides, cuts, tables, parent, axis, power, tile, sums
):
    """Add up the weighted features of each piece, and note the piece of each point.

    ``sums`` (N, P) and ``piece_of`` (>= n,) are filled in; ``tile`` (N, TILE) is work space.
    """
    for a in range(sums.shape[0]):
        for piece in range(sums.shape[1]):
            sums[a, piece] = 0.0
    for first in range(0, n, TILE):
        last = min(n, first + TILE)
        side_of_cuts(columns, first, last, depth, sides, cuts, piece_of)
        evaluate_features(columns, first, last, tables, parent, axis, power, tile)
        begin = U(first)
        count = U(last - first)
        for a in range(U(sums.shape[0])):
            for i in range(count):
                sums[a, U(piece_of[begin + i])] += tile[a, i] * weights[begin + i]


@kernel
def thin_by_pieces(  # type: ignore[no-untyped-def]
    points, own, weights, parent, axis, power, order, remove_at, tolerance, work, spare
):
    """Bring most weights of a group to 0 while it has very many points, and keep its moments.

    Parameters
    ----------
    points : (n_points, m) float64 ndarray
        IN.
    own : (n,) int64 ndarray
        IN, the rows of the group.
    weights : (n,) float64 ndarray
        IN, OUT: their weights, > 0 at first.
    parent, axis, power : (N,) int64 ndarray
        IN, see ProductPlan.
    order : int
    remove_at : int
        See ``remove_points_address``.
    tolerance : float
        Pivot tolerance.
    work, spare : (>= N max(MOST_PIECES N, TILE),) float64 ndarray
        Work space.
    """
    n = own.shape[0]
    m = points.shape[1]
    n_features = parent.shape[0]
    # Those that are left come first, with their places in ``weights``.
    columns = np.empty((m, n))
    scale_to_box(points, own, columns)
    left = np.empty(n)
    places = np.empty(n, np.int64)
    for i in range(n):
        left[i] = weights[i]
        places[i] = i
        weights[i] = 0.0
    depth = 0
    while 2 ** (depth + 1) <= MOST_PIECES * n_features:
        depth += 1
    n_pieces = 2**depth
    order_of = np.empty(n_pieces, np.int64)
    sides = np.empty(n_pieces, np.int64)
    cuts = np.empty(n_pieces)
    tables = np.empty((m, order + 1, TILE))
    piece_of = np.empty(n, np.int64)
    filled = np.empty(n_pieces, np.int64)
    ratios = np.empty(n_pieces)
    ratio_of = np.empty(n_pieces)
    tile = spare[: n_features * TILE].reshape((n_features, TILE))
    while n > PIECES_FROM * n_features:
        split_order(_strided_sample(columns, n, SAMPLE_OF_PIECE * n_pieces), depth, sides, cuts)
        sums = work[: n_features * n_pieces].reshape((n_features, n_pieces))
        _sum_pieces(
            columns, left, n, piece_of, depth, sides, cuts, tables, parent, axis, power, tile,
            sums,
        )  # fmt: skip
        # Pieces without a point have no barycentre: the others close up.
        n_filled = np.int64(0)
        for piece in range(n_pieces):
            ratio_of[piece] = 0.0
            if sums[0, piece] > 0.0:
                filled[n_filled] = piece
                n_filled += 1
        if n_filled <= n_features:
            break
        closed_up = work[: n_features * n_filled].reshape((n_features, n_filled))
        for a in range(n_features):
            for place in range(n_filled):
                closed_up[a, place] = sums[a, filled[place]]
        if remove_groups(
            closed_up, n_filled - n_features, ratios, remove_at, tolerance, order_of, spare
        ) == 0:  # fmt: skip
            break
        for place in range(n_filled):
            ratio_of[filled[place]] = ratios[place]
        # Every point is put at the next place, and stays there if it has a weight: a branch would
        # be mispredicted for every piece that is left.
        n_left = U(0)
        for i in range(U(n)):
            scaled = left[i] * ratio_of[U(piece_of[i])]
            left[n_left] = scaled
            places[n_left] = places[i]
            for j in range(U(m)):
                columns[j, n_left] = columns[j, i]
            n_left += U(scaled > 0.0)
        if n_left == U(n):
            break
        n = np.int64(n_left)
    for i in range(n):
        weights[places[i]] = left[i]
