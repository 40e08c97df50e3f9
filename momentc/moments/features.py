"""Polynomial features: products of Legendre polynomials, or of plain powers, in a box.

The moments of a weighted set up to order k are the sums ``sum_j c_j phi(w_j)`` over any basis phi
of the polynomials of degree <= k. Which basis does not matter in exact arithmetic; in floating
point raw monomials lose all digits near k = 15, while products of Legendre polynomials over the
box of the points stay well conditioned. The reducer therefore works with Legendre products, and
the reported moments are those of the monomials.

Matrices of features are feature-major, ``(n_moments, n_points)``: every inner loop then runs over
points, contiguous in memory.

A tile of fewer points than it has room for is passed whole, with their number, and not as a part of
its columns: only then does the compiler know that its rows are contiguous (see also ``indexing``).
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from momentc.indexing import U
from momentc.moments.multi_index import ProductPlan

__all__ = ["fill_products", "legendre_features", "legendre_rows", "power_rows", "weighted_sums"]


@nb.njit(cache=True, nogil=True)
def legendre_rows(values, rows):  # type: ignore[no-untyped-def]
    """Fill ``rows[l] = P_l(values)`` for l = 0 .. len(rows) - 1 by the three-term recurrence.

    Parameters
    ----------
    values : (n,) float64 ndarray  # IN, in [-1, 1]
    rows : (order + 1, >= n) float64 ndarray  # OUT, C-contiguous
    """
    n = U(values.shape[0])
    for i in range(n):
        rows[0, i] = 1.0
    if rows.shape[0] > 1:
        for i in range(n):
            rows[1, i] = values[i]
    for degree in range(1, rows.shape[0] - 1):
        a = (2.0 * degree + 1.0) / (degree + 1.0)
        b = degree / (degree + 1.0)
        below = U(degree - 1)
        here = U(degree)
        above = U(degree + 1)
        for i in range(n):
            rows[above, i] = a * values[i] * rows[here, i] - b * rows[below, i]


@nb.njit(cache=True, nogil=True)
def power_rows(values, rows):  # type: ignore[no-untyped-def]
    """Fill ``rows[l] = values ** l`` for l = 0 .. len(rows) - 1.

    Parameters
    ----------
    values : (n,) float64 ndarray  # IN
    rows : (order + 1, >= n) float64 ndarray  # OUT, C-contiguous
    """
    n = U(values.shape[0])
    for i in range(n):
        rows[0, i] = 1.0
    for degree in range(1, rows.shape[0]):
        below = U(degree - 1)
        here = U(degree)
        for i in range(n):
            rows[here, i] = rows[below, i] * values[i]


@nb.njit(cache=True, nogil=True)
def fill_products(tables, parent, axis, power, n, out):  # type: ignore[no-untyped-def]
    """Fill ``out[a] = prod_j tables[j, a_j]`` for every multi-index a, one multiplication each.

    Parameters
    ----------
    tables : (n_variables, order + 1, >= n) float64 ndarray  # IN, one-dimensional polynomials
    parent, axis, power : (n_moments,) int64 ndarray  # IN, see ProductPlan
    n : int  # IN
    out : (n_moments, >= n) float64 ndarray  # OUT, in the first n columns; C-contiguous
    """
    end = U(n)
    for i in range(end):
        out[0, i] = 1.0
    for a in range(U(1), U(parent.shape[0])):
        j = U(axis[a])
        degree = U(power[a])
        shorter = U(parent[a])
        if parent[a] == 0:
            for i in range(end):
                out[a, i] = tables[j, degree, i]
        else:
            for i in range(end):
                out[a, i] = out[shorter, i] * tables[j, degree, i]


@nb.njit(cache=True, nogil=True)
def weighted_sums(features, weights):  # type: ignore[no-untyped-def]
    """Return ``sum_j weights_j features[:, j]``, in four interleaved sums for speed."""
    n_features, n = features.shape
    sums = np.empty(n_features)
    whole = U(n // 4 * 4)
    end = U(n)
    for a in range(U(n_features)):
        s0 = s1 = s2 = s3 = 0.0
        i = U(0)
        while i < whole:
            s0 += features[a, i] * weights[i]
            s1 += features[a, i + U(1)] * weights[i + U(1)]
            s2 += features[a, i + U(2)] * weights[i + U(2)]
            s3 += features[a, i + U(3)] * weights[i + U(3)]
            i += U(4)
        while i < end:
            s0 += features[a, i] * weights[i]
            i += U(1)
        sums[a] = (s0 + s1) + (s2 + s3)
    return sums


@nb.njit(cache=True, nogil=True)
def _legendre_products(points, parent, axis, power, order, out):  # type: ignore[no-untyped-def]
    n, m = points.shape
    tables = np.empty((m, order + 1, n))
    column = np.empty(n)
    for j in range(m):
        for i in range(n):
            column[i] = points[i, j]
        legendre_rows(column, tables[j])
    fill_products(tables, parent, axis, power, n, out)


def legendre_features(points: NDArray[np.float64], plan: ProductPlan) -> NDArray[np.float64]:
    """Return the products of Legendre polynomials up to the order of ``plan``.

    Parameters
    ----------
    points : (n_points, n_variables) float64 ndarray
        Within [-1, 1] for the basis to be well conditioned.
    plan : ProductPlan

    Returns
    -------
    (n_moments, n_points) float64 ndarray
    """
    out = np.empty((plan.n_moments, len(points)))
    _legendre_products(
        np.ascontiguousarray(points), plan.parent, plan.axis, plan.power, plan.order, out
    )
    return out
