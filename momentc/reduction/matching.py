"""Least change of the weights that corrects their moments.

Problem. Weights c > 0 on s points with features phi(w_j), whose moments miss the wanted ones by a
residual rho in R^N. Find relative changes z of least norm with ``sum_j c_j z_j phi(w_j) = rho``;
then ``c (1 + z)`` has the wanted moments. With A = Phi diag(c) this is the least-norm solution of
A z = rho, z = A^T (A A^T)^+ rho. Relative changes, because they keep the signs: a weight can only
become negative if its z falls below -1.

Used for the last digits: the rounding of all reductions together is a residual near 1e-16, and
the solve removes what a step of it can remove.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from momentc.tolerances import gram_cutoff

__all__ = ["least_relative_change"]


def least_relative_change(
    features: NDArray[np.float64], weights: NDArray[np.float64], residual: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return z of least norm such that the moments of ``weights * z`` are ``residual``.

    Parameters
    ----------
    features : (N, s) float64 ndarray
        Well conditioned (Legendre products in the frame).
    weights : (s,) float64 ndarray
        > 0.
    residual : (N,) float64 ndarray

    Returns
    -------
    (s,) float64 ndarray
        The part of the residual outside the range of the features cannot be met and is left.
    """
    scaled = features * weights
    gram = scaled @ scaled.T
    values, vectors = eigh(gram, check_finite=False)
    usable = values > gram_cutoff(len(gram)) * values[-1]
    inverse = np.where(usable, 1.0 / np.where(usable, values, 1.0), 0.0)
    return np.asarray(scaled.T @ (vectors @ (inverse * (vectors.T @ residual))))
