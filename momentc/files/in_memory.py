"""Compress an input of which all rows are held in memory."""

from dataclasses import replace

from momentc.files.jobs import CompressJob
from momentc.files.work import Counts, Work
from momentc.io.convert import load_points, select_columns
from momentc.io.source import Source
from momentc.pipeline.points import compress_points
from momentc.progress import ProgressCallback
from momentc.stopwatch import Stopwatch
from momentc.weighted import WeightedSet

__all__ = ["work_in_memory"]


def work_in_memory(
    job: CompressJob, source: Source, *, watch: Stopwatch, say: ProgressCallback
) -> Work:
    """Load all rows of a source and compress them.

    Raises
    ------
    InputError, RequestError, VerificationError
        What the classes say.
    """
    columns = select_columns(job.source.columns, source.n_columns)
    loaded = load_points(
        source,
        columns=columns,
        nan=job.source.nan,
        allow_lossy=job.source.allow_lossy,
        on_rows=lambda rows: say("reading", rows, source.n_rows),
    )
    watch.lap("reading")
    options, choice = job.options, None
    if job.auto_order:
        from momentc.study.order import choose_order

        choice = choose_order(
            loaded.points, loaded.weights, options,
            on_trial=lambda done, total: say("choosing the order", done, total),
        )  # fmt: skip
        options = replace(options, k=choice.k)
        watch.lap("choosing the order")
    say("preparing", 0, 0)
    compression = compress_points(loaded.points, loaded.weights, options, progress=say)
    watch.book(compression.stages)
    index = loaded.index[compression.support.index]
    return Work(
        compression=compression,
        # From the source as they stand there, bit for bit.
        result=WeightedSet(source.take(index), compression.support.weights, index),
        columns=columns,
        counts=Counts.of(loaded),
        warnings=source.warnings,
        choice=choice,
    )
