"""Equal rows are one object: their weights add up.

The rows are hashed, dealt into buckets by the top bits of the hash, and each bucket finds its equal
rows in a table of its own. A bucket's table stays in the cache, which one table for all rows does
not (a miss a row was most of the time), and threads can share the buckets.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.cells import deal
from momentc.jit import kernel
from momentc.map_function import MapFunction, run_in_parts

__all__ = ["merge_duplicates"]

# Rows of a bucket, about: its table of 2 to 4 times as many slots fits the second-level cache.
BUCKET_ROWS: Final = 8192

# Rows hashed in one task.
HASHED_ROWS: Final = 65536

# Buckets looked through in one task.
TASK_BUCKETS: Final = 8


@kernel
def _hash_rows(points, hashes):  # type: ignore[no-untyped-def]
    """Fill ``hashes``, uint64, one a row; 0.0 and -0.0 hash alike."""
    n, m = points.shape
    for i in range(n):
        state = np.uint64(0x9E3779B97F4A7C15)
        for j in range(m):
            # Adding 0.0 makes -0.0 equal to 0.0 bit for bit.
            state ^= np.float64(points[i, j] + 0.0).view(np.uint64)
            # The finaliser of splitmix64: every input bit reaches every output bit.
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
        hashes[i] = state


@kernel
def _first_equal_rows(points, hashes, rows, first):  # type: ignore[no-untyped-def]
    """For the rows of one bucket, fill ``first`` with the first row of equal values."""
    n = rows.shape[0]
    m = points.shape[1]
    size = 16
    while size < 2 * n:
        size *= 2
    mask = np.uint64(size - 1)
    table = np.empty(size, np.int64)
    for slot in range(size):
        table[slot] = -1
    kept = np.empty(size, np.uint64)
    for i in range(n):
        row = rows[i]
        # The low bits choose the slot: the top ones are those of the bucket.
        at = hashes[row] & mask
        while True:
            other = table[at]
            if other < 0:
                table[at] = row
                kept[at] = hashes[row]
                first[row] = row
                break
            if kept[at] == hashes[row]:
                equal = True
                for j in range(m):
                    if points[row, j] != points[other, j]:
                        equal = False
                        break
                if equal:
                    first[row] = other
                    break
            at = (at + np.uint64(1)) & mask


def merge_duplicates(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    map_function: MapFunction = map,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first of each set of equal rows, and the total weight of the set.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        Finite.
    weights : (n,) float64 ndarray
    map_function : callable
        Runs the blocks and the buckets. The result does not depend on it.

    Returns
    -------
    rows : (n_distinct,) int64 ndarray
        Ascending.
    weights : (n_distinct,) float64 ndarray
    """
    points = np.ascontiguousarray(points)
    n = len(points)
    if n <= BUCKET_ROWS:
        map_function = map
    hashes = np.empty(n, dtype=np.uint64)

    def hash_rows(first: int, last: int) -> None:
        _hash_rows(points[first:last], hashes[first:last])

    run_in_parts(hash_rows, n, HASHED_ROWS, map_function)
    n_bits = max(1, (n // BUCKET_ROWS).bit_length())
    rows, edges = deal((hashes >> np.uint64(64 - n_bits)).astype(np.int64), 2**n_bits)
    first = np.empty(n, dtype=np.int64)

    def look_into(first_bucket: int, last_bucket: int) -> None:
        for bucket in range(first_bucket, last_bucket):
            _first_equal_rows(points, hashes, rows[edges[bucket] : edges[bucket + 1]], first)

    run_in_parts(look_into, len(edges) - 1, TASK_BUCKETS, map_function)
    distinct = np.flatnonzero(first == np.arange(n))
    if len(distinct) == n:
        return distinct, weights
    total: NDArray[np.float64] = np.bincount(first, weights).astype(np.float64, copy=False)
    return distinct, total[distinct]
