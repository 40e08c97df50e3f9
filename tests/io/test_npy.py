"""Rows of .npy files: every type, order and version; and every way of being no such file."""

import io
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.base import ArraySource
from momentc.io.npy import NpySource, array_from_bytes
from momentc.io.source import open_source

DTYPES = [
    *("?", "i1", "u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", ">u4", "<i8", ">i8", "<u8", ">u8"),
    *("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "longdouble"),
]


def header(
    descr: str = "'<f8'",
    fortran_order: str = "False",
    shape: str = "(3, 2)",
    *,
    text: str | None = None,
    version: tuple[int, int] = (1, 0),
    length: int | None = None,
) -> bytes:
    """Write a header by hand, right or wrong."""
    if text is None:
        text = f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}\n"
    raw = text.encode()
    count = struct.pack("<H" if version == (1, 0) else "<I", len(raw) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + count + raw


def rows_of(source: Any, n_rows: int) -> NDArray[Any]:
    """Put the blocks of a source together, after checking that they follow each other."""
    blocks, expected = [], 0
    for first, rows in source.blocks(n_rows):
        assert first == expected
        assert 1 <= len(rows) <= n_rows
        assert rows.flags.c_contiguous
        blocks.append(rows)
        expected += len(rows)
    return np.concatenate(blocks, dtype=source.dtype)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_order_bit_for_bit(dtype: str, order: Any) -> None:
    rng = np.random.default_rng(3)
    array = np.asarray(rng.integers(0, 2, size=(101, 3)) * 100, dtype=dtype, order=order)
    np.save("x.npy", array)
    plain = np.ascontiguousarray(array)
    with open_source("x.npy") as source:
        assert isinstance(source, NpySource)
        assert (source.name, source.path, source.shape) == ("x.npy", Path("x.npy"), (101, 3))
        assert (source.n_rows, source.n_columns, source.dtype.str) == (101, 3, array.dtype.str)
        assert source.weights is None
        for n_rows in (1, 7, 101, 5000):
            read = rows_of(source, n_rows)
            assert read.dtype == array.dtype
            assert read.tobytes() == plain.tobytes()
        chosen = np.array([0, 3, 3, 50, 100])
        assert source.take(chosen).dtype == array.dtype
        assert source.take(chosen).tobytes() == plain[chosen].tobytes()
        assert source.fingerprint() == ArraySource(plain).fingerprint()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_version(version: tuple[int, int], order: Any) -> None:
    array = np.asarray(np.arange(12.0).reshape(4, 3), order=order)
    with Path("x.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version=version, allow_pickle=False)
    with open_source("x.npy") as source:
        assert np.array_equal(rows_of(source, 3), array)


def test_a_file_of_python_2() -> None:
    Path("x.npy").write_bytes(header(shape="(3L, 2L)") + np.arange(6.0).tobytes())
    with open_source("x.npy") as source:
        assert np.array_equal(rows_of(source, 9), np.arange(6.0).reshape(3, 2))


def test_one_dimension_is_one_column() -> None:
    np.save("x.npy", np.arange(10))
    with open_source("x.npy") as source:
        assert (source.shape, source.n_rows, source.n_columns) == ((10,), 10, 1)
        assert np.array_equal(rows_of(source, 4), np.arange(10).reshape(-1, 1))
        assert source.take(np.array([2, 9])).tolist() == [[2], [9]]


def test_the_suffix_does_not_matter() -> None:
    np.save("x.npy", np.ones((2, 2)))
    Path("x.npy").rename("x.h5")
    with open_source("x.h5") as source:
        assert isinstance(source, NpySource)


def test_take_wants_ascending_rows_of_the_file() -> None:
    np.save("x.npy", np.ones((5, 2)))
    with open_source("x.npy") as source:
        assert source.take(np.array([], dtype=np.int64)).shape == (0, 2)
        for rows in ([3, 1], [-1], [5]):
            with pytest.raises(ValueError, match="must ascend within"):
                source.take(np.array(rows))
        with pytest.raises(ValueError, match="at least one row"):
            next(source.blocks(0))


def test_fingerprint_sees_type_shape_content_and_weights() -> None:
    array = np.arange(6.0).reshape(3, 2)
    other = array.copy()
    other[2, 1] = np.nextafter(5.0, 6.0)
    sources = [
        ArraySource(array),
        ArraySource(array.astype(">f8")),
        ArraySource(array.view("i8")),
        ArraySource(array.reshape(2, 3)),
        ArraySource(array.reshape(-1)),
        ArraySource(other),
        ArraySource(array, weights=np.array([1.0, 1.0, 1.0])),
        ArraySource(array, weights=np.array([1.0, 1.0, 2.0])),
    ]
    assert len({source.fingerprint() for source in sources}) == len(sources)
    whole, in_blocks = ArraySource(array), ArraySource(array)
    rows_of(in_blocks, 1)
    assert whole.fingerprint() == in_blocks.fingerprint() == ArraySource(array).fingerprint()


def test_fingerprint_of_a_broken_off_pass_is_not_kept() -> None:
    source = ArraySource(np.arange(6.0).reshape(3, 2))
    for _ in source.blocks(1):
        break
    assert source.fingerprint() == ArraySource(np.arange(6.0).reshape(3, 2)).fingerprint()


def test_pickles_are_never_loaded(message_of: Callable[..., str], tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.save("x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    message = message_of(InputError, lambda: open_source("x.npy"))
    assert "object arrays (pickles) are never loaded" in message
    assert not (tmp_path / "sprung").exists()
    # The trap is real: numpy, asked to, falls into it.
    np.load("x.npy", allow_pickle=True)
    assert (tmp_path / "sprung").exists()


def test_text_is_not_called_a_pickle(message_of: Callable[..., str]) -> None:
    Path("x.npy").write_text("1.0 2.0\n3.0 4.0\n")
    message = message_of(InputError, lambda: open_source("x.npy"))
    assert "x.npy is not a .npy file" in message
    assert "looks like text" in message
    assert "pickle" not in message


@pytest.mark.parametrize(
    ("dtype", "word"),
    [
        ([("a", "<f8"), ("b", "<i4")], "structured"),
        ("<c16", "real and its imaginary part"),
        ("<c8", "real and its imaginary part"),
        ("<U3", "strings"),
        ("S3", "strings"),
        ("<M8[s]", "dates"),
        ("<m8[s]", "time differences"),
        ("V4", "raw data"),
    ],
)
def test_other_types_are_refused_by_name(
    dtype: Any, word: str, message_of: Callable[..., str]
) -> None:
    array = np.zeros((3, 2), dtype=dtype)
    np.save("x.npy", array)
    message = message_of(InputError, lambda: open_source("x.npy"))
    assert word in message
    assert str(array.dtype) in message
    assert message_of(InputError, lambda: ArraySource(array)).startswith("array has dtype")


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 2, 2), (1, 0, 5)])
def test_shapes_that_are_no_rows(shape: tuple[int, ...], message_of: Callable[..., str]) -> None:
    np.save("x.npy", np.ones(shape))
    assert str(shape) in message_of(InputError, lambda: open_source("x.npy"))
    assert str(shape) in message_of(InputError, lambda: ArraySource(np.ones(shape)))


BAD_HEADERS = {
    "huge shape": header(shape="(10000000000000, 2)"),
    "beyond 64 bits": header(shape="(99999999999999999999999, 2)"),
    "overflow to a small size": header(shape="(4294967296, 4294967296)"),
    "overflow with a zero": header(shape="(0, 99999999999999999999999)"),
    "negative shape": header(shape="(-3, 2)"),
    "float shape": header(shape="(3.0, 2)"),
    "bool shape": header(shape="(True, 2)"),
    "list shape": header(shape="[3, 2]"),
    "number shape": header(shape="6"),
    "33 dimensions": header(shape="(" + "1, " * 33 + ")"),
    "65 dimensions": header(shape="(" + "1, " * 65 + ")"),
    "no key": header(text="{'descr': '<f8', 'shape': (3, 2)}\n"),
    "extra key": header(text="{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), 'x': 1}\n"),
    "no dictionary": header(text="('<f8', False, (3, 2))\n"),
    "no python": header(text="{'descr': \n"),
    "unclosed string": header(text="{'descr': '<f8\n"),
    "a call": header(text="{'descr': __import__('os').getcwd(), 'fortran_order': False}\n"),
    "deep nesting": header(text="(" * 20000),
    "deep minus": header(text="-" * 50000 + "1"),
    "deep sum": header(text="1" + "+1" * 30000),
    "null byte": header(text="{'descr': '<f8'\0}"),
    "empty": header(text=""),
    "not utf-8": header(text="\xff", version=(3, 0)).replace(b"\xc3\xbf", b"\xff\xff"),
    "bad escape": header(descr="'\\d'"),
    "unknown type": header(descr="'<f7'"),
    "type of ints": header(descr="5"),
    "type None": header(descr="None"),
    "subarray type": header(descr="'(2,)f8'"),
    "fields from text": header(descr="'f8,f8'"),
    "huge string type": header(descr="'S99999999999999999999'"),
    "order is a number": header(fortran_order="0"),
    "order is text": header(fortran_order="'False'"),
    "longer than any needed": header(shape="(3, 2)" + " " * 70_000, version=(2, 0)),
    "length beyond the file": header(length=65000),
    "4 GiB of header": header(version=(2, 0), length=2**32 - 1),
    "version 9": header().replace(b"NUMPY\x01", b"NUMPY\x09"),
    "only the magic": b"\x93NUMPY",
    "magic and version": b"\x93NUMPY\x01\x00",
    "half a length": b"\x93NUMPY\x02\x00\x10\x00",
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_hostile_headers(name: str, message_of: Callable[..., str]) -> None:
    content = BAD_HEADERS[name] + np.arange(6.0).tobytes()
    if BAD_HEADERS[name][10:] == b"":
        content = BAD_HEADERS[name]
    Path("x.npy").write_bytes(content)
    message = message_of(InputError, lambda: open_source("x.npy"))
    assert message.startswith("x.npy")
    assert len(message) < 500
    # The same bytes through the pipe.
    message = message_of(InputError, lambda: open_source("-", stdin=io.BytesIO(content)))
    assert message.startswith("<stdin>")


def test_every_truncation_is_noticed(message_of: Callable[..., str]) -> None:
    np.save("whole.npy", np.arange(200.0).reshape(100, 2))
    content = Path("whole.npy").read_bytes()
    for size in [*range(0, len(content), 64), len(content) - 1]:
        Path("x.npy").write_bytes(content[:size])
        message = message_of(InputError, lambda: open_source("x.npy"))
        if size > 128:
            assert "truncated: shape (100, 2) of float64 needs 1600 bytes" in message
            assert f"there are {size - 128}" in message


def test_trailing_bytes_are_a_warning() -> None:
    np.save("x.npy", np.arange(6.0).reshape(3, 2))
    with Path("x.npy").open("ab") as file:
        file.write(b"12345")
    with open_source("x.npy") as source:
        assert source.warnings == ("x.npy: 5 bytes after the array were ignored",)
        assert np.array_equal(rows_of(source, 2), np.arange(6.0).reshape(3, 2))
    np.save("y.npy", np.ones((2, 2)))
    with open_source("y.npy") as source:
        assert source.warnings == ()


def test_more_than_32_bits_of_rows() -> None:
    """Three thousand million rows in a file with a hole, which takes no room on the disk."""
    n_rows = 3_000_000_000
    start = header(descr="'|u1'", shape=f"({n_rows}, 1)")
    with Path("x.npy").open("wb") as file:
        file.write(start)
        file.truncate(len(start) + n_rows)
        file.seek(len(start) + n_rows - 2)
        file.write(b"\x07\x09")
    with open_source("x.npy") as source:
        assert source.n_rows == n_rows
        rows = np.array([0, 2**31, n_rows - 2, n_rows - 1])
        assert source.take(rows).tolist() == [[0], [0], [7], [9]]
        first, block = next(source.blocks(1000))
        assert (first, block.shape) == (0, (1000, 1))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_is_cut_while_it_is_read(
    order: Any, monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]
) -> None:
    monkeypatch.setattr("momentc.io.npy._FORTRAN_READ_BYTES", 1 << 16)
    np.save("x.npy", np.ones((100_000, 4), order=order))
    with open_source("x.npy") as source:
        blocks = source.blocks(1000)
        next(blocks)
        os.truncate("x.npy", 4096)
        # A memory map would end the process here with SIGBUS.
        message = message_of(InputError, lambda: list(blocks) or source.take(np.array([99_999])))
        assert "x.npy changed while it was read: 3200128 bytes at the start, 4096 now" in message
        assert "changed" in message_of(InputError, lambda: source.take(np.array([99_999])))


def test_a_file_that_is_cut_in_another_thread(message_of: Callable[..., str]) -> None:
    np.save("x.npy", np.ones((400_000, 4)))
    go_on = threading.Event()

    def cut() -> None:
        go_on.wait()
        os.truncate("x.npy", 4096)

    thread = threading.Thread(target=cut)
    thread.start()
    with open_source("x.npy") as source:

        def read() -> None:
            for first, _ in source.blocks(100):
                if first == 100_000:
                    go_on.set()
                    thread.join()

        assert "changed while it was read" in message_of(InputError, read)


def test_a_file_that_is_written_to(message_of: Callable[..., str]) -> None:
    np.save("x.npy", np.ones((1000, 4)))
    with open_source("x.npy") as source:
        blocks = source.blocks(10)
        next(blocks)
        os.utime("x.npy", ns=(0, 0))
        assert "it was written to" in message_of(InputError, lambda: next(blocks))


def test_a_file_that_shrinks_between_two_looks(
    monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]
) -> None:
    np.save("x.npy", np.ones((1000, 4)))
    with open_source("x.npy") as source:
        monkeypatch.setattr("momentc.io.stamp.FileStamp.check", lambda self: None)
        os.truncate("x.npy", 4096)
        message = message_of(InputError, lambda: list(source.blocks(100)))
        assert "it ends at byte 4096" in message


def test_a_file_that_changes_during_the_last_read(
    monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]
) -> None:
    np.save("x.npy", np.ones((10, 4)))
    with open_source("x.npy") as source:
        read = os.preadv

        def read_then_change(*arguments: Any) -> int:
            count = read(*arguments)
            os.utime("x.npy", ns=(0, 0))
            return count

        monkeypatch.setattr(os, "preadv", read_then_change)
        assert "it was written to" in message_of(InputError, lambda: next(source.blocks(10)))


def test_a_replaced_file_is_read_on_as_it_was() -> None:
    np.save("x.npy", np.zeros((1000, 4)))
    np.save("new.npy", np.ones((1000, 4)))
    with open_source("x.npy") as source:
        blocks = source.blocks(500)
        next(blocks)
        Path("new.npy").replace("x.npy")
        assert not next(blocks)[1].any()


def test_a_read_error_names_the_place(
    monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    np.save("x.npy", np.ones((10, 4)))
    with open_source("x.npy") as source:
        monkeypatch.setattr(os, "preadv", fail)
        message = message_of(InputError, lambda: next(source.blocks(5)))
        assert message == "x.npy: reading failed at byte 128: Input/output error"


def test_the_input_is_never_changed() -> None:
    np.save("x.npy", np.ones((10, 4)))
    Path("x.npy").chmod(0o444)
    before = (Path("x.npy").read_bytes(), Path("x.npy").stat().st_mtime_ns)
    with open_source("x.npy") as source:
        for _, rows in source.blocks(5):
            rows[:] = 7
        source.take(np.array([3]))[:] = 7
    assert (Path("x.npy").read_bytes(), Path("x.npy").stat().st_mtime_ns) == before
    assert [path.name for path in Path().iterdir()] == ["x.npy"]


def test_arrays_in_memory_are_not_changed_through_their_blocks(points: NDArray[np.float64]) -> None:
    original = points.copy()
    source = ArraySource(points)
    for _, rows in source.blocks(100):
        rows[:] = 0
    source.take(np.array([1, 2]))[:] = 0
    assert np.array_equal(points, original)


def test_arrays_in_memory_of_any_layout(points: NDArray[np.float64]) -> None:
    for array in (points[::2], points[:, ::-1], np.asfortranarray(points), points.T[:, :500]):
        assert np.array_equal(rows_of(ArraySource(array), 77), array)
        assert ArraySource(array).fingerprint() == ArraySource(array.copy()).fingerprint()


@pytest.mark.parametrize("how", ["file", "bytes"])
def test_two_arrays_in_one_file_are_not_one(
    tmp_path: Path, how: str, message_of: Callable[..., str]
) -> None:
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.ones((100, 2)))
    joined = (tmp_path / "a.npy").read_bytes() + (tmp_path / "b.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(joined)
    if how == "file":
        message = message_of(InputError, lambda: open_source(str(tmp_path / "x.npy")))
    else:
        message = message_of(InputError, lambda: array_from_bytes("x.npy", joined))
    assert "comes another one" in message
