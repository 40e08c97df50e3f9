"""The standard input, and anything else that can be read only once."""

import os
import stat
from typing import BinaryIO

from momentc.errors import InputError, UsageError

__all__ = ["is_stream", "read_stream"]


def read_stream(stream: BinaryIO, name: str) -> bytes:
    """Read a stream to its end.

    Parameters
    ----------
    stream : binary file
        Pipe, FIFO, socket or file; need not be seekable.
    name : str
        For messages.

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
    if stream.isatty():
        raise UsageError(
            f"{name} is a terminal: send a file into it, for example cat x.npy | momentc ..., or "
            "name one"
        )
    try:
        data = stream.read()
    except OSError as error:
        raise InputError(f"{name}: reading failed: {error.strerror}") from error
    if not data:
        raise InputError(f"{name} gave 0 bytes: the command before the pipe wrote nothing")
    return data


def is_stream(descriptor: int) -> bool:
    """Say whether an open file can be read only once (FIFO, socket, character device)."""
    mode = os.fstat(descriptor).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISBLK(mode))
