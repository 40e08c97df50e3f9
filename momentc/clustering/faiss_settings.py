"""faiss as our clusterings want it: what it keeps for the whole process is set before every use."""

from types import ModuleType

__all__ = ["faiss_by_differences", "faiss_by_products"]


def faiss_by_products() -> ModuleType:
    """Return faiss, set to one thread and to distances by matrix products.

    These are 3 to 8 times as fast for the few thousand points and tens of centroids of a cell,
    where faiss of its own accord takes differences (up to 128,000 coordinates in version 1.15).
    Distances are then right to about 3e-4 of the extent.
    """
    return _set(20)


def faiss_by_differences() -> ModuleType:
    """Return faiss, set to one thread and to what its version 1.15 does of its own accord.

    Up to 128,000 coordinates distances come from differences, right to the last digits of float32.
    """
    return _set(128_000)


def _set(products_from: int) -> ModuleType:
    # Threads are over cells, one thread within; the number belongs to the calling thread. How
    # distances are found belongs to the process: baselines do not run beside reductions.
    import faiss

    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = products_from
    return faiss
