"""Numbers as a person reads them, and as a person types them."""

import math
import re
from contextlib import suppress
from decimal import Decimal

from momentc.errors import UsageError

__all__ = [
    "format_count",
    "format_error",
    "format_estimate",
    "format_large",
    "format_seconds",
    "integer_of",
    "parse_order",
    "parse_part",
    "parse_size",
]

# Digits before the point that a number such as 1e6 may have: more are a slip.
MOST_DIGITS = 18

_UNITS = {
    "": 1,
    "K": 1000,
    "M": 1000**2,
    "G": 1000**3,
    "T": 1000**4,
    "KI": 1024,
    "MI": 1024**2,
    "GI": 1024**3,
    "TI": 1024**4,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?|)B?\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of a size such as ``500M``, ``4GiB`` or ``1.5G``; K, M, G, T are powers of 1000.

    Raises
    ------
    UsageError
        `text` is not a number with one of the suffixes, less than a byte, or beyond all bounds.
    """
    match = _SIZE.fullmatch(text)
    size = float(match[1]) * _UNITS[match[2].upper()] if match else 0.0
    if not 1.0 <= size < math.inf:
        raise UsageError(
            f"--memory is {text!r}; expected a size such as 500M, 4G or 4GiB "
            "(suffixes K, M, G, T or KiB, MiB, GiB, TiB)"
        )
    return int(size)


def parse_order(text: str) -> int | None:
    """Return the order that ``--k`` asks for; None for ``auto``.

    Raises
    ------
    UsageError
        `text` is neither a whole number nor the word.
    """
    if text.strip().lower() == "auto":
        return None
    found = integer_of(text)
    if found is None:
        raise UsageError(f"--k is {text!r}; expected a whole number, or auto")
    return found


def integer_of(text: str) -> int | None:
    """Return the integer that a person has typed, as ``1000``, ``1_000`` or ``1e3``; else None."""
    with suppress(ValueError):
        return int(text)
    with suppress(ArithmeticError):
        number = Decimal(text)
        if number == number.to_integral_value() and number.adjusted() < MOST_DIGITS:
            return int(number)
    return None


def parse_part(option: str, text: str) -> tuple[int, int]:
    """Return (i, n) of ``i/n``: the i-th of n parts of a job, counted from 1.

    Raises
    ------
    UsageError
    """
    first, _, second = text.partition("/")
    if not (
        first.isdecimal()
        and second.isdecimal()
        and max(len(first), len(second)) <= 9
        and 1 <= int(first) <= int(second)
    ):
        raise UsageError(
            f"{option} is {text!r}; expected i/n with 1 <= i <= n, as 3/8 for the third of eight "
            f"(an array job that counts from 1: {option} "
            "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT)"
        )
    return int(first), int(second)


def format_count(number: int | None) -> str:
    """Integer with commas; None is a count that was too large to be worked out."""
    return "more than 10^15" if number is None else f"{number:,}"


def format_error(value: float | None) -> str:
    """Error with two digits; a dash where there is none."""
    return "-" if value is None else f"{value:.1e}"


def format_estimate(seconds: float) -> str:
    """Seconds that are guessed: no digits that mean nothing."""
    return f"{math.ceil(seconds)} s" if seconds < 120 else format_seconds(seconds)


def format_large(number: int) -> str:
    """Integer with commas, from a million on in millions or more, three digits or four."""
    for power, letter in ((9, "G"), (6, "M")):
        if number >= 10**power:
            digits = 2 if number < 10 ** (power + 1) else 1
            return f"{number / 10**power:,.{digits}f}{letter}"
    return format_count(number)


def format_seconds(seconds: float) -> str:
    """Seconds below two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
