"""momentc's own file format, as bytes.

Three arrays and one JSON text, in two containers:

- ``c``: float64 (n,), the weights
- ``w``: (n, m) in the input's dtype, the points
- ``index``: int64 (n,), their row numbers in the input
- further arrays, if there are any, such as those of a part of a sharded run
- ``momentc`` (HDF5: attribute of the root) or ``momentc.json`` (.npz: member): the metadata, with
  ``format_version`` and ``checksum``

The same content gives the same bytes: no time, name, address or uninitialised memory goes in. The
checksum covers everything that is read back, so a damaged file is either noticed or not damaged
where it matters.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, VerificationError
from momentc.io.digest import new_digest, tagged
from momentc.io.hdf5 import find_dataset, open_hdf5
from momentc.io.hdf5_links import load_h5py
from momentc.io.location import SNIFF_BYTES, FileFormat, sniff
from momentc.io.npy import printable_reason
from momentc.io.npz import zip_errors
from momentc.io.result_arrays import (
    array_from_member,
    canonical,
    canonical_extra,
    extra_digests,
    require_extra_name,
    update_digest,
)
from momentc.weighted import WeightedSet

__all__ = [
    "FORMAT_VERSION",
    "decode_result",
    "decode_with_extra",
    "encode_result",
    "is_result_file",
    "is_result_members",
    "seal",
]

FORMAT_VERSION = 1

ARRAYS = ("c", "w", "index")
ATTRIBUTE = "momentc"
MEMBER = "momentc.json"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can hold."""
HDF5_VERSIONS = ("v110", "v110")
"""Readable since HDF5 1.10 (2016), and written alike by every later library. Its object headers
carry checksums of their own."""
EXTRA = "extra"
"""Key of the metadata that has the digests of further arrays by name. The checksum covers it, and
so them; a reader that does not know the key finds a result that is whole without them."""


def seal(
    result: WeightedSet,
    metadata: dict[str, Any],
    extra: Mapping[str, NDArray[Any]] | None = None,
) -> tuple[WeightedSet, dict[str, Any]]:
    """Bring a result into the form that is written, and add version and checksum.

    Parameters
    ----------
    result : WeightedSet
        What to write.
    metadata : dict
        Anything that JSON can hold; numpy scalars and arrays, paths and tuples are converted. No
        NaN and no infinity.
    extra : dict of str to ndarray, optional
        Further arrays, whose digests go into the metadata.

    Returns
    -------
    result : WeightedSet
        C-ordered arrays.
    metadata : dict
        As it will be read back.

    Raises
    ------
    ValueError
        The metadata hold something else, or the names that are added here; or see
        `momentc.io.result_arrays.canonical_extra`.
    """
    reserved = {"format_version", "checksum", EXTRA} & set(metadata)
    if reserved:
        raise ValueError(
            f"the metadata already hold {', '.join(sorted(reserved))}, which are added on writing"
        )
    written = WeightedSet(
        canonical(result.points),
        np.ascontiguousarray(result.weights, dtype=np.float64),
        np.ascontiguousarray(result.index, dtype=np.int64),
    )
    further = {EXTRA: extra_digests(canonical_extra(extra))} if extra else {}
    text = _json_text({**metadata, **further, "format_version": FORMAT_VERSION})
    sealed: dict[str, Any] = json.loads(text)
    sealed["checksum"] = _checksum(written, sealed)
    return written, sealed


def _json_text(metadata: dict[str, Any]) -> str:
    """Write metadata as one line: sorted keys, ASCII (a file name may be no valid Unicode)."""
    return json.dumps(metadata, sort_keys=True, allow_nan=False, default=_plain)


def _plain(value: object) -> object:
    """Convert what JSON does not know."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise ValueError(
        f"metadata hold {value!r} of type {type(value).__name__}, which JSON cannot hold"
    )


def _checksum(result: WeightedSet, metadata: dict[str, Any]) -> str:
    """Digest of the arrays (type, shape, bytes) and of the metadata without the checksum."""
    digest = new_digest()
    for name, array in zip(ARRAYS, (result.weights, result.points, result.index), strict=True):
        update_digest(digest, name, array)
    digest.update(
        _json_text({key: value for key, value in metadata.items() if key != "checksum"}).encode()
    )
    return tagged(digest)


def encode_result(
    result: WeightedSet,
    metadata: dict[str, Any],
    form: FileFormat,
    extra: Mapping[str, NDArray[Any]] | None = None,
) -> bytes:
    """Make the file.

    Parameters
    ----------
    result : WeightedSet
        As `seal` returns it.
    metadata : dict
        As `seal` returns it.
    form : {FileFormat.NPZ, FileFormat.HDF5}
        The container.
    extra : dict of str to ndarray, optional
        The further arrays that `seal` was given.

    Returns
    -------
    bytes
    """
    text = _json_text(metadata).encode()
    arrays = dict(zip(ARRAYS, (result.weights, result.points, result.index), strict=True))
    arrays.update(canonical_extra(extra))
    return _encode_hdf5(arrays, text) if form is FileFormat.HDF5 else _encode_npz(arrays, text)


def _encode_npz(arrays: dict[str, NDArray[Any]], text: bytes) -> bytes:
    members = {MEMBER: text}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
        members[f"{name}.npy"] = buffer.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, ZIP_EPOCH)
            info.create_system = 3  # Unix, whatever the machine is
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return file.getvalue()


def _encode_hdf5(arrays: dict[str, NDArray[Any]], text: bytes) -> bytes:
    h5py = load_h5py()
    # In memory: a disk that fills up makes the library crash at exit.
    with h5py.File("memory", "w", driver="core", backing_store=False, libver=HDF5_VERSIONS) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
        # A string of fixed length: the heap of variable ones has no checksum, and 3 kB of slack.
        kind = h5py.string_dtype("utf-8", len(text))
        file.attrs.create(ATTRIBUTE, np.bytes_(text), dtype=kind)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def is_result_members(members: "dict[str, zipfile.ZipInfo]") -> bool:
    """Say whether the members of a .npz file are those of a file of momentc."""
    return {MEMBER, *(f"{name}.npy" for name in ARRAYS)} <= set(members)


def is_result_file(file: Any) -> bool:
    """Say whether an open HDF5 file was written by momentc; follows no link to find out."""
    h5py = load_h5py()
    try:
        return ATTRIBUTE in file.attrs and all(
            isinstance(file.get(name, getlink=True), h5py.HardLink) for name in ARRAYS
        )
    except Exception:
        # h5py raises anything on a damaged file; opening the dataset will say what it is.
        return False


def decode_result(data: bytes, name: str) -> tuple[WeightedSet, dict[str, Any]]:
    """Read a file of momentc, see `decode_with_extra`; further arrays are checked and left out."""
    result, metadata, _ = decode_with_extra(data, name)
    return result, metadata


def decode_with_extra(
    data: bytes, name: str
) -> tuple[WeightedSet, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a file of momentc.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        For messages.

    Returns
    -------
    result : WeightedSet
        As it was written, bit for bit.
    metadata : dict
        With ``format_version`` and ``checksum``, and ``extra`` if there are further arrays.
    extra : dict of str to ndarray
        The further arrays.

    Raises
    ------
    InputError
        Not a file of momentc, or one of a newer version.
    VerificationError
        A file of momentc whose content is not what was written.
    """
    decode = _decode_hdf5 if sniff(name, data[:SNIFF_BYTES]) is FileFormat.HDF5 else _decode_npz
    arrays, text = decode(data, name)
    with _damage_noticed(name):
        metadata = json.loads(text, parse_constant=_no_constant)
        version, checksum = metadata.pop("format_version"), metadata.pop("checksum")
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"format_version is {version!r}")
        metadata["format_version"] = version
    if version > FORMAT_VERSION:
        raise InputError(
            f"{name} has format version {version}, this momentc reads up to {FORMAT_VERSION}: "
            "install a newer momentc"
        )
    with _damage_noticed(name):
        weights, points, index = (arrays.pop(key) for key in ARRAYS)
        if (
            weights.dtype != np.float64
            or index.dtype != np.int64
            or points.dtype.kind not in "biuf"
        ):
            raise ValueError(
                f"c, w, index have types {weights.dtype}, {points.dtype}, {index.dtype}"
            )
        result = WeightedSet(points, weights, index)
        _require_promises(result)
        if _checksum(result, metadata) != checksum:
            raise ValueError("the content does not fit its checksum")
        if extra_digests(arrays) != metadata.get(EXTRA, {}):
            raise ValueError("a further array does not fit its checksum")
    metadata["checksum"] = checksum
    return result, metadata, arrays


def _require_promises(result: WeightedSet) -> None:
    """Raise ValueError if weights or row numbers are none that momentc ever writes."""
    # Written so that a NaN counts as wrong.
    if not (np.isfinite(result.weights).all() and (result.weights >= 0.0).all()):
        raise ValueError("a weight is below 0 or not finite")
    if len(result) and (result.index[0] < 0 or np.any(np.diff(result.index) <= 0)):
        raise ValueError("the row numbers do not ascend from 0 or more")


def _extra_names(text: bytes | str) -> list[str]:
    """Names of the further arrays; none in a newer format, of which nothing is read."""
    metadata = json.loads(text)
    if metadata.get("format_version") != FORMAT_VERSION:
        return []
    names = list(metadata.get(EXTRA, {}))
    for name in names:
        require_extra_name(name)
    return names


@contextmanager
def _damage_noticed(name: str) -> Iterator[None]:
    """Turn any error in what is known to be momentc's own file into a `VerificationError`."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise VerificationError(
            f"{name} is damaged: {printable_reason(error)}. It is not what momentc wrote; make it "
            "again"
        ) from error


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} in the metadata")


def _decode_npz(data: bytes, name: str) -> tuple[dict[str, NDArray[Any]], bytes | str]:
    with zip_errors(name):
        archive = zipfile.ZipFile(io.BytesIO(data))
    with archive:
        if not is_result_members(archive.NameToInfo):
            raise _not_a_result(name)
        with _damage_noticed(name), zip_errors(name):
            text = archive.read(MEMBER)
            arrays = {
                key: array_from_member(f"{name}:{key}", archive.read(f"{key}.npy"))
                for key in (*ARRAYS, *_extra_names(text))
            }
    return arrays, text


def _decode_hdf5(data: bytes, name: str) -> tuple[dict[str, NDArray[Any]], bytes | str]:
    with open_hdf5(name, io.BytesIO(data)) as file:
        if not is_result_file(file):
            raise _not_a_result(name)
        with _damage_noticed(name):
            text = file.attrs[ATTRIBUTE]  # bytes, or str if another tool has copied the file
            arrays = {}
            for key in (*ARRAYS, *_extra_names(text)):
                dataset, _ = find_dataset(file, key, allow_external=False, name=name)
                # The library would allocate whatever a damaged header declares.
                if dataset.size * dataset.dtype.itemsize > len(data):
                    raise ValueError(f"{key} declares shape {dataset.shape}")
                arrays[key] = np.asarray(dataset[()])
    return arrays, text


def _not_a_result(name: str) -> InputError:
    return InputError(
        f"{name} was not written by momentc: it lacks {', '.join(ARRAYS)} or the metadata "
        f"{MEMBER} / {ATTRIBUTE}"
    )
