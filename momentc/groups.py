"""Groups of points: what a clustering finds and a reduction works on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Groups"]


@dataclass(frozen=True, slots=True)
class Groups:
    """Disjoint groups of points, and how many points each must keep.

    Parameters
    ----------
    members : (n_members,) int64 ndarray
        Positions of the points, group after group.
    offsets : (n_groups + 1,) int64 ndarray
        Group i is ``members[offsets[i]:offsets[i + 1]]``.
    keep : (n_groups,) int64 ndarray
        Points that must stay in each group; a group that has no more is left alone.
    """

    members: NDArray[np.int64]
    offsets: NDArray[np.int64]
    keep: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.keep)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of points in each group."""
        return self.offsets[1:] - self.offsets[:-1]
