"""Fitting a frame to rows: their extent, and which columns depend on others."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from momentc.errors import InputError
from momentc.moments.frame import Dependence, Extent, Frame, extent_of
from momentc.tolerances import EPS, dependence_tolerance, most_growth

__all__ = ["FrameFit", "fit_frame"]

# Relative size of a pivot of the Gram matrix above which a column is independent beyond doubt
# (the Gram matrix resolves ratios down to about sqrt(eps) = 1.5e-8).
CLEARLY_INDEPENDENT: Final = 1e-5

# Rows whose products are summed together: they stay in the cache.
GRAM_ROWS: Final = 8192

# Rows in one block of the sequential QR factorisation.
QR_ROWS: Final = 65536

# Part by which a column counts as smaller than one to its left: of equal ones the left one is kept.
LEFT_FIRST: Final = 2.0**-20

Combination = tuple[list[int], NDArray[np.float64]]
"""Columns of a frame, and the coefficients of 1 and of these."""


def fit_frame(points: NDArray[np.float64], weights: NDArray[np.float64], k: int) -> Frame:
    """Return the frame of a weighted set in memory; see :class:`FrameFit`.

    Parameters
    ----------
    points : (n, n_columns) float64 ndarray
        Finite, n >= 1.
    weights : (n,) float64 ndarray
        > 0.
    k : int
        Order of the moments that matter.

    Raises
    ------
    InputError
        If the extent of a column is not a finite float64.
    """
    fit = FrameFit(k)
    fit.add_extent(points, weights)
    fit.close_extent()
    for stage in fit.passes():
        stage(points)
    return fit.frame()


class FrameFit:
    """Fits a frame to rows that come in blocks, in as few passes as the data need.

    ::

        fit = FrameFit(k)
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

    Parameters
    ----------
    k : int
        Order of the moments that matter: the higher it is, the smaller the coefficients with which
        a column may drop out.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._extent: Extent | None = None
        self._frame: Frame | None = None
        # The frame of all columns that vary, and the combinations of those that dropped out.
        self._dropped: tuple[Frame, dict[int, Combination]] | None = None

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
        dropped = residuals.dependent(self._k)
        kept = [j for j in range(frame.rank) if j not in dropped]
        self._dropped = frame, {j: residuals.combinations[j] for j in dropped}
        self._frame = replace(
            frame,
            columns=frame.columns[kept],
            dependent=tuple(
                Dependence(int(frame.columns[j]), *dropped[j]) for j in sorted(dropped)
            ),
        )

    def misses(self, points: NDArray[np.float64]) -> float:
        """Return by how much other points miss the combinations and the constants, in the frame.

        Parameters
        ----------
        points : (n, n_columns) float64 ndarray

        Returns
        -------
        float
            The largest miss. Of constant columns, which have no extent, it is counted in units of
            the user, or of the larger value where both are below 1: they may be of any size.
        """
        frame = self.frame()
        constant = list(frame.constant)
        found, wanted = points[:, constant], frame.center[constant]
        unit = np.minimum(np.maximum(np.abs(found), np.abs(wanted)), 1.0)
        unit[unit == 0.0] = 1.0
        worst = float(np.abs((found - wanted) / unit).max(initial=0.0))
        if self._dropped is not None:
            residuals = _Residuals(*self._dropped)
            residuals(points)
            worst = float(np.max([worst, *residuals.worst.values()]))
        return worst

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
        """Return {column: (columns that are kept, coefficients of 1 and of these, R)}.

        Always the column that is farthest from those before it is kept, so that the coefficients of
        the others are small (Businger and Golub 1965). The bound is generous, ``512 (m + 1) eps
        sqrt(n)``: what is named here is only a candidate.
        """
        width = self._triangle.shape[1]
        bound = 512.0 * width * EPS * math.sqrt(self._n)
        # Without the first row, which is what the columns have along 1.
        centred = self._triangle[1:, 1:] * (1.0 - LEFT_FIRST * np.arange(width - 1))
        if len(centred) == 0:
            return {}
        triangle, order = qr(centred, mode="r", pivoting=True, check_finite=False)
        rank = int(np.count_nonzero(np.abs(np.diagonal(triangle)) > bound))
        kept = sorted(order[:rank].tolist())
        q, r = qr(self._triangle[:, [0, *(1 + i for i in kept)]], mode="economic")
        return {
            j: (kept, solve_triangular(r, q.T @ self._triangle[:, 1 + j], check_finite=False), r)
            for j in sorted(order[rank:].tolist())
        }


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

    def combinations(self) -> dict[int, Combination]:
        """Return the combination that each candidate seems to be."""
        better = {}
        for j, (kept, x, r) in self._candidates.items():
            half = solve_triangular(r, self._sums[j], trans="T", check_finite=False)
            better[j] = (kept, x + solve_triangular(r, half, check_finite=False))
        return better


class _Residuals:
    """Largest miss of each combination over all rows."""

    def __init__(self, frame: Frame, combinations: dict[int, Combination]) -> None:
        self._frame = frame
        self.combinations = combinations
        self.worst = dict.fromkeys(combinations, 0.0)

    def __call__(self, points: NDArray[np.float64]) -> None:
        local = self._frame.apply(points)
        for j, (kept, coefficients) in self.combinations.items():
            miss = np.abs(local[:, j] - (coefficients[0] + local[:, kept] @ coefficients[1:]))
            # By numpy, which does not pass over a NaN.
            self.worst[j] = float(np.maximum(self.worst[j], miss.max(initial=0.0)))

    def dependent(self, k: int) -> dict[int, tuple[float, float]]:
        """Return {column: (largest miss, growth)} of those that hold in every row."""
        found = {}
        for j, (_, coefficients) in self.combinations.items():
            growth = float(np.abs(coefficients).sum())
            if growth <= most_growth(k) and self.worst[j] <= dependence_tolerance(growth, k):
                found[j] = self.worst[j], growth
        return found
