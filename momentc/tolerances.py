"""What counts as rounding, as formulas of eps and the size of the problem.

What is accepted as right is decided by these. Constants that only choose between ways to compute,
each of which is checked, stand with the way that they choose.
"""

import math
from typing import Final

__all__ = [
    "EPS",
    "KERNEL_DEPENDENCE",
    "MASS_TOLERANCE",
    "dependence_tolerance",
    "gram_cutoff",
    "group_tolerance",
    "kernel_ridge",
    "most_growth",
    "pivot_tolerance",
]

EPS: Final = 2.0**-52

MASS_TOLERANCE: Final = 1e-8
"""Relative difference up to which what a stream left weighs as much as the rows that passed.

Reductions keep the total weight of each cell, to rounding as a rule and to `group_tolerance` at
worst, so a difference like this is one of rows that were lost or came twice. The final solve would
hide it.
"""


def pivot_tolerance(n_moments: int) -> float:
    """Return the pivot below which a feature counts as dependent on the earlier ones.

    ``16 eps sqrt(N)``. The features are bounded by 1 in their box, so rounding leaves about
    ``eps sqrt(N)`` times a modest growth where exact arithmetic would leave 0. Treating a feature
    with a residual of at most this size as dependent changes no moment by more than this times
    the mass of the group; dividing by it would give null vectors made of rounding noise.
    """
    return 16.0 * EPS * math.sqrt(n_moments)


def group_tolerance(n_moments: int) -> float:
    """Return the largest moment error of one group, per unit of its mass, that is accepted.

    ``64 eps sqrt(N)``: 2e-13 for N = 252. What is reached is about 1e-15. The factor leaves room
    for groups of low numerical rank, whose error is bounded by the pivot tolerance. A group
    above it is repaired by a re-solve, and left unreduced where that does not help.
    """
    return 64.0 * EPS * math.sqrt(n_moments)


def dependence_tolerance(coefficients_norm: float, k: int) -> float:
    """Return the residual up to which a column is an affine combination of others.

    ``8 eps (1 + |coefficients|_1)`` in the frame, where columns are bounded by 1: the rounding of
    evaluating the combination. A column that misses it by more carries information of its own
    and stays. So does one whose moments of order k could be off by more than 1e-12 for it, to which
    it adds k times its residual, on either side.
    """
    return min(8.0 * EPS * (1.0 + coefficients_norm), 1e-12 / (2.0 * max(1, k)))


def most_growth(k: int) -> float:
    """Return the 1-norm of the coefficients up to which a dependent column may drop out.

    Its moments of order k are sums of moments of the kept columns, with coefficients that add up to
    the k-th power of that norm, which errors may grow by. ``(1e-10 / (16 eps))^(1/k)``: what
    rounding leaves of the kept ones stays below 1e-10 in the others; 7.8 for k = 5, 168 for k = 2.
    """
    return float((1e-10 / (16.0 * EPS)) ** (1.0 / max(1, k)))


def gram_cutoff(n_moments: int) -> float:
    """Return the eigenvalue of a Gram matrix, relative to the largest, that counts as zero.

    ``4 N eps``: below it an eigenvalue is rounding. Directions that are cut off are not
    corrected; they are those in which the features cannot move the moments anyway.
    """
    return 4.0 * n_moments * EPS


KERNEL_DEPENDENCE: Final = 2.0**-36
"""Relative size below which a feature is dependent on others over the points of a kernel matrix.

Of a singular value, and of a pivot of equations scaled to unit length: solutions may lose two
thirds of the digits to what is kept, which the final solve brings back.
"""


def kernel_ridge(n_points: int) -> float:
    """Return what is added to the diagonal of a kernel matrix of entries of about 1 in the mean.

    ``8 n eps``: the norm of the matrix is about n, and below n eps its eigenvalues are rounding,
    of either sign. Directions as small as that change the discrepancy by nothing that counts.
    """
    return 8.0 * n_points * EPS
