"""A group of points in its own box."""

import numpy as np

from momentc.indexing import U
from momentc.jit import kernel

__all__ = ["centre_and_half", "scale_to_box"]

# By more than rounding.
CLEARLY_MORE = 1.0 + 2.0**-20


@kernel
def centre_and_half(low, high):  # type: ignore[no-untyped-def]
    """Return the middle of an interval, and half of its width: it holds both ends."""
    centre = 0.5 * (low + high)
    half = 0.5 * (high - low)
    # Between numbers next to each other there is no middle: the centre is then one of them.
    reach = max(high - centre, centre - low)
    return centre, (reach if reach > CLEARLY_MORE * half else half)


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
        centre, half = centre_and_half(low, high)
        if half > 0.0:
            for i in range(count):
                columns[j, i] = (columns[j, i] - centre) / half
        else:
            for i in range(count):
                columns[j, i] = 0.0
