"""Standard streams that the caller has closed.

A file that is opened would get the number of one of them: what is meant for the standard output
would go into it. Python has ``None`` in their place, and prints what is for that on the other one.
"""

import os
import sys

__all__ = ["open_closed_streams", "stdout_was_closed"]

_closed: set[int] = set()


def open_closed_streams() -> None:
    """Open the null device in the place of each standard stream that is closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one, for those below it are open.
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            _closed.add(number)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def stdout_was_closed() -> bool:
    """Tell whether nobody can get what is written on the standard output."""
    return 1 in _closed
