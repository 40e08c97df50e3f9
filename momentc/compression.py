"""What a compression hands over: the result, how exact it is, and what it is measured against."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from momentc.moments.accumulate import Moments, accumulate_moments
from momentc.moments.discrepancy import (
    error_by_order,
    relative_error_by_order,
    worst_error,
)
from momentc.moments.frame import Frame
from momentc.moments.multi_index import n_moments
from momentc.options import CompressOptions
from momentc.weighted import WeightedSet

__all__ = ["Compression", "certify"]


@dataclass(frozen=True, slots=True)
class Compression:
    """A compressed weighted set, and what is known of it.

    Parameters
    ----------
    support : WeightedSet
        The points that are kept, in the input's order; ``index`` counts the input's rows.
    options : CompressOptions
        As asked for.
    kept_order : int
        The order K >= k that the reductions kept.
    n_points, n_distinct : int
        Of the input: rows, and distinct rows (None if not known).
    error : tuple of float
        Largest difference of the moments in the frame, by order 0 .. K and, where they are
        few enough, K + 1 and K + 2.
    relative_error : tuple of float
        Relative Frobenius error of the moment tensors in the user's coordinates, by order.
    frame : Frame
        Of the input; the errors are in it.
    moments : Moments
        Of the input, in the frame, up to the same order.
    notes : tuple of str
        What the user should know.
    stages : tuple of (str, float)
        Seconds by stage.
    """

    support: WeightedSet
    options: CompressOptions
    kept_order: int
    n_points: int
    n_distinct: int | None
    error: tuple[float, ...]
    relative_error: tuple[float, ...]
    frame: Frame
    moments: Moments
    notes: tuple[str, ...]
    stages: tuple[tuple[str, float], ...]

    @property
    def k(self) -> int:
        """The order asked for."""
        return self.options.k

    @property
    def target(self) -> int:
        """Points to keep at most."""
        return self.options.target

    @property
    def seed(self) -> int:
        """Of every random choice."""
        return self.options.seed

    @property
    def tolerance(self) -> float:
        """Largest moment error that passes."""
        return self.options.tolerance

    @property
    def n_columns(self) -> int:
        """Columns of the input that were matched."""
        return len(self.frame.center)

    @property
    def rank(self) -> int:
        """Affine rank: columns that carry moments of their own."""
        return self.frame.rank

    @property
    def n_moments(self) -> int:
        """C(rank + k, k)."""
        return n_moments(self.rank, self.k)

    @property
    def matched_order(self) -> int:
        """Order up to which the moments are found to agree, -1 if not even the mass does."""
        failing = [order for order, value in enumerate(self.error) if not value <= self.tolerance]
        return (failing[0] if failing else len(self.error)) - 1

    @property
    def ok(self) -> bool:
        """Whether the moments up to order k agree within the tolerance."""
        return self.holds(self.error)

    def __repr__(self) -> str:
        """Say what came of it in a line; the arrays have hundreds."""
        return (
            f"<Compression: {self.n_points} -> {len(self.support)} points, k={self.k} (kept to "
            f"order {self.kept_order}), rank {self.rank}, moment error {self.largest_error:.1e}, "
            f"{'ok' if self.ok else 'FAILED'}>"
        )

    @property
    def largest_error(self) -> float:
        """Largest of the errors up to order k; NaN if one of them is NaN."""
        return worst_error(self.error, self.k)

    @property
    def are_bounds(self) -> bool:
        """Whether the errors are bounds, which hold for columns that dropped out too."""
        return bool(self.frame.dependent)

    def holds(self, error: Sequence[float]) -> bool:
        """Tell whether errors by order, measured anywhere, are within the tolerance up to k."""
        return worst_error(error, self.k) <= self.tolerance


def certify(
    compression: Compression, points: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compare a weighted set, as it was written, with the moments of the input.

    Parameters
    ----------
    compression : Compression
        Carries the input's moments.
    points : (n, m) float64 ndarray
        The matched columns as read back from the file.
    weights : (n,) float64 ndarray

    Returns
    -------
    error, relative_error : tuple of float
        By order, as in :class:`Compression`.
    """
    if compression.n_points == 0 and len(points) == 0:
        return compression.error, compression.relative_error  # nothing has come, nothing is missed
    frame, moments = compression.frame, compression.moments
    written = accumulate_moments(frame.apply(points), weights, moments.plan.order, moments.basis)
    return (
        error_by_order(moments, written, frame),
        relative_error_by_order(moments, written, frame),
    )
