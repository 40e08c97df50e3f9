"""A group of points in its own box."""

import numpy as np

from momentc.indexing import U
from momentc.jit import kernel

__all__ = ["scale_to_box"]


@kernel
def scale_to_box(points, own, columns):  # type: ignore[no-untyped-def]
    """Fill ``columns`` with points of a group, each column scaled to [-1, 1].

    Parameters
    ----------
    points : (n, m) float64 ndarray  # IN
    own : (g,) int64 ndarray  # IN, the rows of the group
    columns : (m, g) float64 ndarray  # OUT
    """
    count = U(own.shape[0])
    for j in range(U(points.shape[1])):
        low = np.inf
        high = -np.inf
        for i in range(count):
            value = points[U(own[i]), j]
            columns[j, i] = value
            low = min(low, value)
            high = max(high, value)
        centre = 0.5 * (low + high)
        half = 0.5 * (high - low)
        if half > 0.0:
            for i in range(count):
                columns[j, i] = (columns[j, i] - centre) / half
        else:
            for i in range(count):
                columns[j, i] = 0.0
