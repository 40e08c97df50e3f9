"""LAPACK's LU factorisation, BLAS's triangular solve and product, for the compiled kernels.

SciPy exports the routines of its own LAPACK for callers outside of Python
(``scipy.linalg.cython_lapack``). Their addresses are made known to the linker under a name, so
that kernels which call them can still be kept in numba's cache.
"""

from importlib import import_module
from typing import Any

import llvmlite.binding
import numba as nb
import numpy as np
from numba.core import types
from numba.extending import get_cython_function_address

__all__ = ["factorise_lu", "solve_unit_lower", "subtract_product"]

_INTEGER = types.CPointer(types.int32)
_REAL = types.CPointer(types.float64)
_LETTER = types.CPointer(types.uint8)


def _routine(module: str, name: str, *arguments: Any) -> Any:
    declared = str(import_module(module).__pyx_capi__[name])
    if "int *" not in declared or "long" in declared:
        raise ImportError(f"{module}.{name} takes other integers than those of C: {declared}")
    symbol = f"momentc_{name}"
    llvmlite.binding.add_symbol(symbol, get_cython_function_address(module, name))
    return types.ExternalFunction(symbol, types.void(*arguments))


_dgetrf = _routine(
    "scipy.linalg.cython_lapack", "dgetrf",
    _INTEGER, _INTEGER, _REAL, _INTEGER, _INTEGER, _INTEGER,
)  # fmt: skip
_dgemm = _routine(
    "scipy.linalg.cython_blas", "dgemm",
    _LETTER, _LETTER, _INTEGER, _INTEGER, _INTEGER, _REAL, _REAL, _INTEGER, _REAL, _INTEGER,
    _REAL, _REAL, _INTEGER,
)  # fmt: skip
_dtrsm = _routine(
    "scipy.linalg.cython_blas", "dtrsm",
    _LETTER, _LETTER, _LETTER, _LETTER, _INTEGER, _INTEGER, _REAL, _REAL, _INTEGER, _REAL, _INTEGER,
)  # fmt: skip


@nb.njit(cache=True, nogil=True)
def factorise_lu(rows, order_of):  # type: ignore[no-untyped-def]
    """Factorise ``rows.T = P L U`` with partial pivoting (LAPACK's dgetrf), in place.

    Parameters
    ----------
    rows : (N, g) float64 ndarray, N <= g
        IN, OUT: C-contiguous. ``rows[r, j]`` is L[j, r] for j > r and U[j, r] for j <= r, for the
        permuted columns.
    order_of : (>= g,) int64 ndarray
        OUT: column ``order_of[p]`` now stands at p.
    """
    n_rows, g = rows.shape
    sizes = np.empty(3, np.int32)
    sizes[0] = g
    sizes[1] = n_rows
    swaps = np.empty(n_rows, np.int32)
    _dgetrf(
        sizes.ctypes, sizes[1:].ctypes, rows.ctypes, sizes.ctypes, swaps.ctypes, sizes[2:].ctypes
    )
    for p in range(g):
        order_of[p] = p
    for p in range(n_rows):
        place = swaps[p] - 1
        own = order_of[p]
        order_of[p] = order_of[place]
        order_of[place] = own


@nb.njit(cache=True, nogil=True)
def solve_unit_lower(rows, rank):  # type: ignore[no-untyped-def]
    """Solve ``X L1 = L2`` for the factor that ``factorise_lu`` leaves (BLAS's dtrsm), in place.

    Parameters
    ----------
    rows : (N, g) float64 ndarray
        IN, OUT: C-contiguous. L1 is the unit lower triangle of ``rows[:rank, :rank].T``;
        ``rows[:rank, rank:].T`` holds L2, then X.
    rank : int
        < g.
    """
    g = rows.shape[1]
    letters = np.empty(4, np.uint8)
    letters[0] = ord("R")  # the triangle stands on the right,
    letters[1] = ord("L")  # is the lower one,
    letters[2] = ord("N")  # not transposed,
    letters[3] = ord("U")  # with a unit diagonal
    sizes = np.empty(3, np.int32)
    sizes[0] = g - rank
    sizes[1] = rank
    sizes[2] = g
    one = np.ones(1)
    _dtrsm(
        letters.ctypes, letters[1:].ctypes, letters[2:].ctypes, letters[3:].ctypes,
        sizes.ctypes, sizes[1:].ctypes, one.ctypes,
        rows.ctypes, sizes[2:].ctypes, rows[0, rank:].ctypes, sizes[2:].ctypes,
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def subtract_product(rows, first, last, left, right):  # type: ignore[no-untyped-def]
    """Subtract ``left.T @ right`` from ``rows[:r, first:last]`` (BLAS's dgemm), in place.

    Parameters
    ----------
    rows : (>= r, g) float64 ndarray
        IN, OUT: C-contiguous.
    first, last : int
        first < last <= g.
    left : (p, r) float64 ndarray
        IN: C-contiguous.
    right : (p, last - first) float64 ndarray
        IN: C-contiguous.
    """
    letters = np.empty(2, np.uint8)
    letters[0] = ord("N")
    letters[1] = ord("T")
    sizes = np.empty(4, np.int32)
    sizes[0] = last - first
    sizes[1] = left.shape[1]
    sizes[2] = left.shape[0]
    sizes[3] = rows.shape[1]
    factors = np.empty(2)
    factors[0] = -1.0
    factors[1] = 1.0
    _dgemm(
        letters.ctypes, letters[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes,
        factors.ctypes, right.ctypes, sizes.ctypes, left.ctypes, sizes[1:].ctypes,
        factors[1:].ctypes, rows[0, first:].ctypes, sizes[3:].ctypes,
    )  # fmt: skip
