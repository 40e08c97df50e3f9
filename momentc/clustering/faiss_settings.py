"""faiss as our clusterings want it, for as long as they use it.

How it finds distances is kept for the whole process, so one clustering uses it at a time, and
applications that import momentc find it as they left it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import ModuleType

__all__ = ["faiss_by_differences", "faiss_by_products"]

# One for each process: in one that was forked, nobody may be there to give back that of its parent.
_one_at_a_time: dict[int, Lock] = {}


@contextmanager
def faiss_by_products() -> Iterator[ModuleType]:
    """Yield faiss, set to one thread and to distances by matrix products.

    These are 3 to 8 times as fast for the few thousand points and tens of centroids of a cell,
    where faiss of its own accord takes differences (up to 128,000 coordinates in version 1.15).
    Distances are then right to about 3e-4 of the extent.
    """
    with _set(20) as faiss:
        yield faiss


@contextmanager
def faiss_by_differences() -> Iterator[ModuleType]:
    """Yield faiss, set to one thread and to what its version 1.15 does of its own accord.

    Up to 128,000 coordinates distances come from differences, right to the last digits of float32.
    """
    with _set(128_000) as faiss:
        yield faiss


@contextmanager
def _set(products_from: int) -> Iterator[ModuleType]:
    import faiss

    with _one_at_a_time.setdefault(os.getpid(), Lock()):
        before = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
        try:
            faiss.omp_set_num_threads(1)
            faiss.cvar.distance_compute_blas_threshold = products_from
            yield faiss
        finally:
            n_threads, faiss.cvar.distance_compute_blas_threshold = before
            faiss.omp_set_num_threads(n_threads)
