"""Surplus matching: what the weights are free to do beyond the moments that were asked for.

After the reductions s weights satisfy C(m+K, K) conditions. The rest of their freedom is spent in
two ways at once: the moments of the whole up to an order K' >= K are matched as well, which serves
functions that are smooth over all of the data, and under these conditions the discrepancy in a
polyharmonic spline is brought to its minimum (``reduction/kernel_weights.py``), which serves local
functions and those with kinks.

How high K' may be depends on the data: far points dominate high orders, and where they are few the
weights that match them serve nothing else. So a few orders are tried, and one is chosen on a panel
of random functions of the data, independent of any by which errors are reported. To leave the
weights as they are is an allowed answer.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.map_function import MapFunction
from momentc.moments.accumulate import Moments, accumulate_moments
from momentc.moments.features import legendre_features
from momentc.moments.request import surplus_orders
from momentc.panel import draw_panel
from momentc.reduction.kernel_weights import KernelWeights, kernel_sums

__all__ = ["Judge", "match_surplus", "preference"]

# The spline is r^(2p+1) with this p: measured best for smooth functions, and a tenth worse than
# p = 1 for those with a kink (docs/algorithm.md).
SMOOTHNESS: Final = 3

# No weight may fall below this part of its value.
LEAST_RATIO: Final = 0.1

# Families of the panel and how much each counts: the first two are much alike.
FAMILIES: Final = {"sigmoid": 0.5, "rational": 0.5, "bumps": 1.0, "cosines": 1.0, "relu": 1.0}
PER_FAMILY: Final = 8

# The values of the functions are about 1: errors below this do no harm, their ratios mean nothing.
FLOOR: Final = 1e-10

# A family's error may not grow by more than this factor.
MOST_GROWTH: Final = 5.0

Array = NDArray[np.float64]


class Judge:
    """A panel of random functions, by which weighted sets that stand for the same are compared.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        In the frame.
    weights : (n,) float64 ndarray
        > 0.
    seed : int
    """

    def __init__(self, points: Array, weights: Array, seed: int) -> None:
        self._panel = draw_panel(
            points, weights, seed, "select", families=tuple(FAMILIES), per_family=PER_FAMILY
        )
        self._expected = self._panel.means(points, weights)

    def errors(self, points: Array, weights: Array) -> Array:
        """Return the logarithms of the families' errors."""
        errors = self._panel.compare(self._expected, self._panel.means(points, weights))
        return np.log([max(errors[name].rms, FLOOR) for name in FAMILIES])


def preference(errors: Array, reduced: Sequence[bool]) -> list[int]:
    """Return the positions of weighted sets, the best first.

    Those by which no family loses much come first, then counts the mean over the families.

    Parameters
    ----------
    errors : (n, n_families) float64 ndarray
        Of each set, see :meth:`Judge.errors`.
    reduced : sequence of bool
        Whether a set is as the reductions left it: what the others are held against.
    """
    growth = (errors - errors[np.flatnonzero(reduced)].min(axis=0)).max(axis=1)
    typical = errors @ np.array([*FAMILIES.values()])
    order = np.lexsort((typical, growth > math.log(MOST_GROWTH)))
    return [int(place) for place in order]


def match_surplus(
    source: Array,
    source_weights: Array,
    support: Array,
    weights: Array,
    wanted: Moments,
    order: int,
    map_function: MapFunction = map,
) -> list[tuple[int, Array]]:
    """Return orders and the weights that match them.

    Parameters
    ----------
    source : (n, m) float64 ndarray
        Points of which the support is a part, in the frame: all of them, or so many more that
        the discrepancy to them stands for that to all.
    source_weights : (n,) float64 ndarray
        > 0.
    support : (s, m) float64 ndarray
        The points that are kept.
    weights : (s,) float64 ndarray
        Theirs, > 0, which match the moments up to ``order``.
    wanted : Moments
        Of all points, Legendre products in the frame, up to the highest order to be tried.
    order : int
        The order K that was kept.
    map_function : callable
        Runs the independent parts; the result does not depend on it.

    Returns
    -------
    list of (int, (s,) float64 ndarray)
        They match their order up to the rounding of large matrices. None where nothing is free.
    """
    m = support.shape[1]
    candidates = surplus_orders(order, m, len(support))
    orders = [candidate for candidate in candidates if candidate <= wanted.plan.order]
    if not orders:
        return []
    highest = wanted.up_to(orders[-1])
    p = min(SMOOTHNESS, orders[0])
    have = accumulate_moments(support, weights, highest.plan.order, "legendre", map_function)
    try:
        kernel = KernelWeights(
            support, weights, kernel_sums(support, source, source_weights, p, map_function),
            legendre_features(support, highest.plan), highest.missing_in(have), highest.plan, p,
            LEAST_RATIO, map_function,
        )  # fmt: skip
    except np.linalg.LinAlgError:
        return []
    found = [(candidate, kernel.matching(candidate)) for candidate in orders]
    return [(candidate, matching) for candidate, matching in found if matching is not None]
