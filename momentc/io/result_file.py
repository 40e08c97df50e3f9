"""Writing and reading momentc's own files; `momentc.io.result_bytes` says what is in them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from momentc.errors import InputError, OutputError, UsageError
from momentc.io.atomic import write_bytes_atomic
from momentc.io.location import HDF5_SUFFIXES, FileFormat, parse_location
from momentc.io.result_bytes import (
    FORMAT_VERSION,
    decode_result,
    decode_with_extra,
    encode_result,
    seal,
)
from momentc.text import printable
from momentc.weighted import WeightedSet

__all__ = [
    "FORMAT_VERSION",
    "output_format",
    "read_result",
    "read_with_extra",
    "write_result",
    "write_result_stream",
]

Verify = Callable[[WeightedSet, dict[str, Any]], None]
"""Raises, usually `VerificationError`, if the result read back does not keep its promise."""


def output_format(path: str | Path) -> FileFormat:
    """Tell from the suffix what to write.

    Parameters
    ----------
    path : str or pathlib.Path
        The output. A device or FIFO without a known suffix gets .npz, as the standard output does.

    Returns
    -------
    FileFormat
        NPZ or HDF5.

    Raises
    ------
    UsageError
        Another suffix.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        return FileFormat.HDF5
    if suffix == ".npz" or (path.exists() and not path.is_file() and not path.is_dir()):
        return FileFormat.NPZ
    if path.is_dir():
        raise UsageError(
            f"output {printable(str(path))} is a folder, expected the name of a file in it"
        )
    raise UsageError(
        f"output {printable(str(path))} "
        + (f"ends in {suffix!r}" if suffix else "has no suffix")
        + ", expected .npz, .h5 or .hdf5"
    )


def write_result(
    path: str | Path,
    result: WeightedSet,
    metadata: dict[str, Any],
    *,
    force: bool,
    inputs: Sequence[Path],
    verify: Verify,
    extra: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write a result, if what stands on the disk passes the check.

    Parameters
    ----------
    path : str or pathlib.Path
        The output; its suffix decides between .npz and HDF5.
    result : WeightedSet
        Points in the input's own dtype.
    metadata : dict
        What JSON can hold; ``format_version`` and ``checksum`` are added, and ``extra`` if there
        are further arrays.
    force : bool
        Replace an existing file (never an input).
    inputs : sequence of pathlib.Path
        Files that are never replaced.
    verify : callable
        Called with set and metadata as read back from the disk, before the file gets its name. If
        it raises, nothing is written, and the old file, if any, stays.
    extra : dict of str to ndarray, optional
        Further arrays of real numbers, at least one dimension, named ``[a-z][a-z0-9_]*``.

    Raises
    ------
    UsageError
        A suffix that is not known.
    OutputError
        See `momentc.io.atomic.write_bytes_atomic`.
    VerificationError
        From `verify`, or the file does not have the content that it was given.
    """
    data = encode_result(*seal(result, metadata, extra), output_format(path), extra)
    name = printable(str(path))
    write_bytes_atomic(
        path,
        data,
        force=force,
        inputs=inputs,
        check=lambda written: verify(*decode_result(written, name)),
    )


def write_result_stream(
    stream: BinaryIO,
    result: WeightedSet,
    metadata: dict[str, Any],
    *,
    verify: Verify,
    extra: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write a result as .npz to a stream, such as the standard output.

    Parameters
    ----------
    stream : binary file
        Open for writing; flushed, not closed.
    result, metadata, verify, extra
        As in `write_result`; `verify` sees what was read from the finished bytes, before the first
        of them is sent.

    Raises
    ------
    UsageError
        The stream is a terminal.
    OutputError
        Writing failed.
    BrokenPipeError
        The reader has closed the pipe: no error for a command line, which ends quietly.
    VerificationError
        From `verify`.
    """
    if stream.isatty():
        raise UsageError(
            "the output is a terminal, which cannot show binary data: send it to a file or a pipe"
        )
    data = encode_result(*seal(result, metadata, extra), FileFormat.NPZ, extra)
    verify(*decode_result(data, "<stdout>"))
    try:
        # An unbuffered stream may take less than it is given.
        rest = memoryview(data)
        while rest:
            rest = rest[stream.write(rest) or 0 :]
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"<stdout> cannot be written: {error.strerror}. Check the disk it is sent to"
        ) from error


def read_result(location: str) -> tuple[WeightedSet, dict[str, Any]]:
    """Read a file that momentc wrote; `read_with_extra` without the further arrays."""
    result, metadata, _ = read_with_extra(location)
    return result, metadata


def read_with_extra(
    location: str,
) -> tuple[WeightedSet, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a file that momentc wrote, and check that its content is what was written.

    Parameters
    ----------
    location : str
        The file, without a dataset.

    Returns
    -------
    result : WeightedSet
        Bit for bit as written.
    metadata : dict
        The file's JSON.
    extra : dict of str to ndarray
        The further arrays by name, bit for bit; most files have none.

    Raises
    ------
    UsageError
        The location is the standard input, or names a dataset.
    InputError
        No such file, not one of momentc, or of a newer format.
    VerificationError
        The file is damaged.
    """
    place = parse_location(location)
    if place.path is None or place.dataset is not None:
        raise UsageError(
            f"{printable(location)} is not a file name; expected a file that momentc wrote"
        )
    try:
        data = place.path.read_bytes()
    except OSError as error:
        raise InputError(f"{place.name} cannot be read: {error.strerror}") from error
    return decode_with_extra(data, place.name)
