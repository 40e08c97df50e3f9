"""Moments in exact rational arithmetic: the slow, independent oracle of the tests.

Nothing here comes from momentc. Every float64 is an integer times a power of two, so the columns
and the weights become Python integers, sums of products of integers are exact, and the results are
fractions without any rounding. A test compares them with what momentc promises.
"""

import itertools
import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ExactFrame",
    "exact_frame",
    "frame_gap",
    "gap_by_order",
    "legendre_moments",
    "moments",
    "monomials",
    "normalised_error_by_order",
    "tensor_error_by_order",
]

Exponents = tuple[int, ...]


def monomials(n_variables: int, order: int) -> list[Exponents]:
    """Return all exponents of degree <= order, by degree, in no promised order within one."""
    candidates = itertools.product(range(order + 1), repeat=n_variables)
    return sorted((a for a in candidates if sum(a) <= order), key=sum)


def _integers(values: Iterable[float | Fraction]) -> tuple[list[int], Fraction]:
    """Return integers and the unit by which they must be multiplied."""
    ratios = [value.as_integer_ratio() for value in values]
    denominator = math.lcm(*(below for _, below in ratios))
    return [above * (denominator // below) for above, below in ratios], Fraction(1, denominator)


def _numbers(values: ArrayLike) -> list[float]:
    # Their ratios are exact; numpy's scalars of other types go through Python's own numbers.
    numbers: list[float] = np.asarray(values).tolist()
    return numbers


def _fractions(values: ArrayLike) -> list[Fraction]:
    return [Fraction(value) for value in _numbers(values)]


@dataclass(frozen=True)
class ExactFrame:
    """``y = (x - center) / scale`` with exact centre and scale, one of each per column."""

    center: tuple[Fraction, ...]
    scale: tuple[Fraction, ...]


def identity(n_columns: int) -> ExactFrame:
    """Return the frame of the user's own coordinates."""
    return ExactFrame((Fraction(0),) * n_columns, (Fraction(1),) * n_columns)


def exact_frame(points: NDArray[Any], weights: ArrayLike) -> ExactFrame:
    """Return the frame by its definition.

    The centre is the weighted mean, rounded to float64 (a short number keeps the integers short),
    the scale the largest deviation from it, or 1 where there is none.
    """
    shares, _ = _integers(_numbers(weights))
    mass = sum(shares)
    center, scale = [], []
    for column in np.asarray(points).T:
        integers, unit = _integers(_numbers(column))
        mean = Fraction(float(unit * sum(map(operator.mul, shares, integers)) / mass))
        center.append(mean)
        # The number that deviates most is the least or the greatest.
        ends = (unit * min(integers), unit * max(integers))
        scale.append(max(abs(end - mean) for end in ends) or Fraction(1))
    return ExactFrame(tuple(center), tuple(scale))


def _walk(
    columns: list[NDArray[np.object_]], product: NDArray[np.object_], order: int, done: Exponents
) -> Iterator[tuple[Exponents, int]]:
    """Yield the sums of the products of powers of the columns, one variable after the other."""
    if not columns:
        yield done, int(product.sum())
        return
    for power in range(order + 1):
        yield from _walk(columns[1:], product, order - power, (*done, power))
        if power < order:
            product = product * columns[0]


def moments(
    points: NDArray[Any], weights: ArrayLike, order: int, frame: ExactFrame | None = None
) -> dict[Exponents, Fraction]:
    """Return ``sum_j c_j y_j^a`` for all |a| <= order, in the user's coordinates or a frame."""
    rows = np.asarray(points)
    frame = frame or identity(rows.shape[1])
    shares, mass_unit = _integers(_numbers(weights))
    columns, units = [], []
    for column, center, scale in zip(rows.T, frame.center, frame.scale, strict=True):
        (origin, *integers), unit = _integers([center, *_numbers(column)])
        columns.append(np.array([value - origin for value in integers], dtype=object))
        units.append(unit / scale)
    start = np.array(shares, dtype=object)
    result = {}
    for exponents, total in _walk(columns, start, order, ()):
        value = total * mass_unit
        for unit, power in zip(units, exponents, strict=True):
            value *= unit**power
        result[exponents] = value
    return result


def gap_by_order(
    first: dict[Exponents, Fraction], second: dict[Exponents, Fraction], order: int
) -> list[float]:
    """Return the largest difference of the moments of each degree, per unit of the first's mass."""
    mass = next(value for exponents, value in first.items() if sum(exponents) == 0)
    worst = [Fraction(0)] * (order + 1)
    for exponents, value in first.items():
        degree = sum(exponents)
        if degree <= order:
            worst[degree] = max(worst[degree], abs(second[exponents] - value))
    return [float(value / mass) for value in worst]


def frame_gap(
    points: NDArray[Any],
    weights: ArrayLike,
    kept_points: NDArray[Any],
    kept_weights: ArrayLike,
    order: int,
) -> float:
    """Return the largest moment difference up to ``order`` in the original's frame, per mass."""
    frame = exact_frame(points, weights)
    first = moments(points, weights, order, frame)
    second = moments(kept_points, kept_weights, order, frame)
    return max(gap_by_order(first, second, order))


def normalised_error_by_order(
    first: dict[Exponents, Fraction], second: dict[Exponents, Fraction], order: int
) -> list[float]:
    """Return the largest difference of the normalised moments (Eq. 7 of the paper) by degree.

    The entry of degree 0 is the relative difference of the total weights.
    """
    zero = next(exponents for exponents in first if sum(exponents) == 0)
    ratio = first[zero] / second[zero]
    rescaled = {exponents: value * ratio for exponents, value in second.items()}
    errors = gap_by_order(first, rescaled, order)
    errors[0] = float(abs(second[zero] - first[zero]) / first[zero])
    return errors


def tensor_error_by_order(
    first: dict[Exponents, Fraction], second: dict[Exponents, Fraction], order: int
) -> list[float]:
    """Return the relative Frobenius error of the normalised moment tensors of each order.

    Entry by entry over the full tensors, m^l of them for order l; an order whose tensor vanishes in
    the first counts with its absolute error.
    """
    zero = next(exponents for exponents in first if sum(exponents) == 0)
    n_variables = len(zero)
    errors = []
    for degree in range(order + 1):
        size = Fraction(0)
        gap = Fraction(0)
        for entry in itertools.product(range(n_variables), repeat=degree):
            exponents = tuple(entry.count(j) for j in range(n_variables))
            mine = first[exponents] / first[zero]
            size += mine**2
            gap += (second[exponents] / second[zero] - mine) ** 2
        errors.append(_square_root(gap / size if size else gap))
    return errors


def _square_root(value: Fraction) -> float:
    """Return the root of a fraction that may be far below the smallest float64."""
    if value == 0:
        return 0.0
    shift = (value.numerator.bit_length() - value.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(value / Fraction(4) ** shift), shift)


def legendre_values(value: Fraction, order: int) -> list[Fraction]:
    """Return P_0 .. P_order at ``value`` by the sum of Rodrigues, not by a recurrence."""
    return [
        Fraction(1, 2**degree)
        * sum(
            math.comb(degree, i) ** 2 * (value - 1) ** (degree - i) * (value + 1) ** i
            for i in range(degree + 1)
        )
        for degree in range(order + 1)
    ]


def legendre_moments(
    points: NDArray[np.float64], weights: ArrayLike, order: int
) -> dict[Exponents, Fraction]:
    """Return ``sum_j c_j P_a1(y_j1) ... P_am(y_jm)`` for all |a| <= order."""
    tables = [[legendre_values(x, order) for x in _fractions(row)] for row in points]
    shares = _fractions(weights)
    return {
        exponents: sum(
            (
                share * math.prod(table[j][power] for j, power in enumerate(exponents))
                for share, table in zip(shares, tables, strict=True)
            ),
            Fraction(0),
        )
        for exponents in monomials(points.shape[1], order)
    }
