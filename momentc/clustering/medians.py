"""Groups of about equal count, however the points lie: cut at medians, again and again.

For points that reach over so many decades that k-means, which goes by distance, puts nearly all
into one cluster. Where it does not, it makes the better groups: those of medians straddle gaps.
"""

import numpy as np
from numpy.typing import NDArray

from momentc.cells import cells_of
from momentc.groups import Groups

__all__ = ["median_groups"]


def median_groups(points: NDArray[np.float64], group_size: float, n_keep: int) -> Groups:
    """Cut the points into groups of ``group_size`` points or up to twice as many.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        n >= 1.
    group_size : float
    n_keep : int
        Points that each group must keep.

    Returns
    -------
    Groups
        Positions into ``points``.
    """
    order, edges = cells_of(points, group_size)
    return Groups(order, edges, np.full(len(edges) - 1, n_keep, dtype=np.int64))
