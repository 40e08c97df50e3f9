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
from momentc.moments.accumulate import accumulate_moments
from momentc.moments.features import TILE, evaluate_features
from momentc.moments.multi_index import ProductPlan, product_plan
from momentc.reduction.barycentre_tree import remove_groups
from momentc.reduction.box import centre_and_half
from momentc.reduction.compiled_apart import remove_points_address
from momentc.tolerances import pivot_tolerance

__all__ = ["MOST_FEATURES", "compile_pieces", "pieces_wanted", "thin_by_pieces"]

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
def _fill_box(points, own, box):  # type: ignore[no-untyped-def]
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
        box[0, j], half = centre_and_half(box[0, j], box[1, j])
        box[1, j] = half if half > 0.0 else 1.0


@kernel
def _sum_pieces(  # type: ignore[no-untyped-def]
    points, rows, weights, left, box, depth, sides, cuts, parent, axis, power, order,
    piece_of, counts, sums, totals,
):  # fmt: skip
    """Add up the weighted features of each piece and of all points, and note each point's piece.

    The weights are in ``left`` or, while that is empty, in ``weights`` at the rows. ``piece_of``
    (>= n,), ``counts`` (P,), ``sums`` (N, P) and ``totals`` (N,) are filled in, the last three
    being 0 before.
    """
    n = rows.shape[0]
    m = points.shape[1]
    n_features = sums.shape[0]
    # Tile by tile, without arrays as long as the group: their pages would take as long as the rest.
    columns = np.empty((m, TILE))
    tables = np.empty((m, order + 1, TILE))
    tile = np.empty((n_features, TILE))
    own = np.empty(TILE)
    cells = np.empty(TILE, np.int64)
    for first in range(0, n, TILE):
        last = min(n, first + TILE)
        begin = U(first)
        count = U(last - first)
        for j in range(U(m)):
            centre = box[0, j]
            half = box[1, j]
            for i in range(count):
                columns[j, i] = (points[U(rows[begin + i]), j] - centre) / half
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
def _keep_some(rows, weights, left, piece_of, factor_of, next_rows, next_left):  # type: ignore[no-untyped-def]
    """Fill in the rows that keep a weight, and their weights; return how many they are.

    ``next_rows`` and ``next_left`` have room for one more.
    """
    # Every point is put at the next place, and stays there if it has a weight: a branch would be
    # mispredicted for every piece that is left.
    place = U(0)
    for i in range(U(rows.shape[0])):
        row = rows[i]
        weight = weights[U(row)] if left.shape[0] == 0 else left[i]
        scaled = weight * factor_of[U(piece_of[i])]
        next_left[place] = scaled
        next_rows[place] = row
        place += U(scaled > 0.0)
    return np.int64(place)


@kernel
def _take_over(weights, own, rows, left):  # type: ignore[no-untyped-def]
    """Give the rows what is left, and the others of the group 0."""
    for i in range(U(own.shape[0])):
        weights[U(own[i])] = 0.0
    for i in range(U(rows.shape[0])):
        weights[U(rows[i])] = left[i]


def _factors_of_pieces(sums: NDArray[np.float64], pivot_tol: float) -> NDArray[np.float64]:
    """Return the factor of the weights of each piece, by Algorithm 2 on their barycentres."""
    n_features = len(sums)
    # Pieces without a point have no barycentre: the others close up.
    filled = np.flatnonzero(sums[0] > 0.0)
    n_filled = len(filled)
    ratios = np.ones(n_filled)
    if n_filled > n_features:
        remove_groups(
            np.ascontiguousarray(sums[:, filled]), n_filled - n_features, ratios,
            remove_points_address(), pivot_tol, np.empty(n_filled, dtype=np.int64),
            np.empty(n_features * n_filled),
        )  # fmt: skip
    factor_of = np.zeros(sums.shape[1])
    factor_of[filled] = ratios
    return factor_of


def thin_by_pieces(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    own: NDArray[np.int64],
    plan: ProductPlan,
    group_tol: float,
) -> NDArray[np.int64]:
    """Bring most weights of a group to 0 while it has very many points, and keep its moments.

    The moments of what is left are evaluated again, and compared with sums over all points that
    know nothing of pieces. Where they miss the tolerance the weights stay as they were.

    Parameters
    ----------
    points : (n_points, m) float64 ndarray
    weights : (n_points,) float64 ndarray
        > 0 at the rows of the group; changed only there.
    own : (n,) int64 ndarray
        The rows of the group.
    plan : ProductPlan
    group_tol : float
        Largest error of a moment for each unit of mass.

    Returns
    -------
    (n_left,) int64 ndarray
        The rows that still have a weight, in their order.
    """
    n_features = plan.n_moments
    depth = (MOST_PIECES * n_features).bit_length() - 1
    n_pieces = 2**depth
    box = np.empty((2, points.shape[1]))
    _fill_box(points, own, box)
    piece_of = np.empty(len(own), dtype=np.uint16)
    sides, cuts = np.empty(n_pieces, dtype=np.int64), np.empty(n_pieces)
    # The rows that are left, with their weights; at first all, with the weights that they have.
    rows, left = own, np.empty(0)
    wanted: NDArray[np.float64] | None = None
    while len(rows) > PIECES_FROM * n_features:
        step = max(1, len(rows) // (SAMPLE_OF_PIECE * n_pieces))
        sample = (points[rows[::step]] - box[0]) / box[1]
        split_order(np.ascontiguousarray(sample.T), depth, sides, cuts)
        counts = np.zeros(n_pieces, dtype=np.int64)
        sums, totals = np.zeros((n_features, n_pieces)), np.zeros(n_features)
        _sum_pieces(
            points, rows, weights, left, box, depth, sides, cuts, plan.parent, plan.axis,
            plan.power, plan.order, piece_of, counts, sums, totals,
        )  # fmt: skip
        if wanted is None:
            wanted = totals
        factor_of = _factors_of_pieces(sums, pivot_tolerance(n_features))
        n_left = int(counts[factor_of > 0.0].sum())
        if n_left == len(rows):
            break
        next_rows, next_left = np.empty(n_left + 1, dtype=np.int64), np.empty(n_left + 1)
        n_left = _keep_some(rows, weights, left, piece_of, factor_of, next_rows, next_left)
        rows, left = next_rows[:n_left], next_left[:n_left]
    if wanted is None or len(left) == 0:
        return own
    found = accumulate_moments((points[rows] - box[0]) / box[1], left, plan.order, "legendre")
    # Written so that a NaN counts as too large.
    if not np.all(np.abs(wanted - found.high) <= group_tol * wanted[0]):
        return own
    _take_over(weights, own, rows, left)
    return rows.copy()


def compile_pieces() -> None:
    """Compile the kernels of :func:`thin_by_pieces`, by calls that have nothing to do."""
    rows, weights, cells = np.empty(0, dtype=np.int64), np.empty(0), np.zeros(1, dtype=np.int64)
    points, box, plan = np.empty((0, 1)), np.empty((2, 1)), product_plan(1, 0)
    piece_of = np.empty(0, dtype=np.uint16)
    _fill_box(points, rows, box)
    _sum_pieces(
        points, rows, weights, weights, box, 0, cells, np.zeros(1), plan.parent, plan.axis,
        plan.power, plan.order, piece_of, cells, np.zeros((1, 1)), np.zeros(1),
    )  # fmt: skip
    _keep_some(rows, weights, weights, piece_of, np.zeros(1), np.zeros(1, np.int64), np.zeros(1))
    _take_over(weights, rows, rows, weights)
