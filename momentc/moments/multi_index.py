"""Multi-indices of the monomials up to an order, and how each is built from a smaller one.

A monomial of m variables is x^a = x_1^a_1 ... x_m^a_m with the multi-index a = (a_1, ..., a_m)
and the degree |a| = a_1 + ... + a_m. There are N_{m,k} = C(m+k, k) of degree <= k (Theorem 2 of
the paper). They are listed by degree, so the first C(m+l, l) are those of degree <= l for every
l <= k.

Each monomial is a shorter one times the power of a single variable: with j the last variable of
a, x^a = x^(a - a_j e_j) * x_j^a_j. The same recurrence gives products of orthogonal polynomials,
one multiplication each.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

__all__ = ["ProductPlan", "n_moments", "product_plan"]


def n_moments(n_variables: int, order: int) -> int:
    """Return C(n_variables + order, order), the number of monomials of degree <= order.

    Python integers, so no pair of arguments overflows.
    """
    return math.comb(n_variables + order, order)


@dataclass(frozen=True, slots=True)
class ProductPlan:
    """The recurrence that builds all products up to an order.

    Parameters
    ----------
    n_variables, order : int
        m and k.
    exponents : (n_moments, n_variables) int64 ndarray
        The multi-indices, by degree, then lexicographically descending.
    parent : (n_moments,) int64 ndarray
        Position of the multi-index without its last variable; 0 (the constant) for itself.
    axis : (n_moments,) int64 ndarray
        The last variable that occurs, 0 for the constant.
    power : (n_moments,) int64 ndarray
        Its power.
    first : (order + 2,) int64 ndarray
        ``first[l]`` is the position of the first multi-index of degree l, ``first[order + 1]``
        their number.
    """

    n_variables: int
    order: int
    exponents: NDArray[np.int64]
    parent: NDArray[np.int64]
    axis: NDArray[np.int64]
    power: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def n_moments(self) -> int:
        """Number of multi-indices, C(m+k, k)."""
        return int(self.first[-1])

    def degree(self) -> NDArray[np.int64]:
        """Return the degree of each multi-index, shape (n_moments,)."""
        return np.repeat(np.arange(self.order + 1), np.diff(self.first))


def _compositions(total: int, parts: int) -> NDArray[np.int64]:
    """Return all ways to write ``total`` as an ordered sum of ``parts`` integers >= 0.

    As a monomial of degree ``total`` is a choice of that many variables, with repetition: in their
    order, the powers come in descending order.
    """
    chosen = np.array(list(combinations_with_replacement(range(parts), total)), dtype=np.int64)
    found = np.zeros((len(chosen), parts), dtype=np.int64)
    np.add.at(found, (np.arange(len(chosen))[:, None], chosen), 1)
    return found


@lru_cache(maxsize=64)
def product_plan(n_variables: int, order: int) -> ProductPlan:
    """Return the plan for ``n_variables`` >= 0 variables and ``order`` >= 0.

    The caller has checked that C(m+k, k) is a size that can be worked with.
    """
    if n_variables == 0:
        zero = np.zeros(1, dtype=np.int64)
        first = np.concatenate([[0], np.ones(order + 1, dtype=np.int64)])
        # Read-only as all plans are: other arrays would have the kernels compiled again.
        for array in (zero, first):
            array.setflags(write=False)
        return ProductPlan(0, order, zero[:, None][:, :0], zero, zero, zero, first)
    by_degree = [_compositions(degree, n_variables) for degree in range(order + 1)]
    exponents = np.concatenate(by_degree)
    first = np.concatenate([[0], np.cumsum([len(block) for block in by_degree])])
    position = {tuple(row): i for i, row in enumerate(exponents.tolist())}
    parent = np.zeros(len(exponents), dtype=np.int64)
    axis = np.zeros(len(exponents), dtype=np.int64)
    power = np.zeros(len(exponents), dtype=np.int64)
    for i, row in enumerate(exponents.tolist()[1:], start=1):
        last = max(j for j, exponent in enumerate(row) if exponent)
        axis[i], power[i] = last, row[last]
        shorter = [*row[:last], 0, *row[last + 1 :]]
        parent[i] = position[tuple(shorter)]
    for array in (exponents, parent, axis, power, first):
        array.setflags(write=False)
    return ProductPlan(n_variables, order, exponents, parent, axis, power, first)
