"""The tableau behind a pointer, for the kernels that stand around it.

A kernel that calls another by name takes its whole code in, and numba compiles that anew with each
kernel of a chain. The tableau is the largest part of the longest chain. Called by its address it is
compiled once, and beside the rest on another core (see ``momentc.kernels``).
"""

from functools import lru_cache
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from momentc.jit import kernel
from momentc.reduction.tableau import remove_points_at

__all__ = ["call_remove_points", "remove_points", "remove_points_address"]

_INTEGERS = types.CPointer(types.int64)
_REALS = types.CPointer(types.float64)
_SIGNATURE = types.int64(
    _REALS, types.int64, types.int64, _REALS, types.int64, types.float64, _INTEGERS, _REALS
)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    # Kept: the code goes with the object.
    return nb.cfunc(_SIGNATURE, cache=True, error_model="numpy")(remove_points_at)


def remove_points_address() -> int:
    """Return where the compiled ``remove_points_at`` lies; compiled now if that was never done."""
    return int(_compiled().address)


@intrinsic
def _call(  # type: ignore[no-untyped-def]
    _typing, address, features, n_rows, g, weights, n_remove, tolerance, order_of, spare
):
    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        declared = [context.get_value_type(kind) for kind in _SIGNATURE.args]
        kind = ir.FunctionType(context.get_value_type(_SIGNATURE.return_type), declared)
        function = builder.inttoptr(values[0], kind.as_pointer())
        return builder.call(function, values[1:])

    return _SIGNATURE.return_type(types.intp, *_SIGNATURE.args), generate


@kernel
def call_remove_points(  # type: ignore[no-untyped-def]
    address, features, weights, n_remove, tolerance, order_of, spare
):
    """Call ``remove_points_at``, which lies at ``address``, with C-contiguous arrays."""
    n_rows, g = features.shape
    return _call(  # type: ignore[call-arg]
        address, features.ctypes, n_rows, g, weights.ctypes, n_remove, tolerance,
        order_of.ctypes, spare.ctypes,
    )  # fmt: skip


def remove_points(
    features: NDArray[np.float64],
    weights: NDArray[np.float64],
    n_remove: int,
    tolerance: float,
    order_of: NDArray[np.int64],
    spare: NDArray[np.float64],
) -> int:
    """Call ``remove_points_at`` from outside of the kernels, with C-contiguous arrays.

    Parameters
    ----------
    features : (N, g) float64 ndarray
        IN, destroyed.
    weights : (g,) float64 ndarray
        IN, OUT: >= 0.
    n_remove : int
    tolerance : float
        Pivot tolerance.
    order_of : (>= g,) int64 ndarray
        Work space.
    spare : (>= N g,) float64 ndarray
        Work space.

    Returns
    -------
    int
        The number of weights that became 0.

    Raises
    ------
    ValueError
        An array is not C-contiguous.
    """
    if not all(array.flags.c_contiguous for array in (features, weights, order_of, spare)):
        raise ValueError("called by its address, the tableau takes C-contiguous arrays only")
    return int(
        call_remove_points(
            remove_points_address(), features, weights, n_remove, tolerance, order_of, spare
        )
    )
