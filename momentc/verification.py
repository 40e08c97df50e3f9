"""Comparison of two weighted sets from their rows alone, block by block, whatever their size.

Nothing is taken from what a compressed file says of itself: the frame is fitted to the original's
rows, and the moments of both sides are accumulated anew in it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.map_function import MapFunction
from momentc.moments.accumulate import Moments, accumulate_moments, combine_moments
from momentc.moments.discrepancy import (
    error_by_order,
    relative_error_by_order,
    with_dependent,
    worst_error,
)
from momentc.moments.frame_fit import FrameFit
from momentc.moments.multi_index import n_moments
from momentc.moments.request import check_countable, compared_order
from momentc.progress import ProgressCallback

__all__ = ["MomentComparison", "WeightedBlocks", "blocks_of", "compare_moments"]

# Rows of a set in memory that are compared together.
BLOCK_ROWS: Final = 65536

WeightedBlocks = Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class MomentComparison:
    """The moments of two weighted sets, compared by order.

    Parameters
    ----------
    k : int
        Order up to which they should agree.
    rank, n_moments : int
        Affine rank of the original, and C(rank + k, k).
    error : tuple of float
        Largest difference of the normalised moments in the original's frame, by order 0 .. k and,
        where they are few enough, k + 1 and k + 2.
    relative_error : tuple of float
        Relative Frobenius error of the moment tensors in the user's coordinates, by order.
    n_points : tuple of int
        Rows of the original and of the other.
    total_weight : tuple of float
    tolerance : float
    """

    k: int
    rank: int
    n_moments: int
    error: tuple[float, ...]
    relative_error: tuple[float, ...]
    n_points: tuple[int, int]
    total_weight: tuple[float, float]
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the moments up to order k agree within the tolerance."""
        return worst_error(self.error, self.k) <= self.tolerance

    def __repr__(self) -> str:
        """Say what was found in a line."""
        before, after = self.n_points
        return (
            f"<MomentComparison: {before} and {after} points, k={self.k}, rank {self.rank}, moment "
            f"error {worst_error(self.error, self.k):.1e}, tolerance {self.tolerance:.1e}, "
            f"{'ok' if self.ok else 'FAILED'}>"
        )


def blocks_of(
    points: NDArray[np.float64], weights: NDArray[np.float64]
) -> Callable[[], WeightedBlocks]:
    """Return what :func:`compare_moments` reads of a weighted set in memory.

    Parameters
    ----------
    points : (n, m) float64 ndarray
    weights : (n,) float64 ndarray
    """

    def blocks() -> WeightedBlocks:
        for start in range(0, len(points), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            yield points[rows], weights[rows]

    return blocks


def compare_moments(
    original: Callable[[], WeightedBlocks],
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    k: int,
    tolerance: float,
    *,
    whole: Callable[[], WeightedBlocks] | None = None,
    progress: ProgressCallback | None = None,
    map_function: MapFunction = map,
) -> MomentComparison:
    """Compare a weighted set with an original that is read in blocks.

    The original is read three times: for the centre and the extent of its columns, for their Gram
    matrix (not for a single column), and for the moments; twice more where columns seem to depend
    on each other.

    Parameters
    ----------
    original : callable
        Returns a new iterator over (points (n, m), weights (n,)) blocks of float64 each time.
    points : (n_kept, m) float64 ndarray
    weights : (n_kept,) float64 ndarray
        >= 0.
    k : int
    tolerance : float
    whole : callable, optional
        As ``original``: the rows in whose frame is measured, where the original is a part of them.
        In the frame of its own rows a narrow part would be judged by a power of its share.
        Default: the original.
    progress : callable, optional
        Called with (stage, rows done, rows in all); the rows in all are 0 while not known.
    map_function : callable
        Runs the sums. The result does not depend on it.

    Raises
    ------
    InputError
        The two have different numbers of columns.
    RequestError
        If there are too many moments up to order k to work with.
    """
    every = original if whole is None else whole
    fit = FrameFit(k)
    for block, block_weights in every():
        fit.add_extent(block, block_weights)
        _tell(progress, "extent", fit.n_rows, 0)
    n_rows = fit.n_rows
    fit.close_extent()
    for stage in fit.passes():
        done = 0
        for block, _ in every():
            stage(block)
            done += len(block)
            _tell(progress, "affine rank", done, n_rows)
    frame = fit.frame()
    n_columns = len(frame.center)
    if points.shape[1] != n_columns:
        raise InputError(
            f"the compressed rows have {points.shape[1]} columns, those of the original "
            f"{n_columns}: they were not made from it"
        )
    check_countable(k, frame.rank)

    order = compared_order(k, frame.rank)
    total: Moments | None = None
    done = 0
    for block, block_weights in original():
        local = frame.apply(block)
        part = accumulate_moments(local, block_weights, order, "monomial", map_function)
        total = part if total is None else combine_moments(total, part)
        done += len(block)
        _tell(progress, "moments", done, n_rows)
    if total is None or done == 0:
        if len(points):
            raise InputError("no row of the original counts, and the compressed set has some")
        nothing = (0.0,) * (order + 1)
        return MomentComparison(
            k, frame.rank, n_moments(frame.rank, k), nothing, nothing, (0, 0), (0.0, 0.0), tolerance
        )
    other = accumulate_moments(frame.apply(points), weights, order, "monomial")
    error = error_by_order(total, other)
    # What the points have in columns that dropped out may be anything.
    misses = fit.misses(points)
    if frame.dependent or misses > 0.0:
        error = with_dependent(error, frame.growth, frame.residual + misses)
    return MomentComparison(
        k=k,
        rank=frame.rank,
        n_moments=n_moments(frame.rank, k),
        error=error,
        relative_error=relative_error_by_order(total, other, frame),
        n_points=(done, len(points)),
        total_weight=(total.mass, other.mass),
        tolerance=tolerance,
    )


def _tell(progress: ProgressCallback | None, stage: str, done: int, total: int) -> None:
    if progress is not None:
        progress(stage, done, total)
