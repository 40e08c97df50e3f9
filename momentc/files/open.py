"""Open the input of a job."""

import sys
from typing import TYPE_CHECKING

from momentc.errors import InputError, UsageError
from momentc.files.jobs import InputChoice
from momentc.files.names import STDOUT, is_file_name
from momentc.io.location import parse_location, printable

if TYPE_CHECKING:
    from momentc.io.source import Source

__all__ = ["is_result", "open_input", "require_result"]


def open_input(choice: InputChoice, hold_at_most: int | None = None) -> "Source":
    """Open what `choice` names.

    Parameters
    ----------
    choice : InputChoice
    hold_at_most : int, optional
        Bytes of a pipe that may be held in memory; more pass by once.

    Raises
    ------
    InputError
        The input is missing, malformed or of a type that cannot be used.
    UsageError
        The standard input is a terminal, where nobody can type an array.
    """
    from momentc.io.source import open_sources

    if choice.location == STDOUT and sys.stdin.isatty():
        raise UsageError("the input is -, but the standard input is a terminal; pipe a file in")
    return open_sources(
        (choice.location, *choice.more),
        dataset=choice.dataset,
        weights=choice.weights,
        allow_external=choice.allow_external,
        stdin=sys.stdin.buffer,
        hold_at_most=hold_at_most,
    )


def is_result(source: "Source") -> bool:
    """Whether an open source is a file that momentc wrote.

    Those are small and the only ordinary files that are read whole on opening; asking the source
    first keeps a mistyped name from reading a huge array into memory.
    """
    from momentc.io.source import ArraySource

    return isinstance(source, ArraySource) and source.path is not None and source.path.is_file()


def require_result(location: str, expected: str) -> None:
    """Refuse a file that momentc has not written, by its header: an array may be huge.

    Parameters
    ----------
    location : str
        A file.
    expected : str
        What it should have been, for the message.

    Raises
    ------
    InputError
        It is missing, malformed, or an array.
    """
    from momentc.io.source import open_source

    path = parse_location(location).path
    if path is None or not is_file_name(str(path)):
        raise InputError(
            f"{printable(location)} is a pipe, which can be read only once; expected a file: "
            f"{expected}"
        )
    with open_source(location) as source:
        if not is_result(source):
            raise InputError(f"{source.name} was not written by momentc; expected {expected}")
