"""Files that are complete or absent.

A file is written under a ``.partial`` name in its own folder, flushed to the disk, read back,
checked, and only then renamed. Two runs with the same output are kept apart by a lock file. Both
names begin with a dot and hold the output's name.
"""

import errno
import hashlib
import json
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from momentc.errors import OutputError
from momentc.io.location import printable

__all__ = ["output_lock", "probe_output", "write_bytes_atomic", "write_text_atomic"]

logger = logging.getLogger("momentc")

PARTIAL = ".partial"
MAX_NAME_BYTES = 255 - 40
"""Longest file name on every common file system, less room for what is added to it."""
PROBE_BYTES = 4096
"""Written once before computing starts: a full disk or an exhausted quota shows on the first
block."""

_held: dict[Path, tuple[int, int]] = {}
"""Locks of this process: by which thread, and how often, since `output_lock` may be nested."""


def probe_output(path: str | Path, *, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before any computing, an output that could not be written afterwards.

    Parameters
    ----------
    path : str or pathlib.Path
        The output. A device or FIFO passes.
    force : bool
        Whether an existing file may be replaced.
    inputs : sequence of pathlib.Path
        Files that are never replaced.

    Raises
    ------
    OutputError
        It exists (without `force`), is an input or a link to one, is a folder, another run is
        writing it, or its folder is missing, read-only or full.
    """
    target = _checked_target(path, force=force, inputs=inputs)
    if target is None:
        return
    with output_lock(path):
        partial = _sibling(target, f".{os.getpid()}{PARTIAL}")
        with _removed_on_error(partial), _output_errors(path):
            _write_new(partial, bytes(PROBE_BYTES), mode=None)
            partial.unlink()


def write_text_atomic(
    path: str | Path, text: str, force: bool, inputs: Sequence[Path] = ()
) -> None:
    """Write a text file in UTF-8, all of it or nothing; see `write_bytes_atomic`."""
    # A file name in it may be no valid Unicode; its escape is right for JSON, and readable.
    data = text.encode(errors="backslashreplace")
    write_bytes_atomic(path, data, force=force, inputs=inputs)


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
        partial = _sibling(target, f".{os.getpid()}{PARTIAL}")
        with _removed_on_error(partial):
            with _output_errors(path):
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
            with _output_errors(path):
                partial.replace(target)
        with _output_errors(path):
            _sync_folder(target.parent)


def _checked_target(path: str | Path, *, force: bool, inputs: Sequence[Path]) -> Path | None:
    """Return the file to write, symbolic links resolved; None for a device or FIFO."""
    shown = printable(str(path))
    if not str(path) or "\0" in str(path):
        raise OutputError(f"{str(path)!r} is not a file name")
    with _output_errors(path):
        target = Path(os.path.realpath(path))
        has_folder = target.parent.exists()
        try:
            status = target.stat()
        except FileNotFoundError:
            status = None
    if not has_folder:
        folder = printable(str(target.parent))
        raise OutputError(f"{shown} cannot be written: there is no folder {folder}. Make it first")
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            raise OutputError(f"{shown} is a folder, expected a file name")
        if stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode):
            return None
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


def _refuse_existing(target: Path, shown: str, *, force: bool) -> None:
    if not force and os.path.lexists(target):
        raise OutputError(f"{shown} exists. Give another output, or --force to replace it")


@contextmanager
def _output_errors(path: str | Path) -> Iterator[None]:
    """Say what the system's error means for the output."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        advice = {
            errno.ENOSPC: "Free some space, or write elsewhere",
            errno.EDQUOT: "Your quota is used up: free some space, or write elsewhere",
            errno.EFBIG: "A limit on file sizes is set (ulimit -f)",
            errno.EACCES: "Write to a folder of your own with -o",
            errno.EPERM: "Write to a folder of your own with -o",
            errno.EROFS: "Write elsewhere with -o",
            errno.ENAMETOOLONG: "Choose a shorter name",
        }.get(error.errno or 0, "Check the disk, or write elsewhere")
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"{printable(str(path))} cannot be written: {reason}. {advice}"
        ) from error


@contextmanager
def _removed_on_error(partial: Path) -> Iterator[None]:
    """Leave no partial file behind, whatever ends the block, a signal's exception included."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _write_new(partial: Path, data: bytes, *, mode: int | None) -> None:
    """Create a file that must not exist, and bring its content to the disk."""
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        _write_all(descriptor, data)
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


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _write_direct(path: Path, data: bytes) -> None:
    """Write to a device or FIFO: nothing to rename, nothing to flush to a disk."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
    except BrokenPipeError:
        raise  # the reader has seen enough; the command line ends quietly
    except OSError as error:
        with _output_errors(path):
            raise error from None


def _read_back(partial: Path) -> bytes:
    return partial.read_bytes()


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush folders at all; there is nothing to wait for.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


def _sibling(target: Path, suffix: str) -> Path:
    """Name a helper file beside the target; a long name is replaced by its digest."""
    name = target.name
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = f"momentc-{hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()}"
    return target.with_name(f".{name}{suffix}")


@contextmanager
def output_lock(path: str | Path) -> Iterator[None]:
    """Hold the only right to write an output; taken at the start, it makes a second run fail early.

    Parameters
    ----------
    path : str or pathlib.Path
        The output. A device or FIFO is not locked. May be nested in one process.

    Raises
    ------
    OutputError
        Another run holds it. The message has its host, process and time, and the lock's name.
    """
    target = Path(os.path.realpath(path))
    thread, depth = _held.get(target, (threading.get_ident(), 0))
    if thread != threading.get_ident():
        raise OutputError(f"{printable(str(path))} is being written by another thread")
    if depth == 0 and target.exists() and not target.is_file():
        yield
        return
    if depth == 0:
        with _output_errors(path):
            _acquire(target, printable(str(path)))
    _held[target] = (thread, depth + 1)
    try:
        yield
    finally:
        _held[target] = (thread, depth)
        if depth == 0:
            del _held[target]
            with suppress(OSError):
                _sibling(target, ".lock").unlink()


def _acquire(target: Path, shown: str) -> None:
    """Create the lock file, or raise; a lock of a process that is gone is removed first."""
    lock = _sibling(target, ".lock")
    for _ in range(2):
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            _remove_if_stale(lock, shown)
        else:
            break
    else:
        raise OutputError(f"{shown} is being written by another run, which started just now")
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    with _removed_on_error(lock):
        try:
            _write_all(descriptor, json.dumps(owner).encode())
        finally:
            os.close(descriptor)
    # Whoever holds the lock knows that no partial file of this output is in use.
    with suppress(OSError):
        _remove_left_overs(target)


def _remove_left_overs(target: Path) -> None:
    """Remove the partial files of this very output (`a` has none in common with `a.b`)."""
    prefix = _sibling(target, ".").name
    for path in target.parent.iterdir():
        pid = path.name.removeprefix(prefix).removesuffix(PARTIAL)
        if pid.isdigit() and path.name == f"{prefix}{pid}{PARTIAL}":
            path.unlink()
            logger.warning("removed %s, left behind by a run that was killed", printable(str(path)))


def _remove_if_stale(lock: Path, shown: str) -> None:
    """Remove the lock of a process of this machine that is gone; raise if it may be alive."""
    try:
        content = lock.read_bytes()
    except FileNotFoundError:
        return  # released this moment
    owner = _read_owner(content)
    if owner is None or not _is_gone(*owner[:2]):
        who = "" if owner is None else f" (process {owner[1]} on {owner[0]}, since {owner[2]})"
        raise OutputError(
            f"{shown} is being written by another run{who}. Wait for it, or give "
            "another output. "
            f"If no such run exists, remove {printable(str(lock))}"
        )
    # Two runs may find the same stale lock, and the faster one may already have put its own in
    # place. A rename takes away exactly one file, which can then be looked at in peace.
    taken = lock.with_name(f"{lock.name}.{os.getpid()}")
    try:
        lock.rename(taken)
    except FileNotFoundError:
        return
    if taken.read_bytes() != content:
        taken.rename(lock)
        raise OutputError(f"{shown} is being written by another run, which started just now")
    taken.unlink()
    logger.warning("removed the stale lock %s: process %d is gone", printable(str(lock)), owner[1])


def _read_owner(content: bytes) -> tuple[str, int, str] | None:
    """Read host, process and time from a lock; None if it is not one (or only half written)."""
    try:
        owner = json.loads(content)
        return str(owner["host"]), int(owner["pid"]), str(owner["time"])
    except (ValueError, TypeError, KeyError):
        return None


def _is_gone(host: str, pid: int) -> bool:
    """Say whether a process has certainly ended. Another machine's processes cannot be asked."""
    if host != socket.gethostname():
        return False
    if pid == os.getpid():
        return True  # not in _held, so an earlier process had this number (usual in containers)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
