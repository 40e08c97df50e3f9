"""Words for messages: names, counts and sizes, as every room writes them."""

import math

__all__ = ["format_bytes", "printable", "readable", "shortened"]


def printable(name: str) -> str:
    """Make a file name fit for a message: control characters and raw bytes are escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in name
    )


def format_bytes(n_bytes: float) -> str:
    """Bytes with three digits and a binary unit: ``412 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.3g} TiB" if n_bytes < 1000 else f"{n_bytes:.0f} TiB"


def readable(number: int) -> str:
    """Return a count in full, or as a power of ten where it has more than twelve digits.

    Python refuses to print integers of more than 4,300 digits, and nobody reads them.
    """
    if abs(number) < 10**12:
        return str(number)
    sign = "-" if number < 0 else ""
    return f"about {sign}1e{int(number.bit_length() * math.log10(2.0))}"


def shortened(text: str, most: int) -> str:
    """Return a text, or its first characters and three dots where it has more than so many."""
    return text if len(text) <= most else text[:most] + "..."
