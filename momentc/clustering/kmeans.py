"""Groups by k-means (Appendix D of the paper): centroids of a sample, and the points near each."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.cells import deal
from momentc.clustering.lloyd import worth_training
from momentc.clustering.router import fit_router
from momentc.groups import Groups
from momentc.map_function import MapFunction

__all__ = ["kmeans_groups"]

# Centroids of a leaf, about: faiss is called once for each, and each point is compared with as
# many. More of them make the groups no more compact.
LEAF_GROUPS: Final = 48


def kmeans_groups(
    points: NDArray[np.float64],
    group_size: float,
    n_keep: int,
    seed: np.random.SeedSequence,
    *,
    map_function: MapFunction = map,
) -> Groups:
    """Cut the points into compact groups of about ``group_size`` points.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        In coordinates in which distances mean something.
    group_size : float
        Mean number of points in a group.
    n_keep : int
        Points that each group must keep.
    seed : numpy.random.SeedSequence
    map_function : callable
        Runs parts of the points.

    Returns
    -------
    Groups
        Positions into ``points``; empty clusters are left out.
    """
    n = len(points)
    generator = np.random.default_rng(seed)
    n_groups = max(1, round(n / group_size))
    n_sample = worth_training(n_groups)
    # Drawn, not every so many: rows that repeat, like those of an image, must not resonate.
    sample = points[generator.integers(n, size=n_sample)] if n_sample < n else points
    router = fit_router(sample, n_groups, int(generator.integers(2**31)), LEAF_GROUPS)
    members, borders = deal(router.assign(points, map_function), router.n_cells)
    sizes = np.diff(borders)
    sizes = sizes[sizes > 0]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Groups(members, offsets, np.full(len(sizes), n_keep, dtype=np.int64))
