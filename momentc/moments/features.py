"""Polynomial features: products of Legendre polynomials, or of plain powers, in a box.

The moments of a weighted set up to order k are the sums ``sum_j c_j phi(w_j)`` over any basis phi
of the polynomials of degree <= k. Which basis does not matter in exact arithmetic; in floating
point raw monomials lose all digits near k = 15, while products of Legendre polynomials over the
box of the points stay well conditioned. The reducer therefore works with Legendre products, and
the reported moments are those of the monomials.

Matrices of features are feature-major, ``(n_moments, n_points)``: every inner loop then runs over
points, contiguous in memory.

A part of the columns is passed as the whole of them and two numbers, and a tile of fewer points
than it has room for as the whole tile: only then does the compiler know that its rows are
contiguous (see also ``indexing``).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.indexing import U
from momentc.jit import kernel
from momentc.moments.multi_index import ProductPlan

__all__ = [
    "TILE",
    "evaluate_features",
    "fill_products",
    "legendre_features",
    "legendre_tables",
    "power_tables",
]


# Points whose features are evaluated together: N x TILE doubles stay in the second-level cache.
TILE: Final = 256


@kernel
def legendre_tables(columns, first, last, tables):  # type: ignore[no-untyped-def]
    """Fill ``tables[j, l] = P_l(columns[j, first:last])`` by the three-term recurrence.

    Parameters
    ----------
    columns : (m, >= last) float64 ndarray  # IN, in [-1, 1]
    first, last : int  # IN
    tables : (m, order + 1, >= last - first) float64 ndarray  # OUT, C-contiguous
    """
    begin = U(first)
    n = U(last - first)
    for j in range(U(columns.shape[0])):
        for i in range(n):
            tables[j, U(0), i] = 1.0
        if tables.shape[1] > 1:
            for i in range(n):
                tables[j, U(1), i] = columns[j, begin + i]
        for degree in range(1, tables.shape[1] - 1):
            a = (2.0 * degree + 1.0) / (degree + 1.0)
            b = degree / (degree + 1.0)
            below = U(degree - 1)
            here = U(degree)
            above = U(degree + 1)
            for i in range(n):
                tables[j, above, i] = (
                    a * columns[j, begin + i] * tables[j, here, i] - b * tables[j, below, i]
                )


@kernel
def power_tables(columns, first, last, tables):  # type: ignore[no-untyped-def]
    """Fill ``tables[j, l] = columns[j, first:last] ** l``; arguments as :func:`legendre_tables`."""
    begin = U(first)
    n = U(last - first)
    for j in range(U(columns.shape[0])):
        for i in range(n):
            tables[j, U(0), i] = 1.0
        for degree in range(1, tables.shape[1]):
            below = U(degree - 1)
            here = U(degree)
            for i in range(n):
                tables[j, here, i] = tables[j, below, i] * columns[j, begin + i]


@kernel
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


@kernel
def evaluate_features(columns, first, last, tables, parent, axis, power, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with the products of Legendre polynomials of points ``first .. last - 1``.

    Parameters
    ----------
    columns : (m, n) float64 ndarray  # IN, points in the box [-1, 1]^m
    first, last : int  # IN
    tables : (m, order + 1, >= last - first) float64 ndarray  # work space
    parent, axis, power : (N,) int64 ndarray  # IN, see ProductPlan
    out : (N, >= last - first) float64 ndarray  # OUT, in the first columns
    """
    legendre_tables(columns, first, last, tables)
    fill_products(tables, parent, axis, power, last - first, out)


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
    columns = np.ascontiguousarray(points.T)
    tables = np.empty((len(columns), plan.order + 1, len(points)))
    out = np.empty((plan.n_moments, len(points)))
    evaluate_features(columns, 0, len(points), tables, plan.parent, plan.axis, plan.power, out)
    return out
