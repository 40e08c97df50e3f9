"""The state of an unfinished run in a file, whole or absent, from which the run can go on.

::

    magic | length of the header, 8 bytes | header, JSON | digest of all that | arrays | digest

The header has ``head`` (what the state is for), ``state``, and name, dtype and shape of each array;
the arrays follow one after the other in C order. Digests are BLAKE2b of 16 bytes, the second one
over the arrays. The header has one of its own, so that what it says can be believed before anything
is allocated.
"""

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, PartsError
from momentc.io.atomic import sync_folder
from momentc.io.digest import DIGEST_BYTES, new_digest
from momentc.io.lock import (
    PARTIAL,
    output_errors,
    output_lock,
    removed_on_error,
    sibling,
    write_all,
)
from momentc.text import printable, shortened

__all__ = [
    "InParts",
    "checkpoint_path",
    "read_checkpoint",
    "remove_checkpoint",
    "write_checkpoint",
]

MAGIC = b"momentc checkpoint 1\n"
"""The number is the version of the layout: another version reads as damaged, and says --restart."""
LENGTH_BYTES = 8
COPY_BYTES = 1 << 20
"""Bytes of an array that is not in C order which are put in order at a time."""
MAX_SHOWN = 100
"""Characters of a value in a message."""


class InParts(Protocol):
    """An array that is never made: its parts are, one after the other, along the first axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole."""

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the parts."""


def checkpoint_path(output: str | Path) -> Path:
    """Name the checkpoint of an output: hidden, in its folder."""
    return sibling(Path(os.path.realpath(output)), ".checkpoint")


def write_checkpoint(
    path: Path,
    head: Mapping[str, Any],
    state: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any] | InParts],
) -> None:
    """Write a checkpoint, all of it or nothing; an older one is replaced.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    head : dict
        What the state depends on; JSON values without NaN or infinity. `read_checkpoint` compares.
    state : dict
        Anything that JSON can hold, without NaN or infinity.
    arrays : dict of str to ndarray
        Real numbers, any shape and order, at once or in parts. Not copied.

    Raises
    ------
    OutputError
        The file cannot be written; the older one, if any, is untouched.
    ValueError
        Something that JSON or the layout cannot hold.
    """
    header = _header(head, state, arrays)
    target = Path(os.path.realpath(path))
    # The lock also clears away what a run that was killed while writing has left.
    with output_errors(path), output_lock(path):
        partial = sibling(target, f".{os.getpid()}{PARTIAL}")
        with removed_on_error(partial):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(partial, flags, 0o666)
            try:
                write_all(descriptor, header)
                digest = new_digest()
                for array in arrays.values():
                    for piece in _pieces(array):
                        digest.update(piece)
                        write_all(descriptor, piece)
                write_all(descriptor, digest.digest())
                os.fsync(descriptor)
            except BaseException:
                with suppress(OSError):
                    os.close(descriptor)
                raise
            os.close(descriptor)
            partial.replace(target)
        sync_folder(target.parent)


def read_checkpoint(
    path: Path, head: Mapping[str, Any], words: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Read a checkpoint, if there is one.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    head : dict
        What the state must be for.
    words : dict of str to str, optional
        Fields that follow from others or from a cause outside, and whose values tell a user
        nothing; causes first. Where nothing else differs, the words of the first are said.

    Returns
    -------
    state : dict
        As JSON gives it back: tuples are lists.
    arrays : dict of str to ndarray
        Bit for bit, writeable, in the order in which they were written.

    Raises
    ------
    PartsError
        It is for another head, or not what was written.
    InputError
        The system refuses to read it.
    """
    shown = printable(str(path))
    try:
        # Asked before opening: a FIFO of this name would never open.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _damaged(shown, "it is not a file")
        with path.open("rb") as file:
            found, n_left = _read_header(file, shown)
            _require_head(found["head"], json.loads(_json(head)), shown, words or {})
            return found["state"], _read_arrays(file, found["arrays"], n_left, shown)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            f"the checkpoint {shown} cannot be read: {error.strerror}. Check its permissions, or "
            "start anew with --restart"
        ) from error


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, and what a run that was killed while writing it has left.

    Raises
    ------
    OutputError
        The folder does not allow it.
    """
    target = Path(os.path.realpath(path))
    with output_errors(path), output_lock(path):
        target.unlink(missing_ok=True)


def _header(
    head: Mapping[str, Any],
    state: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any] | InParts],
) -> bytes:
    """Everything before the arrays."""
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise ValueError(f"array {name} has dtype {array.dtype}, expected real numbers")
    listed = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    text = _json({"head": head, "state": state, "arrays": listed})
    start = MAGIC + len(text).to_bytes(LENGTH_BYTES, "little") + text
    return start + new_digest(start).digest()


def _json(value: object) -> bytes:
    """Write as ASCII: a file name in it may be no valid Unicode."""
    return json.dumps(value, allow_nan=False).encode()


def _pieces(array: NDArray[Any] | InParts) -> Iterator[memoryview]:
    """Yield the bytes of an array in C order, with a small copy where they lie otherwise."""
    if not isinstance(array, np.ndarray):
        for part in array:
            yield from _pieces(part)
        return
    if array.flags.c_contiguous:
        yield array.reshape(-1).view(np.uint8).data
        return
    row_bytes = array.nbytes // len(array)
    if row_bytes > COPY_BYTES and array.ndim > 1:
        for row in array:
            yield from _pieces(row)
        return
    step = max(1, COPY_BYTES // row_bytes)
    for start in range(0, len(array), step):
        piece = np.ascontiguousarray(array[start : start + step])
        yield piece.reshape(-1).view(np.uint8).data


def _read_header(file: BinaryIO, shown: str) -> tuple[dict[str, Any], int]:
    """Return the header, believed, and the number of bytes after it."""
    n_bytes = os.fstat(file.fileno()).st_size
    start = file.read(len(MAGIC) + LENGTH_BYTES)
    length = int.from_bytes(start[len(MAGIC) :], "little")
    n_left = n_bytes - len(start) - length - DIGEST_BYTES
    if not start.startswith(MAGIC):
        raise _damaged(shown, "it does not begin as a checkpoint of this version")
    if len(start) < len(MAGIC) + LENGTH_BYTES or n_left < DIGEST_BYTES:
        raise _damaged(shown, f"it has {n_bytes} bytes and ends too early")
    text = file.read(length)
    digest = new_digest(start + text).digest()
    if file.read(DIGEST_BYTES) != digest:
        raise _damaged(shown, "its header does not fit its checksum")
    with _damage_noticed(shown):
        found = json.loads(text)
        if not isinstance(found, dict) or found.keys() != {"head", "state", "arrays"}:
            raise ValueError("its header lacks a part")
    return found, n_left


def _read_arrays(
    file: BinaryIO, listed: list[tuple[str, str, list[int]]], n_left: int, shown: str
) -> dict[str, NDArray[Any]]:
    """Read the arrays, after comparing their sizes with what is there."""
    with _damage_noticed(shown):
        layout = [(name, np.dtype(kind), tuple(shape)) for name, kind, shape in listed]
        for name, dtype, shape in layout:
            if dtype.kind not in "biuf" or any(not isinstance(n, int) or n < 0 for n in shape):
                raise ValueError(f"array {name} has dtype {dtype} and shape {shape}")
        needed = sum(math.prod(shape) * dtype.itemsize for _, dtype, shape in layout)
    if needed + DIGEST_BYTES != n_left:
        raise _damaged(
            shown, f"its arrays take {needed} bytes, and there are {n_left - DIGEST_BYTES}"
        )
    arrays: dict[str, NDArray[Any]] = {}
    digest = new_digest()
    for name, dtype, shape in layout:
        data = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
        view = data.data
        while len(view):
            piece = file.read(min(len(view), COPY_BYTES))
            if not piece:
                raise _damaged(shown, "it was cut while it was read")
            view[: len(piece)] = piece
            view = view[len(piece) :]
        digest.update(data.data)
        arrays[name] = data.view(dtype).reshape(shape)
    if file.read(DIGEST_BYTES + 1) != digest.digest():
        raise _damaged(shown, "its content does not fit its checksum")
    return arrays


def _require_head(
    found: dict[str, Any], wanted: dict[str, Any], shown: str, words: Mapping[str, str]
) -> None:
    """Refuse a checkpoint that is for something else, naming every field that differs."""
    fields = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
    fields += [key for key in found.keys() ^ wanted.keys() if key not in fields]
    if not fields:
        return
    plain = [key for key in fields if key not in words]
    theirs = " and ".join(f"{key} = {_value(found, key)}" for key in plain)
    ours = " and ".join(f"{key} = {_value(wanted, key)}" for key in plain)
    now = f", now {ours} {'is' if len(plain) == 1 else 'are'} asked for"
    if not plain:
        theirs, now = next(said for key, said in words.items() if key in fields), ""
    raise PartsError(
        f"the checkpoint {shown} is for {theirs}{now}; give the same options, or "
        "start anew with --restart"
    )


def _value(fields: dict[str, Any], key: str) -> str:
    """Show a value in a message."""
    if key not in fields:
        return "(nothing)"
    return shortened(json.dumps(fields[key]), MAX_SHOWN)


@contextmanager
def _damage_noticed(shown: str) -> Iterator[None]:
    """Turn what a header of another making can raise into a `PartsError`."""
    try:
        yield
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(shown, "its header is malformed") from error


def _damaged(shown: str, what: str) -> PartsError:
    return PartsError(
        f"the checkpoint {shown} is damaged: {what}. Start anew with --restart, which removes it"
    )
