"""Surplus matching: higher global moments from the freedom that the weights have left.

After the reduction to order K, s weights satisfy C(m+K, K) conditions; the rest of their freedom
can match the *global* moments of some orders more, by the least change of the weights. That lowers
the error of functions that are smooth over the whole data, and raises that of local ones where the
data are clustered: far points dominate high orders, and the correction, a polynomial over the whole
frame, reaches them at the cost of the others. So the order is chosen on a panel of random functions
of the data, independent of any by which errors are reported, and no order is an allowed answer.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.map_function import MapFunction
from momentc.moments.accumulate import accumulate_moments
from momentc.moments.features import legendre_features
from momentc.moments.multi_index import n_moments, product_plan
from momentc.panel import draw_panel
from momentc.reduction.matching import matched_further

__all__ = ["match_surplus"]

# Conditions per weight at most, and in all: beyond, weights run into zero, or time into minutes.
MOST_CONDITIONS_PER_WEIGHT: Final = 0.6
MOST_CONDITIONS: Final = 1500

# No weight may fall below this part of its value.
LEAST_RATIO: Final = 0.2

# An order is taken only if the error of no family of the panel grows by more than this factor.
WORST_GROWTH: Final = 1.05

FAMILIES: Final = ("sigmoid", "rational", "bumps", "cosines", "relu")
PER_FAMILY: Final = 24

# Errors below this are rounding, and their ratios say nothing.
FLOOR: Final = 1e-15


def match_surplus(
    local: NDArray[np.float64],
    weights: NDArray[np.float64],
    kept: NDArray[np.int64],
    kept_weights: NDArray[np.float64],
    order: int,
    seed: int,
    map_function: MapFunction = map,
) -> tuple[int, NDArray[np.float64]]:
    """Return the order that is matched in the end, and the weights that match it.

    Parameters
    ----------
    local : (n, m) float64 ndarray
        All points, in the frame.
    weights : (n,) float64 ndarray
        Theirs, > 0.
    kept : (s,) int64 ndarray
        Positions of the points that are kept.
    kept_weights : (s,) float64 ndarray
        Their weights, > 0, which match the moments up to ``order``.
    order : int
    seed : int
        Of the panel.
    map_function : callable
        Runs the sums over all points.
    """
    m = local.shape[1]
    most = min(MOST_CONDITIONS, MOST_CONDITIONS_PER_WEIGHT * len(kept))
    highest = order
    while n_moments(m, highest + 1) <= most:
        highest += 1
    if highest == order or not kept_weights.min() > 0.0:
        return order, kept_weights
    plan = product_plan(m, highest)
    wanted = accumulate_moments(local, weights, highest, "legendre", map_function)
    support = local[kept]
    have = accumulate_moments(support, kept_weights, highest, "legendre", map_function)
    residual = wanted.missing_in(have)

    panel = draw_panel(local, weights, seed, "select", families=FAMILIES, per_family=PER_FAMILY)
    expected = panel.means(local, weights)
    before = panel.compare(expected, panel.means(support, kept_weights))
    features = legendre_features(support, plan)
    best = (0.0, order, kept_weights)
    for candidate, candidate_weights in matched_further(
        features, kept_weights, residual, plan, order + 1, LEAST_RATIO
    ):
        after = panel.compare(expected, panel.means(support, candidate_weights))
        growth = [
            math.log(max(after[name].rms, FLOOR) / max(before[name].rms, FLOOR)) for name in after
        ]
        score = sum(growth) / len(growth)
        if max(growth) <= math.log(WORST_GROWTH) and score < best[0]:
            best = (score, candidate, candidate_weights)
    return best[1], best[2]
