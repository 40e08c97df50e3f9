"""The standard input, and anything else that can be read only once."""

import os
import stat
from typing import BinaryIO

from momentc.errors import InputError, UsageError

__all__ = ["is_stream", "read_exactly", "read_some", "read_stream"]


def read_stream(stream: BinaryIO, name: str, head: bytes = b"") -> bytes:
    """Read a stream to its end.

    Parameters
    ----------
    stream : binary file
        Pipe, FIFO, socket or file; need not be seekable.
    name : str
        For messages.
    head : bytes
        What was read from it before.

    Returns
    -------
    bytes
        All of it: the formats have their index at the end or jump about, and a pipe cannot go back.

    Raises
    ------
    UsageError
        The stream is a terminal.
    InputError
        Nothing came, or reading failed.
    """
    _refuse_terminal(stream, name)
    rest = read_some(stream, -1, name)
    data = head + rest if head else rest
    if not data:
        raise InputError(f"{name} gave 0 bytes: the command before the pipe wrote nothing")
    return data


def read_some(stream: BinaryIO, n_bytes: int, name: str) -> bytes:
    """Read up to `n_bytes`, or to the end if it is -1; nothing comes only at the end.

    Raises
    ------
    InputError
        Reading failed.
    """
    try:
        return stream.read(n_bytes) or b""
    except OSError as error:
        raise InputError(f"{name}: reading failed: {error.strerror}") from error


def read_exactly(stream: BinaryIO, n_bytes: int, name: str) -> bytes:
    """Read `n_bytes`, fewer only at the end: a pipe gives what is there, which may be less.

    Raises
    ------
    UsageError
        The stream is a terminal.
    InputError
        Reading failed.
    """
    _refuse_terminal(stream, name)
    pieces = []
    while n_bytes > 0 and (piece := read_some(stream, n_bytes, name)):
        pieces.append(piece)
        n_bytes -= len(piece)
    return b"".join(pieces)


def _refuse_terminal(stream: BinaryIO, name: str) -> None:
    if stream.isatty():
        raise UsageError(
            f"{name} is a terminal: send a file into it, for example cat x.npy | momentc ..., or "
            "name one"
        )


def is_stream(descriptor: int) -> bool:
    """Say whether an open file can be read only once (FIFO, socket, character device)."""
    mode = os.fstat(descriptor).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISBLK(mode))
