"""Merge the parts of a job: checked to belong together, certified without reading the input again.

A part carries the moments of all rows that it was made from, in the frame that all parts of a job
share. Moments add up, so the certificate of the merged result reaches back to the input's rows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.engine.threads import thread_map
from momentc.errors import InputError, PartsError, UsageError, VerificationError
from momentc.files.delivery import deliver, describe
from momentc.files.jobs import JobReport, MergeJob
from momentc.files.names import merged_output, report_beside
from momentc.files.outputs import locked, probe
from momentc.files.part_files import (
    Part,
    carried,
    check_rows,
    digests_of,
    frame_of,
    joined_rows,
    read_parts,
)
from momentc.files.parts import digests_as_arrays
from momentc.files.plan import default_memory, plan_stream_within
from momentc.files.work import Counts, Work
from momentc.io.fingerprint import leaf_rows, root
from momentc.io.numeric import to_float64
from momentc.io.result_file import read_result
from momentc.moments.accumulate import accumulate_moments
from momentc.moments.discrepancy import error_by_order, worst_error
from momentc.moments.frame import widened
from momentc.moments.multi_index import n_moments
from momentc.moments.request import check_request
from momentc.moments.totals import Totals
from momentc.pipeline.stream import compress_stream
from momentc.progress import ProgressCallback, silent
from momentc.stopwatch import Stopwatch
from momentc.streaming.stream import CellStream, Setting
from momentc.weighted import WeightedSet, bytes_as_rows, rows_as_bytes, scaled_weights

__all__ = ["merge_files"]


def merge_files(
    job: MergeJob,
    *,
    progress: ProgressCallback | None = None,
    began: float | None = None,
    prepare: Callable[[], None] | None = None,
) -> JobReport:
    """Do a :class:`MergeJob`.

    Parameters
    ----------
    job : MergeJob
    progress : callable, optional
        Called with stage, objects done and total.
    began : float, optional
        As in :class:`momentc.stopwatch.Stopwatch`.
    prepare : callable, optional
        Called once when the parts are found to belong together, before the work.

    Raises
    ------
    PartsError
        The parts do not belong together, overlap, or leave rows out.
    InputError, VerificationError
        A part cannot be read, is damaged, or its rows do not have the moments that it carries.
    RequestError, MemoryBudgetError, OutputError, UsageError
        As for a compression.
    """
    watch = Stopwatch(began)
    say = progress or silent
    if not job.parts:
        raise UsageError("there are no parts; name the files that --shard wrote")
    output = merged_output(job)
    report = job.report if job.report is not None else report_beside(output)
    inputs = [Path(part) for part in job.parts]
    probe(output, report, force=job.force, inputs=inputs)
    with locked(output, report):
        parts = read_parts(job.parts)
        missing = check_rows(parts, allow_missing=job.allow_missing)
        if prepare is not None:
            prepare()
        work = _merge(job, parts, missing, watch, say)
        metadata = {**describe(work), **_metadata(parts, missing, work, job.effort)}
        watch.lap("certificate")
        return deliver(
            work, metadata, f"{len(parts)} parts", output, report, watch,
            force=job.force, keep_going=job.keep_going, inputs=inputs,
        )  # fmt: skip


def _merge(
    job: MergeJob,
    parts: Sequence[Part],
    missing: Sequence[tuple[int, int]],
    watch: Stopwatch,
    say: ProgressCallback,
) -> Work:
    head = parts[0].head
    k = int(head["k"]) if job.k is None else job.k
    if k < head["k"] and missing:
        raise PartsError(
            "rows are missing, so the result is a part again, and the other parts keep the moments "
            f"up to k = {head['k']}: leave --k {k} to the last merge"
        )
    if k > head["k"]:
        raise PartsError(
            f"the parts keep the moments up to k = {head['k']}, k = {k} is asked for; make them "
            "anew with a larger k"
        )
    options = job.options_for(k)
    columns = np.array(head["columns"], dtype=np.int64)
    frame = frame_of(head["frame"])
    n_raw = int(np.prod(head["shape"][1:], dtype=np.int64)) * np.dtype(head["dtype"]).itemsize
    full = [part for part in parts if not part.is_empty]
    if not full:
        raise InputError("no row of these parts counts: merge them with the others of the job")
    n_points = sum(int(part.metadata["n_kept"]) for part in full)
    check_request(k, job.target, n_points, frame.rank)
    sizes = plan_stream_within(
        f"{len(parts)} parts",
        row_bytes=n_raw,
        n_raw=n_raw,
        n_variables=frame.rank,
        n_moments=n_moments(frame.rank, int(head["kept_order"])),
        target=min(job.target, n_points),
        budget=default_memory() if job.memory is None else job.memory,
        n_rows=n_points,
    )
    stride = max(1, n_points // sizes.sample_rows)
    sample = np.concatenate([_points(_read_points(part), columns)[::stride] for part in full])
    setting = Setting.around(
        frame, sample, sizes.n_cells, job.seed,
        order=int(head["kept_order"]), compared=int(head["compared_order"]),
        exponent=int(head["weight_exponent"]),
    )  # fmt: skip
    watch.lap("looking at a sample")
    stream = CellStream(setting, sizes, n_raw)
    with thread_map(job.threads) as map_function:
        for number, part in enumerate(full):
            say("merging", number, len(full))
            kept = _read_points(part)
            points = _points(kept, columns)
            totals = carried(part)
            _check_part(part, totals, setting, points, kept.weights)
            raw = rows_as_bytes(kept.points)
            stream.take_over(
                points, scaled_weights(kept.weights, setting.exponent), kept.index, raw, totals,
                map_function,
            )  # fmt: skip
        say("merging", len(full), len(full))
        if len(stream) > sizes.left:
            stream.reduce(map_function)
        watch.lap("merging")
        compression = compress_stream(
            stream, options, progress=say, map_function=map_function,
            part=bool(missing),
        )  # fmt: skip
    watch.book(compression.stages)
    support = compression.support
    rows = bytes_as_rows(support.points, np.dtype(head["dtype"]))
    warnings = []
    if missing:
        count = sum(stop - start for start, stop in missing)
        warnings.append(
            f"{count} of {head['shape'][0]} rows are missing, as --allow-missing allows"
        )
    return Work(
        compression=compression,
        result=WeightedSet(rows, support.weights, support.index),
        columns=columns,
        counts=_counts(parts),
        warnings=tuple(warnings),
        part={**head, "rows": joined_rows(parts)} if missing else None,
        extra={**stream.sums(), **digests_as_arrays(digests_of(parts))} if missing else None,
    )


def _read_points(part: Part) -> WeightedSet:
    """Return the kept rows with their weights."""
    kept, _ = read_result(part.location)
    return kept


def _points(kept: WeightedSet, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(to_float64(kept.points[:, columns]))


def _check_part(
    part: Part,
    totals: Totals,
    setting: Setting,
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> None:
    """Hold the rows of a part to the moments that it carries."""
    scaled = scaled_weights(weights, setting.exponent)
    frame = widened(setting.frame, totals.extent)
    moments = totals.in_frame(frame)
    own = accumulate_moments(frame.apply(points), scaled, moments.plan.order, moments.basis)
    error = error_by_order(moments, own, frame)
    worst = worst_error(error, int(part.head["k"]))
    if not worst <= float(part.metadata["tolerance"]):
        raise VerificationError(
            f"{part.name}: its rows miss the moments that it carries by {worst:.1e}, more than its "
            f"tolerance {part.metadata['tolerance']:.1e}; make this part anew"
        )


def _counts(parts: Sequence[Part]) -> Counts:
    return Counts(
        *(
            sum(int(part.metadata[name]) for part in parts)
            for name in ("n_dropped_nan", "n_zero_weight", "n_lossy")
        )
    )


def _metadata(
    parts: Sequence[Part], missing: Sequence[tuple[int, int]], work: Work, effort: str
) -> dict[str, Any]:
    """Say what was merged, in the words of a compression of the whole."""
    first = parts[0]
    head = first.head
    digests = digests_of(parts)
    n_rows = int(head["shape"][0])
    whole = not missing and len(digests) == -(-n_rows // leaf_rows(n_rows))
    fingerprint = (
        root(
            n_rows, digests, np.dtype(head["dtype"]), tuple(head["shape"]),
            has_weights=bool(head["weighted"]),
        )
        if whole
        else None
    )  # fmt: skip
    return {
        "effort": effort,
        "n_columns": first.metadata["n_columns"],
        "input": {**first.metadata["input"], "rows": None, "fingerprint": fingerprint},
        "streamed": None,
        # Of the order that the parts were made for.
        "k_choice": first.metadata["k_choice"] if work.compression.k == head["k"] else None,
        "parts": len(parts),
        "missing_rows": [list(rows) for rows in missing],
    }
