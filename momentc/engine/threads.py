"""Work on threads of this process.

The kernels release the interpreter lock, so threads share the cores without copies. While they
run, the BLAS libraries and faiss are held to one thread each: the parallelism is over groups and
blocks, whose results do not depend on who computes them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController

from momentc.cpus import available_threads
from momentc.map_function import MapFunction

__all__ = ["thread_map"]


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
