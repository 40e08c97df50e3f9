"""The right to write an output: one run at a time.

A lock file beside the output, created so that only one can, holds who has it. No lock of the
operating system is used: those do not work on every network file system.
"""

import errno
import hashlib
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from momentc.errors import OutputError
from momentc.text import printable

__all__ = [
    "PARTIAL",
    "BusyError",
    "output_errors",
    "output_lock",
    "removed_on_error",
    "sibling",
    "write_all",
]

logger = logging.getLogger("momentc")

PARTIAL = ".partial"
MAX_NAME_BYTES = 255 - 40
"""Longest file name on every common file system, less room for what is added to it."""
EMPTY_SECONDS = 60.0
"""Age from which a lock without an owner is stale: it is written at once after it is made."""
_held: dict[Path, tuple[int, int]] = {}
"""Locks of this process: by which thread, and how often, since `output_lock` may be nested."""


class BusyError(OutputError):
    """Another run is writing the output."""


@contextmanager
def output_lock(path: str | Path) -> Iterator[None]:
    """Hold the only right to write an output; taken at the start, it makes a second run fail early.

    Parameters
    ----------
    path : str or pathlib.Path
        The output. A device or FIFO is not locked. May be nested in one process.

    Raises
    ------
    BusyError
        Another run holds it. The message has its host, process and time, and the lock's name.
    """
    target = Path(os.path.realpath(path))
    thread, depth = _held.get(target, (threading.get_ident(), 0))
    if thread != threading.get_ident():
        raise BusyError(f"{printable(str(path))} is being written by another thread")
    # Asked under the name as given: where /dev/fd/63 leads to has none.
    given = Path(path)
    if depth == 0 and given.exists() and not given.is_file():
        yield
        return
    is_held = False
    try:
        with output_errors(path), _signals_held_back():
            if depth == 0:
                _acquire(target, printable(str(path)))
            _held[target] = (thread, depth + 1)
            is_held = True
        yield
    finally:
        if is_held and depth > 0:
            _held[target] = (thread, depth)
        elif is_held:
            del _held[target]
            with suppress(OSError):
                sibling(target, ".lock").unlink()


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let what a signal raises come at the end: between, a file would be left that nobody has.

    By other handlers, not by the mask of this thread: the system may hand the signal to any thread
    of the process, and Python then calls its handler in the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # nothing is raised here
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    changed = [number for number, handler in handlers.items() if handler is not None]
    try:
        for number in changed:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number in changed:
            signal.signal(number, handlers[number])
        for late in came:
            signal.raise_signal(late)


def _acquire(target: Path, shown: str) -> None:
    """Create the lock file, or raise; a lock of a process that is gone is removed first."""
    lock = sibling(target, ".lock")
    for _ in range(2):
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            _remove_if_stale(lock, shown)
        else:
            break
    else:
        raise BusyError(f"{shown} is being written by another run, which started just now")
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        **_batch_job(),
    }
    with removed_on_error(lock):
        try:
            write_all(descriptor, json.dumps(owner).encode())
        finally:
            os.close(descriptor)
    # Whoever holds the lock knows that no partial file of this output is in use.
    with suppress(OSError):
        _remove_left_overs(target)


def _remove_left_overs(target: Path) -> None:
    """Remove the partial files of this very output (`a` has none in common with `a.b`)."""
    prefix = sibling(target, ".").name
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
    # Empty: killed between making and writing it, in which case nobody will ever write it.
    never_written = not content and _age(lock) > EMPTY_SECONDS
    restarted = owner is not None and _is_earlier_try(content)
    if not (never_written or restarted or (owner is not None and _is_gone(*owner[:2]))):
        who = "" if owner is None else f" (process {owner[1]} on {owner[0]}, since {owner[2]})"
        raise BusyError(
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
        raise BusyError(f"{shown} is being written by another run, which started just now")
    taken.unlink()
    gone = "its process was killed" if owner is None else f"process {owner[1]} is gone"
    logger.warning("removed the stale lock %s: %s", printable(str(lock)), gone)


def _age(lock: Path) -> float:
    """Seconds since a file was changed; 0 if it is not there any more."""
    try:
        return time.time() - lock.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _read_owner(content: bytes) -> tuple[str, int, str] | None:
    """Read host, process and time from a lock; None if it is not one (or only half written)."""
    try:
        owner = json.loads(content)
        return str(owner["host"]), int(owner["pid"]), str(owner["time"])
    except (ValueError, TypeError, KeyError):
        return None


def _batch_job() -> dict[str, str | int]:
    """Name the job of Slurm that this is, and how often it has been requeued; nothing elsewhere."""
    job, restarts = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT", "0")
    return {"job": job, "restarts": int(restarts)} if job and restarts.isdecimal() else {}


def _is_earlier_try(content: bytes) -> bool:
    """Say whether a lock is of this very job before it was requeued, perhaps on another machine.

    A job whose node failed begins again on another one, from which the first cannot be asked.
    """
    ours, theirs = _batch_job(), json.loads(content)
    if not ours or theirs.get("job") != ours["job"]:
        return False
    restarts = theirs.get("restarts")
    return isinstance(restarts, int) and restarts < int(ours["restarts"])


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
    except (OSError, OverflowError):
        return False
    return False


def sibling(target: Path, suffix: str) -> Path:
    """Name a helper file beside the target; a long name is replaced by its digest."""
    name = target.name
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = f"momentc-{hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()}"
    return target.with_name(f".{name}{suffix}")


@contextmanager
def output_errors(path: str | Path) -> Iterator[None]:
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
def removed_on_error(partial: Path) -> Iterator[None]:
    """Leave no partial file behind, whatever ends the block, a signal's exception included."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all bytes: one call of the system may take fewer."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
