"""Compress one file into another: read, compress, write, check what was written, report."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from momentc.errors import OutputError
from momentc.files.delivery import deliver, describe
from momentc.files.in_memory import work_in_memory
from momentc.files.jobs import CompressJob, JobReport
from momentc.files.names import is_file_name, made_folder, output_of, report_of
from momentc.files.open import open_input
from momentc.files.outputs import locked, probe
from momentc.files.plan import CompressPlan, make_plan, most_held
from momentc.files.streamed import Interruption, never_interrupted, work_streamed
from momentc.files.work import Work
from momentc.io.atomic import make_folder
from momentc.io.checkpoint import checkpoint_path, remove_checkpoint
from momentc.io.source import Source
from momentc.progress import ProgressCallback, silent
from momentc.stopwatch import Stopwatch

__all__ = ["compress_file"]


def compress_file(
    job: CompressJob,
    *,
    progress: ProgressCallback | None = None,
    began: float | None = None,
    interruption: Interruption = never_interrupted,
    prepare: Callable[[], None] | None = None,
) -> JobReport:
    """Do a :class:`CompressJob`.

    Parameters
    ----------
    job : CompressJob
        What to compress, how, and where to.
    progress : callable, optional
        Called with stage, objects done and total.
    began : float, optional
        As in :class:`momentc.stopwatch.Stopwatch`.
    interruption : callable
        Opens a stretch in which signals wait until a checkpoint can be written.
    prepare : callable, optional
        Called when the job is found in order, before the work begins.

    Returns
    -------
    JobReport
        The metadata of the written file, with times, peak memory and throughput.

    Raises
    ------
    UsageError, InputError, RequestError, MemoryBudgetError, OutputError, PartsError
        What the classes say; nothing was written.
    VerificationError
        The moments of the result miss the tolerance; nothing was written unless
        ``job.keep_going``.
    """
    watch = Stopwatch(began)
    output, report = output_of(job), report_of(job)
    inputs = job.source.files()
    if (folder := made_folder(job)) is not None:
        make_folder(folder)
    probe(output, report, force=job.force, inputs=inputs)
    with locked(output, report):
        return _compress_locked(job, inputs, watch, progress, interruption, prepare)


def _compress_locked(
    job: CompressJob,
    inputs: Sequence[Path],
    watch: Stopwatch,
    progress: ProgressCallback | None,
    interruption: Interruption,
    prepare: Callable[[], None] | None,
) -> JobReport:
    """Do the job while no other run may write the same files."""
    say = progress or silent
    with open_input(job.source, hold_at_most=most_held(job)) as source:
        # Links may lead to more files than were named.
        if linked := [path for path in source.paths if path not in inputs]:
            inputs = [*inputs, *linked]
            probe(output_of(job), report_of(job), force=job.force, inputs=inputs)
        plan = make_plan(job, source)
        plan.check_columns()
        plan.check_memory()
        if prepare is not None:
            prepare()
        if plan.stream is None:
            work = work_in_memory(job, source, watch=watch, say=say)
        else:
            work = work_streamed(job, source, plan, watch=watch, say=say, interruption=interruption)
        metadata = {**describe(work), **_metadata(job, source, plan, work)}
        watch.lap("certificate")
    outcome = deliver(
        work, metadata, plan.input, plan.output, plan.report, watch,
        force=job.force, keep_going=job.keep_going, inputs=inputs,
    )  # fmt: skip
    return replace(outcome, notes=(*outcome.notes, *_without_checkpoint(plan)))


def _without_checkpoint(plan: CompressPlan) -> Iterator[str]:
    """Remove the checkpoint of this run, or of an earlier one that had less memory.

    The result stands: that a helper file stays is worth a sentence, and no failure.
    """
    if not is_file_name(plan.output):
        return
    checkpoint = checkpoint_path(plan.output)
    try:
        if not (plan.checkpoints or checkpoint.exists()):
            return
        remove_checkpoint(checkpoint)
        if not plan.checkpoints:
            yield (
                "this run needed no checkpoint, and began at the first row: that of an earlier run "
                "is removed"
            )
    except OutputError as error:
        yield f"the checkpoint is not needed any more, but could not be removed: {error}"


def _metadata(job: CompressJob, source: Source, plan: CompressPlan, work: Work) -> dict[str, Any]:
    """Say what was compressed, free of times and host names: same input, same bytes."""
    return {
        "effort": job.options.effort,
        "n_columns": source.n_columns,
        "input": {
            "path": job.source.location,
            "more_paths": list(job.source.more),
            "name": source.name,
            "dataset": source.dataset,
            "weights": job.source.weights,
            "weighted": source.has_weights,
            "nan": job.source.nan,
            "allow_lossy": job.source.allow_lossy,
            "shape": list(source.shape),
            "dtype": source.dtype.str,
            "rows": list(plan.rows),
            # Of the whole input: a part does not know it.
            "fingerprint": source.fingerprint() if job.shard is None else None,
        },
        "streamed": work.streamed,
        "k_choice": None if work.choice is None else work.choice.as_json(),
    }
