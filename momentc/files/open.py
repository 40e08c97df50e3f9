"""Open the input of a job."""

import sys
from typing import TYPE_CHECKING

from momentc.errors import InputError, UsageError
from momentc.files.jobs import InputChoice
from momentc.io.location import STDIN

if TYPE_CHECKING:
    from momentc.io.source import ResultSource, Source

__all__ = ["open_input", "open_result"]


def open_input(
    choice: InputChoice, hold_at_most: int | None = None, *, may_be_empty: bool = False
) -> "Source":
    """Open what `choice` names.

    Parameters
    ----------
    choice : InputChoice
    hold_at_most : int, optional
        Bytes of a pipe that may be held in memory; more pass by once.
    may_be_empty : bool
        Whether a part of a job in which no row counts will do.

    Raises
    ------
    InputError
        The input is missing, malformed or of a type that cannot be used.
    UsageError
        The standard input is a terminal, where nobody can type an array.
    """
    from momentc.io.source import open_sources

    if choice.location == STDIN and sys.stdin.isatty():
        raise UsageError("the input is -, but the standard input is a terminal; pipe a file in")
    source = open_sources(
        (choice.location, *choice.more),
        dataset=choice.dataset,
        usual_dataset=choice.usual_dataset,
        weights=choice.weights,
        allow_external=choice.allow_external,
        stdin=sys.stdin.buffer,
        hold_at_most=hold_at_most,
    )
    if source.n_rows == 0 and not may_be_empty:
        source.close()
        raise InputError(
            f"{source.name} is a part of a job in which no row counts: it has none; merge it with "
            "the others"
        )
    return source


def open_result(location: str, expected: str) -> "ResultSource":
    """Open a file that momentc wrote, whole.

    Any other is refused by its header: an array may be huge.

    Parameters
    ----------
    location : str
        A file, or ``-`` or another pipe.
    expected : str
        What it should have been, for the message.

    Raises
    ------
    InputError
        It is missing, malformed, or an array.
    VerificationError
        It is damaged.
    """
    from momentc.io.source import ResultSource, open_source

    if location == STDIN and sys.stdin.isatty():
        raise UsageError(f"{STDIN} is a terminal; pipe in {expected}")
    # Of a pipe with a .npy array only the header is read.
    with open_source(location, stdin=sys.stdin.buffer, hold_at_most=0) as source:
        if not isinstance(source, ResultSource):
            raise InputError(f"{source.name} was not written by momentc; expected {expected}")
        return source
