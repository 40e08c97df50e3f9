"""Checkpoints in the safetensors format: tensors as bytes, so that what is not touched stays.

A file is eight bytes with the length of its header (little-endian), the header (JSON: type, shape
and place of each tensor, and texts under ``__metadata__``), and the tensors' bytes, in C order. The
package ``safetensors`` checks every file that is read and every file that was written; the bytes
are laid out here, because types that numpy does not have (BF16, F8) must pass through, and the same
tensors must give the same bytes in every version of the package.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError
from momentc.text import printable

__all__ = ["StoredTensor", "TensorFile", "decode_tensors", "encode_tensors", "read_tensors"]

_NUMPY: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
}
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_BF16_SHIFT = 16
"""A BF16 number is the upper half of a float32."""

_PICKLE_MAGICS = (b"PK\x03\x04", *(bytes((0x80, protocol)) for protocol in range(2, 6)))
"""First bytes of what torch.save writes, now (a zip archive) and in its older form."""

_PREFIX_BYTES = 8
_ALIGNMENT = 8
"""The data begin at a multiple of 8 bytes: the header is filled up with spaces."""
_METADATA = "__metadata__"


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor as it stands in a file.

    Parameters
    ----------
    dtype : str
        Type in the format's words: F64, F32, F16, BF16, I64, ...
    shape : tuple of int
    data : bytes
        Its elements in C order, little-endian.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def is_float(self) -> bool:
        """Whether `as_float64` can read it."""
        return self.dtype in _FLOATS

    def as_float64(self) -> NDArray[np.float64]:
        """Return the numbers, each exactly as stored."""
        if self.dtype == "BF16":
            halves = np.frombuffer(self.data, "<u2").astype("<u4") << _BF16_SHIFT
            return halves.view("<f4").astype(np.float64).reshape(self.shape)
        return np.frombuffer(self.data, _NUMPY[self.dtype]).astype(np.float64).reshape(self.shape)

    def rounded(self, values: NDArray[np.float64]) -> "StoredTensor":
        """Return other numbers in this tensor's type, each rounded to the nearest.

        A number beyond the type's range becomes infinite.
        """
        if self.dtype == "BF16":
            # By way of float32 a number may be rounded twice; at most one unit more in 2^16 ties.
            with np.errstate(over="ignore"):
                wide = np.ascontiguousarray(values, "<f4").view("<u4").astype(np.uint64)
            halves = (wide + 0x7FFF + ((wide >> _BF16_SHIFT) & 1)) >> _BF16_SHIFT
            data = halves.astype("<u2").tobytes()
        else:
            with np.errstate(over="ignore"):
                data = np.ascontiguousarray(values, _NUMPY[self.dtype]).tobytes()
        return StoredTensor(self.dtype, values.shape, data)

    def rows(self, index: NDArray[np.int64]) -> "StoredTensor":
        """Return the rows `index` of the first dimension, bit for bit."""
        size = len(self.data) // max(self.shape[0], 1)
        data = b"".join(self.data[i * size : (i + 1) * size] for i in index.tolist())
        return StoredTensor(self.dtype, (len(index), *self.shape[1:]), data)


@dataclass(frozen=True, slots=True, eq=False)
class TensorFile:
    """A checkpoint.

    Parameters
    ----------
    name : str
        For messages.
    tensors : dict of str to StoredTensor
    metadata : dict of str to str
    """

    name: str
    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]


def read_tensors(path: str | Path) -> TensorFile:
    """Read a checkpoint, all of it.

    Raises
    ------
    InputError
        No such file, or not a valid one.
    UsageError
        The package ``safetensors`` is missing.
    """
    name = printable(str(path))
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name} cannot be read: {reason}") from error
    return decode_tensors(data, name)


def decode_tensors(data: bytes, name: str) -> TensorFile:
    """Read a checkpoint from its bytes.

    Parameters
    ----------
    data : bytes
    name : str
        For messages.

    Raises
    ------
    InputError, UsageError
        As `read_tensors`.
    """
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise UsageError(
            "checkpoints need the package safetensors, which is not installed: "
            "pip install 'momentc[learn]'"
        ) from error
    deserialize: Callable[[bytes], Any] = safetensors.deserialize
    try:
        found = deserialize(data)
    except safetensors.SafetensorError as error:
        if data.startswith(_PICKLE_MAGICS):
            raise InputError(
                f"{name} looks like a checkpoint of torch.save, which is a pickle. Loading one can "
                "run code; where you trust it, convert it with safetensors.torch.save_file"
            ) from error
        if data.lstrip().startswith(b"{"):
            raise InputError(
                f"{name} is JSON, no safetensors file. Of a checkpoint in several files, give the "
                "one that holds both layers; their index says which that is"
            ) from error
        raise InputError(f"{name} is not a valid safetensors file: {error}") from error
    tensors = {
        key: StoredTensor(str(entry["dtype"]), tuple(entry["shape"]), bytes(entry["data"]))
        for key, entry in found
    }
    length = int.from_bytes(data[:_PREFIX_BYTES], "little")
    header: dict[str, Any] = json.loads(data[_PREFIX_BYTES : _PREFIX_BYTES + length])
    return TensorFile(name, tensors, dict(header.get(_METADATA) or {}))


def encode_tensors(tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a checkpoint: the same for the same content, whatever its order.

    Parameters
    ----------
    tensors : mapping of str to StoredTensor
    metadata : mapping of str to str
    """
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    parts = []
    place = 0
    # Wide elements first keeps every tensor aligned to its own elements.
    for name in sorted(tensors, key=lambda key: (-_element_bytes(tensors[key]), key)):
        tensor = tensors[name]
        end = place + len(tensor.data)
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [place, end],
        }
        parts.append(tensor.data)
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(_PREFIX_BYTES, "little"), text, *parts])


def _element_bytes(tensor: StoredTensor) -> int:
    return len(tensor.data) // max(math.prod(tensor.shape), 1)
