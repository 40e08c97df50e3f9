"""Groups whose moments moved too far are reduced again, with care."""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.cells import cells_of
from momentc.moments.features import legendre_features
from momentc.moments.multi_index import ProductPlan
from momentc.reduction.box import scale_to_box
from momentc.reduction.compiled_apart import remove_points
from momentc.reduction.tableau import resolve_weights
from momentc.tolerances import group_tolerance, pivot_tolerance

__all__ = ["repair_group"]

# Points of a group at most, and of each piece of a larger one, in multiples of N: factorised again
# and again, a group takes the square of its points.
WHOLE: Final = 3
PIECE: Final = 2


def repair_group(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    own: NDArray[np.int64],
    n_keep: int,
    plan: ProductPlan,
) -> int:
    """Reduce a group that missed the tolerance again, with care.

    A large one in pieces, cut at medians again and again: each in a box of its own, which also
    tells points apart that reach over too many decades for one box.

    Returns
    -------
    int
        The number of weights that became 0: fewer than asked for if only the pieces of a large
        group can be reduced, 0 if nothing helps and the group is left as it was.
    """
    before = weights[own]
    left = own[before > 0.0]
    n_living = n_left = len(left)
    while n_left > max(WHOLE * plan.n_moments, n_keep):
        order, edges = cells_of(points[left], PIECE * plan.n_moments)
        for first, last in pairwise(edges.tolist()):
            piece = left[order[first:last]]
            keep = max(plan.n_moments, len(piece) - (n_left - n_keep))
            n_left -= _reduce_with_care(points, weights, piece, keep, plan)
        if n_left == len(left):
            break
        left = left[weights[left] > 0.0]
    else:
        n_left -= _reduce_with_care(points, weights, left, n_keep, plan)
    features = _features_in_box(points, own, plan)
    error = np.abs(features @ (before - weights[own])).max()
    if not error <= group_tolerance(plan.n_moments) * before.sum():
        weights[own] = before
        return 0
    return n_living - n_left


def _features_in_box(
    points: NDArray[np.float64], own: NDArray[np.int64], plan: ProductPlan
) -> NDArray[np.float64]:
    columns = np.empty((points.shape[1], len(own)))
    scale_to_box(points, own, columns)
    return legendre_features(np.ascontiguousarray(columns.T), plan)


def _reduce_with_care(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    own: NDArray[np.int64],
    n_keep: int,
    plan: ProductPlan,
) -> int:
    """Reduce a few points, if that is possible within the tolerance; return how many went.

    The tableau is factorised anew after every few removals, in the end after each one, so that no
    small pivot lives on in it, and the weights that are left are re-solved. Rare (nearly dependent
    features, weights over many decades), so it is not worth a kernel.
    """
    if len(own) <= n_keep:
        return 0
    pivot_tol = pivot_tolerance(plan.n_moments)
    features = _features_in_box(points, own, plan)
    before = weights[own]
    allowed = group_tolerance(plan.n_moments) * before.sum()
    for at_once in (len(own), max(1, plan.n_moments // 4), 1):
        after = _remove_some_at_once(features, before, n_keep, at_once, pivot_tol)
        error = np.abs(features @ (before - after)).max()
        if not error <= allowed:
            after = _resolved(features, before, after, pivot_tol)
            error = np.abs(features @ (before - after)).max()
        if error <= allowed:
            weights[own] = after
            return int(np.count_nonzero(after == 0.0))
    return 0


def _remove_some_at_once(
    features: NDArray[np.float64],
    before: NDArray[np.float64],
    n_keep: int,
    at_once: int,
    pivot_tol: float,
) -> NDArray[np.float64]:
    """Return the weights after removals with a new factorisation for every ``at_once`` of them."""
    after = before.copy()
    while True:
        alive = np.flatnonzero(after)
        if len(alive) <= n_keep:
            return after
        alive_weights = after[alive]
        removed = remove_points(
            np.ascontiguousarray(features[:, alive]),
            alive_weights,
            min(at_once, len(alive) - n_keep),
            pivot_tol,
            np.empty(len(alive), np.int64),
            np.empty(len(features) * len(alive)),
        )
        if removed == 0:
            return after
        after[alive] = alive_weights


def _resolved(
    features: NDArray[np.float64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    pivot_tol: float,
) -> NDArray[np.float64]:
    """Return the weights that are left re-solved for the moments, if they stay >= 0."""
    kept = np.flatnonzero(after)
    work = np.empty((len(features), len(kept) + 1))
    work[:, :-1] = features[:, kept]
    kept_weights = after[kept]
    residual = features @ (before - after)
    if not resolve_weights(
        work, residual, kept_weights, pivot_tol, np.empty(len(kept) + 1, np.int64),
        np.empty(work.size),
    ):  # fmt: skip
        return after
    resolved = np.zeros_like(after)
    resolved[kept] = kept_weights
    return resolved
