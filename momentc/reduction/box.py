"""A group of points in its own box, and the features of it, a tile of points at a time."""

import numba as nb
import numpy as np

from momentc.indexing import U
from momentc.moments.features import fill_products, legendre_rows, weighted_sums

__all__ = ["TILE", "evaluate_features", "moment_change", "scale_to_box"]

# Points whose features are evaluated together: N x TILE doubles stay in the second-level cache.
TILE = 256


@nb.njit(cache=True, nogil=True)
def scale_to_box(points, own, columns):  # type: ignore[no-untyped-def]
    """Fill ``columns`` with points of a group, each column scaled to [-1, 1].

    Parameters
    ----------
    points : (n, m) float64 ndarray  # IN
    own : (g,) int64 ndarray  # IN, the rows of the group
    columns : (m, g) float64 ndarray  # OUT
    """
    count = U(own.shape[0])
    for j in range(U(points.shape[1])):
        low = np.inf
        high = -np.inf
        for i in range(count):
            value = points[U(own[i]), j]
            columns[j, i] = value
            low = min(low, value)
            high = max(high, value)
        centre = 0.5 * (low + high)
        half = 0.5 * (high - low)
        if half > 0.0:
            for i in range(count):
                columns[j, i] = (columns[j, i] - centre) / half
        else:
            for i in range(count):
                columns[j, i] = 0.0


@nb.njit(cache=True, nogil=True)
def evaluate_features(columns, first, last, tables, parent, axis, power, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with the features of points ``first .. last - 1``.

    Parameters
    ----------
    columns : (m, n) float64 ndarray  # IN, points in the box [-1, 1]^m
    first, last : int  # IN
    tables : (m, order + 1, >= last - first) float64 ndarray  # work space
    parent, axis, power : (N,) int64 ndarray  # IN, see ProductPlan
    out : (N, >= last - first) float64 ndarray  # OUT, in the first columns
    """
    for j in range(columns.shape[0]):
        legendre_rows(columns[j, first:last], tables[j])
    fill_products(tables, parent, axis, power, last - first, out)


@nb.njit(cache=True, nogil=True)
def moment_change(columns, before, after, tables, parent, axis, power, work):  # type: ignore[no-untyped-def]
    """Return the largest entry of ``sum_j (before_j - after_j) phi(w_j)``, tile by tile.

    Parameters
    ----------
    columns : (m, n) float64 ndarray  # IN, points in the box [-1, 1]^m
    before, after : (n,) float64 ndarray  # IN, weights
    tables : (m, order + 1, >= TILE) float64 ndarray  # work space
    parent, axis, power : (N,) int64 ndarray  # IN, see ProductPlan
    work : (>= N TILE,) float64 ndarray  # work space

    Returns
    -------
    float
        NaN or infinite where a weight is.
    """
    n = before.shape[0]
    n_features = parent.shape[0]
    residual = np.zeros(n_features)
    change = np.empty(n)
    for i in range(n):
        change[i] = before[i] - after[i]
    for first in range(0, n, TILE):
        last = min(n, first + TILE)
        tile = work[: n_features * (last - first)].reshape((n_features, last - first))
        evaluate_features(columns, first, last, tables, parent, axis, power, tile)
        sums = weighted_sums(tile, change[first:last])
        for a in range(n_features):
            residual[a] += sums[a]
    worst = 0.0
    for a in range(n_features):
        # Written so that a NaN counts as too large.
        if not abs(residual[a]) <= worst:
            worst = abs(residual[a])
    return worst
