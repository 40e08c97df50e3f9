"""A few steps of Lloyd on a few hundred points, by faiss: the centroids of the reductions."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.faiss_settings import faiss_by_products

__all__ = ["find_centroids", "worth_training"]

# Lloyd steps and training points a centroid. The groups need not be a converged k-means, only
# compact: more steps made no difference to the error beyond its noise.
LLOYD_STEPS: Final = 3
TRAINING_POINTS: Final = 16
LEAST_TRAINING: Final = 512


def worth_training(n_clusters: int) -> int:
    """Return how many points a training is worth."""
    return max(LEAST_TRAINING, TRAINING_POINTS * n_clusters)


def find_centroids(points: NDArray[np.float64], n_clusters: int, seed: int) -> NDArray[np.float64]:
    """Return about the best centres of clusters.

    faiss works in float32, so the points are brought to its size, which they define.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        n >= 1. Of more than twice as many as are worth it, some are drawn.
    n_clusters : int
        1 to n.
    seed : int
        Below 2 ** 31.

    Returns
    -------
    (n_clusters, m) float64 ndarray
    """
    if n_clusters == 1:
        return np.asarray(points.mean(axis=0, keepdims=True))
    n_training = worth_training(n_clusters)
    if len(points) > 2 * n_training:
        points = points[np.random.default_rng(seed).integers(len(points), size=n_training)]
    # Down the columns of a narrow array numpy takes ten times as long as along rows.
    columns = np.ascontiguousarray(points.T)
    low, high = columns.min(axis=1), columns.max(axis=1)
    centre = 0.5 * (low + high)
    extent = float((high - low).max())
    unit = extent if extent > 0.0 else 1.0
    training = ((points - centre) / unit).astype(np.float32)
    with faiss_by_products() as faiss:
        parameters = faiss.ClusteringParameters()
        parameters.niter = LLOYD_STEPS
        parameters.seed = seed
        parameters.min_points_per_centroid = 1
        parameters.max_points_per_centroid = len(points)
        clustering = faiss.Clustering(points.shape[1], n_clusters, parameters)
        index = faiss.IndexFlatL2(points.shape[1])
        clustering.train(training, index)
        found = index.reconstruct_n(0, n_clusters).astype(np.float64)
    return np.asarray(found * unit + centre)
