"""Threads and caches, settled before numpy, numba and faiss are imported.

numpy, scipy and faiss each bring their own thread pool and read its size from the environment
when they load; later is too late. Everything here is plain Python for that reason.
"""

import os
import stat
import tempfile
from pathlib import Path

from momentc.errors import UsageError

__all__ = [
    "available_threads",
    "has_compiled_code",
    "prepare",
    "prepare_compiler_cache",
    "prepare_threads",
]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
CGROUP = Path("/sys/fs/cgroup")
PACKAGE = Path(__file__).resolve().parent.parent


def prepare(threads: int) -> int:
    """Settle threads and the compiler's cache; returns the number of threads to use."""
    prepare_compiler_cache()
    return prepare_threads(threads)


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


def available_threads() -> int:
    """How many threads this process may use.

    The smallest of: the CPUs it may run on (affinity, as ``taskset`` and batch systems set it),
    the quota of its cgroup (containers), SLURM_CPUS_PER_TASK, and an OMP_NUM_THREADS that the
    user had set. At least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    if quota is not None:
        count = min(count, quota)
    for name in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdecimal() and int(text) > 0:
            count = min(count, int(text))
    return max(count, 1)


def _cgroup_quota() -> int | None:
    """CPUs that the cgroup grants, rounded up; None without a quota (or without cgroups)."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()[:2]
    except (OSError, ValueError):
        try:  # version 1 of cgroups
            folder = CGROUP / "cpu"
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None  # "max" or -1: no quota
    return max(-(-int(quota) // int(period)), 1)


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
    """Whether numba has compiled for this installation before; its index files are ``.nbi``."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(cache)] if cache else [PACKAGE, *_user_caches()]
    return any(next(place.rglob("*.nbi"), None) for place in places)


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
