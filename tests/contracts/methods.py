"""The one table of reductions: whatever takes a weighted set and returns a smaller one.

Every contract of ``test_contract.py`` holds for each entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import momentc
from momentc.groups import Groups
from momentc.hybrid import reduce_support
from momentc.moments.multi_index import product_plan
from momentc.options import CompressOptions, Effort
from momentc.pipeline.points import compress_points
from momentc.pipeline.stream import compress_stream
from momentc.reduction.groups import reduce_groups
from tests.strategies import Case
from tests.streaming.streams import let_pass, new_stream, small_setting

__all__ = ["METHODS", "Method", "Reduced"]


@dataclass(frozen=True)
class Reduced:
    """What went in, as the method was given it, and what came out."""

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    kept: NDArray[Any]
    kept_weights: NDArray[np.float64]
    index: NDArray[np.int64]


@dataclass(frozen=True)
class Method:
    """A reduction, and what it promises beyond the moments.

    Parameters
    ----------
    name : str
    run : callable
        From a case to what came out.
    reaches_target : bool
        At most ``target`` points are kept (otherwise: at most N of every group).
    sees_all_rows : bool
        Together, that is: all of the target is used, and no more rows than that stay as they are.
    """

    name: str
    run: Callable[[Case], Reduced]
    reaches_target: bool
    sees_all_rows: bool = True


def in_frame(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points in a frame of their own: the core takes coordinates bounded by 1."""
    center = points[0] / 2 + points[-1] / 2
    moved = points - center
    size = np.abs(moved).max(axis=0)
    return np.ascontiguousarray(moved / np.where(size > 0.0, size, 1.0))


def _of_weights(case: Case, points: NDArray[np.float64], weights: NDArray[np.float64]) -> Reduced:
    index = np.flatnonzero(weights)
    return Reduced(points, case.weights, points[index], weights[index], index)


def one_group(case: Case) -> Reduced:
    """All points as one group that keeps ``target`` of them."""
    points, weights = in_frame(case.points), case.weights.copy()
    n = len(points)
    groups = Groups(np.arange(n), np.array([0, n]), np.array([case.target]))
    reduce_groups(points, weights, groups, product_plan(points.shape[1], case.k))
    return _of_weights(case, points, weights)


def many_groups(case: Case) -> Reduced:
    """Groups of mixed sizes, each of which keeps N points."""
    points, weights = in_frame(case.points), case.weights.copy()
    plan = product_plan(points.shape[1], case.k)
    rng = np.random.default_rng(case.seed)
    edges = np.unique(np.concatenate([[0], rng.integers(0, len(points), 3), [len(points)]]))
    groups = Groups(
        rng.permutation(len(points)), edges, np.full(len(edges) - 1, plan.n_moments, np.int64)
    )
    reduce_groups(points, weights, groups, plan)
    return _of_weights(case, points, weights)


def hybrid(case: Case) -> Reduced:
    """The whole reduction of a support, in the frame."""
    points, weights = in_frame(case.points), case.weights.copy()
    plan = product_plan(points.shape[1], case.k)
    index = reduce_support(points, weights, case.target, plan, case.seed)
    assert np.array_equal(index, np.flatnonzero(weights))
    return Reduced(points, case.weights, points[index], weights[index], index)


def pipeline(effort: Effort) -> Callable[[Case], Reduced]:
    """From float64 rows to a certified result."""

    def run(case: Case) -> Reduced:
        options = CompressOptions(case.k, case.target, case.seed, threads=1, effort=effort)
        result = compress_points(case.points, case.weights, options)
        assert result.ok, result.error
        assert result.matched_order >= case.k
        kept = result.support
        return Reduced(case.points, case.weights, kept.points, kept.weights, kept.index)

    return run


def stream(case: Case) -> Reduced:
    """Rows that pass by in blocks, of which small buffers keep few."""
    rng = np.random.default_rng(case.seed)
    n = len(case.points)
    options = CompressOptions(case.k, case.target, case.seed, threads=1, effort="low")
    setting = small_setting(case.points, case.weights, options)
    cuts = np.sort(rng.integers(0, n + 1, 4)).tolist()
    passed = new_stream(setting, 8 * case.points.shape[1])
    let_pass(passed, case.points, case.weights, cuts)
    passed.reduce()
    result = compress_stream(passed, options)
    assert result.ok, result.error
    kept = result.support
    rows = np.ascontiguousarray(kept.points).view(np.float64)
    return Reduced(case.points, case.weights, rows, kept.weights, kept.index)


def public(case: Case) -> Reduced:
    """The function that users call."""
    kept = momentc.compress(
        case.points, case.k, case.target, case.weights, random_state=case.seed, threads=1
    )
    return Reduced(case.points, case.weights, kept.points, kept.weights, kept.index)


METHODS = (
    Method("one group", one_group, reaches_target=True),
    Method("many groups", many_groups, reaches_target=False, sees_all_rows=False),
    Method("reduce_support", hybrid, reaches_target=True),
    Method("low effort", pipeline("low"), reaches_target=True),
    Method("normal effort", pipeline("normal"), reaches_target=True),
    Method("high effort", pipeline("high"), reaches_target=True),
    Method("stream", stream, reaches_target=True, sees_all_rows=False),
    Method("momentc.compress", public, reaches_target=True),
)
