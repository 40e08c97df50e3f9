"""Words for messages: names and sizes, as every room writes them."""

__all__ = ["format_bytes", "printable"]


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
