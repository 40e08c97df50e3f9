"""Which files this process holds open."""

from pathlib import Path

__all__ = ["open_files"]


def open_files() -> list[str]:
    """Return the names of the open files in the working folder.

    Not how many there are in all: threads of other tests open and close files of their own.
    """
    found = []
    for number in Path("/proc/self/fd").iterdir():
        try:
            place = number.readlink()
        except FileNotFoundError:  # closed since
            continue
        if place.parent == Path.cwd():
            found.append(place.name)
    return sorted(found)
