"""Surplus matching: what the weights are free to do beyond the moments that were asked for.

After the reductions s weights satisfy C(m+K, K) conditions. The rest of their freedom is spent in
two ways at once: the moments of the whole up to an order K' >= K are matched as well, which serves
functions that are smooth over all of the data, and under these conditions the discrepancy in a
polyharmonic spline is brought to its minimum (``reduction/kernel_weights.py``), which serves local
functions and those with kinks.

The spline takes the cube of the number of points. Where there are too many for it, the weights are
changed as little as matches the moments up to K' (*calibration*, ``reduction/matching.py``): that
serves smooth functions alone, and only where K is low.

How high K' may be depends on the data: far points dominate high orders, and where they are few the
weights that match them serve nothing else. So a few orders are tried, and one is chosen on a panel
of random functions of the data, independent of any by which errors are reported. To leave the
weights as they are is an allowed answer.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.effort import SurplusMeans, surplus_orders
from momentc.map_function import MapFunction
from momentc.moments.accumulate import Moments, accumulate_moments
from momentc.moments.features import legendre_features
from momentc.moments.multi_index import n_moments
from momentc.panel import draw_panel
from momentc.reduction.kernel_weights import KernelWeights, kernel_sums
from momentc.reduction.matching import least_change

__all__ = ["SPLINE_CELLS_UNTIL", "Candidate", "Judge", "best_first", "match_surplus", "preference"]

# The spline is r^(2p+1) with this p: measured best for smooth functions, and a tenth worse than
# p = 1 for those with a kink (docs/algorithm.md).
SMOOTHNESS: Final = 3

# Multiple of the target at which the cells stop (``momentc.hybrid``) where a spline follows. What
# they leave stands for all points then, and what it errs the spline cannot mend.
SPLINE_CELLS_UNTIL: Final = 12

# No weight may fall below this part of its value.
LEAST_RATIO: Final = 0.1

# Families of the panel and how much each counts: the first two are much alike.
FAMILIES: Final = {"sigmoid": 0.5, "rational": 0.5, "bumps": 1.0, "cosines": 1.0, "relu": 1.0}
PER_FAMILY: Final = 15

# The values of the functions are about 1: below this, errors are of the size of rounding, and their
# ratios mean nothing.
FLOOR: Final = 1e-13

# A family's error may not grow by more than this factor.
MOST_GROWTH: Final = 2.0

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Points to keep, with weights that match the moments up to an order.

    Parameters
    ----------
    kept : (s,) int64 ndarray
        Positions among the points that are reduced.
    weights : (s,) float64 ndarray
        > 0.
    order : int
    reduced : bool
        The weights are as the reductions left them: exact but for the last digits.
    """

    kept: NDArray[np.int64]
    weights: Array
    order: int
    reduced: bool


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

    def __init__(
        self, points: Array, weights: Array, seed: int, map_function: MapFunction = map
    ) -> None:
        self._panel = draw_panel(
            points, weights, seed, "select", families=tuple(FAMILIES), per_family=PER_FAMILY
        )
        self._expected = self._panel.means(points, weights, map_function)

    def errors(self, points: Array, weights: Array) -> Array:
        """Return the logarithms of the families' errors, for some weights of the same points.

        Parameters
        ----------
        points : (s, m) float64 ndarray
        weights : (n_sets, s) float64 ndarray

        Returns
        -------
        (n_sets, n_families) float64 ndarray
        """
        found = [
            self._panel.compare(self._expected, means)
            for means in self._panel.means(points, weights)
        ]
        return np.log([[max(errors[name].rms, FLOOR) for name in FAMILIES] for errors in found])


def best_first(candidates: Sequence[Candidate], points: Array, judge: Judge) -> list[Candidate]:
    """Return the candidates, the best first.

    Parameters
    ----------
    candidates : sequence of Candidate
    points : (n, m) float64 ndarray
        Those that are reduced, in the frame.
    judge : Judge
    """
    errors: list[Array] = []
    # Those that came from one reduction stand together, and keep the same points.
    for _, alike in groupby(candidates, key=lambda it: id(it.kept)):
        together = list(alike)
        kept = points[together[0].kept]
        errors += list(judge.errors(kept, np.array([it.weights for it in together])))
    reduced = [it.reduced for it in candidates]
    return [candidates[i] for i in preference(np.array(errors), reduced)]


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
    points: Array,
    reduced: Candidate,
    wanted: Moments,
    means: SurplusMeans,
    map_function: MapFunction = map,
) -> list[Candidate]:
    """Return what else the weights of a candidate can be.

    Parameters
    ----------
    source : (n', m) float64 ndarray
        In the frame: all points, or so many more than are kept that the discrepancy to them stands
        for that to all.
    source_weights : (n',) float64 ndarray
        > 0.
    points : (n, m) float64 ndarray
        Those that are reduced, in the frame.
    reduced : Candidate
        As the reductions left it.
    wanted : Moments
        Of all points, Legendre products in the frame, up to the highest order to be tried.
    means : {'spline', 'calibration'}
    map_function : callable
        Runs the independent parts; the result does not depend on it.

    Returns
    -------
    list of Candidate
        The same points with weights that match orders >= that of ``reduced``, up to the rounding of
        large matrices. None where nothing is free.
    """
    support, weights = points[reduced.kept], reduced.weights
    m = support.shape[1]
    orders = surplus_orders(reduced.order, m, len(support), means, wanted.plan.order)
    if not orders:
        return []
    highest = wanted.up_to(orders[-1])
    have = accumulate_moments(support, weights, highest.plan.order, "legendre", map_function)
    features = legendre_features(support, highest.plan)
    missing = highest.missing_in(have)
    found: Iterable[Array | None]
    if means == "calibration":
        counts = [n_moments(m, order) for order in orders]
        found = (_calibrated(weights, features[:n], missing[:n]) for n in counts)
    else:
        p = min(SMOOTHNESS, orders[0])
        sums = kernel_sums(support, source, source_weights, p, map_function)
        try:
            kernel = KernelWeights(
                support, weights, sums, features, missing, highest.plan, p, LEAST_RATIO,
                map_function,
            )  # fmt: skip
        except np.linalg.LinAlgError:
            return []
        found = map(kernel.matching, orders)
    return [
        Candidate(reduced.kept, matching, order, reduced=False)
        for order, matching in zip(orders, found, strict=True)
        if matching is not None
    ]


def _calibrated(weights: Array, features: Array, missing: Array) -> Array | None:
    """Return the weights changed as little as gives them the moments, None if one falls too low."""
    factor = 1.0 + least_change(features, weights, missing)
    return weights * factor if np.all(factor >= LEAST_RATIO) else None
