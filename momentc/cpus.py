"""How many threads this process may use. Plain Python: it runs before numpy is imported."""

import os

from momentc.cgroup import cpu_quota

__all__ = ["THREAD_VARIABLES", "available_cpus", "available_threads"]

# Where numpy, scipy, numba and faiss look for the number of threads when they are imported.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def available_threads() -> int:
    """How many threads this process may use.

    The smallest of: the CPUs it may run on (affinity, as ``taskset`` and batch systems set it),
    the quotas of its cgroups (containers, services, batch jobs), SLURM_CPUS_PER_TASK, and an
    OMP_NUM_THREADS that the user had set. At least 1.
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
    quota = cpu_quota()
    return max(count if quota is None else min(count, quota), 1)
