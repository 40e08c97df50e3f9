"""From many points to the target: reductions, surplus matching, the last digits of the weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from momentc import hybrid
from momentc.clustering.reach import order_within_clusters
from momentc.effort import SurplusMeans, surplus_means, surplus_orders
from momentc.hybrid import reduce_support
from momentc.map_function import MapFunction
from momentc.moments.accumulate import Moments, accumulate_moments
from momentc.moments.features import legendre_features
from momentc.moments.multi_index import product_plan
from momentc.options import CompressOptions
from momentc.progress import ProgressCallback
from momentc.reduction.matching import least_change
from momentc.stopwatch import Stopwatch
from momentc.surplus import SPLINE_CELLS_UNTIL, Candidate, Judge, best_first, match_surplus
from momentc.tolerances import group_tolerance

__all__ = ["Task", "reduce_to_target"]


@dataclass(frozen=True, slots=True)
class Task:
    """A weighted set that is to be reduced, and with what.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        In the frame, more than the target.
    weights : (n,) float64 ndarray
        > 0.
    wanted : Moments
        Of all points up to the highest order that may be matched, Legendre products in the
        coordinates of ``points``.
    options : CompressOptions
    map_function : callable
        The result does not depend on it.
    progress : callable or None
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    wanted: Moments
    options: CompressOptions
    map_function: MapFunction
    progress: ProgressCallback | None


def reduce_to_target(
    task: Task, orders: Sequence[int], watch: Stopwatch
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Return the positions that are kept, their weights, and the order that they match.

    The reductions keep the moments up to each of ``orders``, or of a lower one from k on where the
    groups would reach from one cluster to the next; and the best result is taken.
    """
    options = task.options
    with watch.stage("reduction"):
        compact = order_within_clusters(
            task.points, options.k, max(orders), options.target, options.seed
        )
    lowered = sorted({min(order, compact) for order in orders})
    means = surplus_means(task.points.shape[1], options.target, options.effort)
    candidates: list[Candidate] = []
    for order in lowered:
        with watch.stage("reduction"):
            reduced, source = _reduced(task, order, means)
        candidates.append(reduced)
        if means is not None:
            with watch.stage("surplus matching"):
                candidates += match_surplus(
                    *source, task.points, reduced, task.wanted, means, task.map_function
                )
    if len(candidates) > 1:
        with watch.stage("surplus matching"):
            # What came from other orders is compared by all points: the source of one order errs
            # beyond it.
            whole = (task.points, task.weights) if len(lowered) > 1 else source
            judge = Judge(*whole, options.seed, task.map_function)
            candidates = best_first(candidates, task.points, judge)
    with watch.stage("final solve"):
        for best in candidates:
            asked = task.wanted.up_to(best.order)
            corrected, miss = _correct(
                task.points[best.kept], best.weights, asked, task.map_function
            )
            exact = miss <= group_tolerance(asked.plan.n_moments) * asked.mass
            if exact or best.reduced:
                break
    return best.kept, corrected, best.order


def _reduced(
    task: Task, order: int, means: SurplusMeans | None
) -> tuple[Candidate, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Reduce at an order.

    Returns
    -------
    candidate : Candidate
    source : ((n', m) float64 ndarray, (n',) float64 ndarray)
        The points and weights that the rounds began with. They are some times the target, match
        the same moments, and stand for all.
    """
    weights = task.weights.copy()
    source = task.points, task.weights
    m, target = task.points.shape[1], task.options.target
    matched = means == "spline" and bool(surplus_orders(order, m, target, means))

    def keep_source(alive: NDArray[np.int64]) -> None:
        nonlocal source
        if len(alive) < len(weights):
            source = task.points[alive], weights[alive]

    kept = reduce_support(
        task.points, weights, target, product_plan(m, order), task.options.seed,
        cells_until=SPLINE_CELLS_UNTIL if matched else hybrid.CELLS_UNTIL,
        map_function=task.map_function, progress=task.progress, on_source=keep_source,
    )  # fmt: skip
    return Candidate(kept, weights[kept], order, reduced=True), source


def _correct(
    local: NDArray[np.float64],
    weights: NDArray[np.float64],
    wanted: Moments,
    map_function: MapFunction = map,
) -> tuple[NDArray[np.float64], float]:
    """Return the weights corrected against the input's moments, and the error that is left.

    As they were, where that does not lower it.
    """
    features = legendre_features(local, wanted.plan)

    def residual(candidate: NDArray[np.float64]) -> NDArray[np.float64]:
        have = accumulate_moments(local, candidate, wanted.plan.order, "legendre", map_function)
        return wanted.missing_in(have)

    miss = residual(weights)
    before = float(np.abs(miss).max())
    corrected = weights * (1.0 + least_change(features, weights, miss))
    if np.all(corrected > 0.0):
        after = float(np.abs(residual(corrected)).max())
        if after < before:
            return corrected, after
    return weights, before
