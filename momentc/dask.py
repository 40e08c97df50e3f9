"""Compress arrays that lie on a Dask cluster (extra: ``momentc[dask]``).

>>> import dask.array, dask.distributed, momentc.dask
>>> client = dask.distributed.Client("tcp://host:8786")
>>> kept = momentc.dask.compress(dask.array.from_zarr("x.zarr"), k=5, target=1000)
"""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.api import options_of, require_tolerance
from momentc.engine.dask_cluster import current_client, tree_on
from momentc.engine.threads import thread_map
from momentc.errors import InputError, UsageError
from momentc.incremental import Accumulation
from momentc.io.base import ArraySource
from momentc.io.convert import load_points
from momentc.io.numeric import require_real, to_float64
from momentc.io.weights import weight_rows
from momentc.options import DEFAULT_TOLERANCE, Effort
from momentc.streaming.shape import State, StreamShape
from momentc.weighted import WeightedSet, rows_as_bytes

if TYPE_CHECKING:
    from dask.array import Array
    from distributed import Client

__all__ = ["compress"]

# Rows on which frame and cells are found, and chunks that they are taken from, at most.
SAMPLE_ROWS: Final = 1 << 17
SAMPLE_CHUNKS: Final = 64

_Chunk = tuple[int, Any, Any]
"""Number of the first row, the rows, their weights or None: as the cluster has them, or there."""


def compress(
    points: "Array",
    k: int = 5,
    target: int = 1000,
    weights: "Array | NDArray[Any] | None" = None,
    random_state: int = 0,
    *,
    threads: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
    effort: Effort = "normal",
) -> WeightedSet:
    """Keep ``target`` of the rows of a Dask array; see :func:`momentc.compress`.

    The workers of the current client reduce the chunks and merge what is left of them; the last
    steps run here. The array is computed twice, for a sample and for the pass: persist what is not
    cheap to compute. The result depends on the array's chunks, not on the workers.

    Parameters
    ----------
    points : (n, m) or (n,) dask.array.Array of real numbers
        The lengths of its chunks are known. Rows of 10 to 100 MiB make good chunks.
    weights : (n,) dask.array.Array or ndarray, optional
    k, target, random_state, tolerance, effort
        As in :func:`momentc.compress`.
    threads : int
        Of the last steps.

    Returns
    -------
    WeightedSet
        ``points`` are rows of the array, ``index`` their numbers in it.

    Raises
    ------
    UsageError
        Dask is missing, there is no client, or ``points`` is no such array.
    InputError, RequestError, VerificationError, MemoryBudgetError
        As :func:`momentc.compress`.
    """
    client = current_client()
    options = options_of(k, target, random_state, threads, tolerance, effort)
    chunks = _chunks(points, weights)
    dtype = points.dtype
    sample, sample_weights = _sample(client, chunks, points.shape[0])
    accumulation = Accumulation(options, sample, sample_weights, dtype)
    shape = accumulation.shape
    state: State = tree_on(client)(
        partial(_reduce_chunk, shape, dtype), chunks, partial(_merge, shape), lambda _: None
    )
    accumulation.stream.restore(state)
    result, kept = accumulation.compress()
    require_tolerance(result)
    return kept


def _chunks(points: "Array", weights: Any) -> list[_Chunk]:
    """Return the chunks of rows, each with its weights, still on the cluster.

    Raises
    ------
    UsageError, InputError
        Not an array of rows, or weights that do not fit.
    """
    from dask import array

    if not isinstance(points, array.Array):
        raise UsageError(
            f"momentc.dask.compress takes a dask.array, got {type(points).__name__}; "
            "momentc.compress takes arrays in memory"
        )
    require_real("the Dask array", points.dtype)
    if points.ndim not in {1, 2} or 0 in points.shape:
        raise InputError(
            f"the Dask array has shape {points.shape}, expected (rows,) or (rows, columns)"
        )
    if np.isnan(points.shape[0]):
        raise UsageError(
            "the lengths of the array's chunks are not known; call its compute_chunk_sizes() first"
        )
    rows = points.reshape(-1, 1) if points.ndim == 1 else points.rechunk({1: -1})
    lengths = rows.chunks[0]
    firsts = np.cumsum([0, *lengths[:-1]]).tolist()
    pieces = rows.to_delayed().ravel().tolist()
    if weights is None:
        return [(first, piece, None) for first, piece in zip(firsts, pieces, strict=True)]
    if np.shape(weights) != (points.shape[0],):
        raise InputError(
            f"the weights have shape {np.shape(weights)}, expected ({points.shape[0]},)"
        )
    heavy = array.asarray(weights).rechunk((lengths,)).to_delayed().ravel().tolist()
    return list(zip(firsts, pieces, heavy, strict=True))


def _sample(
    client: "Client", chunks: list[_Chunk], n_rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows from all over the array, and their weights.

    Raises
    ------
    InputError
        None of them counts.
    """
    from dask.delayed import delayed

    step = -(-len(chunks) // SAMPLE_CHUNKS)
    stride = max(1, n_rows // step // SAMPLE_ROWS)
    look = delayed(_look_at, pure=False)
    # In all of the chunks if not in some: most rows may have the weight 0.
    for looked, every, most in (
        (chunks[::step], stride, n_rows), (chunks, 1, -(-SAMPLE_ROWS // len(chunks))),
    ):  # fmt: skip
        found = client.gather(client.compute([look(chunk, every, most) for chunk in looked]))
        points = np.concatenate([rows for rows, _ in found])
        if len(points):
            return points, np.concatenate([weights for _, weights in found])
    raise InputError(
        "none of the rows of the array counts: all hold a value that is not finite, or have the "
        "weight 0"
    )


def _look_at(
    chunk: _Chunk, stride: int, most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return some rows of a chunk that count, so many at most."""
    _, rows, weights = chunk
    _require_unmasked(rows, weights)
    points = np.ascontiguousarray(to_float64(np.asarray(rows)[::stride]))
    scale = np.ones(len(points)) if weights is None else to_float64(np.asarray(weights)[::stride])
    counts = np.isfinite(points).all(axis=1) & np.isfinite(scale) & (scale > 0.0)
    rows_that_count = np.flatnonzero(counts)[:most]
    return points[rows_that_count], scale[rows_that_count]


def _reduce_chunk(shape: StreamShape, dtype: np.dtype[Any], chunk: _Chunk) -> State:
    """Reduce a chunk, on a worker."""
    first, rows, weights = chunk
    stream = shape.stream()
    if len(rows) == 0:
        return stream.state()
    _require_unmasked(rows, weights)
    rows = np.ascontiguousarray(rows, dtype=dtype)
    _require_finite(rows, first)
    name = f"the chunk that begins with row {first}"
    with ArraySource(rows, name=name, hashed=False) as source:
        points = load_points(source).points
    raw = rows_as_bytes(rows)
    index = np.arange(first, first + len(rows), dtype=np.int64)
    if weights is None:
        heavy = np.ones(len(rows))
    else:
        heavy = weight_rows(np.asarray(weights), "of the Dask array", first)
        counts = heavy > 0.0
        points, heavy, index, raw = points[counts], heavy[counts], index[counts], raw[counts]
    with thread_map(1) as map_function:
        stream.add(points, heavy, index, raw, map_function)
        stream.reduce(map_function)
    return stream.state()


def _require_unmasked(rows: Any, weights: Any) -> None:
    """Refuse masked entries, as :func:`momentc.compress` does. Only the chunks know of them.

    Raises
    ------
    InputError
    """
    for values, name in ((rows, "the Dask array"), (weights, "the array of weights")):
        if np.ma.is_masked(values):
            raise InputError(
                f"{name} has masked entries, and they would count; give the rows that count, as a "
                "plain array"
            )


def _require_finite(rows: NDArray[Any], first: int) -> None:
    """Refuse rows with NaN or infinity, by their number in the whole array.

    Raises
    ------
    InputError
    """
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"row {first + row}, column {column} of the Dask array is {rows[row, column]}, "
            "expected a finite number; leave such rows out, as array[mask] does"
        )


def _merge(shape: StreamShape, first: State, second: State) -> State:
    """Put what is left of neighbours together, on a worker."""
    with thread_map(1) as map_function:
        return shape.merged(first, second, map_function)
