"""Compress one file into another: read, compress, write, check what was written, report."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError, VerificationError
from momentc.files.jobs import CompressJob, JobReport
from momentc.files.measure import Stopwatch, peak_memory
from momentc.files.names import STDOUT, output_of, report_of
from momentc.files.open import dropped_notes, open_input
from momentc.files.plan import CompressPlan, make_plan
from momentc.io.atomic import output_lock, probe_output, write_text_atomic
from momentc.io.convert import LoadedPoints, load_points, select_columns
from momentc.io.location import parse_location, printable
from momentc.io.result_file import output_format, write_result, write_result_stream
from momentc.io.source import Source
from momentc.pipeline import Compression, certify, compress_points
from momentc.progress import ProgressCallback
from momentc.version import __version__
from momentc.weighted import WeightedSet

if TYPE_CHECKING:
    from momentc.study.order import OrderChoice

__all__ = ["compress_file"]


def compress_file(
    job: CompressJob, *, progress: ProgressCallback | None = None, began: float | None = None
) -> JobReport:
    """Do a :class:`CompressJob`.

    Parameters
    ----------
    job : CompressJob
        What to compress, how, and where to.
    progress : callable, optional
        Called with stage, objects done and total.
    began : float, optional
        As in :class:`momentc.files.measure.Stopwatch`.

    Returns
    -------
    JobReport
        The metadata of the written file, with times, peak memory and throughput.

    Raises
    ------
    UsageError, InputError, RequestError, MemoryBudgetError, OutputError
        What the classes say; nothing was written.
    VerificationError
        The moments of the result miss the tolerance; nothing was written unless
        ``job.keep_going``.
    """
    watch = Stopwatch(began)
    output, report = output_of(job), report_of(job)
    inputs = _input_files(job)
    _probe(output, report, force=job.force, inputs=inputs)
    with ExitStack() as locks:
        for path in (output, report):
            if path is not None and path != STDOUT:
                locks.enter_context(output_lock(path))
        return _compress_locked(job, inputs, watch, progress)


def _compress_locked(
    job: CompressJob, inputs: Sequence[Path], watch: Stopwatch, progress: ProgressCallback | None
) -> JobReport:
    """Do the job while no other run may write the same files."""
    say = progress or (lambda _stage, _count, _total: None)
    with open_input(job.source) as source:
        plan = make_plan(job, source)
        plan.check_columns()
        plan.check_memory()

        columns = select_columns(job.source.columns, source.n_columns)
        loaded = load_points(
            source,
            columns=columns,
            nan=job.source.nan,
            allow_lossy=job.source.allow_lossy,
            on_rows=lambda rows: say("reading", rows, source.n_rows),
        )
        watch.lap("reading")
        job, choice = _choose_order(job, loaded, say)
        if choice is not None:
            watch.lap("choosing the order")
        say("preparing", 0, 0)
        compression = compress_points(loaded.points, loaded.weights, job.options, progress=progress)
        watch.laps.extend(compression.stages)
        watch.skip()

        result = _kept_rows(source, loaded, compression)
        error, relative = certify(compression, _as_float64(result, columns), result.weights)
        notes = (*(() if choice is None else (choice.reason,)), *compression.notes)
        metadata = _metadata(job, source, columns, loaded, compression, error, relative)
        metadata["notes"] = list(notes)
        metadata["k_choice"] = None if choice is None else choice.as_json()
        watch.lap("certificate")
    metadata = _write(job, plan, result, metadata, compression, columns, inputs)
    watch.lap("writing")

    content = {**metadata, **_measured(watch, plan, compression)}
    if plan.report is not None:
        text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
        write_text_atomic(plan.report, text, force=job.force)
    return JobReport(
        content=content,
        ok=bool(metadata["ok"]),
        notes=(*loaded.warnings, *dropped_notes(loaded), *notes),
        output=plan.output,
        report_path=plan.report,
    )


def _choose_order(
    job: CompressJob, loaded: LoadedPoints, say: ProgressCallback
) -> tuple[CompressJob, "OrderChoice | None"]:
    """Return the job with its order settled, and why, if it was to be chosen."""
    if not job.auto_order:
        return job, None
    from momentc.study.order import choose_order

    choice = choose_order(
        loaded.points,
        loaded.weights,
        job.options,
        on_trial=lambda done, total: say("choosing the order", done, total),
    )
    return replace(job, options=replace(job.options, k=choice.k)), choice


def _probe(output: str, report: str | None, *, force: bool, inputs: Sequence[Path]) -> None:
    """Refuse an output that cannot be written, before any work goes into it."""
    if output != STDOUT:
        output_format(output)
        probe_output(output, force=force, inputs=inputs)
    if report is None:
        return
    probe_output(report, force=force, inputs=inputs)
    if output != STDOUT and Path(report).resolve() == Path(output).resolve():
        raise UsageError(
            f"--report and --output are the same file, {printable(report)}; give two names"
        )


def _input_files(job: CompressJob) -> list[Path]:
    """Return the files that the job reads, which it must never overwrite."""
    files = [parse_location(job.source.location, job.source.dataset).path]
    if job.source.weights is not None:
        # Not a file: a dataset of the input, or a mistake that opening the input will name.
        with suppress(InputError):
            files.append(parse_location(job.source.weights).path)
    return [path for path in files if path is not None]


def _kept_rows(source: Source, loaded: LoadedPoints, compression: Compression) -> WeightedSet:
    """Take the kept rows from the source as they stand there, bit for bit."""
    index = loaded.index[compression.support.index]
    return WeightedSet(source.take(index), compression.support.weights, index)


def _as_float64(result: WeightedSet, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the matched columns as the mathematics sees them."""
    return np.ascontiguousarray(result.points[:, columns].astype(np.float64))


def _metadata(
    job: CompressJob,
    source: Source,
    columns: NDArray[np.int64],
    loaded: LoadedPoints,
    compression: Compression,
    error: tuple[float, ...],
    relative: tuple[float, ...],
) -> dict[str, Any]:
    """Describe the result, free of times and host names: same input, same bytes."""
    return {
        "momentc": __version__,
        "k": compression.k,
        "kept_order": compression.kept_order,
        "matched_order": compression.matched_order,
        "target": compression.target,
        "seed": compression.seed,
        "effort": job.options.effort,
        "n_kept": len(compression.support),
        "n_columns": source.n_columns,
        "columns": [int(column) for column in columns],
        "rank": compression.rank,
        "n_moments": compression.n_moments,
        "n_points": compression.n_points,
        "n_distinct": compression.n_distinct,
        "n_dropped_nan": loaded.n_dropped_nan,
        "n_zero_weight": loaded.n_zero_weight,
        "n_lossy": loaded.n_lossy,
        "input": {
            "path": job.source.location,
            "name": source.name,
            "dataset": source.dataset,
            "weights": job.source.weights,
            "weighted": source.has_weights,
            "nan": job.source.nan,
            "allow_lossy": job.source.allow_lossy,
            "shape": list(source.shape),
            "dtype": source.dtype.str,
            "fingerprint": source.fingerprint(),
        },
        "tolerance": compression.tolerance,
        "error": _finite(error),
        "relative_error": _finite(relative),
        "ok": compression.holds(error),
        "frame": {
            "center": [float(value) for value in compression.frame.center],
            "scale": [float(value) for value in compression.frame.scale],
        },
        "notes": list(compression.notes),
    }


def _finite(values: Sequence[float]) -> list[float | None]:
    """JSON has no infinity and no NaN: null stands for an error that cannot be expressed."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _write(
    job: CompressJob,
    plan: CompressPlan,
    result: WeightedSet,
    metadata: dict[str, Any],
    compression: Compression,
    columns: NDArray[np.int64],
    inputs: Sequence[Path],
) -> dict[str, Any]:
    """Write the result; what was read back from the disk must hold the same promise.

    Returns the metadata as they were read back, with format version and checksum.
    """
    as_written: dict[str, Any] = {}

    def verify(written: WeightedSet, metadata_written: dict[str, Any]) -> None:
        as_written.update(metadata_written)
        error, _ = certify(compression, _as_float64(written, columns), written.weights)
        if compression.holds(error) or job.keep_going:
            return
        # A NaN is worse than any number, and no number compares with it.
        orders = range(len(error[: compression.k + 1]))
        worst = max(orders, key=lambda i: np.nan_to_num(error[i], nan=np.inf))
        raise VerificationError(
            f"{plan.input}: the moments of order {worst} are off by {error[worst]:.1e}, more than "
            f"the tolerance {compression.tolerance:.1e}; ask for a smaller k, a larger target or "
            "a larger --tol, or have the file written all the same with --keep-going"
        )

    if plan.output == STDOUT:
        write_result_stream(sys.stdout.buffer, result, metadata, verify=verify)
    else:
        write_result(plan.output, result, metadata, force=job.force, inputs=inputs, verify=verify)
    return as_written


def _measured(watch: Stopwatch, plan: CompressPlan, compression: Compression) -> dict[str, Any]:
    """Return what differs from run to run: for the report, never for the file."""
    seconds = watch.seconds
    return {
        "output": plan.output,
        "seconds": round(seconds, 6),
        "stages": {name: round(value, 6) for name, value in watch.totals().items()},
        "peak_memory": peak_memory(),
        "objects_per_second": round(compression.n_points / seconds, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
