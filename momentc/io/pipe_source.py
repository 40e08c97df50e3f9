"""A .npy array on a pipe that is larger than the memory: each row passes once.

Everything else on a pipe is read whole, because the formats jump about in their file and a pipe
cannot go back. The rows of a C-ordered .npy file, however, come one after the other.
"""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.base import SourceBase
from momentc.io.fingerprint import LeafHasher
from momentc.io.npy import MAGIC, NpyHeader, check_size
from momentc.io.pipe import read_some

__all__ = ["PipeSource"]

_READ_BYTES = 1 << 20


class PipeSource(SourceBase):
    """The rows of a .npy array that comes through a pipe.

    One pass of `blocks` from the first row to the last, or from any row on (those before it are
    read, hashed where their digests are not known, and forgotten). `sample` gives the first rows,
    which are held until the pass comes to them. After the last row, the rest of the pipe is read to
    its end, and `warnings` says if there was any.

    Parameters
    ----------
    name : str
        For messages.
    header : NpyHeader
        What was read from the pipe; C order, or one column.
    stream : binary file
        At the first byte of the data.
    close : callable, optional
        Called when the source is closed; the standard input is nobody's to close.

    Raises
    ------
    InputError
        See `SourceBase`; when read: fewer bytes come than the header declares.
    """

    sequential_only = True

    def __init__(
        self,
        name: str,
        header: NpyHeader,
        stream: BinaryIO,
        *,
        close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name, path=None, dataset=None, shape=header.shape, dtype=header.dtype)
        self._header = header
        self._stream = stream
        self._n_bytes = 0
        self._next_row = 0
        self._ahead = np.empty((0, self.n_columns), self.dtype)
        """Rows that a sample has read before the pass, from `_next_row` on."""
        # One for all stretches: a leaf that is cut by two of them cannot be read again.
        self._only_hasher = LeafHasher(self.n_rows, self.digests)
        if close is not None:
            self._closers.append(close)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Raise `InputError`: a pipe does not go back."""
        del rows
        self._refuse("chosen rows cannot be fetched from it")

    def sample(self, n_rows: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the first rows; see `Source.sample`."""
        if n_rows < 1:
            raise ValueError(f"a sample has at least one row, got {n_rows}")
        if self._next_row:
            self._refuse("its first rows have gone by")
        n_rows = min(n_rows, self.n_rows)
        missing = n_rows - len(self._ahead)
        if missing > 0:
            self._ahead = np.concatenate([self._ahead, self._receive(missing)], dtype=self.dtype)
        return np.arange(n_rows, dtype=np.int64), self._ahead[:n_rows].copy()

    def fingerprint(self) -> str:
        """Return the content's digest, once all rows have passed."""
        if self._next_row < self.n_rows:
            self._refuse("its fingerprint is known only when all of its rows have been read")
        return super().fingerprint()

    def blocks(
        self, n_rows: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first row, raw rows) in order; see `Source.blocks`."""
        if self._next_row < start <= self.n_rows:
            step = max(1, _READ_BYTES // self.row_bytes)
            for _ in super().blocks(step, self._next_row, start):
                pass
        yield from super().blocks(n_rows, start, stop)

    def _hasher(self) -> LeafHasher:
        return self._only_hasher

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if start != self._next_row:
            self._refuse(f"row {start} has gone by")
        return self._pass_on(stop - start)

    def _pass_on(self, n_rows: int) -> NDArray[Any]:
        """Return the next rows, first those that a sample has read already."""
        held = self._ahead[:n_rows]
        self._ahead = self._ahead[n_rows:]
        self._next_row += n_rows
        if len(held) == n_rows:
            return held
        if len(held) == 0:
            return self._receive(n_rows)
        return np.concatenate([held, self._receive(n_rows - len(held))], dtype=self.dtype)

    def _receive(self, n_rows: int) -> NDArray[Any]:
        """Read rows from the pipe; after the last one, also whatever follows."""
        data = np.empty(n_rows * self.row_bytes, np.uint8)
        view, done = data.data, 0
        while done < len(view):
            piece = read_some(self._stream, min(len(view) - done, _READ_BYTES), self.name)
            if not piece:
                check_size(self.name, self._header, self._n_bytes)  # raises: these are too few
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._n_bytes += len(piece)
        if self._n_bytes == self._header.n_bytes:
            after = bytearray()
            noted: tuple[str, ...] = ()
            while piece := read_some(self._stream, _READ_BYTES, self.name):
                self._n_bytes += len(piece)
                after += piece[: max(0, len(MAGIC) - len(after))]
                # At once where another array follows: there may be no end of them.
                noted = check_size(self.name, self._header, self._n_bytes, bytes(after))
            self.warnings = (*self.warnings, *noted)
        return data.view(self.dtype).reshape(n_rows, self.n_columns)

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"{self.name} is a pipe larger than the memory for it, whose rows can be read only "
            f"once, from the first to the last: {what}. Save it to a file and name that"
        )
