"""The frame: centred, scaled coordinates in which everything is computed.

``y = (x - center) / scale`` column by column, with the weighted mean as centre and the largest
deviation from it as scale, so |y| <= 1. The polynomials of degree <= k are closed under affine
maps: moments that agree in the frame agree in the user's coordinates, and offsets of 1e8 or units
of 1e-300 cost no digits.

Columns that are constant, or affine combinations of other columns, carry no moments of their own:
a polynomial in all columns is a polynomial of the same degree in the others. They drop out, m
becomes the affine rank r, and C(m+k, k) shrinks to C(r+k, k). What is off in the moments of the
kept columns is off in those of a column y_j = c_0 + sum_i c_i y_i by up to |c|_1^l times as much, l
the order. So the columns that are kept are those by which the others have small coefficients, and
errors are reported for all columns, with that factor.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.indexing import U
from momentc.jit import kernel
from momentc.map_function import MapFunction, run_in_parts

__all__ = ["Dependence", "Extent", "Frame", "extent_of", "widened", "with_every_column"]

# Rows that are mapped in one task.
APPLY_ROWS = 65536

# Rows whose shares are found together.
TILE = 256

# Scale of a column that was constant in a sample, beside that of the others or its value.
NO_SCALE = 2.0**-100


@dataclass(frozen=True, slots=True)
class Dependence:
    """A column that is an affine combination of the kept ones.

    Parameters
    ----------
    column : int
    residual : float
        Largest miss over all rows, in the frame.
    growth : float
        1-norm of the coefficients, the constant's included, in the frame.
    """

    column: int
    residual: float
    growth: float


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
    dependent : tuple of Dependence
        Columns that are affine combinations of the kept ones.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    columns: NDArray[np.int64]
    constant: tuple[int, ...] = ()
    dependent: tuple[Dependence, ...] = ()

    @property
    def rank(self) -> int:
        """Affine rank of the points, the number of columns that are kept."""
        return len(self.columns)

    @property
    def growth(self) -> float:
        """Largest 1-norm of the coefficients of a dependent column; 1 where there is none."""
        return max((each.growth for each in self.dependent), default=1.0)

    @property
    def residual(self) -> float:
        """Largest miss of a dependent column; 0 where there is none."""
        return max((each.residual for each in self.dependent), default=0.0)

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
    shares = np.empty(TILE)
    for j in range(U(m)):
        low[j] = np.inf
        high[j] = -np.inf
        mean[j] = 0.0
    for first in range(0, n, TILE):
        begin = U(first)
        count = U(min(n, first + TILE) - first)
        for i in range(count):
            shares[i] = weights[begin + i] / mass
        for j in range(U(m)):
            least = low[j]
            largest = high[j]
            total = 0.0
            # As distances from a row: of values that are far from 0 and near each other, sums would
            # keep no digit of where the mean is among them. Halves, which cannot overflow.
            origin = 0.5 * points[0, j]
            for i in range(count):
                value = points[begin + i, j]
                least = min(least, value)
                largest = max(largest, value)
                total += shares[i] * (0.5 * value - origin)
            low[j] = least
            high[j] = largest
            mean[j] += total
    for j in range(U(m)):
        half = mean[j]
        mean[j] = (points[0, j] + half) + half


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
        half = share * (0.5 * other.mean - 0.5 * self.mean)
        return Extent(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            (self.mean + half) + half,
            self.mass + other.mass,
            self.n_rows + other.n_rows,
        )

    def in_units(self, exponent: int) -> "Extent":
        """Return the same with all weights times ``2 ** exponent``."""
        return replace(self, mass=float(np.ldexp(self.mass, exponent)))

    def frame(self) -> Frame:
        """Return the frame of the columns that are not constant.

        Raises
        ------
        InputError
            If the extent of a column is not a finite float64.
        """
        return self._frame_around(self.mean)

    def box(self, columns: NDArray[np.int64]) -> Frame:
        """Return the frame of the box that the rows fill, its centre the middle of the box.

        Parameters
        ----------
        columns : (rank,) int64 ndarray
            Those that it keeps, also constant ones.

        Raises
        ------
        InputError
            As :meth:`frame`.
        """
        return replace(self._frame_around(0.5 * self.low + 0.5 * self.high), columns=columns)

    def _frame_around(self, center: NDArray[np.float64]) -> Frame:
        low, high = self.low, self.high
        center = np.clip(center, low, high)
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


def with_every_column(sampled: Frame) -> Frame:
    """Return the frame of a sample without a judgement on the columns, for rows that pass once.

    Groups of dependent columns are reduced as well, they only need more points. A column that was
    constant has no scale yet. The one it gets is small: rows outside of the box keep their digits,
    those far inside would lose them.
    """
    every = np.arange(len(sampled.center), dtype=np.int64)
    constant = list(sampled.constant)
    scale = sampled.scale.copy()
    varying = np.delete(scale, constant)
    unit = float(varying.min()) if len(varying) else 1.0
    least = np.finfo(np.float64).tiny  # what is smaller has few digits, or is 0
    scale[constant] = np.maximum(
        NO_SCALE * np.maximum(unit, np.abs(sampled.center[constant])), least
    )
    return Frame(sampled.center, scale, every)


def extent_of(points: NDArray[np.float64], weights: NDArray[np.float64]) -> Extent:
    """Return the extent of a weighted set, n >= 1."""
    low, high, mean = np.empty((3, points.shape[1]))
    with np.errstate(over="ignore"):  # sums that overflow are refused with the moments
        mass = float(weights.sum())
    _summarise(points, weights, mass, low, high, mean)
    return Extent(low, high, mean, mass, len(points))
