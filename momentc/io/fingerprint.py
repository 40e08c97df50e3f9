"""The fingerprint of an input: a tree of digests, so that a part of the rows settles its own part.

The rows are cut into leaves of ``s = leaf_rows(n)`` rows: leaf i is rows [i s, (i + 1) s), the last
one may be shorter. With H = BLAKE2b with a digest of 16 bytes,

    leaf i      = H(rows of the leaf in C order | their weights as float64, if there are any)
    fingerprint = H(leaf 0 | leaf 1 | ... | "|dtype|shape" | "|weights", if there are any)

Leaves depend neither on the container nor on the blocks in which the rows are read. So a pass that
is taken up again, or several passes over stretches of one input, leave what one pass leaves.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.io.digest import DIGEST_BYTES, new_digest, tagged

__all__ = ["LeafHasher", "leaf_rows", "missing_stretches", "root"]

MAX_LEAVES = 1 << 14
"""Their digests take 256 KiB at most, which every checkpoint and every part of a job can carry."""
MIN_LEAF_ROWS = 64
"""A digest of its own costs about a microsecond, as much as hashing 1 KiB: leaves of a few rows
would cost more than their content."""


def leaf_rows(n_rows: int) -> int:
    """Rows of a leaf of a source with `n_rows` rows; the last leaf may be shorter."""
    return max(MIN_LEAF_ROWS, -(-n_rows // MAX_LEAVES))


def missing_stretches(n_rows: int, digests: Mapping[int, bytes]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the rows whose leaves are not known; neighbours are put together."""
    size = leaf_rows(n_rows)
    start: int | None = None
    for leaf in range(-(-n_rows // size)):
        if leaf not in digests:
            start = leaf * size if start is None else start
        elif start is not None:
            yield start, leaf * size
            start = None
    if start is not None:
        yield start, n_rows


def root(
    n_rows: int,
    digests: Mapping[int, bytes],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    *,
    has_weights: bool,
) -> str:
    """Put the digests of all leaves together to ``blake2b-128:<hex>``."""
    digest = new_digest()
    for leaf in range(-(-n_rows // leaf_rows(n_rows))):
        digest.update(digests[leaf])
    digest.update(f"|{dtype.str}|{shape}".encode())
    if has_weights:
        digest.update(b"|weights")
    return tagged(digest)


class LeafHasher:
    """Hashes the leaves of one pass over consecutive rows.

    Parameters
    ----------
    n_rows : int
        Rows of the whole source.
    digests : dict of int to bytes
        Known leaves, which are not hashed again; new ones are entered.
    """

    def __init__(self, n_rows: int, digests: dict[int, bytes]) -> None:
        self._n_rows = n_rows
        self._size = leaf_rows(n_rows)
        self._digests = digests
        # The leaf whose first rows have been hashed, up to row `_next`.
        self._open: hashlib.blake2b | None = None
        self._next = 0
        self._weights: list[NDArray[np.float64]] = []

    def wants(self, start: int, stop: int) -> bool:
        """Whether a leaf with rows in start..stop is not known."""
        leaves = range(start // self._size, (stop - 1) // self._size + 1)
        return any(leaf not in self._digests for leaf in leaves)

    def add(self, start: int, rows: NDArray[Any], weights: NDArray[np.float64] | None) -> None:
        """Take the next rows of the pass, (n, n_columns) in C order, with their (n,) weights.

        A leaf whose first rows the pass has not seen is left out.
        """
        stop, size = start + len(rows), self._size
        first_whole, end_whole = -(-start // size), stop // size
        if first_whole > end_whole:
            self._add_piece(start, rows, weights)
            return
        head, tail = first_whole * size - start, end_whole * size - start
        if head:
            self._add_piece(start, rows[:head], None if weights is None else weights[:head])
        self._add_whole(
            range(first_whole, end_whole),
            rows[head:tail],
            None if weights is None else weights[head:tail],
        )
        if start + tail < stop:
            self._add_piece(start + tail, rows[tail:], None if weights is None else weights[tail:])

    def _add_whole(
        self, leaves: range, rows: NDArray[Any], weights: NDArray[np.float64] | None
    ) -> None:
        """Hash whole leaves: nearly all of them, so the loop has next to nothing in it."""
        if not leaves:
            return
        blake2b, digests = hashlib.blake2b, self._digests
        content = bytes_view(rows)
        step = len(content) // len(leaves)
        at = 0
        if weights is None:
            for leaf in leaves:
                if leaf not in digests:
                    digests[leaf] = blake2b(
                        content[at : at + step], digest_size=DIGEST_BYTES
                    ).digest()
                at += step
            return
        heavy = bytes_view(weights)
        heavy_step = len(heavy) // len(leaves)
        heavy_at = 0
        for leaf in leaves:
            if leaf not in digests:
                digest = blake2b(content[at : at + step], digest_size=DIGEST_BYTES)
                digest.update(heavy[heavy_at : heavy_at + heavy_step])
                digests[leaf] = digest.digest()
            at += step
            heavy_at += heavy_step

    def _add_piece(
        self, start: int, rows: NDArray[Any], weights: NDArray[np.float64] | None
    ) -> None:
        """Hash rows of one leaf that do not fill it, or of the last leaf, which may be short."""
        leaf, stop = start // self._size, start + len(rows)
        if start == leaf * self._size:
            self._open = None
            self._weights = []
            if leaf not in self._digests:
                self._open = new_digest()
        elif leaf in self._digests or start != self._next:
            # Others have entered it meanwhile, or rows of it were not shown.
            self._open = None
        if self._open is None:
            return
        self._next = stop
        self._open.update(bytes_view(rows))
        if weights is not None:
            # A copy: the block belongs to others, who may change it before the leaf is whole.
            self._weights.append(weights.copy())
        if stop == min((leaf + 1) * self._size, self._n_rows):
            # The weights of a leaf follow all of its rows, however the rows came.
            for held in self._weights:
                self._open.update(bytes_view(held))
            self._digests[leaf] = self._open.digest()
            self._open = None


def bytes_view(array: NDArray[Any]) -> memoryview:
    """See a C-ordered array as bytes, without a copy; its own view refuses foreign byte orders."""
    return array.reshape(-1).view(np.uint8).data
