"""Arrays as they stand in momentc's own files: one form for the same content, with a digest."""

import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from momentc.io.digest import new_digest, tagged
from momentc.io.npy import check_size, read_header

__all__ = [
    "RESERVED",
    "array_digest",
    "array_from_member",
    "canonical",
    "canonical_extra",
    "extra_digests",
    "require_extra_name",
    "update_digest",
]

EXTENDED_BYTES = 10
"""Bytes of an 80-bit number that mean something; of its 16 the rest is whatever was in memory."""
EXTENDED_MANTISSA = 63
"""Bits by which numpy tells that the machine's long doubles are such numbers, as those of x86 are.

On others all 16 bytes mean something.
"""
RESERVED = frozenset({"c", "w", "index", "momentc"})
"""What a result itself is made of."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Fit for a member of a zip archive, a dataset, and a name in Python; never a path."""


def canonical(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in C order, with the unused bytes of 80-bit numbers set to zero."""
    array = np.ascontiguousarray(array)
    is_extended = np.finfo(np.longdouble).nmant == EXTENDED_MANTISSA
    if is_extended and array.dtype.kind == "f" and array.dtype.itemsize == 16:
        array = array.copy()
        n_unused = 16 - EXTENDED_BYTES
        # They come last in this machine's order of bytes, and first in the other.
        unused = slice(EXTENDED_BYTES, 16) if array.dtype.isnative else slice(0, n_unused)
        array.reshape(-1).view(np.uint8).reshape(-1, 16)[:, unused] = 0
    return array


def update_digest(digest: "hashlib.blake2b", name: str, array: NDArray[Any]) -> None:
    """Add name, type, shape and bytes of an array to a digest."""
    digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
    digest.update(canonical(array).tobytes())


def array_digest(name: str, array: NDArray[Any]) -> str:
    """Return ``blake2b-128:<hex>`` of an array alone."""
    digest = new_digest()
    update_digest(digest, name, array)
    return tagged(digest)


def require_extra_name(name: str) -> None:
    """Raise ValueError if a further array cannot have this name."""
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(f"{name!r} cannot be the name of a further array")


def canonical_extra(extra: Mapping[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
    """Return further arrays in the form that is written, sorted by name.

    Raises
    ------
    ValueError
        A name that is reserved or not of the form ``[a-z][a-z0-9_]*``, no real numbers, or no
        dimension.
    """
    for name, array in (extra or {}).items():
        require_extra_name(name)
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            raise ValueError(
                f"further array {name} has dtype {array.dtype} and shape {array.shape}, expected "
                "real numbers with at least one dimension"
            )
    return {name: canonical(array) for name, array in sorted((extra or {}).items())}


def extra_digests(extra: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Return the digest of each further array, as the metadata record it."""
    return {name: array_digest(name, array) for name, array in extra.items()}


def array_from_member(name: str, data: bytes) -> NDArray[Any]:
    """Read a .npy member of any shape, also an empty one.

    Raises
    ------
    InputError
        Malformed or cut short.
    ValueError
        A shape that numpy cannot hold.
    """
    stream = io.BytesIO(data)
    header = read_header(name, stream.read)
    check_size(name, header, len(data) - header.offset)
    order: Literal["C", "F"] = "F" if header.fortran_order else "C"
    array: NDArray[Any] = np.ndarray(header.shape, header.dtype, data, header.offset, order=order)
    return array.copy()
