"""The part that all sources of rows share; `momentc.io.protocol` says what a source is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError
from momentc.io.choice import Candidate
from momentc.io.fingerprint import LeafHasher, missing_stretches, root
from momentc.io.numeric import require_real, require_shape
from momentc.io.protocol import Source
from momentc.io.sampling import sample_runs
from momentc.io.stamp import FileStamp
from momentc.io.weights import validated_weights, weight_rows

__all__ = ["BLOCK_BYTES", "JOINED", "ArraySource", "Source", "SourceBase"]

JOINED = (
    "Files that are joined end to end are not one: name them one after the other, or by a pattern "
    "such as 'run-*', and they are read as one"
)
"""What to say to ``cat``."""

BLOCK_BYTES = 1 << 20
"""Bytes of a block when the caller has no wish: it stays in the second-level cache while it is
checked."""

TAKE_WINDOW_BYTES = 1 << 16
"""Rows closer together than this are fetched by one read: on disks and in the page cache a read of
64 KiB costs about as much as one of a few bytes."""


class SourceBase(ABC):
    """The shared part of every source; a format adds `_read`, and `_closers` if it holds a file.

    Parameters
    ----------
    name, path, dataset
        As in `Source`.
    shape : tuple of int or None
        As found in the file.
    dtype : numpy.dtype
        As found in the file.
    stamp : FileStamp or None
        Watches the file; None if the data are in memory.
    unit_rows : int
        Rows that come at the price of one (an HDF5 chunk). Sequential reads are whole units.

    Raises
    ------
    InputError
        No real numbers, or neither rows nor (rows, columns).
    """

    sequential_only = False

    def __init__(
        self,
        name: str,
        *,
        path: Path | None,
        dataset: str | None,
        shape: tuple[int, ...] | None,
        dtype: np.dtype[Any],
        stamp: FileStamp | None = None,
        unit_rows: int = 1,
        warnings: tuple[str, ...] = (),
    ) -> None:
        require_real(name, dtype)
        self.n_rows, self.n_columns = self._require_shape(name, shape)
        self.shape: tuple[int, ...] = shape or ()
        self.name = name
        self.path = path
        self.dataset = dataset
        self.dtype = dtype
        self.warnings = warnings
        self._stamp = stamp
        self._unit_rows = unit_rows
        self._sequential_rows = unit_rows
        self._weights: NDArray[np.float64] | None = None
        self._weight_source: SourceBase | None = None
        # Raw weights that were read last, and the row of the first of them.
        self._weight_window: tuple[int, NDArray[Any]] = (0, np.empty(0))
        self.digests: dict[int, bytes] = {}
        # Whether what passes by is hashed, or nothing before somebody asks for it.
        self._hashes = True
        self._closers: list[Callable[[], None]] = []

    @staticmethod
    def _require_shape(name: str, shape: tuple[int, ...] | None) -> tuple[int, int]:
        """Return the numbers of rows and columns, at least one of each."""
        return require_shape(name, shape)

    @abstractmethod
    def _read(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows start..stop, fresh and C-ordered, (stop - start, n_columns), own dtype."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.n_columns * self.dtype.itemsize

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that is read, those of the weights included."""
        own = () if self.path is None else (self.path,)
        return own if self._weight_source is None else own + self._weight_source.paths

    def place_of(self, row: int) -> str:
        """Name the source for a message about one row; see `Source.place_of`."""
        del row
        return self.name

    def arrays_beside(self, wanted: Callable[[str], bool]) -> Iterator[Candidate]:
        """Yield the arrays in the same place of the same file that can be read.

        Parameters
        ----------
        wanted : callable
            Says of a name whether to look at it.
        """
        del wanted
        yield from ()

    def attach_weights(self, source: "SourceBase") -> None:
        """Take another source's only column as the weights; it is read when first asked for.

        Raises
        ------
        UsageError
            The rows have weights of their own, and these are others.
        InputError
            More than one column, or another number of rows.
        """
        if self.has_weights:
            raise UsageError(
                f"{self.name} was written by momentc, and its rows have weights already; "
                f"{source.name} would take their place, and the rows would stand for something "
                "else. Multiply the two, and store rows and products as a new array"
            )
        if source.n_columns != 1:
            raise InputError(
                f"weights {source.name} have shape {source.shape}, expected ({self.n_rows},)"
            )
        if source.n_rows != self.n_rows:
            raise InputError(
                f"weights {source.name} have {source.n_rows} values, but {self.name} has "
                f"{self.n_rows} rows: "
                "there must be one weight per row"
            )
        self._weight_source = source
        # Parts of one input have theirs, and their weights as one have them once more.
        self.warnings = tuple(dict.fromkeys((*self.warnings, *source.warnings)))
        self._weights = None
        self._weight_window = (0, np.empty(0, source.dtype))
        self.digests.clear()

    @property
    def weights_name(self) -> str | None:
        """Where the weights are from; None if there are none."""
        return None if self._weight_source is None else self._weight_source.name

    @property
    def has_weights(self) -> bool:
        """Whether there are weights; answers without reading them."""
        return self._weight_source is not None

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """The (n_rows,) float64 weights, or None. Raises `InputError` if they cannot be weights."""
        if self._weights is None and self._weight_source is not None:
            source = self._weight_source
            raw = np.empty(source.n_rows, source.dtype)
            for start, stop in source._stretches(source.n_rows, 0, source.n_rows):
                raw[start:stop] = source._read_unchanged(start, stop)[:, 0]
            self._weights = validated_weights(raw, source.name)
        return self._weights

    def weights_of(self, start: int, stop: int) -> NDArray[np.float64] | None:
        """Return the weights of some rows; see `Source.weights_of`."""
        source = self._weight_source
        if source is None:
            return None
        if not 0 <= start < stop <= self.n_rows:
            raise ValueError(f"weights of rows {start}..{stop}, the rows are 0..{self.n_rows}")
        if self._weights is not None:
            return self._weights[start:stop]
        first, held = self._weight_window
        end = first + len(held)
        if not first <= start < stop <= end:
            # What follows the last rows is joined to them: a compressed member of a .npz file is
            # read from its start again if it has to go back, a chunk unpacked again.
            goes_on = first <= start <= end
            begin = end if goes_on else source._floor(start)
            new = source._read_unchanged(begin, source._ceil(stop))[:, 0]
            first, held = (
                (start, np.concatenate([held[start - first :], new], dtype=source.dtype))
                if goes_on
                else (begin, new)
            )
            self._weight_window = (first, held)
        return weight_rows(
            held[start - first : stop - first], source.name, start, place_of=source.place_of
        )

    def blocks(
        self, n_rows: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first row, raw rows) in order; see `Source.blocks`."""
        if n_rows < 1:
            raise ValueError(f"a block has at least one row, got {n_rows}")
        stop = self.n_rows if stop is None else stop
        if not 0 <= start <= stop <= self.n_rows:
            raise ValueError(f"rows {start}..{stop} do not lie within 0..{self.n_rows}")
        hasher = self._hasher()
        for begin, end in self._stretches(n_rows, start, stop):
            rows = self._read_unchanged(begin, end)
            # Before the yield, because the block then belongs to the caller.
            if self._hashes and hasher.wants(begin, end):
                hasher.add(begin, rows, self.weights_of(begin, end))
            for first in range(0, len(rows), n_rows):
                yield begin + first, rows[first : first + n_rows]

    def _hasher(self) -> LeafHasher:
        """Return what hashes the leaves of a new pass."""
        return LeafHasher(self.n_rows, self.digests)

    def _stretches(self, n_rows: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Cut rows start..stop into reads, at borders that do not depend on `start`."""
        span = max(self._sequential_rows, n_rows - n_rows % self._unit_rows)
        number = start // span
        while start < stop:
            number += 1
            border = min(stop, self._floor(number * span))
            if border > start:
                yield start, border
                start = border

    def _floor(self, row: int) -> int:
        """First row of the unit that a row is in."""
        return row - row % self._unit_rows

    def _ceil(self, row: int) -> int:
        """First row after the unit that the row before `row` is in."""
        return min(self.n_rows, -(-row // self._unit_rows) * self._unit_rows)

    def held(self) -> NDArray[Any] | None:
        """Return all raw rows where they are in memory; see `Source.held`."""
        return None

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return chosen raw rows; see `Source.take`."""
        rows = np.asarray(rows, dtype=np.int64)
        self._check_rows(rows)
        if len(rows) == 0:
            return np.empty((0, self.n_columns), self.dtype)
        taken = np.empty((len(rows), self.n_columns), self.dtype)
        unit = self._unit_rows
        window = unit * max(1, TAKE_WINDOW_BYTES // (self.row_bytes * unit))
        bounds = np.flatnonzero(np.diff(rows // window)) + 1
        for begin, end in zip([0, *bounds.tolist()], [*bounds.tolist(), len(rows)], strict=True):
            start, stop = int(rows[begin]), int(rows[end - 1]) + 1
            taken[begin:end] = self._read_unchanged(start, stop)[rows[begin:end] - start]
        return taken

    def _check_rows(self, rows: NDArray[np.int64]) -> None:
        if len(rows) and (rows[0] < 0 or rows[-1] >= self.n_rows or np.any(np.diff(rows) < 0)):
            raise ValueError(f"rows to take must ascend within 0..{self.n_rows - 1}")

    def sample(self, n_rows: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return about `n_rows` rows from everywhere; see `Source.sample`."""
        runs = sample_runs(
            self.n_rows,
            n_rows,
            least_rows=max(self._unit_rows, -(-TAKE_WINDOW_BYTES // self.row_bytes)),
            unit_rows=self._unit_rows,
            floor=self._floor,
        )
        rows = np.empty((sum(stop - start for start, stop in runs), self.n_columns), self.dtype)
        done = 0
        for start, stop in runs:
            for begin, end in self._stretches(max(1, BLOCK_BYTES // self.row_bytes), start, stop):
                rows[done : done + end - begin] = self._read_unchanged(begin, end)
                done += end - begin
        index = np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in runs])
        return index, rows

    def fingerprint(self) -> str:
        """Return the content's digest; free after a whole pass of `blocks`."""
        self._hashes = True
        for start, stop in missing_stretches(self.n_rows, self.digests):
            for _ in self.blocks(max(1, BLOCK_BYTES // self.row_bytes), start, stop):
                pass
        return root(self.n_rows, self.digests, self.dtype, self.shape, has_weights=self.has_weights)

    def _read_unchanged(self, start: int, stop: int) -> NDArray[Any]:
        """Read rows, and make sure that the file did not change around it."""
        if self._stamp is None:
            return self._read(start, stop)
        self._stamp.check()
        rows = self._read(start, stop)
        self._stamp.check()
        return rows

    def close(self) -> None:
        """Let go of the file, and of the weights' file."""
        if self._weight_source is not None:
            self._weight_source.close()
        for close in self._closers:
            close()

    def __enter__(self) -> Self:
        """Return the source itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.close()


class ArraySource(SourceBase):
    """An array in memory as a source.

    Parameters
    ----------
    points : (n_rows, n_columns) or (n_rows,) ndarray
        Real numbers of any type, byte order and memory layout. Not copied.
    weights : (n_rows,) ndarray, optional
        One weight per row; None gives each row the weight 1.
    name : str, default "array"
        For messages.
    path, dataset, warnings
        Where the array came from, if a file was read whole.
    hashed : bool, default True
        Whether `blocks` enters what passes by in `digests`. It takes a third of the time of a pass:
        not for arrays whose fingerprint nobody will ask for.

    Raises
    ------
    InputError
        No real numbers, a shape that is not rows, or weights of another length.
    """

    def __init__(
        self,
        points: NDArray[Any],
        weights: NDArray[Any] | None = None,
        name: str = "array",
        *,
        path: Path | None = None,
        dataset: str | None = None,
        warnings: tuple[str, ...] = (),
        hashed: bool = True,
    ) -> None:
        points = np.asarray(points)
        super().__init__(
            name,
            path=path,
            dataset=dataset,
            shape=points.shape,
            dtype=points.dtype,
            warnings=warnings,
        )
        self._hashes = hashed
        self._points = points.reshape(-1, 1) if points.ndim == 1 else points
        if weights is not None:
            self.attach_weights(ArraySource(np.asarray(weights), name=f"of {name}"))

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self._points[start:stop].copy(order="C")

    def held(self) -> NDArray[Any] | None:
        """Return the array, if nobody will ask for its fingerprint."""
        return None if self._hashes else self._points
