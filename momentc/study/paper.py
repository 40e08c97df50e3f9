"""The paper's method (Appendix D), literally: the baseline that momentc is measured against.

Written from the paper's text and the settings of its published runs:

- *k-means rounds*: ``min(0.98 s / N, 100 t / N)`` clusters, s the size of the support, t the
  target, N = C(m+k, k). In each cluster of more than N points random null vectors are followed to
  the first weight that vanishes, until N points are left. Rounds end when fewer than t + 2,000
  points are left, or when there would be fewer than 30 clusters;
- *greedy*: the smallest of the neighbourhoods of N + 1 points around a random tenth of the points
  loses one point; again, until t are left.

The null vectors are those of the monomials (Algorithm 2); they are computed from Legendre products
in the cluster's own box, which span the same polynomials and keep the digits. After a point is
gone the basis of the null space is not computed anew but turned until only one vector has a part
in the point, which is dropped.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd
from scipy.linalg.lapack import dgetrf, dgetrs
from scipy.spatial import cKDTree

from momentc.clustering.centroids import kmeans_labels
from momentc.moments.features import legendre_features
from momentc.moments.multi_index import ProductPlan, product_plan
from momentc.tolerances import EPS

__all__ = ["compress_as_published", "null_space", "own_box_features", "peel"]

CLUSTER_PART: Final = 0.98
MOST_CLUSTERS: Final = 100.0
FEWEST_CLUSTERS: Final = 30
GREEDY_POINTS: Final = 2000
CANDIDATE_PART: Final = 0.1

# Neighbours that are listed beyond N + 1. The lists stay exact while no more points have gone
# since they were made; making them is the whole cost, so it is done once in so many steps.
SPARE: Final = 64

Array = NDArray[np.float64]


def compress_as_published(
    points: Array, weights: Array, k: int, target: int, seed: int
) -> tuple[NDArray[np.int64], Array]:
    """Return the positions that are kept, ascending, and their weights.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        In the frame.
    weights : (n,) float64 ndarray
        > 0. Not changed.
    k : int
    target : int
        At least C(m+k, k).
    seed : int
    """
    plan = product_plan(points.shape[1], k)
    random = np.random.default_rng(seed)
    weights = weights.copy()
    alive = np.flatnonzero(weights > 0.0)
    while len(alive) >= target + GREEDY_POINTS:
        n_clusters = int(min(CLUSTER_PART * len(alive), MOST_CLUSTERS * target) / plan.n_moments)
        if n_clusters < FEWEST_CLUSTERS:
            break
        before = len(alive)
        labels = kmeans_labels(points[alive], None, n_clusters, int(random.integers(2**31)))
        order = np.argsort(labels, kind="stable")
        edges = np.flatnonzero(np.diff(labels[order])) + 1
        for members in np.split(alive[order], edges):
            peel(points, weights, members, plan, random)
        alive = alive[weights[alive] > 0.0]
        if len(alive) == before:
            break
    if len(alive) > target:
        _greedy(points, weights, alive, target, plan, random)
    kept = np.flatnonzero(weights > 0.0)
    return kept, weights[kept]


def peel(
    points: Array,
    weights: Array,
    members: NDArray[np.int64],
    plan: ProductPlan,
    random: np.random.Generator,
) -> None:
    """Follow random null vectors until no more than N members have a weight; in place."""
    n_moments = plan.n_moments
    if len(members) <= n_moments:
        return
    basis = null_space(own_box_features(points[members], plan))
    mass = weights[members]
    n_alive = len(members)
    while n_alive > n_moments and basis.shape[1] > 0:
        vector = basis @ random.standard_normal(basis.shape[1])
        n_alive -= _step(mass, vector)
        # Where several vanish together, turning away from one may leave nothing of another.
        for gone in np.flatnonzero(mass == 0.0):
            if np.any(basis[gone]):
                basis = _without(basis, int(gone))
    weights[members] = mass


def own_box_features(points: Array, plan: ProductPlan) -> Array:
    """Return the Legendre products of points in their own bounding box, (n_moments, n_points)."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = np.where(high > low, 0.5 * (high - low), 1.0)
    return legendre_features((points - 0.5 * (low + high)) / half, plan)


def null_space(features: Array) -> Array:
    """Return an orthonormal basis of the null space in the columns, by a full SVD."""
    _, sizes, right = svd(features, full_matrices=True, check_finite=False)
    rank = int(np.count_nonzero(sizes > sizes[0] * max(features.shape) * EPS))
    return np.ascontiguousarray(right[rank:].T)


def _step(mass: Array, vector: Array) -> int:
    """Go along the vector to the first weight that vanishes; return how many vanished."""
    if not np.any(vector > 0.0):
        vector = -vector
    before = int(np.count_nonzero(mass))
    up = np.flatnonzero(vector > 0.0)
    ratios = mass[up] / vector[up]
    first = int(np.argmin(ratios))
    mass -= ratios[first] * vector
    mass[up[first]] = 0.0
    np.maximum(mass, 0.0, out=mass)
    return before - int(np.count_nonzero(mass))


def _without(basis: Array, row: int) -> Array:
    """Return a basis of the vectors of the span whose entry ``row`` is 0, one column fewer."""
    # The Householder reflection that turns the row onto its first entry.
    mirror = basis[row].copy()
    mirror[0] += np.copysign(np.linalg.norm(mirror), mirror[0])
    turned = basis - np.outer(basis @ mirror, (2.0 / (mirror @ mirror)) * mirror)
    turned[row] = 0.0
    return turned[:, 1:]


def _greedy(
    points: Array,
    weights: Array,
    alive: NDArray[np.int64],
    target: int,
    plan: ProductPlan,
    random: np.random.Generator,
) -> None:
    """Remove one point at a time from the smallest of some neighbourhoods; in place."""
    size = plan.n_moments + 1
    n_alive = len(alive)
    while n_alive > target:
        alive = alive[weights[alive] > 0.0]
        listed = min(len(alive), size + SPARE)
        distances, near = cKDTree(points[alive]).query(points[alive], k=[*range(1, listed + 1)])
        lists = alive[near]
        for _ in range(min(SPARE, n_alive - target)):
            centres = np.flatnonzero(weights[alive] > 0.0)
            n_candidates = max(1, int(CANDIDATE_PART * len(centres)))
            chosen = random.choice(centres, n_candidates, replace=False)
            living = weights[lists[chosen]] > 0.0
            # The place on its list where each neighbourhood has N + 1 living points.
            last = np.argmax(np.cumsum(living, axis=1) == size, axis=1)
            best = int(np.argmin(distances[chosen, last]))
            members = lists[chosen[best]][living[best]][:size]
            mass = weights[members]
            gone = _step(mass, _null_vector(points[members], plan, random))
            weights[members] = mass
            n_alive -= gone
            if n_alive <= target or gone > 1:
                break  # points that vanished together have shortened the lists by more than one


def _null_vector(points: Array, plan: ProductPlan, random: np.random.Generator) -> Array:
    """Return the null vector of N + 1 points with a random sign.

    It is unique but for its length, so it may come from a linear system; from the SVD where the
    first N points do not carry the features by themselves.
    """
    features = own_box_features(points, plan)
    vector = np.ones(len(points))
    factors, pivots, info = dgetrf(features[:, :-1])
    if info == 0:
        vector[:-1] = -dgetrs(factors, pivots, features[:, -1])[0]
    miss = float(np.abs(features @ vector).max())
    if not miss <= 64.0 * EPS * float(np.abs(vector).max()):
        basis = null_space(features)
        vector = basis @ random.standard_normal(basis.shape[1])
    return vector if random.random() < 0.5 else -vector
