"""Moments of a weighted set, accumulated so that the sum adds no error of its own.

The rows are taken in tiles. Within a tile one matrix-vector product sums the features; over the
tiles every moment is summed by the error-free transformation of Knuth (two-sum), so the rounding
of the sum does not grow with the number of rows. Blocks of tiles are independent: they can be
shared by threads, and their sums are added in the order of the blocks, so the result does not
depend on who computed which.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.indexing import U
from momentc.jit import kernel
from momentc.lapack import add_weighted_sums
from momentc.map_function import MapFunction, run_in_parts
from momentc.moments.features import TILE, fill_products, legendre_tables, power_tables
from momentc.moments.multi_index import ProductPlan, product_plan

__all__ = ["Moments", "accumulate_moments", "combine_moments", "require_finite"]

BLOCK_ROWS: Final = 16384

# Features evaluated in one task, about (1 ms): waking a thread takes a tenth of that.
TASK_FEATURES: Final = 1_000_000

Basis = Literal["monomial", "legendre"]


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums ``sum_j c_j phi_a(y_j)`` over the multi-indices of a plan, as high + low.

    Parameters
    ----------
    basis : {'monomial', 'legendre'}
    plan : ProductPlan
    high, low : (n_moments,) float64 ndarray
        The sum is ``high + low``, evaluated exactly.
    """

    basis: Basis
    plan: ProductPlan
    high: NDArray[np.float64]
    low: NDArray[np.float64]

    @property
    def mass(self) -> float:
        """Total weight, the moment of order 0."""
        return float(self.high[0] + self.low[0])

    def up_to(self, order: int) -> "Moments":
        """Return those of degree <= ``order``: they come first."""
        plan = product_plan(self.plan.n_variables, order)
        n = plan.n_moments
        return Moments(self.basis, plan, self.high[:n], self.low[:n])

    def in_units(self, exponent: int) -> "Moments":
        """Return the same with all weights times ``2 ** exponent``, which is exact."""
        high, low = np.ldexp(self.high, exponent), np.ldexp(self.low, exponent)
        return Moments(self.basis, self.plan, high, low)

    def missing_in(self, other: "Moments") -> NDArray[np.float64]:
        """Return these moments less the other's, not normalised."""
        return np.asarray((self.high - other.high) + (self.low - other.low))

    def normalised_difference(self, other: "Moments") -> NDArray[np.float64]:
        """Return ``p_a(other) - p_a(self)`` with both normalised by their total weight."""
        theirs, mine = other.mass, self.mass
        # The high parts are nearly equal: their difference is exact or nearly so.
        return np.asarray(
            (other.high / theirs - self.high / mine) + (other.low / theirs - self.low / mine)
        )


@kernel
def _accumulate(  # type: ignore[no-untyped-def]
    points, weights, first, last, parent, axis, power, order, legendre, high, low
):
    """Add the moments of points ``first .. last - 1`` to ``high + low``."""
    m = points.shape[1]
    n_features = parent.shape[0]
    columns = np.empty((m, TILE))
    tables = np.empty((m, order + 1, TILE))
    tile = np.empty((n_features, TILE))
    sums = np.empty(n_features)
    for start in range(first, last, TILE):
        end = min(last, start + TILE)
        count = end - start
        begin = U(start)
        for j in range(U(m)):
            for i in range(U(count)):
                columns[j, i] = points[begin + i, j]
        if legendre:
            legendre_tables(columns, np.int64(0), count, tables)
        else:
            power_tables(columns, np.int64(0), count, tables)
        fill_products(tables, parent, axis, power, count, tile)
        for a in range(n_features):
            sums[a] = 0.0
        add_weighted_sums(tile, weights, start, end, sums)
        for a in range(n_features):
            before = high[a]
            term = sums[a]
            total = before + term
            shadow = total - before
            low[a] += (before - (total - shadow)) + (term - shadow)
            high[a] = total


def accumulate_moments(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    order: int,
    basis: Basis,
    map_function: MapFunction = map,
) -> Moments:
    """Return the moments of the points up to ``order``.

    Parameters
    ----------
    points : (n, n_variables) float64 ndarray
        In the frame, so bounded by 1.
    weights : (n,) float64 ndarray
    order : int
    basis : {'monomial', 'legendre'}
    map_function : callable
        Runs the blocks of ``BLOCK_ROWS`` rows.
    """
    plan = product_plan(points.shape[1], order)
    points, weights = np.ascontiguousarray(points), np.ascontiguousarray(weights)
    n = len(points)
    n_blocks = max(1, -(-n // BLOCK_ROWS))
    high, low = np.zeros((2, n_blocks, plan.n_moments))

    def run(first_block: int, last_block: int) -> None:
        for block in range(first_block, last_block):
            first = block * BLOCK_ROWS
            _accumulate(
                points, weights, first, min(n, first + BLOCK_ROWS), plan.parent, plan.axis,
                plan.power, order, basis == "legendre", high[block], low[block],
            )  # fmt: skip

    part = max(1, TASK_FEATURES // (BLOCK_ROWS * plan.n_moments))
    run_in_parts(run, n_blocks, part, map_function)
    total = Moments(basis, plan, high[0], low[0])
    for block in range(1, n_blocks):
        total = combine_moments(total, Moments(basis, plan, high[block], low[block]))
    return total


def combine_moments(first: Moments, second: Moments) -> Moments:
    """Return the moments of the union of two weighted sets in the same frame."""
    # Sums that overflowed stay infinite or NaN, and fail whatever they are compared with.
    with np.errstate(over="ignore", invalid="ignore"):
        total = first.high + second.high
        shadow = total - first.high
        error = (first.high - (total - shadow)) + (second.high - shadow)
        low = first.low + second.low + error
    return Moments(first.basis, first.plan, total, low)


def require_finite(moments: Moments) -> None:
    """Refuse sums that have left float64.

    Raises
    ------
    InputError
    """
    if not (np.isfinite(moments.high).all() and np.isfinite(moments.low).all()):
        raise InputError(
            "the sums of the moments are more than float64 can hold: divide the weights by a power "
            "of two first"
        )
