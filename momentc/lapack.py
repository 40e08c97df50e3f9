"""LAPACK's LU factorisation, BLAS's triangular solve and products, for the compiled kernels.

SciPy exports the routines of its own LAPACK for callers outside of Python
(``scipy.linalg.cython_lapack``). Their addresses are made known to the linker under a name, so
that kernels which call them can still be kept in numba's cache.

``solve_lower`` is for callers in Python: ``scipy.linalg.blas`` holds Python's lock while it
computes, so that threads wait for each other.
"""

import ctypes
from importlib import import_module
from typing import Any

import llvmlite.binding
import numpy as np
from numba.core import types
from numba.extending import get_cython_function_address
from numpy.typing import NDArray

from momentc.jit import kernel

__all__ = [
    "add_weighted_sums",
    "factorise_lu",
    "solve_lower",
    "solve_unit_lower",
    "subtract_product",
]

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
_dgemv = _routine(
    "scipy.linalg.cython_blas", "dgemv",
    _LETTER, _INTEGER, _INTEGER, _REAL, _REAL, _INTEGER, _REAL, _INTEGER, _REAL, _REAL, _INTEGER,
)  # fmt: skip
_dtrsm = _routine(
    "scipy.linalg.cython_blas", "dtrsm",
    _LETTER, _LETTER, _LETTER, _LETTER, _INTEGER, _INTEGER, _REAL, _REAL, _INTEGER, _REAL, _INTEGER,
)  # fmt: skip

# ctypes lets go of Python's lock during a call.
_solve_triangular = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 11)(
    get_cython_function_address("scipy.linalg.cython_blas", "dtrsm")
)

# Letters and numbers that the routines take by their address. Constants: numba compiles each array
# that a kernel makes, and much of it.
_UPPER_N, _UPPER_T, _UPPER_R, _UPPER_L, _UPPER_U = (
    np.array([ord(letter)], np.uint8) for letter in "NTRLU"
)
_ONE = np.ones(1)
_MINUS_ONE = -np.ones(1)
_STRIDE = np.ones(1, np.int32)


@kernel
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


@kernel
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
    sizes = np.empty(3, np.int32)
    sizes[0] = g - rank
    sizes[1] = rank
    sizes[2] = g
    # On the right, the lower triangle, not transposed, with a unit diagonal.
    _dtrsm(
        _UPPER_R.ctypes, _UPPER_L.ctypes, _UPPER_N.ctypes, _UPPER_U.ctypes,
        sizes.ctypes, sizes[1:].ctypes, _ONE.ctypes,
        rows.ctypes, sizes[2:].ctypes, rows[0, rank:].ctypes, sizes[2:].ctypes,
    )  # fmt: skip


@kernel
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
    sizes = np.empty(4, np.int32)
    sizes[0] = last - first
    sizes[1] = left.shape[1]
    sizes[2] = left.shape[0]
    sizes[3] = rows.shape[1]
    _dgemm(
        _UPPER_N.ctypes, _UPPER_T.ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes,
        _MINUS_ONE.ctypes, right.ctypes, sizes.ctypes, left.ctypes, sizes[1:].ctypes,
        _ONE.ctypes, rows[0, first:].ctypes, sizes[3:].ctypes,
    )  # fmt: skip


@kernel
def add_weighted_sums(rows, weights, first, last, sums):  # type: ignore[no-untyped-def]
    """Add ``rows[:, : last - first] @ weights[first:last]`` to ``sums`` (BLAS's dgemv), in place.

    Parameters
    ----------
    rows : (N, >= last - first) float64 ndarray
        IN: C-contiguous.
    weights : (>= last,) float64 ndarray
        IN: C-contiguous.
    first, last : int
        first < last.
    sums : (N,) float64 ndarray
        IN, OUT.
    """
    sizes = np.empty(3, np.int32)
    sizes[0] = last - first
    sizes[1] = rows.shape[0]
    sizes[2] = rows.shape[1]
    _dgemv(
        _UPPER_T.ctypes, sizes.ctypes, sizes[1:].ctypes, _ONE.ctypes, rows.ctypes,
        sizes[2:].ctypes, weights[first:].ctypes, _STRIDE.ctypes, _ONE.ctypes, sums.ctypes,
        _STRIDE.ctypes,
    )  # fmt: skip


def solve_lower(factor: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    """Solve ``L x = right`` (BLAS's dtrsm), in place, without Python's lock.

    Parameters
    ----------
    factor : (n, n) float64 ndarray
        L, in Fortran's order; what is above the diagonal is not looked at.
    right : (n, p) float64 ndarray
        The right sides, then the solutions. In Fortran's order.

    Raises
    ------
    ValueError
        An array is of another kind.
    """
    n, p = right.shape
    for array, shape in ((factor, (n, n)), (right, (n, p))):
        if array.shape != shape or array.dtype != np.float64 or not array.flags.f_contiguous:
            raise ValueError(f"expected float64, {shape}, in Fortran's order")
    sizes = np.array([n, p], dtype=np.int32)
    leading = np.array([max(1, n)], dtype=np.int32)
    letter_l, letter_n = (letter.ctypes.data for letter in (_UPPER_L, _UPPER_N))
    _solve_triangular(
        letter_l, letter_l, letter_n, letter_n, sizes.ctypes.data, sizes[1:].ctypes.data,
        _ONE.ctypes.data, factor.ctypes.data, leading.ctypes.data, right.ctypes.data,
        leading.ctypes.data,
    )  # fmt: skip
