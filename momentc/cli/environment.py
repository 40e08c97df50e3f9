"""Threads and caches, settled before numpy, numba and faiss are imported.

numpy, scipy and faiss each bring their own thread pool and read its size from the environment
when they load; later is too late. Everything here is plain Python for that reason.
"""

import os
import resource
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from momentc.compiled_code import PACKAGE, has_current_code
from momentc.cpus import THREAD_VARIABLES, available_cpus, available_threads
from momentc.errors import MemoryBudgetError, UsageError
from momentc.text import format_bytes

__all__ = [
    "compile_on_first_run",
    "has_compiled_code",
    "prepare",
    "prepare_cells",
    "prepare_compiler_cache",
    "prepare_threads",
    "require_address_space",
]

LEAST_ADDRESS_SPACE = 480 * 2**20
"""What it takes to load numpy, scipy, numba and faiss; measured, on one core."""


def prepare(threads: int) -> int:
    """Settle threads and the compiler's cache; returns the number of threads to use.

    Raises
    ------
    UsageError
        `threads` is negative.
    MemoryBudgetError
        The numerical libraries cannot be loaded within the limits of this process.
    """
    require_address_space()
    prepare_compiler_cache()
    return prepare_threads(threads)


def require_address_space() -> None:
    """Refuse limits within which the libraries fail to load, or wait for memory for ever.

    Raises
    ------
    MemoryBudgetError
    """
    for kind, option in ((resource.RLIMIT_AS, "-v"), (resource.RLIMIT_DATA, "-d")):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE:
            raise MemoryBudgetError(
                f"the limit on memory (ulimit {option}) is {format_bytes(limit)}, of which the "
                f"numerical libraries alone need {format_bytes(LEAST_ADDRESS_SPACE)}; raise it",
                LEAST_ADDRESS_SPACE,
            )


def prepare_cells(threads: int) -> int:
    """As :func:`prepare`, for a job of many processes that have one thread each."""
    count = prepare(threads)
    prepare_threads(1)
    return count


def prepare_threads(threads: int) -> int:
    """Put the number of threads into the environment.

    Parameters
    ----------
    threads : int
        What ``--threads`` says; 0 is everything that this process may use.

    Returns
    -------
    int
        The number of threads, at least 1.

    Raises
    ------
    UsageError
        `threads` is negative.
    """
    if threads < 0:
        raise UsageError(f"--threads is {threads}; expected 0 (all that may be used) or more")
    count = threads or available_threads()
    for name in THREAD_VARIABLES:
        os.environ[name] = str(count)
    return count


def prepare_compiler_cache() -> None:
    """Give numba a place for its compiled code if the usual two cannot be written.

    numba keeps compiled code beside the source or else under the home folder. On a cluster node
    or in a container both may be missing or read-only, and numba then fails at import. The
    replacement lies in the folder for temporary files and must belong to this user alone: numba
    loads (and so runs) what it finds there.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    places = [PACKAGE / "reduction" / "__pycache__", *_user_caches()]
    if any(_is_writable(place) for place in places):
        return
    own = Path(tempfile.gettempdir()) / f"momentc-numba-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        is_private = (
            stat.S_ISDIR(found.st_mode)
            and found.st_uid == os.getuid()
            and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        )
    except OSError:
        is_private = False
    os.environ["NUMBA_CACHE_DIR"] = str(own) if is_private else tempfile.mkdtemp("-momentc-numba")


def has_compiled_code() -> bool:
    """Whether numba has compiled this version for this installation before."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    return has_current_code([Path(cache)] if cache else [PACKAGE, *_user_caches()])


def compile_on_first_run(threads: int) -> Callable[[], None]:
    """Return what compiles what is not compiled for this installation yet, on several cores.

    Whether that is needed is found out now: to look at the input compiles a kernel or two already.

    Parameters
    ----------
    threads : int
        Threads or processes of the job: alone it compiles what it needs when it needs it.
    """
    is_needed = min(threads, available_cpus()) > 1 and not has_compiled_code()

    def compile_if_needed() -> None:
        if is_needed:
            from momentc.kernels import compile_side_by_side

            compile_side_by_side()

    return compile_if_needed


def _user_caches() -> list[Path]:
    """The folder that numba would use under the home folder, if there is a home folder at all."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    except RuntimeError:  # no HOME and no entry in the password file
        return []
    return [folder / "numba"] if folder.is_absolute() else []


def _is_writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`, by making one, as numba does.

    The permission bits do not tell: root may write anywhere by them, but not on a read-only or
    special file system.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
