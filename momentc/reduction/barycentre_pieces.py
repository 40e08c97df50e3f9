"""Very many points of one group to a few times N: barycentres of fine pieces, all at once.

The barycentre tree evaluates every point about twice, in an order that has to be made first. Where
there are hundreds of points per moment most can go before that. The group is cut into P pieces, P
between 4N and 8N, by medians of a sample; a pass over the points as they come adds up the features
of each piece; and Algorithm 2 leaves N of the P barycentres, and with them about N / P of the
points. The idea is the same as that of the tree, see ``barycentre_tree``. The pass also gives the
moments of the group, so what is left is checked without another one.
"""

import numpy as np
from numpy.typing import NDArray

from momentc.cells import side_of_cuts, split_order
from momentc.indexing import U
from momentc.jit import kernel
from momentc.lapack import add_weighted_sums
from momentc.moments.features import TILE, evaluate_features
from momentc.reduction.barycentre_tree import remove_groups

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
) -> NDArray[np.int64]:
    """Return which groups have so many points that they are thinned by pieces.

    A group that keeps more than N points is left to those who know which.

    Parameters
    ----------
    n_features : int
        N.
    sizes, keep : (n_groups,) int64 ndarray
        Points of each group, and how many must stay.
    """
    if n_features > MOST_FEATURES or sizes.max(initial=0) <= PIECES_FROM * n_features:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero((sizes > PIECES_FROM * n_features) & (keep <= n_features))


@kernel
def _fill_columns(points, rows, first, last, step, box, columns):  # type: ignore[no-untyped-def]
    """Fill ``columns`` with every ``step``-th of the rows, scaled to the box."""
    for j in range(U(points.shape[1])):
        centre = box[0, j]
        half = box[1, j]
        place = U(0)
        for i in range(U(first), U(last), U(step)):
            columns[j, place] = (points[U(rows[i]), j] - centre) / half
            place += U(1)


@kernel
def _box_of(points, own, box):  # type: ignore[no-untyped-def]
    """Fill ``box`` (2, m) with the centre and half of the width of each column; half > 0.

    A constant column has itself for a centre, so that it becomes 0.
    """
    n = own.shape[0]
    for j in range(U(points.shape[1])):
        box[0, j] = np.inf
        box[1, j] = -np.inf
    # Tile by tile: its rows, far apart, stay in the cache for all columns.
    for first in range(0, n, TILE):
        last = min(n, first + TILE)
        for j in range(U(points.shape[1])):
            low = box[0, j]
            high = box[1, j]
            for i in range(U(first), U(last)):
                value = points[U(own[i]), j]
                low = min(low, value)
                high = max(high, value)
            box[0, j] = low
            box[1, j] = high
    for j in range(U(points.shape[1])):
        low = box[0, j]
        half = 0.5 * (box[1, j] - low)
        box[0, j] = 0.5 * (low + box[1, j]) if half > 0.0 else low
        box[1, j] = half if half > 0.0 else 1.0


@kernel
def _sum_pieces(  # type: ignore[no-untyped-def]
    points, rows, weights, left, n, box, depth, sides, cuts, tables, parent, axis, power, tile,
    piece_of, counts, sums, totals,
):  # fmt: skip
    """Add up the weighted features of each piece and of all points, and note each point's piece.

    The weights are in ``left`` or, while that is empty, in ``weights`` at the rows. ``piece_of``
    (>= n,), ``counts`` (P,), ``sums`` (N, P) and ``totals`` (N,) are filled in.
    """
    n_features, n_pieces = sums.shape
    for piece in range(n_pieces):
        counts[piece] = 0
    for a in range(n_features):
        totals[a] = 0.0
        for piece in range(n_pieces):
            sums[a, piece] = 0.0
    # Tile by tile, without arrays as long as the group: their pages would take as long as the rest.
    columns = np.empty((points.shape[1], TILE))
    own = np.empty(TILE)
    cells = np.empty(TILE, np.int64)
    for first in range(0, n, TILE):
        last = min(n, first + TILE)
        begin = U(first)
        count = U(last - first)
        _fill_columns(points, rows, first, last, np.int64(1), box, columns)
        if left.shape[0] == 0:
            for i in range(count):
                own[i] = weights[U(rows[begin + i])]
        else:
            for i in range(count):
                own[i] = left[begin + i]
        side_of_cuts(columns, np.int64(0), last - first, depth, sides, cuts, cells)
        for i in range(count):
            piece_of[begin + i] = cells[i]
            counts[U(cells[i])] += 1
        evaluate_features(columns, np.int64(0), last - first, tables, parent, axis, power, tile)
        add_weighted_sums(tile, own, np.int64(0), last - first, totals)
        # Four features at a time: the piece is looked up, and the weight loaded, once for them.
        whole = U(n_features // 4 * 4)
        for feature in range(U(0), whole, U(4)):
            for i in range(count):
                cell = U(cells[i])
                weight = own[i]
                sums[feature, cell] += tile[feature, i] * weight
                sums[feature + U(1), cell] += tile[feature + U(1), i] * weight
                sums[feature + U(2), cell] += tile[feature + U(2), i] * weight
                sums[feature + U(3), cell] += tile[feature + U(3), i] * weight
        for feature in range(whole, U(n_features)):
            for i in range(count):
                sums[feature, U(cells[i])] += tile[feature, i] * own[i]


@kernel
def _factors_of_pieces(  # type: ignore[no-untyped-def]
    sums, counts, factor_of, remove_at, pivot_tol, order_of, work, spare
):
    """Run Algorithm 2 on the barycentres of pieces.

    ``factor_of`` (P,) is filled with the factor of the weights of each piece. Returns how many
    points will have a weight, of the ``counts`` (P,) in each piece.
    """
    n_features, n_pieces = sums.shape
    filled = np.empty(n_pieces, np.int64)
    ratios = np.empty(n_pieces)
    # Pieces without a point have no barycentre: the others close up.
    n_filled = np.int64(0)
    for piece in range(n_pieces):
        factor_of[piece] = 0.0
        if sums[0, piece] > 0.0:
            filled[n_filled] = piece
            ratios[n_filled] = 1.0
            n_filled += 1
    closed_up = work[: n_features * n_filled].reshape((n_features, n_filled))
    for a in range(n_features):
        for place in range(n_filled):
            closed_up[a, place] = sums[a, filled[place]]
    if n_filled > n_features:
        remove_groups(
            closed_up, n_filled - n_features, ratios, remove_at, pivot_tol, order_of, spare
        )
    n_left = np.int64(0)
    for place in range(n_filled):
        factor_of[filled[place]] = ratios[place]
        if ratios[place] > 0.0:
            n_left += counts[filled[place]]
    return n_left


@kernel
def _moments_agree(  # type: ignore[no-untyped-def]
    points, rows, weights, n, box, tables, parent, axis, power, tile, wanted, group_tol
):
    """Tell whether the first ``n`` rows and weights have the moments ``wanted`` (N,)."""
    found = np.empty(wanted.shape[0])
    for a in range(found.shape[0]):
        found[a] = 0.0
    columns = np.empty((points.shape[1], TILE))
    for first in range(0, n, TILE):
        last = min(n, first + TILE)
        _fill_columns(points, rows, first, last, np.int64(1), box, columns)
        evaluate_features(columns, np.int64(0), last - first, tables, parent, axis, power, tile)
        add_weighted_sums(tile, weights, first, last, found)
    agree = True
    for a in range(found.shape[0]):
        # A NaN does not agree.
        agree &= abs(wanted[a] - found[a]) <= group_tol * wanted[0]
    return agree


@kernel
def thin_by_pieces(  # type: ignore[no-untyped-def]
    points, weights, own, parent, axis, power, order, remove_at, pivot_tol, group_tol, work, spare
):
    """Bring most weights of a group to 0 while it has very many points, and keep its moments.

    The moments of what is left are evaluated again, and compared with sums over all points that
    know nothing of pieces. Where they miss the tolerance the weights stay as they were.

    Parameters
    ----------
    points : (n_points, m) float64 ndarray
        IN.
    weights : (n_points,) float64 ndarray
        IN, OUT: > 0 at the rows of the group at first; changed only there.
    own : (n,) int64 ndarray
        IN, the rows of the group.
    parent, axis, power : (N,) int64 ndarray
        IN, see ProductPlan.
    order : int
    remove_at : int
        See ``remove_points_address``.
    pivot_tol, group_tol : float
        Pivot tolerance; largest error of a moment for each unit of mass.
    work, spare : (>= N max(MOST_PIECES N, TILE),) float64 ndarray
        Work space.

    Returns
    -------
    (n_left,) int64 ndarray
        The rows that still have a weight, in their order.
    """
    n = own.shape[0]
    m = points.shape[1]
    n_features = parent.shape[0]
    depth = 0
    while 2 ** (depth + 1) <= MOST_PIECES * n_features:
        depth += 1
    n_pieces = 2**depth
    n_sample = SAMPLE_OF_PIECE * n_pieces
    box = np.empty((2, m))
    order_of = np.empty(n_pieces, np.int64)
    sides = np.empty(n_pieces, np.int64)
    cuts = np.empty(n_pieces)
    counts = np.empty(n_pieces, np.int64)
    factor_of = np.empty(n_pieces)
    tables = np.empty((m, order + 1, TILE))
    piece_of = np.empty(n, np.uint16)
    totals = np.empty(n_features)
    wanted = np.empty(n_features)
    tile = spare[: n_features * TILE].reshape((n_features, TILE))
    _box_of(points, own, box)
    # The rows that are left, with their weights; at first all, with the weights that they have.
    rows = own
    left = np.empty(0)
    while n > PIECES_FROM * n_features:
        step = max(1, n // n_sample)
        sample = np.empty((m, (n + step - 1) // step))
        _fill_columns(points, rows, np.int64(0), n, step, box, sample)
        split_order(sample, depth, sides, cuts)
        sums = np.empty((n_features, n_pieces))
        _sum_pieces(
            points, rows, weights, left, n, box, depth, sides, cuts, tables, parent, axis, power,
            tile, piece_of, counts, sums, totals,
        )  # fmt: skip
        if left.shape[0] == 0:
            for a in range(n_features):
                wanted[a] = totals[a]
        n_next = _factors_of_pieces(
            sums, counts, factor_of, remove_at, pivot_tol, order_of, work, spare
        )
        if n_next == n:
            break
        # Every point is put at the next place, and stays there if it has a weight: a branch would
        # be mispredicted for every piece that is left.
        next_rows = np.empty(n_next + 1, np.int64)
        next_left = np.empty(n_next + 1)
        place = U(0)
        for i in range(U(n)):
            row = rows[i]
            weight = weights[U(row)] if left.shape[0] == 0 else left[i]
            scaled = weight * factor_of[U(piece_of[i])]
            next_left[place] = scaled
            next_rows[place] = row
            place += U(scaled > 0.0)
        n = np.int64(place)
        rows = next_rows
        left = next_left
    if left.shape[0] == 0 or not _moments_agree(
        points, rows, left, n, box, tables, parent, axis, power, tile, wanted, group_tol
    ):
        return own
    for i in range(own.shape[0]):
        weights[own[i]] = 0.0
    for i in range(n):
        weights[rows[i]] = left[i]
    return rows[:n].copy()
