"""Least change of the weights that corrects their moments.

Problem. Weights c > 0 on s points with features phi(w_j), whose moments miss the wanted ones by a
residual rho in R^N. Among all changes with ``sum_j c_j z_j phi(w_j) = rho`` take the one of least
``sum_j c_j z_j^2``. With the Gram matrix ``G = sum_j c_j phi(w_j) phi(w_j)^T`` it is

    z_j = phi(w_j) . x,    G x = rho,

so the weights are multiplied by 1 + a polynomial: near points change alike, and no weight becomes
negative while |z| < 1. In survey statistics this is known as calibration (Deville and Sarndal
1992).

rho is the rounding of all reductions together, or what the moments of higher orders miss
(``momentc.surplus``).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, eigh, lapack

from momentc.tolerances import gram_cutoff

__all__ = ["least_change"]


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
    # The upper triangle alone: half of the work of the product.
    gram = blas.dsyrk(1.0, (features * np.sqrt(weights)).T, trans=1)
    cutoff = gram_cutoff(len(gram))
    factor, order, rank, _ = lapack.dpstrf(gram, tol=cutoff * np.diag(gram).max())
    if rank == len(gram):
        order -= 1
        multipliers = np.empty(rank)
        multipliers[order] = lapack.dpotrs(factor, residual[order])[0]
        return np.asarray(multipliers @ features)
    # Some directions cannot be moved: only the eigenvectors, ten times the work, tell them apart.
    values, vectors = eigh(gram, lower=False, check_finite=False)
    usable = values > cutoff * values[-1]
    inverse = np.where(usable, 1.0 / np.where(usable, values, 1.0), 0.0)
    return np.asarray((vectors @ (inverse * (vectors.T @ residual))) @ features)
