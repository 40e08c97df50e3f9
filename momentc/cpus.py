"""How many threads this process may use. Plain Python: it runs before numpy is imported."""

import os
from pathlib import Path

__all__ = ["THREAD_VARIABLES", "available_cpus", "available_threads"]

# Where numpy, scipy, numba and faiss look for the number of threads when they are imported.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

CGROUP = Path("/sys/fs/cgroup")


def available_threads() -> int:
    """How many threads this process may use.

    The smallest of: the CPUs it may run on (affinity, as ``taskset`` and batch systems set it),
    the quota of its cgroup (containers), SLURM_CPUS_PER_TASK, and an OMP_NUM_THREADS that the
    user had set. At least 1.
    """
    count = available_cpus()
    for name in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdecimal() and int(text) > 0:
            count = min(count, int(text))
    return max(count, 1)


def available_cpus() -> int:
    """How many CPUs this process may use, whatever its environment asks for. At least 1."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(count if quota is None else min(count, quota), 1)


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
