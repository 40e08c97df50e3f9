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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from momentc.errors import InputError
from momentc.jit import kernel
from momentc.map_function import MapFunction, run_in_parts
from momentc.tolerances import EPS, dependence_tolerance

__all__ = ["Extent", "Frame", "FrameFit", "extent_of", "fit_frame", "widened", "with_every_column"]

# Relative size of a pivot of the Gram matrix above which a column is independent beyond doubt
# (the Gram matrix resolves ratios down to about sqrt(eps) = 1.5e-8).
CLEARLY_INDEPENDENT = 1e-5

# Rows whose products are summed together: they stay in the cache.
GRAM_ROWS = 8192

# Rows that are mapped in one task.
APPLY_ROWS = 65536

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

    def apply(
        self, points: NDArray[np.float64], map_function: MapFunction = map
    ) -> NDArray[np.float64]:
        """Return the kept columns in the frame, shape (n_points, rank), C-contiguous."""
        # Made by numpy, not in the kernel: see pages in docs/performance.md.
        out = np.empty((len(points), self.rank))
        center, scale = self.center[self.columns], self.scale[self.columns]

        def run(first: int, last: int) -> None:
            _apply(points[first:last], self.columns, center, scale, out[first:last])

        run_in_parts(run, len(points), APPLY_ROWS, map_function)
        return out


@kernel
def _apply(points, columns, center, scale, out):  # type: ignore[no-untyped-def]
    for i in range(points.shape[0]):
        for j in range(columns.shape[0]):
            out[i, j] = (points[i, columns[j]] - center[j]) / scale[j]


@kernel
def _summarise(points, weights, mass, low, high, mean):  # type: ignore[no-untyped-def]
    """Fill in the least, largest and weighted mean value of each column in one pass."""
    n, m = points.shape
    for j in range(m):
        low[j] = np.inf
        high[j] = -np.inf
        mean[j] = 0.0
    for i in range(n):
        share = weights[i] / mass
        for j in range(m):
            value = points[i, j]
            low[j] = min(low[j], value)
            high[j] = max(high[j], value)
            mean[j] += share * value


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the rows of a weighted set lie, column by column; extents of parts add up.

    Parameters
    ----------
    low, high, mean : (n_columns,) float64 ndarray
        Least, largest and weighted mean values.
    mass : float
    n_rows : int
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    mass: float
    n_rows: int

    def with_part(self, other: "Extent") -> "Extent":
        """Return the extent of both together."""
        share = other.mass / (self.mass + other.mass)
        return Extent(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.mean * (1.0 - share) + other.mean * share,
            self.mass + other.mass,
            self.n_rows + other.n_rows,
        )

    def in_units(self, exponent: int) -> "Extent":
        """Return the same with all weights times ``2 ** exponent``."""
        return replace(self, mass=math.ldexp(self.mass, exponent))

    def frame(self) -> Frame:
        """Return the frame of the columns that are not constant.

        Raises
        ------
        InputError
            If the extent of a column is not a finite float64.
        """
        low, high = self.low, self.high
        center = np.clip(self.mean, low, high)
        with np.errstate(over="ignore"):
            scale = np.maximum(high - center, center - low)
        if not np.all(np.isfinite(scale)):
            column = int(np.flatnonzero(~np.isfinite(scale))[0])
            raise InputError(
                f"column {column} spans {low[column]:g} .. {high[column]:g}, more than float64 can "
                "hold: divide it by a power of two first"
            )
        constant = low == high
        center = np.where(constant, low, center)
        scale = np.where(constant, 1.0, scale)
        varying = np.flatnonzero(~constant)
        return Frame(center, scale, varying, tuple(np.flatnonzero(constant).tolist()))


def widened(shared: Frame, extent: Extent) -> Frame:
    """Return a frame with the centre of ``shared`` that holds an extent too; the same if it does.

    The parts of a job are judged in what the whole will be judged in, as far as they know it. In
    the frame of its own rows, a part of sorted rows would be judged by a power of their share.
    """
    scale = np.maximum(
        shared.scale, np.maximum(extent.high - shared.center, shared.center - extent.low)
    )
    if np.array_equal(scale, shared.scale):
        return shared
    return replace(shared, scale=scale)


def with_every_column(sampled: Frame, k: int) -> Frame:
    """Return the frame of a sample without a judgement on the columns, for rows that pass once.

    Groups of dependent columns are reduced as well, they only need more points. A column that was
    constant has no scale yet. The one it gets is small: rows outside of the box keep their digits,
    those far inside would lose them.
    """
    every = np.arange(len(sampled.center), dtype=np.int64)
    # As small as the powers leave room for: those of order k and of the few orders above.
    no_scale = 2.0 ** -min(100, 700 // (k + 8))
    constant = list(sampled.constant)
    scale = sampled.scale.copy()
    varying = np.delete(scale, constant)
    unit = float(varying.min()) if len(varying) else 1.0
    scale[constant] = no_scale * np.maximum(unit, np.abs(sampled.center[constant]))
    return Frame(sampled.center, scale, every)


def extent_of(points: NDArray[np.float64], weights: NDArray[np.float64]) -> Extent:
    """Return the extent of a weighted set, n >= 1."""
    low, high, mean = np.empty((3, points.shape[1]))
    mass = float(weights.sum())
    _summarise(points, weights, mass, low, high, mean)
    return Extent(low, high, mean, mass, len(points))


def fit_frame(points: NDArray[np.float64], weights: NDArray[np.float64]) -> Frame:
    """Return the frame of a weighted set in memory; see :class:`FrameFit`.

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
    fit = FrameFit()
    fit.add_extent(points, weights)
    fit.close_extent()
    for stage in fit.passes():
        stage(points)
    return fit.frame()


class FrameFit:
    """Fits a frame to rows that come in blocks, in as few passes as the data need.

    ::

        fit = FrameFit()
        for points, weights in blocks():
            fit.add_extent(points, weights)
        fit.close_extent()
        for stage in fit.passes():
            for points, _ in blocks():
                stage(points)
        frame = fit.frame()

    Whether columns depend on each other is settled by their Gram matrix, in one pass, in the usual
    case. Only where it leaves a doubt follow a sequential QR factorisation, a pass that takes its
    rounding out of the coefficients, and one in which each candidate is checked against the
    combination it seems to be, row by row.
    """

    def __init__(self) -> None:
        self._extent: Extent | None = None
        self._frame: Frame | None = None

    @property
    def n_rows(self) -> int:
        """Rows that were taken in."""
        return 0 if self._extent is None else self._extent.n_rows

    def add_extent(self, points: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Take in a block for the centre and the extent of the columns."""
        if len(points) == 0:
            return
        part = extent_of(points, weights)
        self._extent = part if self._extent is None else self._extent.with_part(part)

    def close_extent(self) -> None:
        """Fix the centre and the scale of every column.

        Raises
        ------
        InputError
            If there was no row, or the extent of a column is not a finite float64.
        """
        if self._extent is None:
            raise InputError("there are no rows: an array with at least one row is needed")
        self._frame = self._extent.frame()

    def passes(self) -> Iterator[Callable[[NDArray[np.float64]], None]]:
        """Yield functions that each want to be called with all blocks of points, one by one."""
        frame = self.frame()
        if frame.rank <= 1:
            return
        gram = _CentredGram(frame, self.n_rows)
        yield gram
        if gram.clearly_independent():
            return
        triangle = _SequentialQR(frame)
        yield triangle
        candidates = triangle.candidates()
        if not candidates:
            return
        refinement = _Refinement(frame, candidates)
        yield refinement
        residuals = _Residuals(frame, refinement.combinations())
        yield residuals
        dropped = residuals.dependent()
        kept = [j for j in range(frame.rank) if j not in dropped]
        self._frame = Frame(
            frame.center,
            frame.scale,
            frame.columns[kept],
            frame.constant,
            tuple((int(frame.columns[j]), residual) for j, residual in sorted(dropped.items())),
        )

    def frame(self) -> Frame:
        """Return the frame that has been fitted so far."""
        if self._frame is None:
            raise RuntimeError("close_extent() comes before frame()")
        return self._frame


class _CentredGram:
    """Sums of squares and products of the columns about their unweighted mean.

    More rows only add to this matrix, and no entry of its diagonal ends above the number of all
    rows: so some rows may settle for all that no column depends on others.
    """

    def __init__(self, frame: Frame, n_rows: int) -> None:
        self._frame = frame
        self._n_rows = n_rows
        self._n = 0
        self._sum = np.zeros(frame.rank)
        self._products = np.zeros((frame.rank, frame.rank))
        self._look_at = GRAM_ROWS
        self._is_settled = False

    def __call__(self, points: NDArray[np.float64]) -> None:
        ones = np.ones(min(len(points), GRAM_ROWS))
        for start in range(0, len(points), GRAM_ROWS):
            if self._is_settled:
                return
            local = self._frame.apply(points[start : start + GRAM_ROWS])
            self._n += len(local)
            # As a product: numpy's sum over the rows of a narrow array is several times slower.
            self._sum += ones[: len(local)] @ local
            self._products += local.T @ local
            if self._n >= self._look_at:
                least = np.linalg.eigvalsh(self._gram())[0]
                self._is_settled = bool(least > CLEARLY_INDEPENDENT * self._n_rows)
                self._look_at = 2 * self._n

    def _gram(self) -> NDArray[np.float64]:
        return np.asarray(self._products - np.outer(self._sum, self._sum) / self._n)

    def clearly_independent(self) -> bool:
        """Tell whether no column is near the span of the others and the constant."""
        if self._is_settled:
            return True
        gram = self._gram()
        diagonal = np.diag(gram)
        if not np.all(diagonal > 0.0):
            return False
        size = np.sqrt(diagonal)
        return bool(np.linalg.eigvalsh(gram / np.outer(size, size))[0] > CLEARLY_INDEPENDENT)


class _SequentialQR:
    """The triangle of (1, columns), block by block: it resolves ratios down to about eps."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._n = 0
        self._triangle = np.zeros((0, frame.rank + 1))

    def __call__(self, points: NDArray[np.float64]) -> None:
        for start in range(0, len(points), QR_ROWS):
            local = self._frame.apply(points[start : start + QR_ROWS])
            stacked = np.vstack([self._triangle, np.column_stack([np.ones(len(local)), local])])
            self._triangle = qr(stacked, mode="r", check_finite=False)[0][: stacked.shape[1]]
            self._n += len(local)

    def candidates(self) -> dict[int, tuple[list[int], NDArray[np.float64], NDArray[np.float64]]]:
        """Return {column: (columns before it that are kept, coefficients of 1 and of these, R)}.

        Columns are taken from left to right, so the leftmost of a dependent set are kept. The
        bound is generous, ``512 (m + 1) eps sqrt(n)``: what is named here is only a candidate.
        """
        width = self._triangle.shape[1]
        bound = 512.0 * width * EPS * math.sqrt(self._n)
        kept: list[int] = []
        found: dict[int, tuple[list[int], NDArray[np.float64], NDArray[np.float64]]] = {}
        for j in range(width - 1):
            basis = self._triangle[:, [0, *(1 + i for i in kept)]]
            column = self._triangle[:, 1 + j]
            q, r = qr(basis, mode="economic", check_finite=False)
            inside = q.T @ column
            if np.linalg.norm(column - q @ inside) <= bound:
                found[j] = (list(kept), solve_triangular(r, inside, check_finite=False), r)
            else:
                kept.append(j)
        return found


class _Refinement:
    """One step of iterative refinement for the coefficients of each candidate.

    Every block of the QR factorisation rounds, and so a combination that holds in every row would
    be missed by more than rounding after a few blocks. With the misses b - B x of all rows and
    B = Q R, the correction is R^-1 R^-T B^T (b - B x), the seminormal equations (Björck 1987).
    """

    def __init__(
        self,
        frame: Frame,
        candidates: dict[int, tuple[list[int], NDArray[np.float64], NDArray[np.float64]]],
    ) -> None:
        self._frame = frame
        self._candidates = candidates
        self._sums = {j: np.zeros(len(x)) for j, (_, x, _) in candidates.items()}

    def __call__(self, points: NDArray[np.float64]) -> None:
        local = self._frame.apply(points)
        for j, (kept, x, _) in self._candidates.items():
            basis = local[:, kept]
            miss = local[:, j] - (x[0] + basis @ x[1:])
            self._sums[j][0] += miss.sum()
            self._sums[j][1:] += miss @ basis

    def combinations(self) -> dict[int, tuple[list[int], NDArray[np.float64]]]:
        """Return {column: (columns before it that are kept, coefficients of 1 and of these)}."""
        better = {}
        for j, (kept, x, r) in self._candidates.items():
            half = solve_triangular(r, self._sums[j], trans="T", check_finite=False)
            better[j] = (kept, x + solve_triangular(r, half, check_finite=False))
        return better


class _Residuals:
    """Largest miss of each candidate combination over all rows."""

    def __init__(
        self, frame: Frame, candidates: dict[int, tuple[list[int], NDArray[np.float64]]]
    ) -> None:
        self._frame = frame
        self._candidates = candidates
        self._worst = dict.fromkeys(candidates, 0.0)

    def __call__(self, points: NDArray[np.float64]) -> None:
        local = self._frame.apply(points)
        for j, (kept, coefficients) in self._candidates.items():
            miss = np.abs(local[:, j] - (coefficients[0] + local[:, kept] @ coefficients[1:]))
            self._worst[j] = max(self._worst[j], float(miss.max(initial=0.0)))

    def dependent(self) -> dict[int, float]:
        """Return the columns that hold their combination in every row, with the largest miss."""
        return {
            j: self._worst[j]
            for j, (_, coefficients) in self._candidates.items()
            if self._worst[j] <= dependence_tolerance(float(np.abs(coefficients).sum()))
        }
