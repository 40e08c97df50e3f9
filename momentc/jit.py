"""How the kernels are compiled.

The code is kept on disk, so each is compiled once for an installation. They run without Python's
global lock, so threads can share the work. A division by zero gives an infinity or NaN, as in numpy
(every result is checked): the branches that would raise instead keep the compiler from vector
instructions, and take a tenth of the first run. No reordering of sums ("fastmath"): the same input
gives the same bytes.
"""

import numba as nb

__all__ = ["kernel"]

kernel = nb.njit(cache=True, nogil=True, error_model="numpy")
"""Compile a function that works on arrays."""
