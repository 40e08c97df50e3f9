"""Equal rows are one object: their weights add up.

The rows are hashed. Most data have no equal rows, or few: a bit for each hash, in a field of many
times as many bits as rows, tells which rows can have an equal one at all. These are dealt into
buckets by the top bits of the hash, and each bucket finds its equal rows in a table of its own. A
bucket's table stays in the cache, which one table for all rows does not (a miss a row was most of
the time), and threads can share the buckets.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.cells import deal
from momentc.indexing import U
from momentc.jit import kernel
from momentc.map_function import MapFunction, run_in_parts

__all__ = ["merge_duplicates"]

# Rows of a bucket, about: its table of 2 to 4 times as many slots fits the second-level cache.
BUCKET_ROWS: Final = 8192

# Bits a row, at least: one row in 16 or fewer then has the bit of another by chance.
BITS: Final = 16

# Where more of the rows than this find their bit taken, many are equal, and all are looked into.
MOST_SHARED: Final = 0.125

# Rows whose bits are noted in one task, at least, and tasks at most: each has bits for all rows.
MARKED_ROWS: Final = 1 << 17
MARKED_PARTS: Final = 2

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
def _mark_bits(hashes, seen, shared):  # type: ignore[no-untyped-def]
    """Set the bit of each hash in ``seen``, and in ``shared`` where it was set already.

    Both are 0 at first, a power of two of words of 64 bits: one bit for each value of the low bits.
    Returns whether so many were set already that it is quicker to look into all rows.
    """
    n = hashes.shape[0]
    mask = np.uint64(seen.shape[0] - 1)
    most = np.uint64(MOST_SHARED * n)
    n_shared = np.uint64(0)
    for i in range(U(n)):
        word = (hashes[i] >> np.uint64(6)) & mask
        bit = np.uint64(1) << (hashes[i] & np.uint64(63))
        if seen[word] & bit:
            shared[word] |= bit
            n_shared += np.uint64(1)
            if n_shared > most:
                return True
        else:
            seen[word] |= bit
    return False


@kernel
def _rows_of_bits(hashes, first, shared, rows):  # type: ignore[no-untyped-def]
    """Fill in the rows whose bit is in ``shared``, counted from ``first``; return their number.

    ``rows`` has room for all and one more.
    """
    mask = np.uint64(shared.shape[0] - 1)
    n_rows = U(0)
    for i in range(U(hashes.shape[0])):
        word = (hashes[i] >> np.uint64(6)) & mask
        # At the next place, and there to stay if the bit is shared: a branch is mispredicted.
        rows[n_rows] = U(first) + i
        n_rows += shared[word] >> (hashes[i] & np.uint64(63)) & np.uint64(1)
    return np.int64(n_rows)


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


def _rows_that_share_a_bit(
    hashes: NDArray[np.uint64], map_function: MapFunction
) -> NDArray[np.int64]:
    """Return, ascending, rows among which are all whose hash has the low bits of another's.

    These rows and no others, unless they are so many that it is quicker to return all.
    """
    n = len(hashes)
    part = max(MARKED_ROWS, -(-n // MARKED_PARTS))
    starts = range(0, max(1, n), part)
    # Each part has bits of its own; where two have the same, it is shared.
    n_words = 2 ** (n * BITS // 64).bit_length()
    fields = np.empty((len(starts), 2, n_words), dtype=np.uint64)

    def mark(place: int) -> bool:
        own = hashes[starts[place] : starts[place] + part]
        fields[place] = 0
        return bool(_mark_bits(own, *fields[place]))

    if any(list(map_function(mark, range(len(starts))))):
        return np.arange(n)
    seen, shared = fields[0]
    for also_seen, also_shared in fields[1:]:
        shared |= also_shared
        shared |= seen & also_seen
        seen |= also_seen

    def find(first: int) -> NDArray[np.int64]:
        own = hashes[first : first + part]
        rows = np.empty(len(own) + 1, dtype=np.int64)
        return rows[: _rows_of_bits(own, first, shared, rows)]

    return np.concatenate([np.empty(0, dtype=np.int64), *map_function(find, starts)])


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
    hashes = np.empty(n, dtype=np.uint64)

    def hash_rows(first: int, last: int) -> None:
        _hash_rows(points[first:last], hashes[first:last])

    run_in_parts(hash_rows, n, HASHED_ROWS, map_function)
    rows = _rows_that_share_a_bit(hashes, map_function)
    n_bits = max(1, (len(rows) // BUCKET_ROWS).bit_length())
    order, edges = deal((hashes[rows] >> np.uint64(64 - n_bits)).astype(np.int64), 2**n_bits)
    by_bucket = rows[order]
    first = np.arange(n)

    def look_into(first_bucket: int, last_bucket: int) -> None:
        for bucket in range(first_bucket, last_bucket):
            own = by_bucket[edges[bucket] : edges[bucket + 1]]
            _first_equal_rows(points, hashes, own, first)

    run_in_parts(look_into, len(edges) - 1, TASK_BUCKETS, map_function)
    if np.array_equal(first[rows], rows):
        return first, weights
    distinct = np.flatnonzero(first == np.arange(n))
    total: NDArray[np.float64] = np.bincount(first, weights).astype(np.float64, copy=False)
    return distinct, total[distinct]
