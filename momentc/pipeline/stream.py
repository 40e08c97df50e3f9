"""The end of a stream: what is left becomes a result, certified against all rows that passed."""

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.duplicates import merge_duplicates
from momentc.compression import Compression
from momentc.effort import surplus_bytes, working_order
from momentc.errors import InputError, VerificationError
from momentc.map_function import MapFunction
from momentc.moments.accumulate import accumulate_moments
from momentc.moments.discrepancy import error_by_order, relative_error_by_order
from momentc.moments.frame import Frame, widened
from momentc.moments.request import check_request
from momentc.options import CompressOptions
from momentc.pipeline.notes import notes_on_columns
from momentc.pipeline.to_target import Task, reduce_to_target
from momentc.progress import ProgressCallback
from momentc.stopwatch import Stopwatch
from momentc.streaming.stream import CellStream
from momentc.tolerances import MASS_TOLERANCE
from momentc.weighted import WeightedSet, scaled_weights, weight_exponent

__all__ = ["compress_stream"]

# One part in so many of the memory of a stream may be taken by surplus matching.
MATCHING_SHARE: Final = 2


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
    watch = Stopwatch()
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
    moments = stream.totals.in_frame(frame).in_units(-unit)
    # Before rows far outside make those inside look equal.
    rows, merged = merge_duplicates(local, weights, map_function)
    local = _in_frame(local[rows], sampled, frame)
    check_request(options.k, options.target, len(rows), frame.rank)
    order = min(setting.order, working_order(options.k, frame.rank, options.target, options.effort))
    if len(rows) <= options.target:
        kept, kept_weights = np.arange(len(rows)), merged
    else:
        task = Task(local, merged, moments, _affordable(stream, options), map_function, progress)
        kept, kept_weights, order = reduce_to_target(task, [order], watch)
    with watch.stage("certificate"):
        after = accumulate_moments(local[kept], kept_weights, moments.plan.order, "legendre")
        error = error_by_order(moments, after, frame)
        relative = relative_error_by_order(moments, after, frame)
    chosen = rows[kept]
    return Compression(
        support=WeightedSet(raw[chosen], np.ldexp(kept_weights, exponent), index[chosen]),
        options=options,
        kept_order=order,
        n_points=extent.n_rows,
        n_distinct=None,
        error=error,
        relative_error=relative,
        frame=frame,
        moments=moments.in_units(exponent),
        notes=(
            *notes_on_columns(frame),
            *_few_left(len(rows), extent.n_rows, options.target),
        ),
        stages=tuple(watch.totals().items()),
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
        options=options,
        kept_order=setting.order,
        n_points=0,
        n_distinct=None,
        error=exact,
        relative_error=exact,
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


def _affordable(stream: CellStream, options: CompressOptions) -> CompressOptions:
    """Return the options without surplus matching where the memory of a stream is too small."""
    rank = stream.setting.frame.rank
    needed = surplus_bytes(options.k, rank, options.target, options.effort)
    if MATCHING_SHARE * needed <= stream.plan.memory:
        return options
    return replace(options, effort="low")


def _few_left(n_left: int, n_points: int, target: int) -> tuple[str, ...]:
    if n_left >= min(target, n_points):
        return ()
    return (
        f"{n_left} distinct points are left of {n_points} rows, fewer than the target: they hold "
        "few distinct ones, or those that were looked at first do",
    )
