"""The limits that Linux sets on groups of processes: containers, services, jobs of batch systems.

A group lies in others, and each of them may have a limit. Plain Python: it is read before numpy is
imported.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["cpu_quota", "memory_limit"]

ROOT = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def memory_limit() -> int | None:
    """Return the bytes that this process and those of its groups may use; None without a limit."""
    found = [_read(folder / "memory.max") for folder in _folders("")]
    found += [_read(folder / "memory.limit_in_bytes") for folder in _folders("memory")]
    return min((int(text) for text in found if text.isdecimal()), default=None)


def cpu_quota() -> int | None:
    """Return the CPUs that the groups of this process grant, rounded up; None without a quota."""
    found = [_read(folder / "cpu.max").split() for folder in _folders("")]
    found += [
        [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
        for folder in _folders("cpu")
    ]
    # "max", or -1 in version 1, is no quota.
    quotas = [
        max(1, -(-int(pair[0]) // int(pair[1])))
        for pair in found
        if len(pair) == 2 and all(part.isdecimal() for part in pair) and int(pair[1]) > 0
    ]
    return min(quotas, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of the groups that this process is in, the innermost first.

    Parameters
    ----------
    controller : str
        Of version 1; the empty word is the one hierarchy of version 2.
    """
    root = ROOT / controller
    for line in _read(OWN_GROUPS).splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        group = PurePosixPath(path.strip("/"))
        if controller in names.split(",") and ".." not in group.parts:
            # In a container the path may be that outside of it, where it does not exist.
            yield from (root / folder for folder in (group, *group.parents) if folder.parts)
    yield root


def _read(path: Path) -> str:
    """Return the text of a file of the kernel; nothing where there is no such file."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
