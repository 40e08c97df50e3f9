"""Compare the moments of a compressed file with those of its original, both read anew."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.engine.threads import thread_map
from momentc.errors import InputError, UsageError
from momentc.files.jobs import InputChoice, JobReport, VerifyJob
from momentc.files.open import open_input, open_result
from momentc.files.parts import digests_of_arrays
from momentc.files.work import Counts
from momentc.io.convert import float64_blocks, select_columns
from momentc.io.location import STDIN, Location, parse_location
from momentc.io.result_arrays import canonical
from momentc.io.source import Source, open_source
from momentc.process_memory import peak_memory
from momentc.progress import ProgressCallback
from momentc.report import finite
from momentc.stopwatch import Stopwatch
from momentc.text import printable
from momentc.verification import MomentComparison, compare_moments
from momentc.weighted import WeightedSet

__all__ = ["verify_files"]


def verify_files(
    job: VerifyJob, *, progress: ProgressCallback | None = None, began: float | None = None
) -> JobReport:
    """Do a :class:`VerifyJob`. The original is read block by block and may be of any size.

    Parameters
    ----------
    job : VerifyJob
        What to compare.
    progress : callable, optional
        Called with stage, objects done and total.
    began : float, optional
        As in :class:`momentc.stopwatch.Stopwatch`.

    Returns
    -------
    JobReport
        ``ok`` says whether all moments up to the order agree within the tolerance and, if the
        compressed file was made from this very array, its rows are rows of it.

    Raises
    ------
    InputError
        A file is missing, malformed, or the two cannot belong together.
    VerificationError
        The compressed file is damaged: its content does not match its checksum.
    UsageError
        The order cannot be known and was not given.
    """
    watch = Stopwatch(began)
    if STDIN in {job.source.location, *job.source.more} and job.compressed == STDIN:
        raise UsageError("ORIGINAL and COMPRESSED cannot both be the standard input; name a file")
    compressed, metadata, extra = _read_compressed(job.compressed)
    order = _order(job, metadata)
    choice = with_recorded_choices(
        job.source, metadata, job.compressed, nan_as_recorded=job.nan_as_recorded
    )
    counts = Counts()
    with open_input(choice) as source, thread_map(job.threads) as map_function:
        columns = _columns(choice, source, compressed, metadata, job.compressed)
        stretches = _stretches(metadata, source)
        read = _read_columns(columns, metadata) if choice.nan == "drop" else columns

        def blocks(
            stretches: Sequence[tuple[int, int]], *, counted: bool = False
        ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
            for start, stop in stretches:
                for block in float64_blocks(
                    source, read, nan=choice.nan, allow_lossy=choice.allow_lossy,
                    start=start, stop=stop,
                ):  # fmt: skip
                    if counted:
                        counts.add(block)
                    yield np.ascontiguousarray(block.points[:, : len(columns)]), block.weights

        comparison = compare_moments(
            partial(blocks, stretches, counted=True),
            np.ascontiguousarray(compressed.points[:, columns].astype(np.float64)),
            compressed.weights,
            order,
            job.tolerance,
            # As the parts of a job are made: in the frame that they share.
            whole=partial(blocks, [(0, source.n_rows)]),
            progress=progress,
            map_function=map_function,
        )
        watch.lap("moments")
        kept = rows_are_kept(source, compressed)
        is_origin = _is_origin(source, metadata, extra)
        watch.lap("rows")
        name, n_rows = source.name, source.n_rows
        notes = (*source.warnings, *counts.notes(name))
    content = {
        "original": name,
        "compressed": job.compressed,
        "rows": [list(rows) for rows in stretches],
        "n_rows": n_rows,
        "made_from_original": is_origin,
        "rows_are_kept": kept,
        **_as_json(comparison),
        "seconds": round(watch.seconds, 6),
        "stages": watch.stages(),
        "peak_memory": peak_memory(),
    }
    # Rows of another array prove nothing; those of this very array must be what they say.
    ok = comparison.ok and (kept or not is_origin)
    content["ok"] = ok
    return JobReport(content=content, ok=ok, notes=notes)


def _read_compressed(
    location: str,
) -> tuple[WeightedSet, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the compressed file."""
    source = open_result(location, "first the original, then what momentc compress made of it")
    return source.result, source.metadata, source.extra


def _read_columns(columns: NDArray[np.int64], metadata: dict[str, Any]) -> NDArray[np.int64]:
    """Return the columns to read: first those that are compared.

    Rows were left out for what they have in the columns of the compression, so these come after.
    """
    recorded = np.array(metadata.get("columns") or [], dtype=np.int64)
    return np.concatenate([columns, np.setdiff1d(recorded, columns)])


def _stretches(metadata: dict[str, Any], source: Source) -> list[tuple[int, int]]:
    """Return the rows (start, stop) to compare: of a part and the input of its job only its own.

    Beside any other array a part is compared with all of it, as every compressed file is.
    """
    part = metadata.get("part")
    if part is None or part["shape"] != list(source.shape):
        return [(0, source.n_rows)]
    return [(int(start), int(stop)) for start, stop in part["rows"]]


def _is_origin(source: Source, metadata: dict[str, Any], extra: dict[str, NDArray[Any]]) -> bool:
    """Whether the file was made from this very array, all rows of which have been read."""
    part = metadata.get("part")
    if part is None:
        return source.fingerprint() == _recorded(metadata).get("fingerprint")
    # A part knows no fingerprint of the whole, but the digests of its own leaves.
    return (part["shape"], part["dtype"]) == (list(source.shape), source.dtype.str) and all(
        source.digests.get(leaf) == digest for leaf, digest in digests_of_arrays(extra).items()
    )


def _order(job: VerifyJob, metadata: dict[str, Any]) -> int:
    """Return the order to check: as asked for, else what the compressed file says of itself."""
    order = metadata.get("k") if job.k is None else job.k
    if not isinstance(order, int) or isinstance(order, bool):
        raise UsageError(
            f"{printable(job.compressed)}: does not say its order k; give one with --k"
        )
    return order


def with_recorded_choices(
    choice: InputChoice, metadata: dict[str, Any], compressed: str, *, nan_as_recorded: bool = True
) -> InputChoice:
    """Fill in what the user left open with what the compressed file records of its making.

    Recorded weights are only looked for inside the originals: a compressed file from elsewhere must
    not be able to make momentc open files that the user did not name.

    Raises
    ------
    InputError
        An original is missing, or the recorded weights are not inside it.
    """
    recorded = _recorded(metadata)
    places = [
        parse_location(location, choice.dataset) for location in (choice.location, *choice.more)
    ]
    dataset = recorded.get("dataset")
    if isinstance(dataset, str):
        choice = replace(choice, usual_dataset=dataset)
    if nan_as_recorded and recorded.get("nan") == "drop":
        choice = replace(choice, nan="drop")
    if recorded.get("allow_lossy") is True:
        choice = replace(choice, allow_lossy=True)
    if choice.columns is None and isinstance(metadata.get("columns"), list):
        choice = replace(choice, columns=",".join(str(column) for column in metadata["columns"]))
    weights = recorded.get("weights")
    if choice.weights is None and isinstance(weights, str):
        inside = [
            _weights_inside(place, weights, compressed, allow_external=choice.allow_external)
            for place in places
        ]
        # Each of several has weights of this name: none is looked for elsewhere.
        choice = replace(choice, weights=inside[0] if len(inside) == 1 else weights)
    return choice


def _recorded(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what the compressed file says of its input; nothing if it says nothing."""
    recorded = metadata.get("input")
    return recorded if isinstance(recorded, dict) else {}


def _weights_inside(place: Location, weights: str, compressed: str, *, allow_external: bool) -> str:
    """Return the location of `weights` within the file `place`, and nowhere else."""
    try:
        if place.path is None:
            raise InputError("the standard input is not searched for weights")
        open_source(str(place.path), dataset=weights, allow_external=allow_external).close()
    except InputError as error:
        raise InputError(
            f"{printable(compressed)}: was made with the weights {weights!r}, which are not in "
            f"{place.name} itself; name them with --weights"
        ) from error
    return f"{place.path}:{weights}"


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
            f"{printable(name)}: its rows have {compressed.points.shape[1]} columns, those of "
            f"{source.name} have {source.n_columns}; it was not made from this array"
            f"{_made_from(metadata)}"
        )
    return select_columns(choice.columns, source.n_columns)


def _made_from(metadata: dict[str, Any]) -> str:
    """`` (but from data.h5:/x)`` where the file says so."""
    name = _recorded(metadata).get("name")
    return f" (but from {name})" if isinstance(name, str) else ""


def rows_are_kept(source: Source, compressed: WeightedSet) -> bool:
    """Whether each kept row is, bit for bit, the row of the original that its index names."""
    index = compressed.index
    if len(index) and not 0 <= int(index[0]) <= int(index[-1]) < source.n_rows:
        return False
    rows = source.take(index)
    # As bytes: NaN in a column that is only carried along equals itself there. But not the unused
    # ones of long doubles, which hold whatever was in memory.
    return (
        rows.dtype == compressed.points.dtype
        and canonical(rows).tobytes() == canonical(compressed.points).tobytes()
    )


def _as_json(comparison: MomentComparison) -> dict[str, Any]:
    """Return the comparison as plain JSON values; null for what is not finite."""
    return {
        "k": comparison.k,
        "rank": comparison.rank,
        "n_moments": comparison.n_moments,
        "n_points": list(comparison.n_points),
        "total_weight": list(comparison.total_weight),
        "tolerance": comparison.tolerance,
        "error": finite(comparison.error),
        "relative_error": finite(comparison.relative_error),
    }
