"""The one data type: a weighted point set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["WeightedSet"]


@dataclass(frozen=True, slots=True)
class WeightedSet:
    """Points with weights, the measure ``sum_j c_j delta(w_j)`` of Definition 2 of the paper.

    Parameters
    ----------
    points : (n_points, n_columns) ndarray
        The objects, w in the paper's notation. Rows of the input, bit for bit.
    weights : (n_points,) float64 ndarray
        Their weights, c in the paper's notation. All >= 0.
    index : (n_points,) int64 ndarray
        The row number that each point has in the input, ascending.
    """

    points: NDArray[np.generic]
    weights: NDArray[np.float64]
    index: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check that the three arrays belong together."""
        n_points = self.points.shape[0]
        if self.points.ndim != 2 or self.weights.shape != (n_points,):
            raise ValueError(
                f"a weighted set needs points (n, m) and weights (n,), got {self.points.shape} "
                f"and {self.weights.shape}"
            )
        if self.index.shape != (n_points,):
            raise ValueError(f"index has shape {self.index.shape}, expected ({n_points},)")

    def __len__(self) -> int:
        """Return the number of points."""
        return int(self.points.shape[0])

    @property
    def total_weight(self) -> float:
        """Sum of the weights, correctly rounded."""
        import math

        return math.fsum(self.weights)
