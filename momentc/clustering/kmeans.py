"""Groups by k-means (Appendix D of the paper), in cells, by faiss.

The points are cut into cells (see ``cells``) of about ``CELL_GROUPS`` groups; in each, faiss
finds centroids in proportion to the points and assigns every point to its nearest. Cells are
centred first, because faiss works in float32.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.cells import deal, sampled_cells
from momentc.clustering.faiss_settings import faiss_by_products
from momentc.groups import Groups
from momentc.map_function import MapFunction

__all__ = ["Centroids", "kmeans_groups"]

# Groups in a cell, about: a point is then compared with so many centroids, whatever their total
# number, and float32 distances resolve clusters of 1e-3 of the cell.
CELL_GROUPS: Final = 32

# Points below which all is done before another thread has started (about 2 ms).
WORTH_THREADS: Final = 8192

# Points of a cell in the sample by which the cells are cut.
CUT_POINTS: Final = 64

# Points that are assigned to centroids in one task.
ASSIGN_POINTS: Final = 32768

# Lloyd steps and training points a centroid. The groups need not be a converged k-means, only
# compact: more steps made no difference to the error beyond its noise.
LLOYD_STEPS: Final = 3
TRAINING_POINTS: Final = 16
LEAST_TRAINING: Final = 512

# Coordinate of a point in its cell at most: its square, and sums of squares, stay in float32.
FARTHEST: Final = 1e9


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
        Each cell uses a child of its own.
    map_function : callable
        Runs the cells.

    Returns
    -------
    Groups
        Positions into ``points``; empty clusters are left out.
    """
    n = len(points)
    if n < WORTH_THREADS:
        map_function = map
    depth = max(0, math.ceil(math.log2(n / (CELL_GROUPS * group_size))))
    generator = np.random.default_rng(seed)
    if depth:
        columns = np.ascontiguousarray(points.T)
        # Drawn, not every so many: rows that repeat, like those of an image, must not resonate.
        sampled = generator.integers(n, size=CUT_POINTS << depth)
        sample = np.ascontiguousarray(columns[:, sampled])
        order, borders = sampled_cells(columns, sample, depth)
        edges = np.unique(borders).tolist()
    else:
        order, edges = np.arange(n), [0, n]
    seeds = generator.integers(2**31, size=len(edges) - 1).tolist()

    def find(cell: int) -> Centroids:
        return Centroids(points, order[edges[cell] : edges[cell + 1]], group_size, seeds[cell])

    def assign(task: tuple[int, int, int]) -> NDArray[np.int64]:
        cell, first, last = task
        # In one cell the points are in their own order: no copy.
        rows = points.take(order[first:last], axis=0) if depth else points[first:last]
        return centroids[cell].nearest(rows)

    centroids: list[Centroids] = list(map_function(find, range(len(edges) - 1)))
    tasks = [
        (cell, first, min(first + ASSIGN_POINTS, edges[cell + 1]))
        for cell in range(len(edges) - 1)
        for first in range(edges[cell], edges[cell + 1], ASSIGN_POINTS)
    ]
    # Labels count on from cell to cell, so they are dealt out in one go.
    firsts = np.cumsum([0] + [cell.n_clusters for cell in centroids])
    labels = np.concatenate(
        [
            part + firsts[task[0]]
            for task, part in zip(tasks, map_function(assign, tasks), strict=True)
        ]
    )
    members, borders = deal(labels, int(firsts[-1]))
    counts = np.diff(borders)
    return _groups(order[members] if depth else members, counts[counts > 0], n_keep)


def _groups(members: NDArray[np.int64], sizes: NDArray[np.int64], n_keep: int) -> Groups:
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Groups(members, offsets, np.full(len(sizes), n_keep, dtype=np.int64))


class Centroids:
    """The centroids of one cell, in its own centred float32 coordinates.

    Parameters
    ----------
    points : (n, m) float64 ndarray
    members : (n_members,) int64 ndarray
        Those of the cell, n_members >= 1.
    group_size : float
        Points a centroid, on average.
    seed : int
        Below 2 ** 31.
    """

    def __init__(
        self,
        points: NDArray[np.float64],
        members: NDArray[np.int64],
        group_size: float,
        seed: int,
    ) -> None:
        n, m = len(members), points.shape[1]
        self.n_clusters = max(1, round(n / group_size))
        if self.n_clusters == 1:
            self._only = points.take(members, axis=0).mean(axis=0, keepdims=True)
            return
        n_training = max(LEAST_TRAINING, TRAINING_POINTS * self.n_clusters)
        if n > n_training:
            members = members[np.random.default_rng(seed).integers(n, size=n_training)]
        points = points.take(members, axis=0)
        # Down the columns of a narrow array numpy takes ten times as long as along rows.
        columns = np.ascontiguousarray(points.T)
        low, high = columns.min(axis=1), columns.max(axis=1)
        self._centre = 0.5 * (low + high)
        extent = float((high - low).max())
        self._unit = extent if extent > 0.0 else 1.0
        faiss = faiss_by_products()
        parameters = faiss.ClusteringParameters()
        parameters.niter = LLOYD_STEPS
        parameters.seed = seed
        parameters.min_points_per_centroid = 1
        parameters.max_points_per_centroid = len(points)
        clustering = faiss.Clustering(m, self.n_clusters, parameters)
        self._index = faiss.IndexFlatL2(m)
        clustering.train(self._local(points), self._index)

    def _local(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        local = points - self._centre
        local /= self._unit
        # A point far outside of the sample must not become infinite: it has no nearest centroid.
        np.clip(local, -FARTHEST, FARTHEST, out=local)
        return np.asarray(local, dtype=np.float32)

    def places(self) -> NDArray[np.float64]:
        """Return where the centroids are, (n_clusters, m)."""
        if self.n_clusters == 1:
            return np.asarray(self._only)
        found = self._index.reconstruct_n(0, self.n_clusters).astype(np.float64)
        return np.asarray(found * self._unit + self._centre)

    def nearest(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the number of the nearest centroid of each point."""
        if self.n_clusters == 1:
            return np.zeros(len(points), dtype=np.int64)
        faiss_by_products()
        _, labels = self._index.search(self._local(points), 1)
        return np.asarray(labels[:, 0], dtype=np.int64)
