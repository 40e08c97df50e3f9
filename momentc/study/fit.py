"""Straight lines through logarithms: how an error, or a time, grows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

__all__ = ["FLOOR", "PowerLaw", "fit_power", "theory_exponent"]

# Theorem 4 is for smooth functions; these have no theory.
NOT_SMOOTH: Final = ("relu", "steps")

# Errors below this are rounding; they do not fall further and take no part in a fit.
FLOOR: Final = 1e-14


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``y = exp(intercept) * x ** exponent``, fitted by least squares in the logarithms.

    Parameters
    ----------
    exponent, standard_error : float
        The standard error is that of the slope, from the scatter about the line.
    intercept : float
    n : int
        Points that took part.
    """

    exponent: float
    standard_error: float
    intercept: float
    n: int

    def __call__(self, x: float) -> float:
        """Return y at x."""
        return math.exp(self.intercept + self.exponent * math.log(x))


def fit_power(x: Sequence[float], y: Sequence[float], least: float = 0.0) -> PowerLaw | None:
    """Fit a power law to the points with y > ``least``; None if fewer than three are left.

    Parameters
    ----------
    x, y : sequence of float
        > 0, except y that are to be left out.
    least : float
    """
    kept = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True) if b > least and a > 0]
    if len({a for a, _ in kept}) < 3:
        return None
    log_x, log_y = np.array(kept).T
    offset = log_x - log_x.mean()
    square = float(offset @ offset)
    slope = float(offset @ log_y) / square
    miss = log_y - log_y.mean() - slope * offset
    error = math.sqrt(float(miss @ miss) / (len(kept) - 2) / square)
    return PowerLaw(slope, error, float(log_y.mean() - slope * log_x.mean()), len(kept))


def theory_exponent(rank: int, k: int, family: str) -> float | None:
    """Return (k+1)/m + 0.5, by which the error falls with d in Fig. 2(e) of the paper.

    Parameters
    ----------
    rank : int
        m: columns that are constant or affine combinations of others do not count.
    k : int
        0 for a method that knows no order.
    family : str

    Returns
    -------
    float or None
        None where the theory says nothing: no order, no variable, or a family with kinks or jumps.
    """
    if k == 0 or rank == 0 or family in NOT_SMOOTH:
        return None
    return (k + 1) / rank + 0.5
