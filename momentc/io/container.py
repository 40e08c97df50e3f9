"""From a file or stream, whose first bytes say what it is, to one of the arrays in it."""

import errno
import io
import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from momentc.errors import InputError, UsageError
from momentc.io.base import SourceBase
from momentc.io.choice import MissingDatasetError
from momentc.io.hdf5 import Hdf5Source, find_dataset, open_hdf5
from momentc.io.location import SNIFF_BYTES, STDIN, FileFormat, Location, sniff
from momentc.io.npy import MAGIC, NpySource, read_header, source_from_bytes
from momentc.io.npz import NpzArchive, NpzSource
from momentc.io.pipe import is_stream, read_exactly, read_stream
from momentc.io.pipe_source import PipeSource
from momentc.io.result_bytes import is_result_file, is_result_members
from momentc.io.result_source import ResultSource
from momentc.io.stamp import FileStamp

__all__ = ["Container", "open_array", "open_container", "open_inside"]


@dataclass(frozen=True, slots=True)
class Container:
    """A file whose format is known; `data` or `pipe` has it if it came from a stream."""

    location: Location
    form: FileFormat
    data: bytes | None
    pipe: PipeSource | None = None

    @property
    def name(self) -> str:
        """The file, for messages."""
        return self.location.name

    def open(self) -> BinaryIO:
        """Open the file, or the bytes, at their start."""
        if self.data is not None:
            return io.BytesIO(self.data)
        return _open_file(self.name, self.location.path)


def _open_file(name: str, path: Path | None) -> BinaryIO:
    if path is None:
        raise UsageError(f"{name} is not a file")
    try:
        return path.open("rb")
    except OSError as error:
        advice = (
            "Raise the limit (ulimit -n), or put files together"
            if error.errno in {errno.EMFILE, errno.ENFILE}
            else "Check its permissions"
        )
        raise InputError(f"{name} cannot be opened: {error.strerror}. {advice}") from error


def open_container(
    location: Location, stdin: BinaryIO | None, hold_at_most: int | None = None
) -> Container:
    """Find the format; read the whole of a stream, or only its header if it is too large."""
    if location.path is None:
        stream = stdin if stdin is not None else sys.stdin.buffer
        return _open_stream(location, stream, hold_at_most, None)
    with ExitStack() as at_end:
        file = at_end.enter_context(_open_file(location.name, location.path))
        if is_stream(file.fileno()):
            container = _open_stream(location, file, hold_at_most, file.close)
            if container.pipe is not None:
                at_end.pop_all()
            return container
        head = _read_head(file, location.name)
    return Container(location, sniff(location.name, head), None)


def _open_stream(
    location: Location,
    stream: BinaryIO,
    hold_at_most: int | None,
    close: Callable[[], None] | None,
) -> Container:
    """Read a stream, unless it is a .npy file whose rows can pass one by one and are too many."""
    name = location.name
    head = b""
    if hold_at_most is not None:
        head = read_exactly(stream, len(MAGIC), name)
        if head == MAGIC:
            n_used = 0

            def read(n_bytes: int) -> bytes:
                nonlocal head, n_used
                head += read_exactly(stream, n_used + n_bytes - len(head), name)
                n_used += n_bytes
                return head[n_used - n_bytes : n_used]

            header = read_header(name, read)
            by_rows = not header.fortran_order or math.prod(header.shape[1:]) == 1
            if by_rows and header.n_bytes > hold_at_most:
                pipe = PipeSource(name, header, stream, close=close)
                return Container(location, FileFormat.NPY, None, pipe)
    data = read_stream(stream, name, head)
    return Container(location, sniff(name, data[:SNIFF_BYTES]), data)


def _read_head(file: BinaryIO, name: str) -> bytes:
    try:
        return file.read(SNIFF_BYTES)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error


def open_array(
    container: Container,
    dataset: str | None,
    *,
    allow_external: bool,
    n_weights: int | None = None,
) -> SourceBase:
    """Open one array of a container, as a weighted one if momentc wrote it.

    Where none is named it is the one that can be meant: as rows, or as weights of ``n_weights``.
    """
    if container.form is FileFormat.NPY:
        return _open_npy(container, dataset)
    if container.form is FileFormat.NPZ:
        return _open_npz(container, dataset, n_weights)
    return _open_hdf5(container, dataset, n_weights, allow_external=allow_external)


def _open_npy(container: Container, dataset: str | None) -> SourceBase:
    if dataset is not None:
        if container.pipe is not None:
            container.pipe.close()
        raise InputError(
            f"{container.name} is a .npy file: it holds one array and no dataset {dataset}"
        )
    if container.pipe is not None:
        return container.pipe
    if container.data is not None or container.location.path is None:
        return source_from_bytes(container.name, container.data or b"")
    file = container.open()
    try:
        return NpySource(container.name, container.location.path, file)
    except BaseException:
        file.close()
        raise


def _open_npz(container: Container, dataset: str | None, n_weights: int | None) -> SourceBase:
    file = container.open()
    try:
        archive = NpzArchive(container.name, file)
        if dataset in {None, "w"} and is_result_members(archive.members):
            return _result_source(container, file)
        stamp = None if container.data is not None else FileStamp(container.name, file.fileno())
        return NpzSource(
            archive, archive.choose(dataset, n_weights), container.location.path, stamp
        )
    except BaseException:
        file.close()
        raise


def _open_hdf5(
    container: Container, dataset: str | None, n_weights: int | None, *, allow_external: bool
) -> SourceBase:
    name, path = container.name, container.location.path
    watched = container.open()
    try:
        file = open_hdf5(name, watched if container.data is not None or path is None else path)
        try:
            if (dataset is None or dataset.strip("/") == "w") and is_result_file(file):
                file.close()
                return _result_source(container, watched)
            found, where = find_dataset(
                file, dataset, allow_external=allow_external, name=name, n_weights=n_weights
            )
            return Hdf5Source(
                file,
                found,
                location=name,
                dataset_path=where,
                path=path,
                watched=None if container.data is not None else watched,
            )
        except BaseException:
            file.close()
            raise
    except BaseException:
        watched.close()
        raise


def _result_source(container: Container, file: BinaryIO) -> ResultSource:
    """Read a file of momentc whole (it is small), checksum and all."""
    file.seek(0)
    with file:
        data = container.data if container.data is not None else file.read()
    return ResultSource(container.location, data)


def open_inside(
    container: Container, dataset: str, *, allow_external: bool, n_weights: int
) -> SourceBase:
    """Open another dataset of a file, as the weights of so many rows.

    Raises
    ------
    MissingDatasetError
        It has none of this name.
    """
    if dataset == STDIN or container.form is FileFormat.NPY:
        raise MissingDatasetError(f"{container.name} has no other array")
    return open_array(container, dataset, allow_external=allow_external, n_weights=n_weights)
