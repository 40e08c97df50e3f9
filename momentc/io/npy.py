"""Arrays in .npy files: own strict header check, rows by positioned reads.

numpy's reader is not used for the header: it may allocate before it compares the declared shape
with the file, offers to load pickles in its messages, and ignores trailing bytes. Rows are fetched
with ``preadv`` into fresh arrays rather than through a memory map. Both read only what is asked
for, but a map of a file that shrinks kills the process (SIGBUS) where a read comes back short and
can be reported.
"""

import ast
import math
import os
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.base import JOINED, ArraySource, SourceBase
from momentc.io.numeric import require_real, require_shape
from momentc.io.stamp import FileStamp
from momentc.text import shortened

__all__ = ["MAGIC", "NpyHeader", "NpySource", "array_from_bytes", "check_size", "read_header"]

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 16
"""A header of plain numbers needs about 100 bytes; only field names could need more, and are
refused."""

_LENGTH_FORMATS = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}
_KEYS = {"descr", "fortran_order", "shape"}
_PYTHON2_LONG = re.compile(r"(?<=\d)L(?=\s*[,)])")
"""Python 2 wrote the shape as (3L, 4L)."""

_FORTRAN_READ_BYTES = 1 << 26
"""Bytes of one sequential read of a column-ordered file. It costs one seek a column, so it is
large."""


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What the header of a .npy file declares.

    Parameters
    ----------
    shape : tuple of int
        Any number of dimensions, Python integers of any size.
    dtype : numpy.dtype
        Real numbers, byte order kept.
    fortran_order : bool
        Whether the first index runs fastest.
    offset : int
        Bytes before the data.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int

    @property
    def n_bytes(self) -> int:
        """Bytes of the data, exact for every declared shape."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(name: str, read: Callable[[int], bytes]) -> NpyHeader:
    """Read and check the header of a .npy file of version 1.0, 2.0 or 3.0.

    Parameters
    ----------
    name : str
        The file, for the message.
    read : callable
        ``read(n)`` gives the next n bytes, fewer only at the end.

    Returns
    -------
    NpyHeader

    Raises
    ------
    InputError
        Not a .npy file, a version that is not known, a header that is too long, cut short or
        malformed, or a dtype that is not real numbers.
    """
    prefix = read(len(MAGIC) + 2)
    if not prefix.startswith(MAGIC):
        raise InputError(
            f"{name} is not a .npy file: it begins with {prefix[:8]!r}, expected {MAGIC!r}"
        )
    if len(prefix) < len(MAGIC) + 2:
        raise _truncated(name)
    version = (prefix[-2], prefix[-1])
    if version not in _LENGTH_FORMATS:
        raise InputError(
            f"{name} is a .npy file of version {version[0]}.{version[1]}, expected 1.0, 2.0 or "
            "3.0. "
            "Save it again with numpy.save"
        )
    layout = _LENGTH_FORMATS[version]
    length_bytes = read(struct.calcsize(layout))
    if len(length_bytes) < struct.calcsize(layout):
        raise _truncated(name)
    (length,) = struct.unpack(layout, length_bytes)
    if length > MAX_HEADER_BYTES:
        raise InputError(
            f"{name}: the .npy header declares {length} bytes, at most {MAX_HEADER_BYTES} are read"
        )
    text = read(length)
    if len(text) < length:
        raise _truncated(name)
    shape, dtype, fortran_order = _parse(name, text, "utf-8" if version == (3, 0) else "latin-1")
    require_real(name, dtype)
    offset = len(prefix) + len(length_bytes) + length
    return NpyHeader(shape, dtype, fortran_order, offset)


def _truncated(name: str) -> InputError:
    return InputError(
        f"{name} is truncated: it ends inside the .npy header. Copy it again from its origin"
    )


def _parse(name: str, raw: bytes, encoding: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Turn the header's text into shape, dtype and order."""
    try:
        # A warning while parsing hostile text is one more way of being malformed.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = raw.decode(encoding)
            fields = ast.literal_eval(_PYTHON2_LONG.sub("", text).strip())
            if not isinstance(fields, dict) or set(fields) != _KEYS:
                raise ValueError(f"expected a dictionary with the keys {', '.join(sorted(_KEYS))}")
            descr, fortran_order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
            if not isinstance(shape, tuple) or any(
                type(size) is not int or size < 0 for size in shape
            ):
                raise ValueError(f"shape is {shape!r}, expected a tuple of integers >= 0")
            if not isinstance(fortran_order, bool):
                raise ValueError(f"fortran_order is {fortran_order!r}, expected True or False")
            dtype = np.dtype(descr if isinstance(descr, str) else _fields(descr))
    except Exception as error:
        # Everything: literal_eval alone can raise SyntaxError, ValueError, TypeError, MemoryError
        # and RecursionError on bad text, and numpy.dtype adds more.
        reason = printable_reason(error)
        raise InputError(
            f"{name}: the .npy header is malformed ({reason}). Save it again with numpy.save"
        ) from error
    return shape, dtype, fortran_order


def _fields(descr: object) -> list[tuple[Any, ...]]:
    """Accept the field list of a structured dtype, so that the message can name it."""
    if not isinstance(descr, list):
        raise TypeError(f"descr is {descr!r}, expected a string")
    return [tuple(field) for field in descr]


def printable_reason(error: Exception) -> str:
    """Return the first line of an error, cut to a readable length."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    return shortened(text, 160)


def check_size(
    name: str, header: NpyHeader, n_data_bytes: int, after: bytes = b""
) -> tuple[str, ...]:
    """Compare the declared shape with the bytes that are there.

    Parameters
    ----------
    name : str
        The file, for the message.
    header : NpyHeader
        What is declared.
    n_data_bytes : int
        Bytes after the header.
    after : bytes
        The first of those that come after the array, as far as they are known.

    Returns
    -------
    tuple of str
        A warning if there are more bytes than declared.

    Raises
    ------
    InputError
        There are fewer, or another array follows, of which a reader of one would say nothing.
    """
    if n_data_bytes < header.n_bytes:
        raise InputError(
            f"{name} is truncated: shape {header.shape} of {header.dtype} needs {header.n_bytes} "
            "bytes, "
            f"there are {n_data_bytes}. Copy it again from its origin"
        )
    if after.startswith(MAGIC):
        raise InputError(
            f"{name}: after the array with shape {header.shape} comes another one, which would be "
            f"passed over. {JOINED}"
        )
    n_trailing = n_data_bytes - header.n_bytes
    if n_trailing:
        return (f"{name}: {n_trailing} bytes after the array were ignored",)
    return ()


def array_from_bytes(name: str, data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read a whole .npy file that is in memory.

    Parameters
    ----------
    name : str
        For messages.
    data : bytes
        The file.

    Returns
    -------
    array : ndarray
        Own shape, dtype and order; a read-only view of `data`.
    warnings : tuple of str
        See `check_size`.

    Raises
    ------
    InputError
        See `read_header`, `check_size` and `require_shape`.
    """
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        position += size
        return data[position - size : position]

    header = read_header(name, read)
    end = header.offset + header.n_bytes
    notes = check_size(name, header, len(data) - header.offset, data[end : end + len(MAGIC)])
    order: Literal["C", "F"] = "F" if header.fortran_order else "C"
    require_shape(name, header.shape)  # numpy has limits of its own for other shapes
    array: NDArray[Any] = np.ndarray(header.shape, header.dtype, data, header.offset, order=order)
    return array, notes


def source_from_bytes(name: str, data: bytes) -> ArraySource:
    """Read a whole .npy file in memory as a source; see `array_from_bytes`."""
    array, notes = array_from_bytes(name, data)
    return ArraySource(array, name=name, warnings=notes)


class NpySource(SourceBase):
    """Rows of a .npy file on disk.

    Parameters
    ----------
    name : str
        For messages.
    path : pathlib.Path
        The file.
    file : binary file
        Open for reading at its start; rows are read through its descriptor. It is closed with the
        source.

    Raises
    ------
    InputError
        See `read_header` and `check_size`, and `SourceBase` for shapes and types.
    """

    def __init__(self, name: str, path: Path, file: BinaryIO) -> None:
        self._file = file
        stamp = FileStamp(name, file.fileno())
        header = read_header(name, file.read)
        end = header.offset + header.n_bytes
        after = os.pread(file.fileno(), len(MAGIC), end) if stamp.size > end else b""
        notes = check_size(name, header, stamp.size - header.offset, after)
        columns_first = header.fortran_order and len(header.shape) > 1 and header.shape[1] > 1
        row_bytes = max(1, math.prod(header.shape[1:]) * header.dtype.itemsize)
        super().__init__(
            name,
            path=path,
            dataset=None,
            shape=header.shape,
            dtype=header.dtype,
            stamp=stamp,
            warnings=notes,
        )
        self._closers.append(file.close)
        self._offset = header.offset
        self._columns_first = columns_first
        if columns_first:
            self._sequential_rows = max(1, _FORTRAN_READ_BYTES // row_bytes)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        n_rows = stop - start
        if not self._columns_first:
            data = np.empty(n_rows * self.row_bytes, np.uint8)
            self._fill(data, self._offset + start * self.row_bytes)
            return data.view(self.dtype).reshape(n_rows, self.n_columns)
        item = self.dtype.itemsize
        columns = np.empty((self.n_columns, n_rows * item), np.uint8)
        for column in range(self.n_columns):
            self._fill(columns[column], self._offset + (column * self.n_rows + start) * item)
        return np.ascontiguousarray(columns.view(self.dtype).T)

    def _fill(self, buffer: NDArray[np.uint8], offset: int) -> None:
        """Fill `buffer` with the bytes of the file from `offset` on."""
        done = 0
        while done < len(buffer):
            try:
                # One call reads 2 GiB at most.
                count = os.preadv(self._file.fileno(), [buffer[done:].data], offset + done)
            except OSError as error:
                raise InputError(
                    f"{self.name}: reading failed at byte {offset + done}: {error.strerror}"
                ) from error
            if count == 0:
                raise InputError(
                    f"{self.name} changed while it was read: it ends at byte {offset + done}. "
                    "Wait until its writer has finished, then start again"
                )
            done += count
