"""Compression of a weighted set: the flow from points, or from a stream, to a checked result.

Orchestration only: merge duplicates, fit the frame, reduce the support, correct the last digits of
the weights, compare the moments.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.duplicates import merge_duplicates
from momentc.clustering.reach import order_within_clusters
from momentc.compression import Compression, certify, matched_order
from momentc.effort import (
    highest_order,
    surplus_bytes,
    surplus_means,
    working_order,
    working_orders,
)
from momentc.engine.threads import thread_map
from momentc.errors import InputError, VerificationError
from momentc.hybrid import reduce_support
from momentc.map_function import MapFunction
from momentc.moments.accumulate import Moments, accumulate_moments
from momentc.moments.discrepancy import error_by_order, relative_error_by_order
from momentc.moments.features import legendre_features
from momentc.moments.frame import Frame, widened
from momentc.moments.frame_fit import fit_frame
from momentc.moments.multi_index import n_moments, product_plan
from momentc.moments.request import check_request, compared_order
from momentc.options import CompressOptions
from momentc.progress import ProgressCallback
from momentc.reduction.matching import least_change
from momentc.streaming.stream import CellStream
from momentc.surplus import Candidate, Judge, best_first, match_surplus
from momentc.tolerances import MASS_TOLERANCE, group_tolerance
from momentc.weighted import (
    LEAST_SHARE,
    WeightedSet,
    count_for_something,
    scaled_weights,
    weight_exponent,
)

__all__ = ["Compression", "certify", "check_request", "compress_points", "compress_stream"]


# One part in so many of the memory of a stream may be taken by surplus matching.
MATCHING_SHARE: Final = 2


class _Stopwatch:
    """Seconds by stage, in the order of their first start."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def compress_points(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    options: CompressOptions,
    *,
    progress: ProgressCallback | None = None,
) -> Compression:
    """Compress a weighted set to at most ``options.target`` of its points.

    The result is returned whether or not it holds the tolerance: see :attr:`Compression.ok`.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        Finite, n >= 1, m >= 1.
    weights : (n,) float64 ndarray
        > 0.
    options : CompressOptions
    progress : callable, optional
        Called with (stage, points removed, points to remove).

    Raises
    ------
    RequestError
        If no result can meet the request: the target is below the number of moments.
    VerificationError
        If the reduction cannot go on within its tolerance.
    """
    watch = _Stopwatch()
    with thread_map(options.threads) as map_function:
        with watch.stage("frame"):
            points = np.ascontiguousarray(points, dtype=np.float64)
            # Scaling by a power of two is exact and keeps every power of the weights in range.
            exponent = weight_exponent(weights)
            scaled = scaled_weights(weights, exponent)
            rows, merged = merge_duplicates(points, scaled, map_function)
            counts = count_for_something(merged)
            n_light = int(np.count_nonzero(~counts))
            if n_light:
                rows, merged = rows[counts], merged[counts]
            distinct = points[rows] if len(rows) < len(points) else points
            frame = fit_frame(distinct, merged, options.k)
        n_distinct = len(rows)
        copied = len(points) <= options.target
        if copied:
            rows, merged = np.arange(len(points)), scaled
        check_request(options.k, options.target, len(rows), frame.rank)
        everything = frame.apply(points, map_function)
        local = everything[rows] if len(rows) < len(points) else everything
        if len(rows) <= options.target:
            kept, kept_weights, order = np.arange(len(rows)), merged, options.k
        else:
            asked = options.k, frame.rank, options.target, options.effort
            with watch.stage("moments"):
                wanted = accumulate_moments(
                    local, merged, highest_order(*asked), "legendre", map_function
                )
            task = _Task(local, merged, wanted, options, map_function, progress)
            kept, kept_weights, order = _reduce(task, working_orders(*asked), watch)
        with watch.stage("certificate"):
            # From the rows as they came, not from the merged ones: the certificate checks every
            # step in between.
            compared = compared_order(order, frame.rank)
            moments = accumulate_moments(everything, scaled, compared, "monomial", map_function)
            after = accumulate_moments(
                local[kept], kept_weights, compared, "monomial", map_function
            )
            error = error_by_order(moments, after, frame)
            relative = relative_error_by_order(moments, after, frame)
    index = rows[kept]
    moments = _in_units(moments, exponent)
    final_weights = weights if copied else np.ldexp(kept_weights, exponent)
    return Compression(
        support=WeightedSet(points[index], final_weights, index),
        k=options.k,
        kept_order=order,
        matched_order=matched_order(error, options.tolerance),
        target=options.target,
        seed=options.seed,
        n_points=len(points),
        n_distinct=n_distinct,
        n_columns=points.shape[1],
        rank=frame.rank,
        n_moments=n_moments(frame.rank, options.k),
        error=error,
        relative_error=relative,
        tolerance=options.tolerance,
        frame=frame,
        moments=moments,
        notes=(
            *_notes(frame, len(points) - n_light, len(rows), options.target, copied),
            *_too_light(0 if copied else n_light),
        ),
        stages=tuple(watch.seconds.items()),
    )


def compress_stream(
    stream: CellStream,
    options: CompressOptions,
    *,
    progress: ProgressCallback | None = None,
    map_function: MapFunction = map,
    part: bool = False,
) -> Compression:
    """Compress what a stream has left, and certify it against all rows that passed.

    Parameters
    ----------
    stream : CellStream
        Not empty. Its points are not needed any more afterwards.
    options : CompressOptions
        The order is at most that of the stream's setting.
    progress : callable, optional
        Called with (stage, points removed, points to remove).
    map_function : callable
        The result does not depend on it.
    part : bool
        Whether more rows of the same input are elsewhere: the errors are then in the frame that all
        parts share, and there may be no row here.

    Returns
    -------
    Compression
        The points of its support are rows of bytes, as they were carried along.

    Raises
    ------
    RequestError, VerificationError
        As :func:`compress_points`.
    """
    watch = _Stopwatch()
    setting = stream.setting
    if stream.totals is None:
        if part:
            return _nothing(stream, options)
        raise InputError("there are no rows: an array with at least one row is needed")
    extent, sampled = stream.totals.extent, setting.frame
    if part:
        frame = widened(sampled, extent)
    else:
        own = extent.frame()
        frame = replace(sampled, center=own.center, scale=own.scale)
    local, weights, index, raw = stream.points()
    _require_mass(weights, extent.mass)
    # The unit is that of the sample: rows that came later may be far heavier.
    unit = weight_exponent(weights)
    weights = scaled_weights(weights, unit)
    exponent = setting.exponent + unit
    moments = _in_units(stream.totals.in_frame(frame), -unit)
    # Before rows far outside make those inside look equal.
    rows, merged = merge_duplicates(local, weights, map_function)
    local = _in_frame(local[rows], sampled, frame)
    check_request(options.k, options.target, len(rows), frame.rank)
    order = min(setting.order, working_order(options.k, frame.rank, options.target, options.effort))
    if len(rows) <= options.target:
        kept, kept_weights = np.arange(len(rows)), merged
    else:
        task = _Task(local, merged, moments, _affordable(stream, options), map_function, progress)
        kept, kept_weights, order = _reduce(task, [order], watch)
    with watch.stage("certificate"):
        after = accumulate_moments(local[kept], kept_weights, moments.plan.order, "legendre")
        error = error_by_order(moments, after, frame)
        relative = relative_error_by_order(moments, after, frame)
    chosen = rows[kept]
    return Compression(
        support=WeightedSet(raw[chosen], np.ldexp(kept_weights, exponent), index[chosen]),
        k=options.k,
        kept_order=order,
        matched_order=matched_order(error, options.tolerance),
        target=options.target,
        seed=options.seed,
        n_points=extent.n_rows,
        n_distinct=None,
        n_columns=len(extent.low),
        rank=frame.rank,
        n_moments=n_moments(frame.rank, options.k),
        error=error,
        relative_error=relative,
        tolerance=options.tolerance,
        frame=frame,
        moments=_in_units(moments, exponent),
        notes=(
            *_notes(frame, extent.n_rows, extent.n_rows, options.target, copied=False),
            *_few_left(len(rows), extent.n_rows, options.target),
        ),
        stages=tuple(watch.seconds.items()),
    )


def _in_frame(local: NDArray[np.float64], old: Frame, new: Frame) -> NDArray[np.float64]:
    """Return points, (n, rank), in another frame of the same columns, which holds them."""
    columns = new.columns
    shift = (old.center[columns] - new.center[columns]) / new.scale[columns]
    return np.asarray(shift + local * (old.scale[columns] / new.scale[columns]))


def _nothing(stream: CellStream, options: CompressOptions) -> Compression:
    """Return what there is to hand over of a part in which no row counts."""
    setting = stream.setting
    frame = setting.frame
    local, weights, index, raw = stream.points()
    moments = accumulate_moments(local, weights, setting.compared, "legendre")
    exact = (0.0,) * (setting.compared + 1)
    return Compression(
        support=WeightedSet(raw, weights, index),
        k=options.k,
        kept_order=setting.order,
        matched_order=setting.compared,
        target=options.target,
        seed=options.seed,
        n_points=0,
        n_distinct=None,
        n_columns=len(frame.center),
        rank=frame.rank,
        n_moments=n_moments(frame.rank, options.k),
        error=exact,
        relative_error=exact,
        tolerance=options.tolerance,
        frame=frame,
        moments=moments,
        notes=("no row of this part counts, so it has none; merge takes it like the others",),
        stages=(),
    )


def _require_mass(weights: NDArray[np.float64], mass: float) -> None:
    """Refuse points that do not stand for the rows that passed: the final solve would hide it.

    Raises
    ------
    VerificationError
    """
    # Written so that a NaN counts as off.
    if not abs(math.fsum(weights) - mass) <= MASS_TOLERANCE * mass:
        raise VerificationError(
            f"the points that are left have the weight {math.fsum(weights):.17g}, the rows that "
            f"passed {mass:.17g}, in units of the stream: some were lost, or came twice"
        )


def _in_units(moments: Moments, exponent: int) -> Moments:
    """Return the moments of the weights times 2 ** exponent, which is exact."""
    return Moments(
        moments.basis,
        moments.plan,
        np.ldexp(moments.high, exponent),
        np.ldexp(moments.low, exponent),
    )


def _affordable(stream: CellStream, options: CompressOptions) -> CompressOptions:
    """Return the options without surplus matching where the memory of a stream is too small."""
    rank = stream.setting.frame.rank
    needed = surplus_bytes(options.k, rank, options.target, options.effort)
    if MATCHING_SHARE * needed <= stream.plan.memory:
        return options
    return replace(options, effort="low")


@dataclass(frozen=True, slots=True)
class _Task:
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


def _reduce(
    task: _Task, orders: Sequence[int], watch: _Stopwatch
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
            reduced, source = _reduced(task, order)
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
            corrected, miss = _correct(task.points[best.kept], best.weights, asked)
            exact = miss <= group_tolerance(asked.plan.n_moments) * asked.mass
            if exact or best.reduced:
                break
    return best.kept, corrected, best.order


def _reduced(
    task: _Task, order: int
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

    def keep_source(alive: NDArray[np.int64]) -> None:
        nonlocal source
        if len(alive) < len(weights):
            source = task.points[alive], weights[alive]

    kept = reduce_support(
        task.points, weights, task.options.target, product_plan(task.points.shape[1], order),
        task.options.seed, map_function=task.map_function,
        progress=task.progress, on_source=keep_source,
    )  # fmt: skip
    return Candidate(kept, weights[kept], order, reduced=True), source


def _correct(
    local: NDArray[np.float64], weights: NDArray[np.float64], wanted: Moments
) -> tuple[NDArray[np.float64], float]:
    """Return the weights corrected against the input's moments, and the error that is left.

    As they were, where that does not lower it.
    """
    features = legendre_features(local, wanted.plan)

    def residual(candidate: NDArray[np.float64]) -> NDArray[np.float64]:
        have = accumulate_moments(local, candidate, wanted.plan.order, "legendre")
        return wanted.missing_in(have)

    miss = residual(weights)
    before = float(np.abs(miss).max())
    corrected = weights * (1.0 + least_change(features, weights, miss))
    if np.all(corrected > 0.0):
        after = float(np.abs(residual(corrected)).max())
        if after < before:
            return corrected, after
    return weights, before


def _few_left(n_left: int, n_points: int, target: int) -> tuple[str, ...]:
    if n_left >= min(target, n_points):
        return ()
    return (
        f"{n_left} distinct points are left of {n_points} rows, fewer than the target: they hold "
        "few distinct ones, or those that were looked at first do",
    )


def _too_light(n_rows: int) -> tuple[str, ...]:
    if n_rows == 0:
        return ()
    return (
        f"{n_rows} distinct rows weigh less than {LEAST_SHARE:.0e} of the heaviest one: beside it "
        "they count for nothing, and none of them is kept",
    )


def _notes(frame: Frame, n_points: int, n_rows: int, target: int, copied: bool) -> tuple[str, ...]:
    notes = []
    if copied:
        notes.append(
            f"the input has {n_points} rows, no more than the target: all are kept as they are"
        )
    elif n_rows < n_points:
        kept = ", no more than the target: all of them are kept" if n_rows <= target else ""
        notes.append(f"{n_points} rows hold {n_rows} distinct points{kept}")
    if frame.constant:
        listed = ", ".join(map(str, frame.constant))
        notes.append(f"constant columns drop out of the moments: {listed}")
    if frame.dependent:
        listed = ", ".join(str(each.column) for each in frame.dependent)
        notes.append(
            f"columns that are affine combinations of others drop out of the moments: {listed} "
            f"(largest residual {frame.residual:.1e} in the frame); the errors are bounds that "
            "hold for them too"
        )
    return tuple(notes)
