"""Every error that momentc raises on purpose, and the exit code that the command line gives it.

::

    MomentcError                 1   (never raised itself)
    ├── UsageError               2   also ValueError
    ├── InputError               3   also ValueError
    ├── RequestError             4   also ValueError
    ├── VerificationError        5   also ArithmeticError
    ├── OutputError              6   also OSError
    ├── MemoryBudgetError        7   also MemoryError
    └── PartsError               8   also ValueError

A message says what failed, where (file, dataset, row, column), what was got, what was expected
and what to do. It never says what the program will do next.
"""

from typing import ClassVar

__all__ = [
    "InputError",
    "MemoryBudgetError",
    "MomentcError",
    "OutputError",
    "PartsError",
    "RequestError",
    "UsageError",
    "VerificationError",
]


class MomentcError(Exception):
    """Base of all errors that momentc raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(MomentcError, ValueError):
    """An argument has the wrong form."""

    exit_code = 2


class InputError(MomentcError, ValueError):
    """The input cannot be used: missing, malformed, NaN, a negative weight, an unsafe link."""

    exit_code = 3


class RequestError(MomentcError, ValueError):
    """The request cannot be met by any result: target below the bound, order too large."""

    exit_code = 4


class VerificationError(MomentcError, ArithmeticError):
    """A result does not hold what was promised of it."""

    exit_code = 5


class OutputError(MomentcError, OSError):
    """The output cannot be written: it exists, the folder is read-only, the disk is full."""

    exit_code = 6


class MemoryBudgetError(MomentcError, MemoryError):
    """The work does not fit into the memory budget.

    Parameters
    ----------
    message : str
    needed : int
        Bytes that would do; 0 where that is not known.
    """

    exit_code = 7

    def __init__(self, message: str, needed: int = 0) -> None:
        super().__init__(message)
        self.needed = needed


class PartsError(MomentcError, ValueError):
    """Parts of a job that do not belong together."""

    exit_code = 8
