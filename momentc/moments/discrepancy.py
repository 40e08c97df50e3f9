"""How far the moments of two weighted sets are apart, by order.

Two measures, both of normalised moments (divided by the total weight, Eq. 7 of the paper):

- in the frame: the largest difference over the monomials of each degree. The frame bounds every
  coordinate by 1, so the number has no unit and one tolerance serves all data. Columns that
  depend on others are not in these sums: where there are such, the number is the largest that
  follows from those of the kept ones;
- in the user's coordinates: the Frobenius norm of the difference of the moment tensors of each
  order, relative to that of the original's tensor.

The second follows from the first: moments in the user's coordinates are binomial sums of moments
in the frame, and the same sums carry the *differences* over without cancellation, so no second
pass over the data is needed, even under offsets of 1e8.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import poly2leg
from numpy.typing import NDArray
from scipy.special import binom, gammaln

from momentc.moments.accumulate import Moments
from momentc.moments.frame import Frame
from momentc.moments.multi_index import ProductPlan, product_plan

__all__ = [
    "binomial_terms",
    "error_by_order",
    "relative_error_by_order",
    "with_dependent",
    "worst_error",
]


def error_by_order(
    original: Moments, other: Moments, frame: Frame | None = None
) -> tuple[float, ...]:
    """Return the largest difference of normalised monomial moments for each degree 0 .. order.

    The entry of degree 0 is the relative difference of the total weights.

    Parameters
    ----------
    original, other : Moments
        In the same coordinates and basis.
    frame : Frame, optional
        Of the original, in which they are: with it the columns count that depend on those kept.
    """
    difference = np.abs(_as_monomials(original.normalised_difference(other), original))
    mass = (other.high[0] - original.high[0]) + (other.low[0] - original.low[0])
    difference[0] = abs(mass) / original.mass
    first = original.plan.first
    of_kept = tuple(
        float(difference[first[degree] : first[degree + 1]].max(initial=0.0))
        for degree in range(original.plan.order + 1)
    )
    if frame is None or not frame.dependent:
        return of_kept
    return with_dependent(of_kept, frame.growth, 2.0 * frame.residual)


def with_dependent(error: Sequence[float], growth: float, misses: float) -> tuple[float, ...]:
    """Return the largest errors by order that all columns can have, from those of the kept ones.

    A monomial of degree l in all columns is, but for what the combinations miss, a sum of monomials
    of degree <= l in the kept ones, with coefficients that add up to ``growth ** l`` at most. Each
    of its factors adds what it misses: all others are at most ``1 + misses``.

    Parameters
    ----------
    error : sequence of float
        By order, over the kept columns.
    growth : float
        Largest 1-norm of the coefficients.
    misses : float
        Largest misses in the two weighted sets, added up.
    """
    orders = np.arange(1, len(error))
    worst = np.maximum.accumulate(error[1:])  # a NaN stays one
    with np.errstate(over="ignore"):
        by_coefficients = np.power(max(1.0, growth), orders) * worst
        by_misses = orders * misses * np.power(1.0 + misses, orders - 1)
    return error[0], *(by_coefficients + by_misses).tolist()


def worst_error(error: Sequence[float], k: int) -> float:
    """Return the largest error of the orders 0 .. k; NaN if one of them is NaN.

    Python's own ``max`` passes over a NaN that does not come first, and a result that overflows
    would count as exact.
    """
    return float(np.max(error[: k + 1]))


def relative_error_by_order(original: Moments, other: Moments, frame: Frame) -> tuple[float, ...]:
    """Return the relative Frobenius error of the moment tensors in the user's coordinates.

    Over the columns that ``frame``, in which the moments are, keeps. An order whose tensor vanishes
    in the original (all columns zero) counts as the absolute error.
    """
    difference = _as_monomials(original.normalised_difference(other), original)
    difference[0] = 0.0
    moments = _as_monomials((original.high + original.low) / original.mass, original)
    # Coordinates in units of the largest of |center| and scale keep all powers within range.
    unit = np.maximum(np.abs(frame.center[frame.columns]), frame.scale[frame.columns])
    center = frame.center[frame.columns] / unit
    scale = frame.scale[frame.columns] / unit
    plan = original.plan
    counts = _tensor_counts(plan)
    raw_difference = _to_user_coordinates(difference, plan, center, scale)
    raw = _to_user_coordinates(moments, plan, center, scale)
    # Back from the columns' own units to the user's: ratios of the units are all that matters in
    # a relative error of one order.
    log_unit = np.log(unit) - (np.log(unit).max() if len(unit) else 0.0)
    shrink = np.exp(plan.exponents @ log_unit)
    relative = []
    for degree in range(plan.order + 1):
        part = slice(plan.first[degree], plan.first[degree + 1])
        tensor, error = (
            math.sqrt(float(np.sum(counts[part] * (values[part] * shrink[part]) ** 2)))
            for values in (raw, raw_difference)
        )
        relative.append(error / tensor if tensor > 0.0 else error)
    return tuple(relative)


def _tensor_counts(plan: ProductPlan) -> NDArray[np.float64]:
    """Return how often each monomial stands in its symmetric tensor, |a|! / (a_1! ... a_m!)."""
    # By logarithms: factorials leave float64 at order 171.
    return np.asarray(
        np.exp(gammaln(plan.degree() + 1.0) - gammaln(plan.exponents + 1.0).sum(axis=1))
    )


@lru_cache(maxsize=16)
def binomial_terms(n_variables: int, order: int) -> list[NDArray[np.int64]]:
    """Return rows of (target, source, power, power of the source) for each variable.

    One entry for each monomial a and each i <= a_j: the monomial a itself and the one in which
    the power a_j of variable j is lowered to i.
    """
    exponents = product_plan(n_variables, order).exponents
    # By the variables that a monomial has: of many there are few in it.
    has = [{j: row[j] for j in np.flatnonzero(row).tolist()} for row in exponents]
    position = {tuple(sorted(powers.items())): place for place, powers in enumerate(has)}
    every = np.arange(len(exponents))
    terms = []
    for j in range(n_variables):
        lowered = []
        for place in np.flatnonzero(exponents[:, j]).tolist():
            rest = {other: power for other, power in has[place].items() if other != j}
            for i in range(has[place][j]):
                powers = rest | ({j: i} if i else {})
                source = position[tuple(sorted(powers.items()))]
                lowered.append((place, source, has[place][j], i))
        # Each monomial from itself, and those that have the variable from lower ones too.
        own = np.stack([every, every, exponents[:, j], exponents[:, j]])
        both = np.hstack([own, np.array(lowered, dtype=np.int64).reshape(-1, 4).T])
        terms.append(both[:, np.lexsort((both[3], both[0]))])
    return terms


def _as_monomials(values: NDArray[np.float64], moments: Moments) -> NDArray[np.float64]:
    """Return values of the kind of ``moments`` as those of the monomials."""
    plan = moments.plan
    if moments.basis == "legendre":
        # x^n = sum_l a_l P_l with a_l >= 0 and sum 1: no cancellation.
        size = plan.order + 1
        matrix = np.zeros((size, size))
        for power in range(size):
            matrix[power, : power + 1] = poly2leg(np.eye(size)[power, : power + 1])
        values = _along_each_variable(values, plan, [matrix] * plan.n_variables)
    return values


def _to_user_coordinates(
    moments: NDArray[np.float64],
    plan: ProductPlan,
    center: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the moments of ``center + scale * y`` from those of y.

    ``E[(c + s y)^a y^b] = sum_i C(a, i) c^(a-i) s^i E[y^(i) y^b]`` applied to each variable.
    """
    power, lower = np.indices((plan.order + 1, plan.order + 1))
    matrices = [
        np.where(lower <= power, binom(power, lower) * c ** np.maximum(power - lower, 0), 0.0)
        * s**lower
        for c, s in zip(center.tolist(), scale.tolist(), strict=True)
    ]
    return _along_each_variable(moments, plan, matrices)


def _along_each_variable(
    moments: NDArray[np.float64], plan: ProductPlan, matrices: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Apply one lower triangular map of the powers to each variable in turn."""
    current = moments
    terms = binomial_terms(plan.n_variables, plan.order)
    for matrix, (target, source, power, lower) in zip(matrices, terms, strict=True):
        following = np.zeros(len(current))
        np.add.at(following, target, matrix[power, lower] * current[source])
        current = following
    return current
