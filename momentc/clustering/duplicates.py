"""Equal rows are one object: their weights add up."""

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["merge_duplicates"]


@nb.njit(cache=True, nogil=True)
def _first_equal_row(bits):  # type: ignore[no-untyped-def]
    """Return, for each row, the first row with the same bits (open addressing hash table)."""
    n, m = bits.shape
    size = 16
    while size < 2 * n:
        size *= 2
    mask = np.uint64(size - 1)
    table = np.full(size, -1, np.int64)
    first = np.empty(n, np.int64)
    for i in range(n):
        state = np.uint64(0x9E3779B97F4A7C15)
        for j in range(m):
            # The finaliser of splitmix64: every input bit reaches every output bit.
            state ^= bits[i, j]
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
        slot = state & mask
        while True:
            other = table[slot]
            if other < 0:
                table[slot] = i
                first[i] = i
                break
            equal = True
            for j in range(m):
                if bits[i, j] != bits[other, j]:
                    equal = False
                    break
            if equal:
                first[i] = other
                break
            slot = (slot + np.uint64(1)) & mask
    return first


@nb.njit(cache=True, nogil=True)
def _add_up(first, weights):  # type: ignore[no-untyped-def]
    total = np.zeros(weights.shape[0])
    for i in range(weights.shape[0]):
        total[first[i]] += weights[i]
    return total


def merge_duplicates(
    points: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first of each set of equal rows, and the total weight of the set.

    Parameters
    ----------
    points : (n, m) float64 ndarray
    weights : (n,) float64 ndarray

    Returns
    -------
    rows : (n_distinct,) int64 ndarray
        Ascending.
    weights : (n_distinct,) float64 ndarray
    """
    # Adding 0.0 makes -0.0 equal to 0.0 bit for bit.
    bits = (np.ascontiguousarray(points) + 0.0).view(np.uint64)
    first = _first_equal_row(bits)
    rows = np.flatnonzero(first == np.arange(len(first)))
    if len(rows) == len(points):
        return rows, weights
    return rows, _add_up(first, weights)[rows]
