"""Whether larger groups would reach across the gaps between clusters.

A higher order needs groups of more points. Where the points lie in clusters of about that many at
the end, such groups take points from several, and their diameter is no longer that of a cluster but
the distance to the next: the errors inside of clusters then grow by orders of magnitude, for all
that the order gains.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from momentc.moments.multi_index import n_moments

__all__ = ["order_within_clusters"]

# Points around which the neighbours are counted.
CENTRES: Final = 256

# A group reaches across a gap if it is so many times as wide as its number of points lets expect;
# so many of the groups may.
GAP: Final = 3.0
MOST_ACROSS: Final = 0.1

# Points of the smaller ball at least: of fewer the radius is mostly chance.
LEAST_BALL: Final = 6

# The rounds of the reductions draw from the first streams of a seed.
SAMPLE_STREAM: Final = 2**32 - 1


def order_within_clusters(
    points: NDArray[np.float64], k: int, order: int, n_left: int, seed: int
) -> int:
    """Return the highest order whose groups stay as compact as those of order k, up to ``order``.

    In a sample of as many points as will be left, the ball of N_K points around a point is compared
    with that of N_k points. In m variables its radius is about (N_K / N_k)^(1/m) times as large,
    unless it has left a cluster.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        Distinct, n > n_left.
    k, order : int
        1 <= k <= order.
    n_left : int
        Points to which these will be reduced.
    seed : int
        Of the sample.

    Returns
    -------
    int
        k where even one order more reaches across gaps.
    """
    if order == k:
        return k
    n, m = points.shape
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SAMPLE_STREAM,)))
    sample = points[generator.choice(n, min(n, n_left), replace=False, shuffle=False)]
    orders = range(k, order + 1)
    sizes = np.array([max(LEAST_BALL, n_moments(m, each)) for each in orders])
    sizes = np.minimum(sizes, len(sample))
    # The point itself is the first of its neighbours.
    radii = cKDTree(sample).query(sample[:CENTRES], k=sizes)[0]
    expected = (sizes / sizes[0]) ** (1.0 / m)
    across = (radii > GAP * expected * radii[:, :1]).mean(axis=0)
    compact = across <= MOST_ACROSS
    return k + int(np.argmin(np.append(compact, False))) - 1
