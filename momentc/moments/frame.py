"""The frame: centred, scaled coordinates in which everything is computed.

``y = (x - center) / scale`` column by column, with the weighted mean as centre and the largest
deviation from it as scale, so |y| <= 1. The polynomials of degree <= k are closed under affine
maps: moments that agree in the frame agree in the user's coordinates, and offsets of 1e8 or units
of 1e-300 cost no digits.

Columns that are constant, or affine combinations of other columns, carry no moments of their own:
a polynomial in all columns is a polynomial of the same degree in the others. They drop out, m
becomes the affine rank r, and C(m+k, k) shrinks to C(r+k, k).
"""

import math
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from momentc.errors import InputError
from momentc.reduction.tolerances import EPS, dependence_tolerance

__all__ = ["Frame", "fit_frame"]

# Relative size of a pivot of the Gram matrix above which a column is independent beyond doubt
# (the Gram matrix resolves ratios down to about sqrt(eps) = 1.5e-8).
CLEARLY_INDEPENDENT = 1e-5

# Rows in one block of the sequential QR factorisation.
QR_ROWS = 65536


@dataclass(frozen=True, slots=True)
class Frame:
    """An affine frame of the points.

    Parameters
    ----------
    center, scale : (n_columns,) float64 ndarray
        Of every column, in the user's units; the scale of a constant column is 1.
    columns : (rank,) int64 ndarray
        The columns that are kept, ascending: affinely independent.
    constant : tuple of int
        Columns with a single value.
    dependent : tuple of (int, float)
        Columns that are affine combinations of the kept ones, each with the largest residual over
        all rows, in the frame.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    columns: NDArray[np.int64]
    constant: tuple[int, ...] = ()
    dependent: tuple[tuple[int, float], ...] = ()

    @property
    def rank(self) -> int:
        """Affine rank of the points, the number of columns that are kept."""
        return len(self.columns)

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the kept columns in the frame, shape (n_points, rank), C-contiguous."""
        return np.asarray(
            _apply(points, self.columns, self.center[self.columns], self.scale[self.columns])
        )


@nb.njit(cache=True, nogil=True)
def _apply(points, columns, center, scale):  # type: ignore[no-untyped-def]
    out = np.empty((points.shape[0], columns.shape[0]))
    for i in range(points.shape[0]):
        for j in range(columns.shape[0]):
            out[i, j] = (points[i, columns[j]] - center[j]) / scale[j]
    return out


@nb.njit(cache=True, nogil=True)
def _summary(points, weights):  # type: ignore[no-untyped-def]
    """Return the least, largest and weighted mean value of each column in one pass."""
    n, m = points.shape
    low = np.full(m, np.inf)
    high = np.full(m, -np.inf)
    mean = np.zeros(m)
    mass = 0.0
    for i in range(n):
        mass += weights[i]
    for i in range(n):
        share = weights[i] / mass
        for j in range(m):
            value = points[i, j]
            low[j] = min(low[j], value)
            high[j] = max(high[j], value)
            mean[j] += share * value
    return low, high, mean


def fit_frame(points: NDArray[np.float64], weights: NDArray[np.float64]) -> Frame:
    """Return the frame of a weighted set.

    Parameters
    ----------
    points : (n, n_columns) float64 ndarray
        Finite, n >= 1.
    weights : (n,) float64 ndarray
        > 0.

    Raises
    ------
    InputError
        If the extent of a column is not a finite float64.
    """
    low, high, mean = _summary(points, weights)
    center = np.clip(mean, low, high)
    with np.errstate(over="ignore"):
        scale = np.maximum(high - center, center - low)
    if not np.all(np.isfinite(scale)):
        column = int(np.flatnonzero(~np.isfinite(scale))[0])
        raise InputError(
            f"column {column} spans {low[column]:g} .. {high[column]:g}, more than float64 can hold: "
            "divide it by a power of two first"
        )
    constant = low == high
    center = np.where(constant, low, center)
    scale = np.where(constant, 1.0, scale)
    varying = np.flatnonzero(~constant)
    frame = Frame(center, scale, varying, tuple(np.flatnonzero(constant).tolist()))
    if len(varying) <= 1:
        return frame
    kept, dependent = _independent_columns(frame.apply(points))
    return Frame(
        center,
        scale,
        varying[kept],
        frame.constant,
        tuple((int(varying[j]), residual) for j, residual in dependent),
    )


def _independent_columns(
    local: NDArray[np.float64],
) -> tuple[NDArray[np.int64], list[tuple[int, float]]]:
    """Return the positions of an affinely independent set of columns, and the others' residuals.

    The Gram matrix settles the usual case at the cost of one pass. Only where it leaves a doubt
    are the columns factorised by a sequential QR, and each candidate is then checked against the
    combination it seems to be, row by row.
    """
    n, m = local.shape
    centred_gram = local.T @ local - n * np.outer(local.mean(axis=0), local.mean(axis=0))
    if _clearly_independent(centred_gram):
        return np.arange(m), []
    with_one = np.empty((min(n, QR_ROWS) + m + 1, m + 1))
    triangle = np.zeros((0, m + 1))
    for start in range(0, n, QR_ROWS):
        block = local[start : start + QR_ROWS]
        stacked = with_one[: len(triangle) + len(block)]
        stacked[: len(triangle)] = triangle
        stacked[len(triangle) :, 0] = 1.0
        stacked[len(triangle) :, 1:] = block
        triangle = qr(stacked, mode="r", check_finite=False)[0][: m + 1]
    # Columns are taken from left to right, so that the leftmost of a dependent set is kept.
    kept: list[int] = []
    dependent: list[tuple[int, float]] = []
    for j in range(m):
        size = math.sqrt(n) * EPS * 64.0 * (m + 1)
        basis = triangle[:, [0, *(1 + np.array(kept, dtype=np.int64)).tolist()]]
        q, r = qr(basis, mode="economic", check_finite=False)
        rest = triangle[:, 1 + j] - q @ (q.T @ triangle[:, 1 + j])
        if np.linalg.norm(rest) <= size * 8.0:
            coefficients = solve_triangular(r, q.T @ triangle[:, 1 + j], check_finite=False)
            combination = coefficients[0] + local[:, kept] @ coefficients[1:]
            residual = float(np.abs(local[:, j] - combination).max())
            if residual <= dependence_tolerance(float(np.abs(coefficients).sum())):
                dependent.append((j, residual))
                continue
        kept.append(j)
    return np.array(kept, dtype=np.int64), dependent


def _clearly_independent(gram: NDArray[np.float64]) -> bool:
    """Tell whether no column is near the span of the others, by the pivots of the Gram matrix."""
    size = np.sqrt(np.diag(gram))
    if not np.all(size > 0.0):
        return False
    correlation = gram / np.outer(size, size)
    return bool(np.linalg.eigvalsh(correlation)[0] > CLEARLY_INDEPENDENT)
