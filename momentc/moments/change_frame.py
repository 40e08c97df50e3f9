"""Moments carried over to another frame, with twice the digits of float64.

The polynomials of degree <= k are closed under affine maps, so moments in one frame determine
those in another: ``P_n(shift + ratio y) = sum_j a_nj P_j(y)``, applied to each variable in turn.
Where the new frame holds the box of the old one (``|shift| + |ratio| <= 1``) nothing grows: what
the sums are off by, relative to the mass, stays as small as it was. In a smaller frame it would be
up to ``(2 |shift| + 2 |ratio|) ** k`` times as much.
"""

import math

import numpy as np

from momentc.jit import kernel
from momentc.moments.accumulate import Moments, require_finite
from momentc.moments.discrepancy import binomial_terms
from momentc.moments.double_double import add, divide, multiply, two_sum
from momentc.moments.frame import Frame

__all__ = ["change_frame"]


def change_frame(moments: Moments, old: Frame, new: Frame) -> Moments:
    """Return the same moments in another frame.

    Parameters
    ----------
    moments : Moments
        Legendre products in ``old``.
    old, new : Frame
        Of the same columns. A scale of 0 in ``old`` is that of a column of one value, its centre.

    Returns
    -------
    Moments
        Legendre products in ``new``.

    Raises
    ------
    InputError
        They are no numbers of float64 there, or not even in ``old``.
    """
    require_finite(moments)
    plan = moments.plan
    # Products of two parts need some bits of the exponent: in units of the largest sum.
    exponent = int(np.frexp(np.abs(moments.high).max())[1])
    scaled = moments.in_units(-exponent)
    high, low = scaled.high, scaled.low
    moved = (old.center != new.center) | (old.scale != new.scale)
    terms = binomial_terms(plan.n_variables, plan.order)
    for column, each in zip(old.columns.tolist(), terms, strict=True):
        if moved[column]:
            high, low = _carry(
                high, low, *each, plan.order, old.center[column], old.scale[column],
                new.center[column], new.scale[column],
            )  # fmt: skip
    changed = Moments("legendre", plan, high, low).in_units(exponent)
    require_finite(changed)
    return changed


@kernel
def _quotient(high, low, scale):  # type: ignore[no-untyped-def]
    """Return a pair divided by a float64 of any size: by its digits, and by a power of two."""
    digits, exponent = math.frexp(scale)
    return divide(math.ldexp(high, -exponent), math.ldexp(low, -exponent), digits)


@kernel
def _fill_legendre_map(shift, shift_low, ratio, ratio_low, matrix, matrix_low):  # type: ignore[no-untyped-def]
    """Fill in row n with the coefficients of ``P_n(shift + ratio y)`` in the P_j(y); 0 before."""
    size = matrix.shape[0]
    matrix[0, 0] = 1.0
    for n in range(size - 1):
        # (n + 1) P_{n+1}(x) = (2n + 1) x P_n(x) - n P_{n-1}(x), with x = shift + ratio y, and
        # y P_j = ((j + 1) P_{j+1} + j P_{j-1}) / (2j + 1).
        for j in range(n + 2):
            high = 0.0
            low = 0.0
            if j > 0:
                high, low = multiply(matrix[n, j - 1], matrix_low[n, j - 1], float(j), 0.0)
                high, low = divide(high, low, 2.0 * j - 1.0)
            if j < n:
                above, above_low = multiply(
                    matrix[n, j + 1], matrix_low[n, j + 1], float(j + 1), 0.0
                )
                above, above_low = divide(above, above_low, 2.0 * j + 3.0)
                high, low = add(high, low, above, above_low)
            high, low = multiply(high, low, ratio, ratio_low)
            own, own_low = multiply(matrix[n, j], matrix_low[n, j], shift, shift_low)
            high, low = add(high, low, own, own_low)
            high, low = multiply(high, low, 2.0 * n + 1.0, 0.0)
            if n > 0:
                before, before_low = multiply(
                    matrix[n - 1, j], matrix_low[n - 1, j], -float(n), 0.0
                )
                high, low = add(high, low, before, before_low)
            high, low = divide(high, low, n + 1.0)
            matrix[n + 1, j] = high
            matrix_low[n + 1, j] = low


@kernel
def _carry(  # type: ignore[no-untyped-def]
    values, values_low, target, source, power, lower, order,
    old_center, old_scale, new_center, new_scale,
):  # fmt: skip
    """Return the values with the map of one variable applied; see ``binomial_terms``."""
    high, low = two_sum(old_center, -new_center)
    shift, shift_low = _quotient(high, low, new_scale)
    ratio, ratio_low = _quotient(old_scale, 0.0, new_scale)
    matrix = np.zeros((order + 1, order + 1))
    matrix_low = np.zeros((order + 1, order + 1))
    _fill_legendre_map(shift, shift_low, ratio, ratio_low, matrix, matrix_low)
    sums = np.zeros(values.shape[0])
    sums_low = np.zeros(values.shape[0])
    for term in range(target.shape[0]):
        place = target[term]
        high, low = multiply(
            matrix[power[term], lower[term]], matrix_low[power[term], lower[term]],
            values[source[term]], values_low[source[term]],
        )  # fmt: skip
        sums[place], sums_low[place] = add(sums[place], sums_low[place], high, low)
    return sums, sums_low
