"""Files that are complete or absent.

A file is written under a ``.partial`` name in its own folder, flushed to the disk, read back,
checked, and only then renamed. Two runs with the same output are kept apart by a lock file. Both
names begin with a dot and hold the output's name.
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from momentc.errors import OutputError
from momentc.io.lock import (
    PARTIAL,
    output_errors,
    output_lock,
    removed_on_error,
    sibling,
    write_all,
)
from momentc.text import printable

__all__ = [
    "make_folder",
    "output_lock",
    "probe_output",
    "require_folder",
    "sync_folder",
    "write_bytes_atomic",
]

PROBE_BYTES = 4096
"""Written once before computing starts: a full disk or an exhausted quota shows on the first
block."""


def probe_output(
    path: str | Path, *, force: bool, inputs: Sequence[Path] = (), by_writing: bool = True
) -> None:
    """Refuse, before any computing, an output that could not be written afterwards.

    Parameters
    ----------
    path : str or pathlib.Path
        The output. A device or FIFO passes.
    force : bool
        Whether an existing file may be replaced.
    inputs : sequence of pathlib.Path
        Files that are never replaced.
    by_writing : bool
        False leaves no trace, and does not see a folder that is locked, read-only or full.

    Raises
    ------
    OutputError
        It exists (without `force`), is an input or a link to one, is a folder, another run is
        writing it, or its folder is missing, read-only or full.
    """
    target = _checked_target(path, force=force, inputs=inputs)
    if target is None or not by_writing:
        return
    with output_lock(path):
        partial = sibling(target, f".{os.getpid()}{PARTIAL}")
        with removed_on_error(partial), output_errors(path):
            _write_new(partial, bytes(PROBE_BYTES), mode=None)
            partial.unlink()


def write_bytes_atomic(
    path: str | Path,
    data: bytes,
    *,
    force: bool,
    inputs: Sequence[Path] = (),
    check: Callable[[bytes], None] | None = None,
) -> None:
    """Write a file, all of it or nothing.

    Parameters
    ----------
    path : str or pathlib.Path
        The output. A symbolic link is written through. A device or FIFO is written directly.
    data : bytes
        The content.
    force, inputs
        As in `probe_output`.
    check : callable, optional
        Called with the bytes read back from the disk, before the file gets its name. What it raises
        is passed on, and nothing is left behind.

    Raises
    ------
    OutputError
        As `probe_output`, or writing failed; the old file, if any, is untouched.
    """
    target = _checked_target(path, force=force, inputs=inputs)
    if target is None:
        if check is not None:
            check(data)
        _write_direct(Path(path), data)
        return
    with output_lock(path):
        partial = sibling(target, f".{os.getpid()}{PARTIAL}")
        with removed_on_error(partial):
            with output_errors(path):
                old_mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
                _write_new(partial, data, mode=old_mode)
                written = _read_back(partial)
            if written != data:
                raise OutputError(
                    f"{printable(str(path))}: the disk gave back other bytes than were written. "
                    "Check the disk"
                )
            if check is not None:
                check(written)
            # Once more: the check may have taken long, and other programs do not know of the lock.
            _refuse_existing(target, printable(str(path)), force=force)
            with output_errors(path):
                partial.replace(target)
        with output_errors(path):
            sync_folder(target.parent)


def _checked_target(path: str | Path, *, force: bool, inputs: Sequence[Path]) -> Path | None:
    """Return the file to write, symbolic links resolved; None for a device or FIFO."""
    shown = printable(str(path))
    if not str(path) or "\0" in str(path):
        raise OutputError(f"{str(path)!r} is not a file name")
    with output_errors(path):
        try:
            status = os.stat(path)  # noqa: PTH116  a Path drops the slash of "folder/"
        except (FileNotFoundError, NotADirectoryError):
            status = None
        # Before links are followed: a pipe such as /dev/fd/63 leads to no name.
        if status is not None and (stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            return None
        target = Path(os.path.realpath(path))
        require_folder(target.parent, shown)
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            raise OutputError(f"{shown} is a folder, expected a file name")
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(f"{shown} is neither a file nor a pipe nor a character device")
        for given in inputs:
            with suppress(FileNotFoundError):
                if os.path.samestat(given.stat(), status):
                    raise OutputError(
                        f"{shown} is the input {printable(str(given))} itself, or a link to it. "
                        "Inputs are never replaced; give another output"
                    )
    _refuse_existing(target, shown, force=force)
    return target


def require_folder(folder: Path, shown: str) -> None:
    """Refuse an output whose folder is missing.

    Raises
    ------
    OutputError
    """
    if not folder.exists():
        raise OutputError(
            f"{shown} cannot be written: there is no folder {printable(str(folder))}. Make it first"
        )


def _refuse_existing(target: Path, shown: str, *, force: bool) -> None:
    if not force and os.path.lexists(target):
        raise OutputError(f"{shown} exists. Give another output, or --force to replace it")


def _write_new(partial: Path, data: bytes, *, mode: int | None) -> None:
    """Create a file that must not exist, and bring its content to the disk."""
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        write_all(descriptor, data)
        # Network file systems and quotas report a failed write only here, or at close.
        os.fsync(descriptor)
        # So that reading back asks the disk, not the cache.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)


def _write_direct(path: Path, data: bytes) -> None:
    """Write to a device or FIFO: nothing to rename, nothing to flush to a disk."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
    except BrokenPipeError:
        raise  # the reader has seen enough; the command line ends quietly
    except OSError as error:
        with output_errors(path):
            raise error from None


def _read_back(partial: Path) -> bytes:
    return partial.read_bytes()


def make_folder(path: str) -> None:
    """Make a folder that may exist already; its own folder must.

    Raises
    ------
    OutputError
    """
    with output_errors(path):
        Path(path).mkdir(exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # one may write into a folder and not read it: the new name stands all the same
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush folders at all; there is nothing to wait for.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)
