"""From what the user typed to a file and a place in it.

A location is ``x.npy``, ``x.npz``, ``x.npz:member``, ``x.h5``, ``x.h5:/grp/x``, ``x.h5/grp/x`` or
``-``. A file whose whole name is the location always comes first, so a name may hold colons. What
the file is, its first bytes decide; the suffix is only a habit.
"""

import enum
import errno
import stat
from dataclasses import dataclass
from pathlib import Path

from momentc.errors import InputError, UsageError
from momentc.text import printable

__all__ = [
    "HDF5_SUFFIXES",
    "STDIN",
    "FileFormat",
    "Location",
    "derived_output",
    "parse_location",
    "sniff",
]

STDIN = "-"
HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".he5", ".nc"})

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HDF5_FIRST_USER_BLOCK = 512
"""An HDF5 file may begin with a user block: its magic then stands at 512, 1024, 2048, ... bytes."""
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_MOST_SAFETENSORS_HEADER = 100_000_000  # as the library itself has it
_PICKLE_MAGICS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
SNIFF_BYTES = 4096
"""Enough for every magic number and for the first three places of an HDF5 user block."""


class FileFormat(enum.Enum):
    """What the first bytes of a file say it is."""

    NPY = "npy"
    NPZ = "npz"
    HDF5 = "hdf5"


@dataclass(frozen=True, slots=True)
class Location:
    """A file, and the array in it if the location names one.

    Parameters
    ----------
    name : str
        The file as the user gave it, printable; ``<stdin>`` for the standard input.
    path : pathlib.Path or None
        The file; None for the standard input.
    dataset : str or None
        Dataset path (HDF5) or member name (.npz).
    """

    name: str
    path: Path | None
    dataset: str | None


def parse_location(text: str, dataset: str | None = None) -> Location:
    """Split a location into file and dataset.

    Parameters
    ----------
    text : str
        See the module's docstring.
    dataset : str or None
        Dataset given separately.

    Returns
    -------
    Location

    Raises
    ------
    UsageError
        An empty location, or two different datasets.
    InputError
        No such file, a folder, or a name the file system cannot hold.
    """
    if text == STDIN:
        return Location("<stdin>", None, dataset or None)
    if not text or "\0" in text:
        raise UsageError(
            f"{text!r} is not a file name; expected a path, or - for the standard input"
        )
    path, inner = _split(text)
    if dataset and inner and dataset.strip("/") != inner.strip("/"):
        raise UsageError(
            f"two datasets are given: {inner} in {printable(text)}, and {dataset}. Give one of them"
        )
    return Location(printable(str(path)), path, dataset or inner or None)


def _split(text: str) -> tuple[Path, str]:
    """Find the longest beginning of `text` that is a file; the rest is the dataset."""
    if _is_file(text):
        return Path(text), ""
    # The rightmost colon first: x:1.h5:/grp is the file x:1.h5.
    cut = text.rfind(":")
    while cut > 0:
        if _is_file(text[:cut]):
            return Path(text[:cut]), text[cut + 1 :]
        cut = text.rfind(":", 0, cut)
    cut = text.rfind("/")
    while cut > 0:
        if _is_file(text[:cut]):
            return Path(text[:cut]), text[cut:]
        cut = text.rfind("/", 0, cut)
    if _mode(text) is not None:
        raise InputError(f"{printable(text)} is a folder, expected a .npy, .npz or HDF5 file")
    raise InputError(
        f"{printable(text)}: no such file. Check the path, or give - to read the standard input"
    )


def _is_file(text: str) -> bool:
    mode = _mode(text)
    return mode is not None and not stat.S_ISDIR(mode)


def _mode(text: str) -> int | None:
    """Return the mode of what `text` names, None if nothing; complain if that cannot be told."""
    try:
        return Path(text).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None  # the dataset that follows the file may make it so
        raise InputError(f"{printable(text)} cannot be read: {error.strerror}") from error


def sniff(name: str, head: bytes) -> FileFormat:
    """Tell the format from the first bytes.

    Parameters
    ----------
    name : str
        The file, for the message.
    head : bytes
        Its first `SNIFF_BYTES` bytes, or all of it.

    Returns
    -------
    FileFormat

    Raises
    ------
    InputError
        Not a format that momentc reads; says what it looks like instead.
    """
    if head.startswith(b"\x93NUMPY"):
        return FileFormat.NPY
    if head.startswith(_ZIP_MAGICS):
        return FileFormat.NPZ
    offset = 0
    while offset + len(_HDF5_MAGIC) <= len(head):
        if head.startswith(_HDF5_MAGIC, offset):
            return FileFormat.HDF5
        offset = offset * 2 or _HDF5_FIRST_USER_BLOCK
    if not head:
        what = "it is empty (0 bytes)"
    elif head.startswith(_PICKLE_MAGICS):
        what = (
            "it looks like a pickle. Object arrays (pickles) are never loaded, because loading one "
            "can run code"
        )
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MOST_SAFETENSORS_HEADER:
        what = (
            "it looks like a checkpoint of safetensors. momentc compress-layer takes these; to "
            "compress the rows of a tensor, store it as .npy"
        )
    elif _looks_like_text(head):
        what = (
            "it looks like text. Convert it, for example with "
            "numpy.save('x.npy', numpy.loadtxt(...))"
        )
    else:
        what = f"it begins with {head[:8]!r}"
    raise InputError(f"{name} is not a .npy file, nor .npz, nor HDF5: {what}")


def _looks_like_text(head: bytes) -> bool:
    """Say whether the bytes are printable text in UTF-8, possibly cut inside a character."""
    text = head.decode("utf-8", errors="ignore")
    return len(text.encode()) >= len(head) - 3 and all(
        char.isprintable() or char.isspace() for char in text
    )


def derived_output(location: str) -> Path:
    """Name the output of `compress` when the user gives none: beside the input.

    Parameters
    ----------
    location : str
        The input, in any form of location.

    Returns
    -------
    pathlib.Path
        ``data.h5`` gives ``data.momentc.h5``; ``data.npy`` and ``data.npz`` give
        ``data.momentc.npz``; another suffix is kept, and the content decides between the two.

    Raises
    ------
    UsageError
        The input is the standard input, a device or a FIFO: no name to derive one from.
    InputError
        There is no such file.
    """
    if location == STDIN:
        raise UsageError(
            "the standard input has no name to derive an output from: give one, or - for stdout"
        )
    path = parse_location(location).path
    if path is None:
        raise UsageError(
            f"{printable(location)} has no file name to derive an output from: give one"
        )
    suffix = path.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        return path.with_name(path.stem + ".momentc.h5")
    if suffix in {".npy", ".npz"}:
        return path.with_name(path.stem + ".momentc.npz")
    if not path.is_file():
        # A device or FIFO: reading it here would take bytes away from the run itself.
        raise UsageError(
            f"{printable(location)} has no file name to derive an output from: give one"
        )
    with path.open("rb") as file:
        form = sniff(printable(location), file.read(SNIFF_BYTES))
    return path.with_name(
        path.name + (".momentc.h5" if form is FileFormat.HDF5 else ".momentc.npz")
    )
