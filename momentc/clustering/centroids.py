"""Plain k-means over all points: the clusters of the baselines that momentc is measured against.

The reductions use ``kmeans`` instead, whose leaves keep the cost linear. Here every point is
compared with every centroid, as faiss does it and as the paper's method asks for. On a line the
same Lloyd steps are done by sorting, in float64 and exactly: float32 distances cannot tell
clusters apart that are much narrower than a thousandth of the extent.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.faiss_settings import faiss_by_differences

__all__ = ["kmeans_labels"]

LLOYD_STEPS: Final = 20


def kmeans_labels(
    points: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    n_clusters: int,
    seed: int,
) -> NDArray[np.int64]:
    """Return the number of the cluster of each point, in 0 .. n_clusters - 1; some may be empty.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        m >= 0.
    weights : (n,) float64 ndarray, optional
        How much each point pulls at its centroid; all the same where not given.
    n_clusters : int
        At most n.
    seed : int
    """
    if points.shape[1] == 0:  # all points are one
        return np.zeros(len(points), dtype=np.int64)
    if points.shape[1] == 1:
        return _on_a_line(points[:, 0], weights, n_clusters, seed)
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    unit = float(np.abs(points - centre).max()) or 1.0
    local = np.asarray((points - centre) / unit, dtype=np.float32)
    # faiss sums the weights in float32 and may not end on sums below 1.
    pull = None if weights is None else np.asarray(weights / weights.mean(), dtype=np.float32)
    with faiss_by_differences() as faiss:
        parameters = faiss.ClusteringParameters()
        parameters.niter = LLOYD_STEPS
        parameters.seed = seed % 2**31
        parameters.min_points_per_centroid = 1
        # Of its own accord faiss trains on 256 points a cluster.
        parameters.max_points_per_centroid = len(points)
        clustering = faiss.Clustering(points.shape[1], n_clusters, parameters)
        index = faiss.IndexFlatL2(points.shape[1])
        clustering.train(local, index, *([] if pull is None else [pull]))
        _, labels = index.search(local, 1)
    return np.asarray(labels[:, 0], dtype=np.int64)


def _on_a_line(
    values: NDArray[np.float64], weights: NDArray[np.float64] | None, n_clusters: int, seed: int
) -> NDArray[np.int64]:
    """Lloyd's steps among sorted values: a cluster is what lies between two midpoints."""
    random = np.random.default_rng(seed)
    pull = np.ones(len(values)) if weights is None else weights
    centroids = np.sort(random.choice(values, n_clusters, replace=False))
    for _ in range(LLOYD_STEPS):
        labels = np.searchsorted(0.5 * (centroids[1:] + centroids[:-1]), values)
        mass = np.bincount(labels, weights=pull, minlength=n_clusters)
        total = np.bincount(labels, weights=pull * values, minlength=n_clusters)
        centroids = np.sort(np.where(mass > 0.0, total / np.where(mass > 0.0, mass, 1), centroids))
    return np.searchsorted(0.5 * (centroids[1:] + centroids[:-1]), values)
