"""Moments carried over to another frame, in exact rational arithmetic.

The polynomials of degree <= k are closed under affine maps, so moments in one frame determine those
in another. In floating point the binomial sums would lose digits where the frames lie far apart; in
fractions they lose none, and there are only as many of them as there are moments.
"""

from fractions import Fraction

import numpy as np

from momentc.errors import InputError
from momentc.moments.accumulate import OVERFLOW, Moments, require_finite
from momentc.moments.discrepancy import binomial_terms
from momentc.moments.frame import Frame

__all__ = ["change_frame"]

Matrix = list[list[Fraction]]


def change_frame(moments: Moments, old: Frame, new: Frame, exponent: int = 0) -> Moments:
    """Return the same moments in another frame, times ``2 ** exponent``.

    Parameters
    ----------
    moments : Moments
        Legendre products in ``old``.
    old, new : Frame
        Of the same columns.
    exponent : int
        Of the unit of the weights, old over new.

    Returns
    -------
    Moments
        Legendre products in ``new``; high + low is the exact value rounded twice.

    Raises
    ------
    InputError
        They are no numbers of float64 there, or not even in ``old``.
    """
    require_finite(moments)
    plan = moments.plan
    order = plan.order
    to_powers = _legendre_in_powers(order)
    to_legendre = _powers_in_legendre(order)
    values = [
        Fraction(high) + Fraction(low)
        for high, low in zip(moments.high.tolist(), moments.low.tolist(), strict=True)
    ]
    terms = binomial_terms(plan.n_variables, order)
    for column, (target, source, power, lower) in zip(old.columns, terms, strict=True):
        scale = Fraction(float(new.scale[column]))
        shift = (Fraction(float(old.center[column])) - Fraction(float(new.center[column]))) / scale
        ratio = Fraction(float(old.scale[column])) / scale
        matrix = _product(to_powers, _product(_affine(order, shift, ratio), to_legendre))
        following = [Fraction(0)] * len(values)
        for here, there, high, low in zip(
            target.tolist(), source.tolist(), power.tolist(), lower.tolist(), strict=True
        ):
            following[here] += matrix[high][low] * values[there]
        values = following
    unit = Fraction(2) ** exponent
    scaled = [value * unit for value in values]
    try:
        high = [float(value) for value in scaled]
    except OverflowError as error:
        raise InputError(OVERFLOW) from error
    low = [float(value - Fraction(part)) for value, part in zip(scaled, high, strict=True)]
    return Moments("legendre", plan, np.array(high), np.array(low))


def _legendre_in_powers(order: int) -> Matrix:
    """Row n: the coefficients of P_n in the powers."""
    rows = [[Fraction(0)] * (order + 1) for _ in range(order + 1)]
    rows[0][0] = Fraction(1)
    if order > 0:
        rows[1][1] = Fraction(1)
    for degree in range(1, order):
        for power in range(order + 1):
            above = rows[degree][power - 1] if power else Fraction(0)
            rows[degree + 1][power] = (
                (2 * degree + 1) * above - degree * rows[degree - 1][power]
            ) / (degree + 1)
    return rows


def _powers_in_legendre(order: int) -> Matrix:
    """Row n: the coefficients of x^n in the Legendre polynomials."""
    rows = [[Fraction(0)] * (order + 1) for _ in range(order + 1)]
    rows[0][0] = Fraction(1)
    for power in range(order):
        # x P_l = ((l + 1) P_{l+1} + l P_{l-1}) / (2 l + 1)
        for degree, value in enumerate(rows[power]):
            if value and degree < order:
                rows[power + 1][degree + 1] += value * (degree + 1) / (2 * degree + 1)
            if value and degree:
                rows[power + 1][degree - 1] += value * degree / (2 * degree + 1)
    return rows


def _affine(order: int, shift: Fraction, ratio: Fraction) -> Matrix:
    """Row n: the coefficients of (shift + ratio y)^n in the powers of y."""
    rows = [[Fraction(0)] * (order + 1) for _ in range(order + 1)]
    rows[0][0] = Fraction(1)
    for power in range(order):
        for lower in range(power + 1):
            rows[power + 1][lower] += shift * rows[power][lower]
            rows[power + 1][lower + 1] += ratio * rows[power][lower]
    return rows


def _product(left: Matrix, right: Matrix) -> Matrix:
    size = range(len(left))
    return [
        [sum((left[i][j] * right[j][k] for j in size), Fraction(0)) for k in size] for i in size
    ]
