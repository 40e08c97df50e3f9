"""Further arrays in result files: covered by the checksum; where there are none, no trace."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from momentc.errors import InputError, VerificationError
from momentc.io.location import FileFormat
from momentc.io.result_bytes import decode_result, decode_with_extra, encode_result, seal
from momentc.io.result_file import (
    read_result,
    read_with_extra,
    write_result,
    write_result_stream,
)
from momentc.io.source import open_source
from momentc.weighted import WeightedSet

BOTH = pytest.mark.parametrize("name", ["out.npz", "out.h5"])
EXTRA: dict[str, NDArray[Any]] = {
    "moments": np.linspace(0, 1, 7),
    "digests": np.arange(32, dtype=np.uint8).reshape(2, 16),
    "cube": np.asfortranarray(np.arange(24, dtype=">i2").reshape(2, 3, 4)),
    "empty": np.empty((0, 16), np.uint8),
    "flags": np.array([True, False]),
}


def write(name: str, result: WeightedSet, extra: dict[str, NDArray[Any]] | None) -> None:
    write_result(name, result, {"k": 5}, force=True, inputs=(), verify=lambda *_: None, extra=extra)


def assert_equal(read: dict[str, NDArray[Any]], extra: dict[str, NDArray[Any]]) -> None:
    assert list(read) == sorted(extra)
    for name, array in extra.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()


@BOTH
def test_what_goes_in_comes_out(name: str, result: WeightedSet) -> None:
    write(name, result, EXTRA)
    read, metadata, extra = read_with_extra(name)
    assert_equal(extra, EXTRA)
    plain, plain_metadata = read_result(name)
    assert plain_metadata == metadata
    assert np.array_equal(plain.points, read.points)
    assert sorted(metadata["extra"]) == sorted(EXTRA)
    for key, array in EXTRA.items():  # as docs/file-format.md has it
        digest = hashlib.blake2b(f"{key}|{array.dtype.str}|{array.shape}|".encode(), digest_size=16)
        digest.update(array.tobytes())
        assert metadata["extra"][key] == "blake2b-128:" + digest.hexdigest()
    with open_source(name) as source:  # still a weighted source of its points
        assert source.has_weights
        assert np.array_equal(source.take(np.arange(3)), result.points)
    with open_source(f"{name}:moments") as source:
        assert np.array_equal(source.take(np.arange(7))[:, 0], EXTRA["moments"])


@given(
    array=hnp.arrays(
        st.sampled_from(["<f8", ">f4", "?", "u1", "<i8", "longdouble"]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
        elements=st.integers(0, 1),
    ),
    form=st.sampled_from([FileFormat.NPZ, FileFormat.HDF5]),
)
def test_any_array(array: NDArray[Any], form: FileFormat) -> None:
    result = WeightedSet(np.ones((1, 2)), np.ones(1), np.zeros(1, np.int64))
    content = encode_result(*seal(result, {}, {"x": array}), form, {"x": array})
    read = decode_with_extra(content, "out")[2]["x"]
    assert read.dtype == array.dtype
    assert read.shape == array.shape
    assert np.array_equal(read, array)


def test_both_containers_have_one_checksum(result: WeightedSet) -> None:
    write("out.npz", result, EXTRA)
    write("out.h5", result, EXTRA)
    assert read_result("out.npz")[1] == read_result("out.h5")[1]
    with zipfile.ZipFile("out.npz") as archive:
        members = ["momentc.json", "c.npy", "w.npy", "index.npy"]
        assert archive.namelist() == members + [f"{key}.npy" for key in sorted(EXTRA)]
    with h5py.File("out.h5") as file:
        assert sorted(file) == sorted([*EXTRA, "c", "w", "index"])


@BOTH
def test_without_them_the_file_has_no_trace(name: str, result: WeightedSet) -> None:
    write(name, result, None)
    plain = Path(name).read_bytes()
    write(name, result, {})
    assert Path(name).read_bytes() == plain
    assert "extra" not in read_result(name)[1]
    assert read_with_extra(name)[2] == {}


def test_they_go_to_the_standard_output(result: WeightedSet) -> None:
    stream = io.BytesIO()
    write_result_stream(stream, result, {}, verify=lambda *_: None, extra=EXTRA)
    assert_equal(decode_with_extra(stream.getvalue(), "out")[2], EXTRA)


@pytest.mark.parametrize(
    ("form", "flip"), [(FileFormat.NPZ, 0xFF), (FileFormat.NPZ, 0x01), (FileFormat.HDF5, 0xFF)]
)
def test_every_flipped_byte_is_noticed_or_harmless(
    form: FileFormat, flip: int, result: WeightedSet
) -> None:
    extra = {key: EXTRA[key] for key in ("moments", "digests")}
    written, metadata = seal(result, {"k": 5}, extra)
    content = encode_result(written, metadata, form, extra)
    n_noticed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= flip
        try:
            _, read_metadata, read_arrays = decode_with_extra(bytes(damaged), "out")
        except (InputError, VerificationError):
            n_noticed += 1
        else:
            assert read_metadata == metadata, f"byte {place}"
            assert_equal(read_arrays, extra)
    assert n_noticed > sum(array.nbytes for array in extra.values()) + len(json.dumps(metadata))


@BOTH
def test_damage_is_noticed_by_whoever_reads_the_result(
    name: str, result: WeightedSet, message_of: Callable[..., str]
) -> None:
    """Also where the container's own checksum is made to fit, or the array is gone."""
    for damage in ("change", "remove"):
        write(name, result, EXTRA)
        other = EXTRA["moments"] + 1
        if name == "out.h5":
            with h5py.File(name, "a") as file:
                del file["moments"]
                if damage == "change":
                    file["moments"] = other
        else:
            with zipfile.ZipFile(name) as archive:
                members = {key: archive.read(key) for key in archive.namelist()}
            buffer = io.BytesIO()
            np.save(buffer, other)
            members["moments.npy"] = buffer.getvalue()
            with zipfile.ZipFile(name, "w") as archive:
                for key, content in members.items():
                    if damage == "change" or key != "moments.npy":
                        archive.writestr(key, content)
        for read in (read_result, read_with_extra, open_source):
            message = message_of(VerificationError, lambda read=read: read(name))
            assert f"{name} is damaged" in message
            assert damage == "remove" or "a further array does not fit" in message


def test_arrays_that_the_file_does_not_list_are_not_its_own(result: WeightedSet) -> None:
    write("out.h5", result, {"moments": np.ones(2)})
    with h5py.File("out.h5", "a") as file:
        file["stray"] = np.ones(3)
    assert list(read_with_extra("out.h5")[2]) == ["moments"]


@pytest.mark.parametrize(
    "key", ["c", "w", "index", "momentc", "", "A", "a/b", "../a", "a.npy", "é"]
)
def test_names_that_they_cannot_have(key: str, result: WeightedSet) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        write("out.npz", result, {key: np.ones(2)})
    assert not Path("out.npz").exists()


@pytest.mark.parametrize(
    "array", [np.array(1.0), np.array([None]), np.array(["a"]), np.array([1j])]
)
def test_what_they_cannot_be(array: NDArray[Any], result: WeightedSet) -> None:
    with pytest.raises(ValueError, match="expected real numbers"):
        write("out.npz", result, {"x": array})


def test_the_metadata_cannot_name_them(result: WeightedSet) -> None:
    with pytest.raises(ValueError, match="already hold extra"):
        seal(result, {"extra": {}})


@pytest.mark.parametrize("names", [{"../w": "x"}, {"w": "x"}, ["moments"], 5, {"gone": "x"}])
def test_a_file_that_lists_what_it_has_not(
    names: object, result: WeightedSet, message_of: Callable[..., str]
) -> None:
    written, metadata = seal(result, {})
    content = encode_result(written, {**metadata, "extra": names}, FileFormat.NPZ)
    message_of(VerificationError, lambda: decode_result(content, "out.npz"))
