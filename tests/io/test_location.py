"""What the user typed, and which file and dataset it means."""

import os
from pathlib import Path

import numpy as np
import pytest

from momentc.errors import InputError, UsageError
from momentc.io.location import FileFormat, derived_output, parse_location, sniff
from momentc.io.source import open_source
from momentc.text import printable


@pytest.mark.parametrize(
    ("text", "file", "dataset"),
    [
        ("x.h5", "x.h5", None),
        ("x.h5:/grp/x", "x.h5", "/grp/x"),
        ("x.h5:grp/x", "x.h5", "grp/x"),
        ("x.h5/grp/x", "x.h5", "/grp/x"),
        ("sub/x.h5/grp/x", "sub/x.h5", "/grp/x"),
        ("x.npz:member", "x.npz", "member"),
        ("a:b.h5", "a:b.h5", None),
        ("a:b.h5:/x", "a:b.h5", "/x"),
        ("a:b.h5:/x:y", "a:b.h5", "/x:y"),
        ("x.h5:" + "n" * 300, "x.h5", "n" * 300),
    ],
)
def test_the_longest_beginning_that_is_a_file(text: str, file: str, dataset: str | None) -> None:
    Path("sub").mkdir()
    for name in ("x.h5", "x.npz", "a:b.h5", "sub/x.h5"):
        Path(name).write_bytes(b"")
    place = parse_location(text)
    assert (place.path, place.dataset) == (Path(file), dataset)


def test_dataset_beside_and_inside_the_location() -> None:
    Path("x.h5").write_bytes(b"")
    assert parse_location("x.h5", "grp/x").dataset == "grp/x"
    assert parse_location("x.h5:/grp/x", "grp/x").dataset == "grp/x"
    with pytest.raises(UsageError, match="two datasets"):
        parse_location("x.h5:/grp/x", "grp/y")


def test_the_standard_input() -> None:
    place = parse_location("-", "x")
    assert (place.name, place.path, place.dataset) == ("<stdin>", None, "x")


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_no_file_name(text: str) -> None:
    with pytest.raises(UsageError, match="is not a file name"):
        parse_location(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gone.npy", "no such file"),
        ("folder", "is a folder"),
        ("x.npy/y/z.h5:/q", "no such file"),
        ("n" * 300, "no such file"),
        ("loop", "cannot be read"),
    ],
)
def test_nothing_to_read(text: str, message: str) -> None:
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match=message):
        parse_location(text)


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"\x93NUMPY\x01\x00", FileFormat.NPY),
        (b"PK\x03\x04...", FileFormat.NPZ),
        (b"PK\x05\x06...", FileFormat.NPZ),
        (b"\x89HDF\r\n\x1a\n...", FileFormat.HDF5),
        (bytes(512) + b"\x89HDF\r\n\x1a\n", FileFormat.HDF5),
        (bytes(2048) + b"\x89HDF\r\n\x1a\n", FileFormat.HDF5),
    ],
)
def test_the_content_decides(head: bytes, form: FileFormat) -> None:
    assert sniff("x", head) is form


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", r"it is empty \(0 bytes\)"),
        (b"1.0, 2.0\n3.0, 4.0\n", "looks like text"),
        ("größe;länge\n".encode(), "looks like text"),
        (b"\x80\x04\x95", "pickle.*never loaded"),
        (b'\x18\x01\x00\x00\x00\x00\x00\x00{"a":', "checkpoint of safetensors.*compress-layer"),
        (b"\x00\x01\x02\x03", "it begins with"),
    ],
)
def test_other_content_is_named(head: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"x.npy is not a .npy file.*{message}"):
        sniff("x.npy", head)


@pytest.mark.parametrize(
    ("location", "output"),
    [
        ("data.h5", "data.momentc.h5"),
        ("data.HDF5", "data.momentc.h5"),
        ("sub/data.he5:/x", "sub/data.momentc.h5"),
        ("data.nc/x", "data.momentc.h5"),
        ("data.npy", "data.momentc.npz"),
        ("data.npz:x", "data.momentc.npz"),
        ("data.bin", "data.bin.momentc.npz"),
        ("data.raw", "data.raw.momentc.h5"),
    ],
)
def test_derived_output(location: str, output: str) -> None:
    Path("sub").mkdir()
    for name in ("data.h5", "data.HDF5", "sub/data.he5", "data.nc", "data.npy", "data.npz"):
        Path(name).write_bytes(b"")
    Path("data.bin").write_bytes(b"\x93NUMPY")
    Path("data.raw").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert derived_output(location) == Path(output)


def test_no_output_can_be_derived() -> None:
    os.mkfifo("pipe")
    for location in ("-", "pipe", "/dev/null"):
        with pytest.raises(UsageError, match="to derive an output from"):
            derived_output(location)


@pytest.mark.parametrize(
    "name",
    [
        "größe 数据.npy",
        "with space.npy",
        "-leading.npy",
        "new\nline.npy",
        "tab\there.npy",
        "'quote\".npy",
        os.fsdecode(b"latin-\xe9.npy"),
        "n" * 251 + ".npy",
    ],
)
def test_unusual_names_are_read(name: str) -> None:
    array = np.arange(6.0).reshape(3, 2)
    np.save(f"./{name}", array)
    with open_source(name) as source:
        assert source.fingerprint().startswith("blake2b-128:")
        assert np.array_equal(source.take(np.arange(3)), array)
        assert "\n" not in source.name
        source.name.encode()  # fit for any terminal


def test_a_very_long_path() -> None:
    deep = Path(*["d" * 100] * 30)
    # One call could not name it: a path has 4096 bytes at most.
    deep.mkdir(parents=True)
    np.save(deep / "x.npy", np.ones((2, 2)))
    with open_source(str(deep / "x.npy")) as source:
        assert source.n_rows == 2


def test_printable() -> None:
    assert printable("größe x.npy") == "größe x.npy"
    assert printable("a\nb\x1b[0m") == "a\\nb\\x1b[0m"
    assert printable(os.fsdecode(b"\xe9")) == "\\udce9"
