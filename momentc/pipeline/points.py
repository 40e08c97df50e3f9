"""Compression of points in memory, from their duplicates to the certificate."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.duplicates import merge_duplicates
from momentc.compression import Compression
from momentc.effort import highest_order, working_orders
from momentc.engine.threads import thread_map
from momentc.moments.accumulate import accumulate_moments
from momentc.moments.discrepancy import error_by_order, relative_error_by_order
from momentc.moments.frame_fit import fit_frame
from momentc.moments.request import check_request, compared_order
from momentc.options import CompressOptions
from momentc.pipeline.notes import notes_on_columns
from momentc.pipeline.to_target import Task, reduce_to_target
from momentc.progress import ProgressCallback
from momentc.stopwatch import Stopwatch
from momentc.weighted import (
    LEAST_SHARE,
    WeightedSet,
    count_for_something,
    scaled_weights,
    weight_exponent,
)

__all__ = ["compress_points"]


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
    watch = Stopwatch()
    with thread_map(options.threads) as map_function:
        with watch.stage("frame"):
            points = np.ascontiguousarray(points, dtype=np.float64)
            # Scaling by a power of two is exact and keeps every power of the weights in range.
            exponent = weight_exponent(weights)
            scaled = scaled_weights(weights, exponent)
            rows, merged = merge_duplicates(points, scaled, map_function)
            n_distinct = len(rows)
            counts = count_for_something(merged)
            n_light = int(np.count_nonzero(~counts))
            if n_light:
                rows, merged = rows[counts], merged[counts]
            distinct = points[rows] if len(rows) < len(points) else points
            frame = fit_frame(distinct, merged, options.k)
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
            task = Task(local, merged, wanted, options, map_function, progress)
            kept, kept_weights, order = reduce_to_target(task, working_orders(*asked), watch)
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
    final_weights = weights if copied else np.ldexp(kept_weights, exponent)
    return Compression(
        support=WeightedSet(points[index], final_weights, index),
        options=options,
        kept_order=order,
        n_points=len(points),
        n_distinct=n_distinct,
        error=error,
        relative_error=relative,
        frame=frame,
        moments=moments.in_units(exponent),
        notes=(
            *_on_rows(len(points), n_distinct, n_light, options.target, copied),
            *notes_on_columns(frame),
        ),
        stages=tuple(watch.totals().items()),
    )


def _on_rows(
    n_points: int, n_distinct: int, n_light: int, target: int, copied: bool
) -> Iterator[str]:
    if copied:
        yield f"the input has {n_points} rows, no more than the target: all are kept as they are"
        return
    if n_distinct < n_points:
        kept = n_distinct <= target and n_light == 0
        all_of_them = ", no more than the target: all of them are kept" if kept else ""
        yield f"{n_points} rows hold {n_distinct} distinct points{all_of_them}"
    if n_light:
        yield (
            f"{n_light} distinct rows weigh less than {LEAST_SHARE:.0e} of the heaviest one: "
            "beside it they count for nothing, and none of them is kept"
        )
