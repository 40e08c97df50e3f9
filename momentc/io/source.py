"""Opening whatever the user named as a source of rows."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from momentc.errors import InputError, UsageError
from momentc.io.base import ArraySource, Source, SourceBase
from momentc.io.choice import MissingDatasetError
from momentc.io.hdf5 import Hdf5Source, find_dataset, open_hdf5
from momentc.io.location import (
    SNIFF_BYTES,
    STDIN,
    FileFormat,
    Location,
    parse_location,
    printable,
    sniff,
)
from momentc.io.npy import NpySource, source_from_bytes
from momentc.io.npz import NpzArchive, NpzSource
from momentc.io.pipe import is_stream, read_stream
from momentc.io.result_bytes import decode_result, is_result_file, is_result_members
from momentc.io.stamp import FileStamp

__all__ = ["ArraySource", "Source", "open_source"]


@dataclass(frozen=True, slots=True)
class _Container:
    """A file whose format is known; `data` holds it if it came from a stream."""

    location: Location
    form: FileFormat
    data: bytes | None

    @property
    def name(self) -> str:
        return self.location.name

    def open(self) -> BinaryIO:
        """Open the file, or the bytes, at their start."""
        if self.data is not None:
            return io.BytesIO(self.data)
        return _open_file(self.name, self.location.path)


def open_source(
    location: str,
    *,
    dataset: str | None = None,
    weights: str | None = None,
    allow_external: bool = False,
    stdin: BinaryIO | None = None,
) -> SourceBase:
    """Open rows for reading; only headers are read.

    Parameters
    ----------
    location : str
        File, or file and dataset; see `momentc.io.location`. ``-`` is the standard input. A file
        that momentc wrote is a source of its points with their weights.
    dataset : str, optional
        HDF5 dataset path or .npz member. Default: the only 2-D (or, if none, 1-D) array of numbers.
    weights : str, optional
        Dataset of the same file (looked for first), or a location of its own. Goes before the
        weights that a file of momentc has itself.
    allow_external : bool, default False
        Follow HDF5 links, external storage and virtual datasets into other files.
    stdin : binary file, optional
        What ``-`` reads; default is the process's own.

    Returns
    -------
    Source
        Close it, or use it in a ``with`` statement.

    Raises
    ------
    UsageError
        The arguments contradict each other.
    InputError
        The file is missing, malformed, unsafe, or not rows of real numbers.
    VerificationError
        A file of momentc does not have the content that it was written with.
    """
    if location == STDIN and weights == STDIN:
        raise UsageError(
            "points and weights cannot both come from the standard input: name a file for one of "
            "them"
        )
    container = _open_container(parse_location(location, dataset), stdin)
    source = _open_array(container, container.location.dataset, allow_external=allow_external)
    if weights is not None:
        try:
            _attach_weights(source, container, weights, allow_external=allow_external, stdin=stdin)
        except BaseException:
            source.close()
            raise
    return source


def _open_file(name: str, path: Path | None) -> BinaryIO:
    if path is None:
        raise UsageError(f"{name} is not a file")
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(
            f"{name} cannot be opened: {error.strerror}. Check its permissions"
        ) from error


def _open_container(location: Location, stdin: BinaryIO | None) -> _Container:
    """Find the format; read the whole of a stream."""
    if location.path is None:
        data = read_stream(stdin if stdin is not None else sys.stdin.buffer, location.name)
        return _Container(location, sniff(location.name, data[:SNIFF_BYTES]), data)
    with _open_file(location.name, location.path) as file:
        if is_stream(file.fileno()):
            data = read_stream(file, location.name)
            return _Container(location, sniff(location.name, data[:SNIFF_BYTES]), data)
        head = _read_head(file, location.name)
    return _Container(location, sniff(location.name, head), None)


def _read_head(file: BinaryIO, name: str) -> bytes:
    try:
        return file.read(SNIFF_BYTES)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error


def _open_array(container: _Container, dataset: str | None, *, allow_external: bool) -> SourceBase:
    """Open one array of a container, as a weighted one if momentc wrote it."""
    if container.form is FileFormat.NPY:
        return _open_npy(container, dataset)
    if container.form is FileFormat.NPZ:
        return _open_npz(container, dataset)
    return _open_hdf5(container, dataset, allow_external=allow_external)


def _open_npy(container: _Container, dataset: str | None) -> SourceBase:
    if dataset is not None:
        raise InputError(
            f"{container.name} is a .npy file: it holds one array and no dataset {dataset}"
        )
    if container.data is not None or container.location.path is None:
        return source_from_bytes(container.name, container.data or b"")
    file = container.open()
    try:
        return NpySource(container.name, container.location.path, file)
    except BaseException:
        file.close()
        raise


def _open_npz(container: _Container, dataset: str | None) -> SourceBase:
    file = container.open()
    try:
        archive = NpzArchive(container.name, file)
        if dataset in {None, "w"} and is_result_members(archive.members):
            return _result_source(container, file)
        stamp = None if container.data is not None else FileStamp(container.name, file.fileno())
        return NpzSource(archive, archive.choose(dataset), container.location.path, stamp)
    except BaseException:
        file.close()
        raise


def _open_hdf5(container: _Container, dataset: str | None, *, allow_external: bool) -> SourceBase:
    name, path = container.name, container.location.path
    watched = container.open()
    try:
        file = open_hdf5(name, watched if container.data is not None or path is None else path)
        try:
            if (dataset is None or dataset.strip("/") == "w") and is_result_file(file):
                file.close()
                return _result_source(container, watched)
            found, where = find_dataset(file, dataset, allow_external=allow_external, name=name)
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


def _result_source(container: _Container, file: BinaryIO) -> ArraySource:
    """Read a file of momentc whole (it is small), checksum and all."""
    file.seek(0)
    with file:
        data = container.data if container.data is not None else file.read()
    result, _ = decode_result(data, container.name)
    return ArraySource(
        result.points,
        result.weights,
        container.name,
        path=container.location.path,
        dataset=container.location.dataset,
    )


def _attach_weights(
    source: SourceBase,
    container: _Container,
    weights: str,
    *,
    allow_external: bool,
    stdin: BinaryIO | None,
) -> None:
    """Give a source its weights: from the same file if it has them, else from a location."""
    found = _open_inside(container, weights, allow_external=allow_external)
    if found is None:
        try:
            place = parse_location(weights)
        except InputError as error:
            raise InputError(
                f"weights {printable(weights)}: {container.name} has no such dataset, and there is "
                "no such file"
            ) from error
        found = _open_array(
            _open_container(place, stdin), place.dataset, allow_external=allow_external
        )
    try:
        source.attach_weights(found)
    except BaseException:
        found.close()
        raise


def _open_inside(container: _Container, dataset: str, *, allow_external: bool) -> SourceBase | None:
    """Open another dataset of a file; None if it has none of this name."""
    if dataset == STDIN or container.form is FileFormat.NPY:
        return None
    try:
        return _open_array(container, dataset, allow_external=allow_external)
    except MissingDatasetError:
        return None
