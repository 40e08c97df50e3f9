"""A journal: finished pieces of a long job, one JSON object a line, safe against any end.

The first line says what job the pieces belong to; a journal of another job is refused. Each piece
is on the disk before the next is begun. A line that was cut short, or that its checksum tells to be
damaged, is dropped with all that follows when the journal is opened again: these pieces are done
once more. A journal without a piece leaves no file.
"""

import json
import os
import zlib
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self

from momentc.errors import OutputError, PartsError
from momentc.io.lock import output_errors, output_lock, write_all
from momentc.text import printable

__all__ = ["Journal", "read_journal"]

# Under which a line has its checksum.
CHECKSUM: Final = "crc32"


class Journal:
    """A journal that is open for appending; a second run that wants the same one is refused.

    Parameters
    ----------
    path : pathlib.Path
    head : dict
        What the pieces depend on: plain JSON values.

    Attributes
    ----------
    pieces : list of dict
        What was found, and what has been appended since.

    Raises
    ------
    PartsError
        The journal belongs to another job.
    OutputError
        It cannot be written, or another run is writing it.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path = path
        self._head = head
        self._stack = ExitStack()
        self._descriptor = -1
        self.pieces: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        """Open it, and read what is there."""
        with ExitStack() as stack:
            stack.enter_context(output_lock(self.path))
            self.pieces, length = _read(self.path, self._head)
            with output_errors(self.path):
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                self._descriptor = os.open(self.path, flags, 0o666)
                stack.callback(os.close, self._descriptor)
                os.ftruncate(self._descriptor, length)
                os.lseek(self._descriptor, 0, os.SEEK_END)
            if length == 0:
                self._write(self._head)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; what it holds stays on the disk."""
        with self._stack:
            if not self.pieces:
                with suppress(OSError):  # an error that is on its way says more
                    self.path.unlink(missing_ok=True)

    def append(self, piece: dict[str, Any]) -> None:
        """Write one piece to the disk.

        Raises
        ------
        OutputError
        """
        self._write(piece)
        self.pieces.append(piece)

    def _write(self, content: dict[str, Any]) -> None:
        # In the order of its keys: a table of pieces that were read again has the same columns.
        line = json.dumps({**content, CHECKSUM: _checksum(content)}, allow_nan=False) + "\n"
        with output_errors(self.path):
            write_all(self._descriptor, line.encode())
            os.fsync(self._descriptor)


def read_journal(path: Path, head: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the pieces of a journal that may be open elsewhere; none if it does not exist.

    Raises
    ------
    PartsError
        The journal belongs to another job.
    """
    return _read(path, head)[0]


def _read(path: Path, head: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Return the pieces, and how many bytes of the file are whole lines."""
    content = b""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise OutputError(f"{printable(str(path))}: cannot be read: {error.strerror}") from error
    lines: list[dict[str, Any]] = []
    length = 0
    for line in content.splitlines(keepends=True):
        found: Any = None
        with suppress(ValueError):
            found = json.loads(line)
        if not line.endswith(b"\n") or not isinstance(found, dict):
            break  # cut short: this and what follows is done again
        if found.pop(CHECKSUM, None) != _checksum(found):
            break
        lines.append(found)
        length += len(line)
    if not lines:
        # A head that was cut short is begun anew; another whole line is not ours to remove.
        if content and (b"\n" in content or not content.startswith(b"{")):
            raise PartsError(
                f"{printable(str(path))}: is no journal of this version of momentc, or is damaged; "
                "remove it, start anew with --restart, or choose another --output"
            )
        return [], 0
    _check_head(path, lines[0], head)
    return lines[1:], length


def _checksum(content: dict[str, Any]) -> int:
    """Return the CRC-32 of a piece as it stands in its line, but for the checksum itself."""
    return zlib.crc32(json.dumps(content).encode())


def _check_head(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse pieces that were computed from something else."""
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise PartsError(
                f"{printable(str(path))}: holds finished cells of another job: its {name} is "
                f"{found.get(name)!r}, this job's is {expected.get(name)!r}; remove it, start anew "
                "with --restart, or choose another --output"
            )
