"""Synthetic points: the paper's own trials, so that its very numbers can be set beside ours.

Trial t of a cell draws from ``default_rng(m + d + t)``: first the directions of Eq. (13) and
Eq. (98), uniform in [-1, 1]^m, then the d points.
"""

from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from momentc.errors import UsageError

__all__ = ["KINDS", "N_DIRECTIONS", "Synthetic", "check_kind", "draw_trial", "polylog_setting"]

Synthetic = Literal["uniform", "gaussian"]
KINDS: Final[tuple[str, ...]] = get_args(Synthetic)

# x_a, a = 1 .. 10 in Eq. (13) and Eq. (98).
N_DIRECTIONS: Final = 10


def check_kind(kind: str) -> None:
    """Refuse a word that names no kind of points."""
    if kind not in KINDS:
        raise UsageError(f"--synthetic is {kind!r}; expected {' or '.join(KINDS)}")


def draw_trial(
    kind: str, m: int, n_points: int, trial: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the directions (m, 10) and the points (n_points, m) of a trial.

    Parameters
    ----------
    kind : {'uniform', 'gaussian'}
        Uniform in [-1, 1]^m as in the paper, or standard normal.
    m, n_points, trial : int
    """
    random = np.random.default_rng(m + n_points + trial)
    directions = 2.0 * random.random((m, N_DIRECTIONS)) - 1.0
    if kind == "uniform":
        return directions, 2.0 * random.random((n_points, m)) - 1.0
    return directions, random.standard_normal((n_points, m))


def polylog_setting(m: int, n_points: int) -> tuple[int, float]:
    """Return (target, A of Eq. 98) of Appendix G: 120 log d for m = 1, 20 log(d)^2 for m = 2.

    Raises
    ------
    UsageError
        For any other m, which the paper does not have.
    """
    if m == 1:
        return int(120.0 * np.log(n_points)), 1.05
    if m == 2:
        return int(20.0 * np.log(n_points) ** 2), 2.05
    raise UsageError(f"--polylog is for --m 1 and 2 (Appendix G of the paper), not {m}")
