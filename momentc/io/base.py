"""What a source of rows is, and the part that all of them share.

A source hands out raw rows in the input's own dtype. It never converts and never judges values:
that is the policy in `momentc.io.convert`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.numeric import require_real, require_shape
from momentc.io.stamp import FileStamp
from momentc.io.weights import validated_weights

__all__ = ["BLOCK_BYTES", "ArraySource", "Source", "SourceBase"]

BLOCK_BYTES = 1 << 20
"""Bytes of a block when the caller has no wish: it stays in the second-level cache while it is
checked."""

TAKE_WINDOW_BYTES = 1 << 16
"""Rows closer together than this are fetched by one read: on disks and in the page cache a read of
64 KiB costs about as much as one of a few bytes."""


class Source(Protocol):
    """Rows of numbers from a file, a pipe or memory, with optional weights."""

    @property
    def name(self) -> str:
        """For messages: ``x.npy``, ``data.h5:/grp/x``, ``<stdin>``."""
        ...

    @property
    def path(self) -> Path | None:
        """The file; None for a pipe or an array in memory."""
        ...

    @property
    def dataset(self) -> str | None:
        """The dataset or member that was chosen."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's own shape, (n_rows,) or (n_rows, n_columns)."""
        ...

    @property
    def n_rows(self) -> int:
        """At least 1."""
        ...

    @property
    def n_columns(self) -> int:
        """At least 1; a 1-D array is one column."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The input's own type, byte order kept."""
        ...

    @property
    def has_weights(self) -> bool:
        """Whether there are weights; answers without reading them."""
        ...

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """(n_rows,) weights: finite, none below 0, sum above 0. Read when first asked for."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user about the file."""
        ...

    def blocks(self, n_rows: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (number of the first row, raw rows (<= n_rows, n_columns)) from first to last.

        Raises
        ------
        InputError
            The input changed or cannot be read any more.
        """
        ...

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the raw rows (len(rows), n_columns) of ascending numbers, bit for bit."""
        ...

    def fingerprint(self) -> str:
        """Return ``blake2b-128:<hex>`` of dtype, shape, content in C order, and weights."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...

    def __enter__(self) -> Self:
        """Return the source itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        ...


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
        self.n_rows, self.n_columns = require_shape(name, shape)
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
        self._fingerprint: str | None = None
        self._closers: list[Callable[[], None]] = []

    @abstractmethod
    def _read(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows start..stop, fresh and C-ordered, (stop - start, n_columns), own dtype."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.n_columns * self.dtype.itemsize

    def attach_weights(self, source: "SourceBase") -> None:
        """Take another source's only column as the weights; it is read when first asked for.

        Raises
        ------
        InputError
            More than one column, or another number of rows.
        """
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

    @property
    def has_weights(self) -> bool:
        """Whether there are weights; answers without reading them."""
        return self._weight_source is not None

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """The (n_rows,) float64 weights, or None. Raises `InputError` if they cannot be weights."""
        if self._weights is None and self._weight_source is not None:
            source = self._weight_source
            raw = np.concatenate([block for _, block in source.blocks(self.n_rows)])
            self._weights = validated_weights(raw[:, 0], source.name)
        return self._weights

    def blocks(self, n_rows: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first row, raw rows) in order; see `Source.blocks`."""
        if n_rows < 1:
            raise ValueError(f"a block has at least one row, got {n_rows}")
        digest = hashlib.blake2b(digest_size=16) if self._fingerprint is None else None
        span = max(self._sequential_rows, n_rows - n_rows % self._unit_rows)
        for start in range(0, self.n_rows, span):
            rows = self._read_unchanged(start, min(start + span, self.n_rows))
            # A pass that is left early leaves no fingerprint; a whole one saves reading the input
            # again. Before the yield, because the block then belongs to the caller.
            if digest is not None:
                digest.update(_bytes_view(rows))
            for first in range(0, len(rows), n_rows):
                yield start + first, rows[first : first + n_rows]
        if digest is not None:
            self._fingerprint = self._finish(digest)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return chosen raw rows; see `Source.take`."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) == 0:
            return np.empty((0, self.n_columns), self.dtype)
        if rows[0] < 0 or rows[-1] >= self.n_rows or np.any(np.diff(rows) < 0):
            raise ValueError(f"rows to take must ascend within 0..{self.n_rows - 1}")
        taken = np.empty((len(rows), self.n_columns), self.dtype)
        unit = self._unit_rows
        window = unit * max(1, TAKE_WINDOW_BYTES // (self.row_bytes * unit))
        bounds = np.flatnonzero(np.diff(rows // window)) + 1
        for begin, end in zip([0, *bounds.tolist()], [*bounds.tolist(), len(rows)], strict=True):
            start, stop = int(rows[begin]), int(rows[end - 1]) + 1
            taken[begin:end] = self._read_unchanged(start, stop)[rows[begin:end] - start]
        return taken

    def fingerprint(self) -> str:
        """Return the content's digest; free after a whole pass of `blocks`, else one pass."""
        if self._fingerprint is None:
            for _ in self.blocks(max(1, BLOCK_BYTES // self.row_bytes)):
                pass
        if self._fingerprint is None:
            raise AssertionError("a whole pass of blocks sets the fingerprint")
        return self._fingerprint

    def _finish(self, digest: "hashlib.blake2b") -> str:
        """Add dtype, shape and weights to the digest of the content."""
        digest.update(f"|{self.dtype.str}|{self.shape}".encode())
        weights = self.weights
        if weights is not None:
            digest.update(b"|weights")
            digest.update(_bytes_view(weights))
        return f"blake2b-128:{digest.hexdigest()}"

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
        self._points = points.reshape(-1, 1) if points.ndim == 1 else points
        if weights is not None:
            self.attach_weights(ArraySource(np.asarray(weights), name=f"of {name}"))

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self._points[start:stop].copy(order="C")


def _bytes_view(array: NDArray[Any]) -> memoryview:
    """See a C-ordered array as bytes, without a copy; its own view refuses foreign byte orders."""
    return array.reshape(-1).view(np.uint8).data
