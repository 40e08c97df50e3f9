"""Compress an input that does not fit into memory, or a part of its rows: in cells, in one pass.

The pass goes from the first row to the last, with checkpoints, or range by range on a cluster.
Where columns of the sample are constant or depend on each other, the frame is fitted to all rows
first, which takes more passes.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from momentc.effort import working_order
from momentc.engine.prefetch import read_ahead
from momentc.engine.threads import thread_map
from momentc.errors import InputError, UsageError
from momentc.files.checkpoints import Checkpoints
from momentc.files.jobs import CompressJob
from momentc.files.parts import part_arrays, part_head, sample_digest
from momentc.files.plan import CompressPlan
from momentc.files.ranges import take_in_ranges
from momentc.files.work import Counts, Work, take_in
from momentc.io.convert import PointBlock, float64_blocks, select_columns
from momentc.io.numeric import to_float64
from momentc.io.source import Source
from momentc.map_function import MapFunction
from momentc.moments.frame import Frame, with_every_column
from momentc.moments.frame_fit import FrameFit, fit_frame
from momentc.moments.multi_index import n_moments
from momentc.moments.request import check_request
from momentc.options import CompressOptions
from momentc.pipeline.stream import compress_stream
from momentc.progress import ProgressCallback
from momentc.stopwatch import Stopwatch
from momentc.streaming.plan import StreamPlan
from momentc.streaming.stream import CellStream, Setting, fit_setting
from momentc.weighted import WeightedSet, bytes_as_rows

if TYPE_CHECKING:
    from momentc.study.order import OrderChoice

__all__ = ["Interruption", "StreamInput", "never_interrupted", "open_stream", "work_streamed"]

Interruption = Callable[[], AbstractContextManager[Callable[[], None]]]
"""Opens a stretch in which signals wait; yields a function that raises if one has come."""


@contextmanager
def never_interrupted() -> Iterator[Callable[[], None]]:
    """Let signals do what they always do."""
    yield lambda: None


@dataclass(frozen=True, slots=True)
class StreamInput:
    """An input that is ready to be streamed.

    Parameters
    ----------
    columns : (n_selected,) int64 ndarray
    options : CompressOptions
        With the order settled.
    setting : Setting
    sizes : StreamPlan
    sample_digest : str
        Of the rows on which the setting was found: it stands for the input.
    passes : int
        How often the input is read.
    choice : OrderChoice or None
    """

    columns: NDArray[np.int64]
    options: CompressOptions
    setting: Setting
    sizes: StreamPlan
    sample_digest: str
    passes: int
    choice: "OrderChoice | None"


def open_stream(
    job: CompressJob, source: Source, plan: CompressPlan, say: ProgressCallback
) -> StreamInput:
    """Find frame, cells and orders on a sample of the whole input.

    Every part of a job finds the same, whichever rows it will take.

    Raises
    ------
    InputError
        No row of the sample counts.
    RequestError, MemoryBudgetError
    """
    if plan.stream is None:
        raise UsageError("the plan has no stream")
    columns = select_columns(job.source.columns, source.n_columns)
    say("looking at a sample", 0, 0)
    index, raw = source.sample(plan.stream.sample_rows)
    weights = _weights_at(source, index)
    digest = sample_digest(index, raw, weights)
    points = np.ascontiguousarray(to_float64(raw[:, columns]))
    counts = np.isfinite(points).all(axis=1) & (weights > 0.0)
    points, weights, passes = points[counts], weights[counts], 1
    if len(points) == 0:
        points, weights = _first_that_count(job, source, columns, plan.stream.sample_rows, say)
        passes = 2
    options, choice = job.options, None
    if job.auto_order:
        from momentc.study.order import choose_order

        choice = choose_order(
            points, weights, options, n_rows=source.n_rows,
            on_trial=lambda done, total: say("choosing the order", done, total),
        )  # fmt: skip
        options = replace(options, k=choice.k)
    frame = fit_frame(points, weights, options.k)
    if frame.rank < len(columns):
        if source.sequential_only or plan.ranges:
            frame = with_every_column(frame)
        else:
            frame, more = _fit_to_all(job, source, columns, options.k, say)
            passes += more
    check_request(options.k, options.target, source.n_rows, frame.rank)
    order = working_order(options.k, frame.rank, options.target, options.effort)
    sizes = plan.stream_for(options.target, frame.rank, n_moments(frame.rank, order))
    setting = fit_setting(points, weights, frame, options, sizes.n_cells)
    return StreamInput(columns, options, setting, sizes, digest, passes, choice)


def _first_that_count(
    job: CompressJob,
    source: Source,
    columns: NDArray[np.int64],
    n_rows: int,
    say: ProgressCallback,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the first so many rows that count, where a sample from all over has none.

    Raises
    ------
    InputError
        None does; or none of the first rows of what can be read only once.
    """
    reason = (
        "all hold a value that is not finite, or have the weight 0; leave such rows out of the file"
    )
    if source.sequential_only:
        raise InputError(
            f"{source.name}: none of the first rows counts, and frame and cells are found on them: "
            f"{reason}, or read it from a file"
        )
    points: list[NDArray[np.float64]] = []
    weights: list[NDArray[np.float64]] = []
    n_found = 0
    for block in float64_blocks(
        source, columns, nan=job.source.nan, allow_lossy=job.source.allow_lossy
    ):
        say("looking for rows that count", block.stop, source.n_rows)
        points.append(block.points[: n_rows - n_found])
        weights.append(block.weights[: n_rows - n_found])
        n_found += len(points[-1])
        if n_found >= n_rows:
            break
    if n_found == 0:
        raise InputError(f"{source.name}: none of its {source.n_rows} rows counts: {reason}")
    return np.concatenate(points), np.concatenate(weights)


def _weights_at(source: Source, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weights of sampled rows, which come in runs."""
    if not source.has_weights:
        return np.ones(len(index))
    borders = np.flatnonzero(np.diff(index) != 1) + 1
    parts = [source.weights_of(int(run[0]), int(run[-1]) + 1) for run in np.split(index, borders)]
    return np.concatenate([part for part in parts if part is not None])


def _fit_to_all(
    job: CompressJob,
    source: Source,
    columns: NDArray[np.int64],
    k: int,
    say: ProgressCallback,
) -> tuple[Frame, int]:
    """Settle for all rows which columns carry moments of their own."""

    def blocks(stage: str) -> Iterator[PointBlock]:
        for block in float64_blocks(
            source, columns, nan=job.source.nan, allow_lossy=job.source.allow_lossy
        ):
            say(stage, block.stop, source.n_rows)
            yield block

    fit = FrameFit(k)
    for block in blocks("extent"):
        fit.add_extent(block.points, block.weights)
    fit.close_extent()
    passes = 1
    for stage in fit.passes():
        passes += 1
        for block in blocks("affine rank"):
            if len(block.points):
                stage(block.points)
    return fit.frame(), passes


def work_streamed(
    job: CompressJob,
    source: Source,
    plan: CompressPlan,
    *,
    watch: Stopwatch,
    say: ProgressCallback,
    interruption: Interruption = never_interrupted,
) -> Work:
    """Read and compress the rows of a job in one pass, within the memory budget.

    Parameters
    ----------
    job : CompressJob
    source : Source
    plan : CompressPlan
        With a stream.
    watch : Stopwatch
    say : callable
        Called with stage, objects done and total.
    interruption : callable
        Opens the stretch in which a signal waits until what was done can be written down.

    Raises
    ------
    InputError, RequestError, MemoryBudgetError, VerificationError
        What the classes say.
    PartsError
        There is a checkpoint of another job.
    """
    opened = open_stream(job, source, plan, say)
    head = part_head(job, source, plan, opened)
    watch.lap("looking at a sample")
    checkpoints = Checkpoints(job, plan, head)
    # Without a checkpoint there is nothing to wait for, and a pipe that stalls may never go on: it
    # is read by the thread that gets the signals.
    waits = interruption if plan.checkpoints else never_interrupted
    with thread_map(opened.options.threads) as map_function, checkpoints.named_by_interruptions():
        with waits() as check:
            stream, counts = _take_in(
                job, source, plan, opened, checkpoints, watch, say, check, map_function
            )
        watch.lap("reducing the cells")
        compression = compress_stream(
            stream, opened.options, progress=say, map_function=map_function,
            part=job.shard is not None,
        )  # fmt: skip
    watch.book(compression.stages)
    support = compression.support
    kept = bytes_as_rows(support.points, source.dtype) if plan.n_raw else source.take(support.index)
    return Work(
        compression=compression,
        result=WeightedSet(kept, support.weights, support.index),
        columns=opened.columns,
        counts=counts,
        warnings=(*source.warnings, *checkpoints.notes()),
        choice=opened.choice,
        streamed={
            **head["stream"],
            "passes": opened.passes,
            **({"ranges": len(plan.ranges)} if plan.ranges else {}),
        },
        part=None if job.shard is None else head,
        extra=None if job.shard is None else part_arrays(stream, source, plan.rows),
        resumed_after=checkpoints.resumed_after,
    )


def _take_in(
    job: CompressJob,
    source: Source,
    plan: CompressPlan,
    opened: StreamInput,
    checkpoints: Checkpoints,
    watch: Stopwatch,
    say: ProgressCallback,
    check: Callable[[], None],
    map_function: MapFunction,
) -> tuple[CellStream, Counts]:
    """Take in all rows of a job, until so few points are left as are compressed in memory.

    A signal waits for the end of a block, and then of the reduction of the cells: behind that
    stands the whole pass.
    """
    start, stop = plan.rows
    if plan.ranges:
        stream, counts = take_in_ranges(job, source, plan, opened, say)
    else:
        stream, counts = _take_in_one_pass(
            job, source, plan, opened, checkpoints, say, check, map_function
        )
    watch.lap("streaming")
    if stream.totals is None and job.shard is None:
        raise InputError(
            f"{source.name}: none of the rows {start} .. {stop - 1} is left: "
            f"{counts.n_dropped_nan} hold a value that is not finite, {counts.n_zero_weight} "
            "have the weight 0"
        )
    if len(stream) > opened.sizes.left:
        say("reducing the cells", 0, 0)
        stream.reduce(map_function)
    checkpoints.at_the_end(stream, source, counts, stop, check)
    return stream, counts


def _take_in_one_pass(
    job: CompressJob,
    source: Source,
    plan: CompressPlan,
    opened: StreamInput,
    checkpoints: Checkpoints,
    say: ProgressCallback,
    check: Callable[[], None],
    map_function: MapFunction,
) -> tuple[CellStream, Counts]:
    """Stream the rows of a job from the first to the last, from where a checkpoint stands."""
    stream, counts = CellStream(opened.setting, opened.sizes, plan.n_raw), Counts()
    first = checkpoints.resume(stream, source, counts)
    start, stop = plan.rows
    blocks = float64_blocks(
        source, opened.columns, nan=job.source.nan, allow_lossy=job.source.allow_lossy,
        rows_per_block=opened.sizes.block_rows, start=max(start, first), stop=stop,
    )  # fmt: skip
    reading = nullcontext if source.sequential_only else read_ahead
    with reading(blocks) as ahead:
        for block in ahead:
            take_in(stream, block, plan.n_raw, counts, map_function)
            say("streaming", block.stop - start, stop - start)
            checkpoints.after_block(stream, source, counts, block.stop, check)
        checkpoints.after_block(stream, source, counts, stop, check)
    return stream, counts
