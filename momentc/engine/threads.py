"""Work on threads of this process.

The kernels release the interpreter lock, so threads share the cores without copies. While they
run, the BLAS libraries and faiss are held to one thread each: the parallelism is over groups and
blocks, whose results do not depend on who computes them.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController

from momentc.map_function import MapFunction

__all__ = ["available_threads", "thread_map"]


def available_threads() -> int:
    """Return how many threads this process may use: affinity, cgroup quota, Slurm's allotment."""
    count = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as quota_file:  # noqa: PTH123
            quota, period = quota_file.read().split()
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2: the affinity stands
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdigit() and int(slurm) > 0:
        count = min(count, int(slurm))
    return count


@lru_cache(maxsize=1)
def _controller(_n_modules: int) -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def thread_map(n_threads: int) -> Iterator[MapFunction]:
    """Yield a map function over ``n_threads`` threads (0: all available), in order of the items.

    With one thread it is the builtin ``map``, run in the calling thread.
    """
    import sys

    if n_threads <= 0:
        n_threads = available_threads()
    # The libraries that are loaded decide which pools there are: look again when there are more.
    loaded = sum(name in sys.modules for name in ("scipy.linalg", "faiss", "torch"))
    with _controller(loaded).limit(limits=1):
        if n_threads == 1:
            yield map
            return
        with ThreadPoolExecutor(n_threads, thread_name_prefix="momentc") as pool:
            yield pool.map
