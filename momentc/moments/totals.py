"""What rows that pass by add up to: where they lie, and their moments.

The moments are kept in the box that the rows fill. There every feature is at most 1, so sums round
by a part of the mass, and they stay as exact in every frame that holds the box. In a frame that was
found on the first rows those that follow may lie anywhere: powers of their coordinates round at
their own size, and what counts of them in the frame of all rows is less than that.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from momentc.moments.accumulate import Moments, combine_moments
from momentc.moments.change_frame import change_frame
from momentc.moments.frame import Extent, Frame

__all__ = ["Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Extent and moments of rows.

    Parameters
    ----------
    extent : Extent
    moments : Moments
        Legendre products in the box of the extent.
    columns : (rank,) int64 ndarray
        The columns that the moments are of.
    """

    extent: Extent
    moments: Moments
    columns: NDArray[np.int64]

    @classmethod
    def of_parts(
        cls, extent: Extent, parts: Iterable[Moments], columns: NDArray[np.int64]
    ) -> "Totals":
        """Return the totals of rows of which parts were summed in the box of all.

        Parameters
        ----------
        extent : Extent
            Of all parts.
        parts : iterable of Moments
            One at least; added up in their order.
        columns : (rank,) int64 ndarray
        """
        return cls(extent, reduce(combine_moments, parts), columns)

    @property
    def box(self) -> Frame:
        """The frame of the moments."""
        return self.extent.box(self.columns)

    def in_frame(self, frame: Frame) -> Moments:
        """Return the moments in a frame that holds the box."""
        box = self.box
        # The box of a column of one value has no extent: powers of what lies at 0 are known.
        constant = self.extent.low == self.extent.high
        scale = np.where(constant, 0.0, box.scale)
        unmoved = constant & (box.center == frame.center)
        scale[unmoved] = frame.scale[unmoved]
        return change_frame(self.moments, replace(box, scale=scale), frame)

    def in_units(self, exponent: int) -> "Totals":
        """Return the same with all weights times ``2 ** exponent``."""
        extent, moments = self.extent.in_units(exponent), self.moments.in_units(exponent)
        return Totals(extent, moments, self.columns)

    def with_part(self, other: "Totals") -> "Totals":
        """Return those of both together.

        Raises
        ------
        InputError
            The extent of a column is more than float64 can hold.
        """
        extent = self.extent.with_part(other.extent)
        box = extent.box(self.columns)
        parts = self.in_frame(box), other.in_frame(box)
        return Totals.of_parts(extent, parts, self.columns)
