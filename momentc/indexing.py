"""Indices of arrays in compiled loops.

Of an index that may be negative numba asks whether it is, to count from the end of the array; and
of every view of a row it counts the references. The one keeps the compiler from vector instructions
in loops that do not begin at 0, the other costs as much as twenty entries. So in loops that take
time, rows are addressed in the whole array, by unsigned indices.

A ``range`` with a step divides to find its length: ``while`` takes its place in short loops.
Unsigned and signed integers must not meet in arithmetic: numba makes them float64.
"""

from typing import Final

import numpy as np

__all__ = ["U"]

U: Final = np.uint64
"""Type of an index."""
