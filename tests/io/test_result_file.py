"""momentc's own files: what goes in comes out, the same bytes each time, and damage is noticed."""

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from momentc.errors import InputError, OutputError, UsageError, VerificationError
from momentc.io import result_bytes
from momentc.io.convert import load_points
from momentc.io.location import FileFormat
from momentc.io.result_bytes import decode_result, encode_result, seal
from momentc.io.result_file import (
    FORMAT_VERSION,
    output_format,
    read_result,
    write_result,
    write_result_stream,
)
from momentc.io.source import open_source, open_sources
from momentc.weighted import WeightedSet

METADATA = {
    "k": 5,
    "input": {"path": "größe.npy", "shape": [1000, 3]},
    "error": [0.0, 1.25e-16, 3e-300],
    "ok": True,
    "notes": ["column 2 is constant"],
    "dataset": None,
}
BOTH = pytest.mark.parametrize("name", ["out.npz", "out.h5"])


def write(name: str, result: WeightedSet, metadata: dict[str, Any] | None = None) -> None:
    write_result(
        name,
        result,
        METADATA if metadata is None else metadata,
        force=True,
        inputs=(),
        verify=lambda *_: None,
    )


def assert_same(first: WeightedSet, second: WeightedSet) -> None:
    for one, other in (
        (first.points, second.points),
        (first.weights, second.weights),
        (first.index, second.index),
    ):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


@BOTH
@pytest.mark.parametrize(
    "dtype",
    [
        *("?", "i1", ">i2", "<u4", "<i8", ">u8", "<f2", ">f2", ">f4", "<f8"),
        *(np.dtype(np.longdouble), np.dtype(np.longdouble).newbyteorder()),
    ],
)
def test_every_type_bit_for_bit(name: str, dtype: Any) -> None:
    points = (np.arange(12).reshape(4, 3) % 2).astype(dtype)
    if points.dtype.kind == "f":
        points[0] = [-0.0, 1 / 3, 6.1e-5]
    if points.dtype.itemsize == 16:
        points[1] = np.longdouble(1) / np.array([3, 7, -11])  # every bit of the mantissa counts
    result = WeightedSet(
        points, np.array([0.0, 5e-324, 1e300, 1 / 3]), np.array([0, 2, 2**40, 2**62])
    )
    write(name, result)
    read, metadata = read_result(name)
    assert_same(read, seal(result, {})[0])
    assert np.array_equal(read.points, points)
    assert {key: metadata[key] for key in METADATA} == METADATA
    assert metadata["format_version"] == FORMAT_VERSION
    assert metadata["checksum"].startswith("blake2b-128:")


@BOTH
def test_arrays_of_any_layout(name: str) -> None:
    points = np.asfortranarray(np.arange(40.0).reshape(10, 4))[::2, 1:]
    weights, index = np.arange(10.0)[::2], np.arange(10)[::2]
    write(name, WeightedSet(points, weights, index))
    assert np.array_equal(read_result(name)[0].points, points)


@BOTH
def test_other_tools_can_read_it(name: str, result: WeightedSet) -> None:
    write(name, result)
    if name == "out.npz":
        with np.load(name) as file:
            arrays = {key: file[key] for key in ("c", "w", "index")}
            text = file["momentc.json"]
    else:
        with h5py.File(name) as file:
            assert sorted(file) == ["c", "index", "w"]
            arrays = {key: file[key][()] for key in file}
            text = file.attrs["momentc"]
    assert np.array_equal(arrays["c"], result.weights)
    assert np.array_equal(arrays["w"], result.points)
    assert np.array_equal(arrays["index"], result.index)
    assert json.loads(text)["k"] == 5


def test_both_containers_have_one_checksum(result: WeightedSet) -> None:
    write("out.npz", result)
    write("out.hdf5", result)
    assert read_result("out.npz")[1] == read_result("out.hdf5")[1]


@BOTH
def test_metadata_larger_than_an_hdf5_attribute_used_to_be(name: str, result: WeightedSet) -> None:
    center = np.linspace(0, 1, 20_000)
    write(name, result, {"center": center, "scale": (1, np.float32(0.5)), "p": Path("x")})
    read = read_result(name)[1]
    assert read["center"] == center.tolist()
    assert (read["scale"], read["p"]) == ([1, 0.5], "x")


@pytest.mark.parametrize(
    "metadata", [{"x": np.nan}, {"x": [np.inf]}, {"x": object()}, {"checksum": 1}, {"x": b"1"}]
)
def test_metadata_that_json_cannot_hold(metadata: dict[str, Any], result: WeightedSet) -> None:
    with pytest.raises(ValueError, match=r"JSON|already hold"):
        write("out.npz", result, metadata)
    assert not Path("out.npz").exists()


@BOTH
def test_a_file_name_that_is_no_unicode(name: str, result: WeightedSet) -> None:
    write(name, result, {"path": os.fsdecode(b"latin-\xe9.npy")})
    assert os.fsencode(read_result(name)[1]["path"]) == b"latin-\xe9.npy"


SCRIPT = """
import numpy, sys, pathlib
from momentc.io.result_file import write_result
from momentc.weighted import WeightedSet
points = numpy.arange(3000, dtype=">f4").reshape(1000, 3)
padding = numpy.zeros(1000, "longdouble").reshape(500, 2)
padding.view("u1")[:, 10:16] = numpy.random.default_rng().integers(0, 255, (500, 6))
for name in ("a.npz", "a.h5"):
    for i, p in enumerate((points, padding)):
        result = WeightedSet(p, numpy.ones(len(p)), numpy.arange(len(p)))
        write_result(sys.argv[1] + str(i) + name, result, {"k": 5, "b": 1, "a": "x" * 70000},
                     force=False, inputs=(), verify=lambda *_: None)
"""


def test_the_same_content_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In other processes, at other times, under other hash seeds and clocks."""
    digests = []
    for run, changes in enumerate(
        ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "SOURCE_DATE_EPOCH": "0", "TZ": "UTC-9"})
    ):
        environment = {**os.environ, **changes, "PYTHONPATH": os.pathsep.join(sys.path)}
        Path(f"run{run}").mkdir()
        time.sleep(2.1 * run)  # zip stores times in steps of two seconds
        subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, f"run{run}/"], check=True, env=environment
        )
        files = sorted(Path(f"run{run}").iterdir())
        assert len(files) == 4
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert digests[0] == digests[1]


def test_a_clock_before_1980(result: WeightedSet, monkeypatch: pytest.MonkeyPatch) -> None:
    write("out.npz", result)
    expected = Path("out.npz").read_bytes()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    write("out.npz", result)
    assert Path("out.npz").read_bytes() == expected
    with zipfile.ZipFile("out.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("form", "flip"), [(FileFormat.NPZ, 0xFF), (FileFormat.NPZ, 0x01), (FileFormat.HDF5, 0xFF)]
)
def test_every_flipped_byte_is_noticed_or_harmless(
    form: FileFormat, flip: int, result: WeightedSet
) -> None:
    written, metadata = seal(result, {"k": 5, "notes": ["a"]})
    content = encode_result(written, metadata, form)
    n_noticed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= flip
        try:
            read, read_metadata = decode_result(bytes(damaged), "out")
        except (InputError, VerificationError):
            n_noticed += 1
        else:
            assert read_metadata == metadata, f"byte {place}"
            assert_same(read, written)
    # All of the arrays and of the text, at the least.
    n_content = sum(array.nbytes for array in (read.points, read.weights, read.index))
    assert n_noticed > n_content + len(json.dumps(metadata))


@pytest.mark.parametrize(
    ("weights", "index"),
    [
        ([1.0, -1e-300, 1.0], [0, 1, 2]), ([1.0, np.nan, 1.0], [0, 1, 2]),
        ([1.0, np.inf, 1.0], [0, 1, 2]), ([1.0] * 3, [0, 2, 1]), ([1.0] * 3, [0, 1, 1]),
        ([1.0] * 3, [-1, 1, 2]),
    ],
)  # fmt: skip
def test_what_momentc_never_promises_is_neither_written_nor_read(
    message_of: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    weights: list[float],
    index: list[int],
) -> None:
    """Also with a checksum that fits: the moments may agree, and a row count for less than none."""
    result = WeightedSet(np.zeros((3, 2)), np.array(weights), np.array(index))
    said = message_of(VerificationError, lambda: write("out.npz", result))
    assert "below 0 or not finite" in said or "do not ascend" in said
    assert not Path("out.npz").exists()
    with monkeypatch.context() as patch:
        patch.setattr(result_bytes, "_require_promises", lambda _: None)
        write("out.npz", result)
    assert said.split(":")[1] in message_of(VerificationError, lambda: read_result("out.npz"))


@BOTH
def test_damage_to_the_arrays_is_a_failed_verification(
    name: str, result: WeightedSet, message_of: Callable[..., str]
) -> None:
    write(name, result)
    content = Path(name).read_bytes()
    weight = np.float64(2.5).tobytes()
    assert content.count(weight) == 1
    nearly = np.nextafter(2.5, 3.0).tobytes()
    Path(name).write_bytes(content.replace(weight, nearly))
    message = message_of(VerificationError, lambda: read_result(name))
    assert f"{name} is damaged" in message
    assert message == message_of(VerificationError, lambda: open_source(name))


@BOTH
def test_changed_metadata_are_a_failed_verification(
    name: str, result: WeightedSet, message_of: Callable[..., str]
) -> None:
    """Also where the container's own checksum is made to fit."""
    write(name, result)
    if name == "out.h5":
        with h5py.File(name, "a") as file:
            file.attrs["momentc"] = file.attrs["momentc"].decode().replace('"k": 5', '"k": 6')
    else:
        with zipfile.ZipFile(name) as archive:
            members = {key: archive.read(key) for key in archive.namelist()}
        members["momentc.json"] = members["momentc.json"].replace(b'"k": 5', b'"k": 6')
        with zipfile.ZipFile(name, "w") as archive:
            for key, content in members.items():
                archive.writestr(key, content)
    message = message_of(VerificationError, lambda: read_result(name))
    assert "the content does not fit its checksum" in message


def test_a_declared_size_is_compared_before_memory_is_taken(
    message_of: Callable[..., str],
) -> None:
    """Of rows that take no place in the file, and more memory than there is in the world."""
    with h5py.File("out.h5", "w") as file:
        file["c"], file["index"] = np.ones(3), np.arange(3)
        file.create_dataset("w", shape=(2**57, 2), dtype="f8", chunks=(2**10, 2))
        file.attrs["momentc"] = json.dumps({"format_version": FORMAT_VERSION, "checksum": ""})
    assert Path("out.h5").stat().st_size < 1 << 14
    message = message_of(VerificationError, lambda: read_result("out.h5"))
    assert "out.h5 is damaged: w declares shape" in message


@BOTH
def test_every_truncation_is_noticed(name: str, result: WeightedSet) -> None:
    write(name, result)
    content = Path(name).read_bytes()
    for size in [*range(0, len(content), 64), len(content) - 1]:
        Path(name).write_bytes(content[:size])
        with pytest.raises((InputError, VerificationError)):
            read_result(name)


def test_a_newer_format_is_told(result: WeightedSet, message_of: Callable[..., str]) -> None:
    written, metadata = seal(result, {})
    content = encode_result(written, {**metadata, "format_version": 2}, FileFormat.NPZ)
    message = message_of(InputError, lambda: decode_result(content, "out.npz"))
    assert "format version 2, this momentc reads up to 1: install a newer momentc" in message


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "text"])
def test_other_files_are_no_results(kind: str, message_of: Callable[..., str]) -> None:
    name = f"x.{kind}"
    if kind == "npy":
        np.save(name, np.ones((2, 2)))
    elif kind == "npz":
        np.savez(name, c=np.ones(2), w=np.ones((2, 2)), index=np.arange(2))
    elif kind == "h5":
        with h5py.File(name, "w") as file:
            file["c"], file["w"], file["index"] = np.ones(2), np.ones((2, 2)), np.arange(2)
    else:
        Path(name).write_text("hello")
    assert message_of(InputError, lambda: read_result(name)).startswith(name)


def test_locations_that_are_no_results(message_of: Callable[..., str], result: WeightedSet) -> None:
    write("out.npz", result)
    assert "is not a file name" in message_of(UsageError, lambda: read_result("-"))
    assert "is not a file name" in message_of(UsageError, lambda: read_result("out.npz:w"))
    assert "no such file" in message_of(InputError, lambda: read_result("gone.npz"))


@BOTH
def test_a_result_is_a_weighted_source(name: str, result: WeightedSet) -> None:
    write(name, result)
    content = Path(name).read_bytes()
    for location, dataset, stdin in (
        (name, None, None),
        (name, "w", None),
        (f"{name}:w", None, None),
        ("-", None, io.BytesIO(content)),
    ):
        with open_source(location, dataset=dataset, stdin=stdin) as source:
            loaded = load_points(source)
            assert source.dtype == result.points.dtype
            assert np.array_equal(loaded.points, result.points)
            assert np.array_equal(loaded.weights, result.weights)
    with open_source(f"{name}:c") as source:
        assert not source.has_weights
        assert source.n_columns == 1


@BOTH
def test_the_weights_of_a_result_are_not_replaced(name: str, result: WeightedSet) -> None:
    """Its rows stand for many: with other weights they would stand for themselves."""
    write(name, result)
    np.save("mass.npy", np.array([7.0, 8.0, 9.0]))
    for names in ([name], [name, name]):
        np.save("mass.npy", np.arange(1.0, 1.0 + 3 * len(names)))
        with pytest.raises(UsageError, match="have weights already"):
            open_sources(names, weights="mass.npy")
    for own in ("c", f"{name}:c"):
        with open_source(name, weights=own) as source:
            assert load_points(source).weights.tolist() == result.weights.tolist(), "they are those"


@BOTH
def test_what_is_verified_is_what_stands_on_the_disk(
    name: str, result: WeightedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def verify(read: WeightedSet, metadata: dict[str, Any]) -> None:
        assert not Path(name).exists()
        (partial,) = Path().glob(f".{name}.*.partial")
        seen.append(decode_result(partial.read_bytes(), name))
        assert_same(read, seen[0][0])
        assert metadata == seen[0][1]

    write_result(name, result, METADATA, force=False, inputs=[], verify=verify)
    assert len(seen) == 1
    assert_same(read_result(name)[0], result)


@BOTH
def test_a_failed_verification_leaves_nothing_or_the_old_file(
    name: str, result: WeightedSet
) -> None:
    def verify(*_: object) -> None:
        raise VerificationError("moments differ")

    with pytest.raises(VerificationError, match="moments differ"):
        write_result(name, result, METADATA, force=False, inputs=[], verify=verify)
    assert list(Path().iterdir()) == []
    Path(name).write_bytes(b"old")
    with pytest.raises(VerificationError, match="moments differ"):
        write_result(name, result, METADATA, force=True, inputs=[], verify=verify)
    assert [path.name for path in Path().iterdir()] == [name]
    assert Path(name).read_bytes() == b"old"


def test_outputs_are_refused_as_by_the_probe(result: WeightedSet) -> None:
    np.save("x.npy", result.points)
    Path("link.npz").symlink_to("x.npy")
    with pytest.raises(OutputError, match="is the input"):
        write_result(
            "link.npz", result, {}, force=True, inputs=[Path("x.npy")], verify=lambda *_: None
        )
    with pytest.raises(OutputError, match="there is no folder"):
        write("gone/out.npz", result)


@pytest.mark.parametrize("name", ["out", "out.npy", "out.csv", "out.npz.gz"])
def test_unknown_suffixes(name: str, result: WeightedSet) -> None:
    with pytest.raises(UsageError, match=r"expected .npz, .h5 or .hdf5"):
        write(name, result)


def test_suffixes() -> None:
    assert output_format("x.NPZ") is FileFormat.NPZ
    assert output_format(Path("x.hdf5")) is FileFormat.HDF5
    assert output_format("/dev/null") is FileFormat.NPZ


def test_a_device_gets_npz(result: WeightedSet) -> None:
    write("/dev/null", result)
    with pytest.raises(OutputError, match="No space left"):
        write("/dev/full", result)


def test_a_stream_gets_npz_after_verification(result: WeightedSet) -> None:
    stream, seen = io.BytesIO(), []
    write_result_stream(
        stream, result, METADATA, verify=lambda read, _: seen.append((read, stream.tell()))
    )
    assert_same(seen[0][0], result)
    assert seen[0][1] == 0
    write("out.npz", result)
    assert stream.getvalue() == Path("out.npz").read_bytes()


def test_a_stream_that_takes_a_little_at_a_time_gets_all(result: WeightedSet) -> None:
    class Narrow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(memoryview(data)[:100])

    stream = Narrow()
    write_result_stream(stream, result, METADATA, verify=lambda *_: None)
    write("out.npz", result)
    assert stream.getvalue() == Path("out.npz").read_bytes()


def test_a_stream_gets_nothing_if_verification_fails(result: WeightedSet) -> None:
    def verify(*_: object) -> None:
        raise VerificationError("moments differ")

    stream = io.BytesIO()
    with pytest.raises(VerificationError):
        write_result_stream(stream, result, METADATA, verify=verify)
    assert stream.getvalue() == b""


def test_a_closed_pipe_is_told_apart_from_a_full_disk(result: WeightedSet) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with io.FileIO(writer, "w") as stream, pytest.raises(BrokenPipeError):
        write_result_stream(stream, result, METADATA, verify=lambda *_: None)
    full = io.FileIO("/dev/full", "w")
    with full, pytest.raises(OutputError, match="<stdout> cannot be written: No space left"):
        write_result_stream(full, result, METADATA, verify=lambda *_: None)


def test_a_terminal_gets_nothing(result: WeightedSet) -> None:
    leader, follower = os.openpty()
    with (
        io.FileIO(leader),
        io.FileIO(follower, "w") as terminal,
        pytest.raises(UsageError, match="the output is a terminal"),
    ):
        write_result_stream(terminal, result, METADATA, verify=lambda *_: None)


def test_a_result_that_cannot_be_read(result: WeightedSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle")

    write("out.npz", result)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"out\.npz cannot be read: Stale file handle"):
        read_result("out.npz")
