"""Arrays in .npz files: members are streamed, never unpacked whole.

A member is read through zipfile from its beginning, so its checksum (CRC-32) is verified by every
whole pass and a compressed member larger than the memory is no problem. Only a compressed member in
Fortran order has to be held in memory, since its rows lie scattered over all of it.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, MomentcError
from momentc.io.base import JOINED, SourceBase
from momentc.io.choice import Candidate, MissingDatasetError, choose
from momentc.io.npy import NpyHeader, check_size, printable_reason, read_header
from momentc.io.stamp import FileStamp

__all__ = ["NpzArchive", "NpzSource", "zip_errors"]

_SUFFIX = ".npy"
_SKIP_BYTES = 1 << 20


@contextmanager
def zip_errors(name: str) -> Iterator[None]:
    """Turn whatever zipfile raises on a bad archive into an `InputError`."""
    try:
        yield
    except (MomentcError, MemoryError):
        raise
    except Exception as error:
        # zipfile raises BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError
        # (encrypted), struct.error, UnicodeDecodeError, OSError, ... on damaged archives.
        reason = (
            "damaged compressed data" if isinstance(error, zlib.error) else printable_reason(error)
        )
        raise InputError(
            f"{name} cannot be read as .npz: {reason}. Copy it again from its origin"
        ) from error


class NpzArchive:
    """The members of an open .npz file.

    Parameters
    ----------
    name : str
        For messages.
    file : binary file
        Seekable, open for reading. It is closed with the archive.

    Raises
    ------
    InputError
        Not a zip archive.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self._file = file
        with zip_errors(name):
            self._zip = zipfile.ZipFile(file)
        # Of members with one name the last counts, as zipfile has it.
        self.members = {info.filename: info for info in self._zip.infolist()}
        if min((info.header_offset for info in self._zip.infolist()), default=0) > 0:
            raise InputError(
                f"{name}: something stands before the archive, another one most likely, which "
                f"would be passed over. {JOINED}"
            )

    def open(self, member: str) -> IO[bytes]:
        """Open a member (full name in the archive) for reading from its start."""
        with zip_errors(f"{self.name}:{member}"):
            return self._zip.open(self.members[member])

    def header(self, member: str) -> NpyHeader:
        """Read the .npy header of a member; see `momentc.io.npy.read_header`."""
        label = f"{self.name}:{member.removesuffix(_SUFFIX)}"
        with self.open(member) as stream, zip_errors(label):
            return read_header(label, stream.read)

    def find(self, dataset: str) -> str | None:
        """Return the full name of the member that the user calls `dataset`, or None."""
        for member in (dataset + _SUFFIX, dataset):
            if member in self.members:
                return member
        return None

    def choose(self, dataset: str | None, n_weights: int | None = None) -> str:
        """Return the full name of the member to read.

        Parameters
        ----------
        dataset : str or None
        n_weights : int, optional
            Rows that want weights, where it is these that are looked for.

        Raises
        ------
        InputError
            No such member, or none was named and there is not exactly one candidate.
        """
        if dataset is not None:
            member = self.find(dataset)
            if member is None:
                names = ", ".join(sorted(member.removesuffix(_SUFFIX) for member in self.members))
                raise MissingDatasetError(
                    f"{self.name} has no member {dataset}; it holds: {names or 'nothing'}"
                )
            return member
        return choose(self.name, *self.list_arrays(), n_weights) + _SUFFIX

    def list_arrays(
        self, wanted: Callable[[str], bool] = lambda _: True
    ) -> tuple[list[Candidate], list[str]]:
        """Return the arrays whose names are wanted, and why others of them cannot be read."""
        candidates, refused = [], []
        for member in sorted(self.members):
            dataset = member.removesuffix(_SUFFIX)
            if dataset == member or not wanted(dataset):
                continue
            try:
                header = self.header(member)
            except InputError as error:
                refused.append(str(error))
            else:
                candidates.append(Candidate(dataset, header.shape, header.dtype))
        return candidates, refused

    def close(self) -> None:
        """Close the archive and its file."""
        self._zip.close()
        self._file.close()


class NpzSource(SourceBase):
    """Rows of one member of a .npz file.

    Parameters
    ----------
    archive : NpzArchive
        Open archive; closed with the source.
    member : str
        Full name in the archive, as `NpzArchive.choose` returns it.
    path : pathlib.Path or None
        The file; None if it is in memory.
    stamp : FileStamp or None
        Watches the file.

    Raises
    ------
    InputError
        See `read_header` and `check_size`, and `SourceBase` for shapes and types.
    """

    def __init__(
        self, archive: NpzArchive, member: str, path: Path | None, stamp: FileStamp | None
    ) -> None:
        dataset = member.removesuffix(_SUFFIX)
        name = f"{archive.name}:{dataset}"
        header = archive.header(member)
        notes = check_size(name, header, archive.members[member].file_size - header.offset)
        super().__init__(
            name,
            path=path,
            dataset=dataset,
            shape=header.shape,
            dtype=header.dtype,
            stamp=stamp,
            warnings=notes,
        )
        self._closers += [self._close_stream, archive.close]
        self._archive = archive
        self._member = member
        self._offset = header.offset
        self._columns_first = header.fortran_order and self.n_columns > 1
        self._whole: NDArray[Any] | None = None
        self._stream: IO[bytes] | None = None
        self._position = 0

    def arrays_beside(self, wanted: Callable[[str], bool]) -> Iterator[Candidate]:
        """Yield the other members; see `SourceBase.arrays_beside`."""
        found, _ = self._archive.list_arrays(wanted)
        yield from (candidate for candidate in found if candidate.dataset != self.dataset)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if self._columns_first:
            if self._whole is None:
                columns = self._stream_bytes(0, self.n_rows * self.row_bytes).view(self.dtype)
                self._whole = columns.reshape(self.n_columns, self.n_rows).T
            return np.ascontiguousarray(self._whole[start:stop])
        data = self._stream_bytes(start * self.row_bytes, stop * self.row_bytes)
        return data.view(self.dtype).reshape(stop - start, self.n_columns)

    def _stream_bytes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return bytes start..stop of the data; cheap if they follow the last that were read."""
        begin = self._offset + start
        with zip_errors(self.name):
            if self._stream is None or self._position > begin:
                self._close_stream()
                self._stream = self._archive.open(self._member)
                self._position = 0
            while self._position < begin:
                self._advance(len(self._stream.read(min(_SKIP_BYTES, begin - self._position))))
            data = np.empty(stop - start, np.uint8)
            view, done = data.data, 0
            while done < len(view):
                piece = self._stream.read(min(len(view) - done, _SKIP_BYTES))
                self._advance(len(piece))
                view[done : done + len(piece)] = piece
                done += len(piece)
            if stop == self.n_rows * self.row_bytes:
                # The checksum is compared when the end of the member is met, not before.
                while self._stream.read(_SKIP_BYTES):
                    pass
                self._close_stream()
        return data

    def _advance(self, n_bytes: int) -> None:
        if n_bytes == 0:
            raise InputError(f"{self.name} is truncated at byte {self._position} of the member")
        self._position += n_bytes

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
