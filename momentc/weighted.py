"""The one data type: a weighted point set; the unit of its weights, its rows as bytes."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError

__all__ = [
    "LEAST_SHARE",
    "WeightedSet",
    "bytes_as_rows",
    "count_for_something",
    "rows_as_bytes",
    "scaled_weights",
    "weight_exponent",
]

# The largest weight must be at least this: below 2^-1022 float64 has fewer than 53 bits.
LEAST_WEIGHT: Final = 2.0**-1010

# Less than this part of the largest weight, or of those of a sample, counts for nothing beside it;
# below 2^-1022 reductions would work on numbers that lose their digits.
LEAST_SHARE: Final = 2.0**-960


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
    k : int, optional
        Order up to which its moments are those of the input, if that is known.
    """

    points: NDArray[np.generic]
    weights: NDArray[np.float64]
    index: NDArray[np.int64]
    k: int | None = None

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

    def __repr__(self) -> str:
        """Say what it is in a line; the arrays have hundreds."""
        order = "" if self.k is None else f", k={self.k}"
        return (
            f"<WeightedSet: {len(self)} points in {self.points.shape[1]} columns of "
            f"{self.points.dtype}, total weight {self.total_weight:.15g}{order}>"
        )

    @property
    def total_weight(self) -> float:
        """Sum of the weights, correctly rounded."""
        return math.fsum(self.weights)


def weight_exponent(weights: NDArray[np.float64]) -> int:
    """Return the power of two that brings the largest weight near 1.

    Parameters
    ----------
    weights : (n,) float64 ndarray
        > 0, n >= 1.

    Raises
    ------
    InputError
        If the weights are so small that float64 holds them with less than its full precision.
    """
    largest = float(weights.max())
    if largest < LEAST_WEIGHT:
        raise InputError(
            f"the largest weight is {largest:g}, where float64 has few digits left: multiply all "
            "weights by a power of two"
        )
    return int(np.frexp(largest)[1])


def count_for_something(scaled: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which scaled weights are anything beside the largest, and have all of their digits."""
    return scaled >= LEAST_SHARE


def scaled_weights(weights: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
    """Return ``weights / 2 ** exponent``, exponent as :func:`weight_exponent` returns it.

    As ``numpy.ldexp``, bit for bit, in a twentieth of the time: the factor is a float64.
    """
    return weights * math.ldexp(1.0, -exponent)


def rows_as_bytes(rows: NDArray[np.generic]) -> NDArray[np.uint8]:
    """See rows (n, m) of any type as rows of bytes, which a stream carries along."""
    width = rows.shape[1] * rows.dtype.itemsize  # said in full: there may be no rows
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), width)


def bytes_as_rows(raw: NDArray[np.generic], dtype: np.dtype[Any]) -> NDArray[Any]:
    """See rows of bytes as what they were, (n, m) of ``dtype``."""
    return np.ascontiguousarray(raw).view(dtype).reshape(len(raw), raw.shape[1] // dtype.itemsize)
