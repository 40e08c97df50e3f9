"""Compiled code on the disk belongs to the sources of one version: a stamp beside it says to which.

numba sees when the file of a kernel changes, but not when a kernel or a constant that it takes in
from another file does (its documented limit): after an upgrade in place, a kernel in an unchanged
file would go on with the old code of all that it calls. So each folder of compiled code carries a
stamp of the sources, and what another version compiled is thrown away. Plain Python: it also runs
before numba is imported.
"""

import hashlib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = ["PACKAGE", "discard_outdated_code", "has_current_code"]

PACKAGE = Path(__file__).resolve().parent
STAMP = "momentc-sources.sha256"


# Kernels are in these folders, and import from no other.
ROOMS = (".", "clustering", "moments", "reduction", "streaming")


@cache
def _sources_stamp() -> str:
    found = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((PACKAGE / room).glob("*.py")):
            source = path.read_bytes()
            found.update(f"{room}/{path.name} {len(source)}\n".encode() + source)
    return found.hexdigest()


def _is_stamped(stamp: Path) -> bool:
    try:
        return stamp.read_text() == _sources_stamp()
    except (OSError, UnicodeDecodeError):
        return False


@cache
def discard_outdated_code(folder: Path) -> None:
    """Remove from a folder what other sources than these were compiled to, and stamp it.

    Parameters
    ----------
    folder : Path
        Where numba keeps the code of some of momentc's kernels, and of nothing else; it exists.

    Raises
    ------
    OSError
        The folder cannot be changed.
    """
    stamp = folder / STAMP
    if _is_stamped(stamp):
        return
    # An index says which files of code there are. Two processes may both come here: what one has
    # compiled already and the other removes is compiled again.
    for index in folder.glob("*.nbi"):
        index.unlink(missing_ok=True)
    new = stamp.with_name(f"{STAMP}.{os.getpid()}")
    new.write_text(_sources_stamp())
    new.replace(stamp)


def has_current_code(places: Iterable[Path]) -> bool:
    """Tell whether anything below these folders was compiled from these sources."""
    return any(
        _is_stamped(stamp) and next(stamp.parent.glob("*.nbi"), None) is not None
        for place in places
        for stamp in place.rglob(STAMP)
    )
