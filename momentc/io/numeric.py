"""Which numbers momentc takes, and when float64 holds them exactly.

Everything is computed in float64. A real number type goes in if its values survive that: always for
bool, integers of up to 32 bits and floats of up to 64; value by value for int64, uint64 and
longdouble.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError

__all__ = ["always_exact", "inexact_mask", "require_real", "require_shape", "to_float64"]

LARGEST_EXACT_INTEGER = 2**53
"""Every integer up to this magnitude is a float64; the next one is not."""

_REFUSED = {
    "O": (
        "object arrays (pickles) are never loaded, because loading one can run code. "
        "Save plain numbers, for example array.astype(float)"
    ),
    "c": "split each column into its real and its imaginary part",
    "U": "strings are not points. Save numbers",
    "S": "strings are not points. Save numbers",
    "M": "convert dates to numbers, for example array.astype('int64')",
    "m": "convert time differences to numbers, for example array.astype('int64')",
    "V": (
        "structured and raw data are not points. Save one 2-D array of numbers, for example with "
        "numpy.lib.recfunctions.structured_to_unstructured"
    ),
}


def require_real(name: str, dtype: np.dtype[Any]) -> None:
    """Refuse a dtype whose values are not real numbers.

    Parameters
    ----------
    name : str
        The array, for the message.
    dtype : numpy.dtype
        Its type. Any byte order.

    Raises
    ------
    InputError
        The dtype is object, structured, complex, text, date or time difference.
    """
    if dtype.kind in "biuf":
        return
    advice = _REFUSED.get(dtype.kind, "save float64")
    raise InputError(
        f"{name} has dtype {dtype}, expected real numbers (bool, int, uint or float): {advice}"
    )


def require_shape(name: str, shape: tuple[int, ...] | None) -> tuple[int, int]:
    """Read a shape as rows and columns; a 1-D array is one column.

    Parameters
    ----------
    name : str
        The array, for the message.
    shape : tuple of int, or None
        Its shape. None is HDF5's null dataspace, which has no shape at all.

    Returns
    -------
    n_rows, n_columns : int
        Both at least 1.

    Raises
    ------
    InputError
        Neither 1-D nor 2-D, or nothing in it.
    """
    if shape is None:
        raise InputError(f"{name} is empty (no shape), expected (rows, columns)")
    if len(shape) not in {1, 2}:
        what = "is a single number" if not shape else f"has {len(shape)} dimensions"
        raise InputError(
            f"{name} {what}, shape {shape}; expected (rows, columns), or (rows,) for one column. "
            "Reshape it to one row per object"
        )
    n_rows, n_columns = shape[0], shape[1] if len(shape) == 2 else 1
    if n_rows == 0 or n_columns == 0:
        missing = "rows" if n_rows == 0 else "columns"
        raise InputError(
            f"{name} has 0 {missing}, shape {shape}; expected at least one row and one column"
        )
    return n_rows, n_columns


def to_float64(raw: NDArray[Any]) -> NDArray[np.float64]:
    """Convert real numbers to native float64, without a copy where they are that already.

    Parameters
    ----------
    raw : ndarray
        bool, int, uint or float of any width and byte order, any shape.

    Returns
    -------
    ndarray of float64
        Same shape. A longdouble beyond the range of float64 becomes infinite.
    """
    # A signalling NaN or a longdouble overflow is not a warning here: the finite check names the
    # row.
    with np.errstate(all="ignore"):
        return raw.astype(np.float64, copy=False)


def always_exact(dtype: np.dtype[Any]) -> bool:
    """Tell whether float64 holds every value of a type of real numbers."""
    return dtype.itemsize < 8 or (dtype.kind == "f" and dtype.itemsize == 8)


def inexact_mask(raw: NDArray[Any], converted: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Say which values changed when they became float64.

    Parameters
    ----------
    raw : ndarray
        The values as stored.
    converted : ndarray of float64
        ``to_float64(raw)``.

    Returns
    -------
    ndarray of bool, or None
        True where the float64 is another number; None if there is none. Values that are not finite
        after the conversion are left to the finite check.
    """
    if always_exact(raw.dtype):
        return None
    if raw.dtype.kind in "iu":
        if int(raw.max()) <= LARGEST_EXACT_INTEGER and int(raw.min()) >= -LARGEST_EXACT_INTEGER:
            return None
        # Magnitudes as uint64: the negative of the least int64 exists only there. A magnitude that
        # rounds up to 2**64 has no way back to an integer; 0 in its place differs as it must.
        magnitude = np.abs(raw.astype(raw.dtype.newbyteorder("="), copy=False)).view(np.uint64)
        rounded = magnitude.astype(np.float64)
        back = np.where(rounded < 2.0**64, rounded, 0.0).astype(np.uint64)
        mask = back != magnitude
    else:
        mask = np.isfinite(converted) & (converted.astype(raw.dtype) != raw)
    return mask if mask.any() else None
