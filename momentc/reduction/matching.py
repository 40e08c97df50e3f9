"""Least change of the weights that corrects their moments.

Problem. Weights c > 0 on s points with features phi(w_j), whose moments miss the wanted ones by a
residual rho in R^N. Among all changes with ``sum_j c_j z_j phi(w_j) = rho`` take the one of least
``sum_j c_j z_j^2``. With the Gram matrix ``G = sum_j c_j phi(w_j) phi(w_j)^T`` it is

    z_j = phi(w_j) . x,    G x = rho,

so the weights are multiplied by 1 + a polynomial: near points change alike, and no weight becomes
negative while |z| < 1. In survey statistics this is known as calibration (Deville and Sarndal
1992).

Used for the last digits (:func:`least_change`), where rho is the rounding of all reductions
together, and for surplus matching (:func:`matched_further`), where rho holds higher orders too.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, lapack, solve_triangular

from momentc.moments.multi_index import ProductPlan
from momentc.tolerances import gram_cutoff

__all__ = ["least_change", "matched_further"]


def least_change(
    features: NDArray[np.float64], weights: NDArray[np.float64], residual: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the relative changes z of the weights that correct the residual.

    Parameters
    ----------
    features : (N, s) float64 ndarray
        Well conditioned (Legendre products in the frame).
    weights : (s,) float64 ndarray
        >= 0.
    residual : (N,) float64 ndarray

    Returns
    -------
    (s,) float64 ndarray
        The part of the residual outside the range of the features cannot be met and is left.
    """
    values, vectors = eigh((features * weights) @ features.T, check_finite=False)
    usable = values > gram_cutoff(len(values)) * values[-1]
    inverse = np.where(usable, 1.0 / np.where(usable, values, 1.0), 0.0)
    return np.asarray((vectors @ (inverse * (vectors.T @ residual))) @ features)


def matched_further(
    features: NDArray[np.float64],
    weights: NDArray[np.float64],
    residual: NDArray[np.float64],
    plan: ProductPlan,
    first_order: int,
    least_ratio: float,
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (order, weights) that match the moments up to each order from ``first_order`` on.

    One Cholesky factorisation serves all orders, because the features are listed by degree: that
    of a leading block is a leading block of the whole.

    Parameters
    ----------
    features : (N, s) float64 ndarray
        Up to the order of ``plan``.
    weights : (s,) float64 ndarray
        > 0.
    residual : (N,) float64 ndarray
        Wanted moments less those of the weights.
    plan : ProductPlan
    first_order : int
    least_ratio : float
        Stop before a weight falls below this part of its value.
    """
    gram = (features * weights) @ features.T
    lower, info = lapack.dpotrf(gram, lower=1)
    # Where the features depend on each other over these points a pivot is zero but for rounding:
    # the orders below it are still good, those above cannot be matched.
    factored = len(gram) if info == 0 else info - 1
    pivots = np.diag(lower)[:factored] ** 2
    vanishing = np.flatnonzero(pivots <= gram_cutoff(len(gram)) * np.diag(gram)[:factored])
    definite = int(vanishing[0]) if len(vanishing) else factored
    for order in range(first_order, plan.order + 1):
        count = int(plan.first[order + 1])
        if count > definite:
            return
        block = lower[:count, :count]
        half = solve_triangular(block, residual[:count], lower=True, check_finite=False)
        solved = solve_triangular(block, half, lower=True, trans="T", check_finite=False)
        ratio = 1.0 + solved @ features[:count]
        if not ratio.min() >= least_ratio:
            return
        yield order, weights * ratio
