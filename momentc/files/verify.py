"""Compare the moments of a compressed file with those of its original, both read anew."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError
from momentc.files.jobs import InputChoice, JobReport, VerifyJob
from momentc.files.measure import Stopwatch, peak_memory
from momentc.files.open import open_input
from momentc.io.convert import float64_blocks, select_columns
from momentc.io.result_file import read_result
from momentc.io.source import Source
from momentc.progress import ProgressCallback
from momentc.verification import MomentComparison, compare_moments
from momentc.weighted import WeightedSet

__all__ = ["verify_files"]

# Numbers in a block of the original: 8 MiB of float64, small beside the libraries.
BLOCK_NUMBERS = 2**20


def verify_files(job: VerifyJob, *, progress: ProgressCallback | None = None) -> JobReport:
    """Do a :class:`VerifyJob`. The original is read block by block and may be of any size.

    Returns
    -------
    JobReport
        ``ok`` says whether all moments up to the order agree within the tolerance and the kept
        rows are rows of the original.

    Raises
    ------
    InputError
        A file is missing, malformed, or the two cannot belong together.
    VerificationError
        The compressed file is damaged: its content does not match its checksum.
    UsageError
        The order cannot be known and was not given.
    """
    watch = Stopwatch()
    compressed, metadata = read_result(job.compressed)
    order = _order(job, metadata)
    choice = with_recorded_choices(job.source, metadata)
    with open_input(choice) as source:
        columns = _columns(choice, source, compressed, metadata, job.compressed)
        rows_per_block = max(BLOCK_NUMBERS // max(source.n_columns, 1), 1)

        def blocks() -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
            for points, weights, _index in float64_blocks(
                source,
                columns,
                nan=choice.nan,
                allow_lossy=choice.allow_lossy,
                rows_per_block=rows_per_block,
            ):
                yield points, weights

        comparison = compare_moments(
            blocks,
            np.ascontiguousarray(compressed.points[:, columns].astype(np.float64)),
            compressed.weights,
            order,
            job.tolerance,
            progress=progress,
        )
        watch.lap("moments")
        kept = rows_are_kept(source, compressed)
        watch.lap("rows")
        name = source.name
    content = {
        "original": name,
        "compressed": job.compressed,
        "rows_are_kept": kept,
        **_as_json(comparison),
        "seconds": round(watch.seconds, 6),
        "peak_memory": peak_memory(),
    }
    ok = comparison.ok and kept is not False
    content["ok"] = ok
    return JobReport(content=content, ok=ok)


def _order(job: VerifyJob, metadata: dict[str, Any]) -> int:
    """Return the order to check: as asked for, else what the compressed file says of itself."""
    order = metadata.get("k") if job.k is None else job.k
    if not isinstance(order, int) or isinstance(order, bool):
        raise UsageError(f"{job.compressed}: does not say its order k; give one with --k")
    if order < 0:
        raise UsageError(f"--k is {order}; expected 0 or more")
    return order


def with_recorded_choices(choice: InputChoice, metadata: dict[str, Any]) -> InputChoice:
    """Fill in what the user left open with what the compressed file records of its making.

    A recorded name of weights is only followed inside the original file: a compressed file from
    elsewhere must not be able to make momentc open files that the user did not name.
    """
    recorded = metadata.get("input")
    if not isinstance(recorded, dict):
        return choice
    if choice.dataset is None and ":" not in choice.location:
        choice = replace(choice, dataset=_text(recorded.get("dataset")))
    if choice.nan == "error" and recorded.get("nan") == "drop":
        choice = replace(choice, nan="drop")
    if choice.columns is None and isinstance(metadata.get("columns"), list):
        choice = replace(choice, columns=",".join(str(column) for column in metadata["columns"]))
    return choice


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _columns(
    choice: InputChoice,
    source: Source,
    compressed: WeightedSet,
    metadata: dict[str, Any],
    name: str,
) -> NDArray[np.int64]:
    """Return the columns to compare; both files must have the same number of columns."""
    if compressed.points.shape[1] != source.n_columns:
        raise InputError(
            f"{name}: its rows have {compressed.points.shape[1]} columns, those of {source.name} "
            f"have {source.n_columns}; it was not made from this array"
            f"{_made_from(metadata)}"
        )
    return select_columns(choice.columns, source.n_columns)


def _made_from(metadata: dict[str, Any]) -> str:
    """`` (but from data.h5:/x)`` where the file says so."""
    recorded = metadata.get("input")
    name = recorded.get("name") if isinstance(recorded, dict) else None
    return f" (but from {name})" if isinstance(name, str) else ""


def rows_are_kept(source: Source, compressed: WeightedSet) -> bool | None:
    """Whether each kept row is, bit for bit, the row of the original that its index names.

    None if the index cannot belong to this original (it was re-compressed, or cut).
    """
    index = compressed.index
    if len(index) == 0 or int(index[0]) < 0 or int(index[-1]) >= source.n_rows:
        return None
    rows = source.take(index)
    if rows.dtype != compressed.points.dtype:
        return None
    # As bytes: NaN in a column that is only carried along equals itself there.
    return np.ascontiguousarray(rows).tobytes() == np.ascontiguousarray(compressed.points).tobytes()


def _as_json(comparison: MomentComparison) -> dict[str, Any]:
    """Return the comparison as plain JSON values; null for what is not finite."""
    return {
        "k": comparison.k,
        "rank": comparison.rank,
        "n_moments": comparison.n_moments,
        "n_points": list(comparison.n_points),
        "total_weight": list(comparison.total_weight),
        "tolerance": comparison.tolerance,
        "error": [float(v) if np.isfinite(v) else None for v in comparison.error],
        "relative_error": [float(v) if np.isfinite(v) else None for v in comparison.relative_error],
    }
