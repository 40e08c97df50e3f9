"""What a part of a job knows of the whole: enough to check and merge parts without the input."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, RequestError, UsageError
from momentc.files.jobs import CompressJob
from momentc.io.digest import DIGEST_BYTES, new_digest, tagged
from momentc.io.fingerprint import leaf_rows
from momentc.io.location import parse_location
from momentc.io.source import Source
from momentc.version import __version__

if TYPE_CHECKING:
    from momentc.files.plan import CompressPlan
    from momentc.files.streamed import StreamInput
    from momentc.streaming.stream import CellStream

__all__ = [
    "digests_as_arrays",
    "digests_of_arrays",
    "file_stamps",
    "part_arrays",
    "part_head",
    "sample_digest",
    "shard_rows",
]


def shard_rows(n_rows: int, shard: tuple[int, int]) -> tuple[int, int]:
    """Return the rows (start, stop) of the i-th of n parts, i from 1.

    They begin and end with leaves of the fingerprint, so that the parts know their own leaves and
    together that of the whole input.

    Raises
    ------
    RequestError
        There are fewer leaves than parts.
    """
    number, n_parts = shard
    size = leaf_rows(n_rows)
    n_leaves = -(-n_rows // size)
    first, last = (number - 1) * n_leaves // n_parts, number * n_leaves // n_parts
    if n_leaves < n_parts:
        raise RequestError(
            f"{n_rows} rows cannot be shared by {n_parts} shards: {n_leaves} is the most, each of "
            f"{size} rows or more"
        )
    return first * size, min(last * size, n_rows)


def sample_digest(index: NDArray[np.int64], raw: NDArray[Any], weights: NDArray[np.float64]) -> str:
    """Return a digest of a sample: it stands for the input that all parts of a job read."""
    digest = new_digest()
    for array in (index, np.ascontiguousarray(raw), weights):
        digest.update(array.reshape(-1).view(np.uint8).data)
    return tagged(digest)


def part_head(
    job: CompressJob, source: Source, plan: "CompressPlan", opened: "StreamInput"
) -> dict[str, Any]:
    """Return everything on which the state of a stream depends, as plain JSON values."""
    setting = opened.setting
    frame = setting.frame
    return {
        "momentc": __version__,
        "k": opened.options.k,
        "target": opened.options.target,
        "seed": opened.options.seed,
        "effort": opened.options.effort,
        "kept_order": setting.order,
        "compared_order": setting.compared,
        "weight_exponent": setting.exponent,
        # Before, they were in the frame of the sample: such a state must not go on here.
        "moments_in": "the box of the rows",
        "rows": [list(plan.rows)],
        "shape": list(source.shape),
        "dtype": source.dtype.str,
        "weighted": source.has_weights,
        "columns": opened.columns.tolist(),
        "nan": job.source.nan,
        "allow_lossy": job.source.allow_lossy,
        "sample": opened.sample_digest,
        # A sample cannot tell everything: also which files and what in them, their size and time.
        "files": file_stamps(source),
        "datasets": [source.dataset, *(_dataset_of(job, place) for place in _places(job))],
        "stream": {
            "cells": setting.router.n_cells,
            "slots": opened.sizes.slots,
            "block_rows": opened.sizes.block_rows,
            "sample_rows": opened.sizes.sample_rows,
            "carried_bytes": plan.n_raw,
        },
        "frame": {
            "center": frame.center.tolist(),
            "scale": frame.scale.tolist(),
            "columns": frame.columns.tolist(),
            "constant": list(frame.constant),
            "dependent": [[each.column, each.residual, each.growth] for each in frame.dependent],
        },
    }


def file_stamps(source: Source) -> list[list[str | int]]:
    """Return name, size and time of change in ns of every file that is read."""
    found = [(path.name, path.stat()) for path in source.paths]
    return [[name, status.st_size, status.st_mtime_ns] for name, status in found]


def _places(job: CompressJob) -> list[str]:
    """Return what the job reads, as it was named."""
    weights = [] if job.source.weights is None else [job.source.weights]
    return [job.source.location, *job.source.more, *weights]


def _dataset_of(job: CompressJob, place: str) -> str:
    """Return the dataset that a place names; a place in no file names a dataset itself."""
    try:
        return str(parse_location(place, job.source.dataset).dataset)
    except (InputError, UsageError):
        return place


def part_arrays(
    stream: "CellStream", source: Source, rows: tuple[int, int]
) -> dict[str, NDArray[Any]]:
    """Return the moments and the extent of all rows of a part, and the digests of its leaves.

    Without moments and extent where no row counts.
    """
    size = leaf_rows(source.n_rows)
    own = {
        leaf: value for leaf, value in source.digests.items() if rows[0] <= leaf * size < rows[1]
    }
    sums = {} if stream.totals is None else stream.sums()
    return {**sums, **digests_as_arrays(own)}


def digests_as_arrays(digests: Mapping[int, bytes]) -> dict[str, NDArray[Any]]:
    """Return the digests of leaves as arrays."""
    # Another thread may be reading ahead, and add to them: a copy first.
    known = sorted(dict(digests).items())
    return {
        "leaves": np.array([leaf for leaf, _ in known], dtype=np.int64),
        "digests": np.frombuffer(b"".join(value for _, value in known), dtype=np.uint8).reshape(
            -1, DIGEST_BYTES
        ),
    }


def digests_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[int, bytes]:
    """Return what :func:`digests_as_arrays` was given."""
    return dict(zip(arrays["leaves"].tolist(), map(bytes, arrays["digests"]), strict=True))
