"""Datasets of HDF5 files: which one, whether it is safe to read, and whether it is there at all."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.base import ArraySource
from momentc.io.hdf5 import Hdf5Source
from momentc.io.source import open_source


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
def test_files_joined_end_to_end_are_refused(libver: str) -> None:
    """The library reads the first, and says nothing of the others."""
    for name in ("a.h5", "b.h5"):
        with h5py.File(name, "w", libver=libver) as file:
            file["x"] = np.arange(12.0).reshape(6, 2)
    one = Path("a.h5").read_bytes()
    Path("joined.h5").write_bytes(one + Path("b.h5").read_bytes())
    with pytest.raises(InputError, match=r"joined\.h5: after the HDF5 file comes another one"):
        open_source("joined.h5")
    for after in (b"\0" * 512, b"something else"):
        Path("padded.h5").write_bytes(one + after)
        with open_source("padded.h5") as source:
            assert source.n_rows == 6


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"chunks": (7, 3)},
        {"chunks": (64, 1)},
        {"chunks": (200, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (13, 2), "compression": "lzf"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "dtype", ["?", "i1", ">i2", "<u4", "<i8", ">u8", "<f2", ">f2", ">f4", "<f8", "longdouble"]
)
def test_every_type_and_layout_bit_for_bit(dtype: str, layout: dict[str, Any]) -> None:
    array = (np.arange(600).reshape(200, 3) % 120).astype(dtype)
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("grp/x", data=array, **layout)
    with open_source("x.h5") as source:
        assert isinstance(source, Hdf5Source)
        assert (source.name, source.dataset, source.shape) == ("x.h5:/grp/x", "/grp/x", (200, 3))
        assert source.dtype.str == array.dtype.str
        for n_rows in (1, 7, 50, 1000):
            blocks = [rows for _, rows in source.blocks(n_rows)]
            assert max(len(rows) for rows in blocks) <= n_rows
            assert b"".join(rows.tobytes() for rows in blocks) == array.tobytes()
        chosen = np.array([0, 12, 13, 14, 150, 199])
        assert source.take(chosen).tobytes() == array[chosen].tobytes()
        assert source.fingerprint() == ArraySource(array).fingerprint()


def test_chunks_larger_than_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentc.io.hdf5._MAX_UNIT_BYTES", 100)
    array = np.arange(300.0).reshape(100, 3)
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", data=array, chunks=(80, 1))
    with open_source("x.h5") as source:
        assert np.array_equal(np.concatenate([rows for _, rows in source.blocks(9)]), array)


@pytest.mark.parametrize("suffix", ["h5", "hdf5", "he5", "nc", "data"])
def test_all_ways_to_name_a_dataset(suffix: str) -> None:
    with h5py.File(f"x.{suffix}", "w") as file:
        file["grp/x"], file["grp/y"] = np.zeros((4, 2)), np.zeros((5, 2))
    for location, dataset in (
        (f"x.{suffix}:/grp/y", None),
        (f"x.{suffix}:grp/y", None),
        (f"x.{suffix}/grp/y", None),
        (f"x.{suffix}", "/grp/y"),
        (f"x.{suffix}", "grp//./y/"),
    ):
        with open_source(location, dataset=dataset) as source:
            assert source.n_rows == 5


def test_an_unlimited_and_a_one_dimensional_dataset() -> None:
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", data=np.arange(10.0), maxshape=(None,), chunks=(4,))
    with open_source("x.h5") as source:
        assert (source.shape, source.n_columns) == ((10,), 1)
        assert source.take(np.array([3, 9])).tolist() == [[3.0], [9.0]]


def test_an_enumeration_is_read_as_its_numbers() -> None:
    with h5py.File("x.h5", "w") as file:
        kind = h5py.enum_dtype({"A": 0, "B": 1}, basetype="u1")
        file.create_dataset("x", data=np.array([[0, 1], [1, 0]], "u1"), dtype=kind)
    with open_source("x.h5") as source:
        assert source.dtype == np.dtype("u1")
        assert source.dtype.metadata is None
        assert next(source.blocks(5))[1].tolist() == [[0, 1], [1, 0]]


def test_a_file_with_a_user_block() -> None:
    with h5py.File("x.h5", "w", userblock_size=1024) as file:
        file["x"] = np.ones((3, 2))
    with open_source("x.h5") as source:
        assert source.n_rows == 3


def test_the_only_candidate() -> None:
    with h5py.File("x.h5", "w") as file:
        file["deep/er/x"] = np.ones((3, 2))
        file["time"] = np.ones(9)
        file["names"] = np.array([b"a", b"b"])
        file["cube"] = np.ones((2, 2, 2))
        file["number"] = 7.0
        file["nothing"] = h5py.Empty("f8")
        file["no_rows"] = np.ones((0, 2))
        file["deep/again"] = h5py.SoftLink("/deep/er/x")
        file["deep/hard"] = file["deep/er/x"]
        file["deep/er/up"] = file["deep"]  # a circle of groups
    with open_source("x.h5") as source:
        assert source.n_rows == 3
    with open_source("x.h5:/deep/er") as source:
        assert source.n_rows == 3


def test_several_candidates_are_listed(message_of: Callable[..., str]) -> None:
    with h5py.File("x.h5", "w") as file:
        for i in range(25):
            file[f"grp/x{i:02}"] = np.ones((3, i + 1), "f4")
        file["time"] = np.ones(9)
    message = message_of(InputError, lambda: open_source("x.h5"))
    assert "x.h5 holds 25 arrays that could be meant" in message
    assert "--dataset" in message
    assert "/grp/x00  (3, 1)  float32" in message
    assert "and 5 more" in message
    assert "time" not in message


def test_no_candidate(message_of: Callable[..., str]) -> None:
    with h5py.File("x.h5", "w") as file:
        file["cube"] = np.ones((2, 2, 2))
    message = message_of(InputError, lambda: open_source("x.h5"))
    assert "/cube  (2, 2, 2)  float64" in message
    with h5py.File("y.h5", "w") as file:
        file.create_group("empty")
    assert "holds no array" in message_of(InputError, lambda: open_source("y.h5"))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda file: file.create_dataset("x", data=7.0), "single number, shape ()"),
        (lambda file: file.create_dataset("x", data=h5py.Empty("f8")), "is empty (no shape)"),
        (lambda file: file.create_dataset("x", data=np.ones((0, 3))), "0 rows, shape (0, 3)"),
        (lambda file: file.create_dataset("x", data=np.ones((3, 0))), "0 columns, shape (3, 0)"),
        (lambda file: file.create_dataset("x", data=np.ones((2, 2, 2))), "has 3 dimensions"),
        (lambda file: file.create_dataset("x", data=np.ones((2, 2), complex)), "complex128"),
        (lambda file: file.create_dataset("x", data=["a", "b"]), "dtype object"),
        (lambda file: file.create_dataset("x", data=np.array([b"a"])), "dtype |S1"),
        (lambda file: file.create_dataset("x", data=np.ones(2, "f4,i2")), "structured"),
        (lambda file: file.create_dataset("x", data=np.ones(2, "V4")), "|V4"),
        (lambda file: file.create_dataset("x", (2,), h5py.vlen_dtype("f8")), "dtype object"),
        (lambda file: file.create_dataset("x", (2,), h5py.ref_dtype), "dtype object"),
        (lambda file: file.__setitem__("x", np.dtype("f8")), "is a type, not a dataset"),
    ],
)
def test_datasets_that_are_no_points(
    make: Callable[[Any], object], word: str, message_of: Callable[..., str]
) -> None:
    with h5py.File("x.h5", "w") as file:
        make(file)
    message = message_of(InputError, lambda: open_source("x.h5:/x"))
    assert message.startswith("x.h5:/x")
    assert word in message


@pytest.mark.parametrize("path", ["/gone", "/grp/gone", "/x/inside", "/dangling", "/grp/gone/x"])
def test_paths_that_lead_nowhere(path: str, message_of: Callable[..., str]) -> None:
    with h5py.File("x.h5", "w") as file:
        file["x"] = np.ones((2, 2))
        file.create_group("grp")
        file["dangling"] = h5py.SoftLink("/nowhere")
    assert f"x.h5 has no dataset {path}" in message_of(
        InputError, lambda: open_source("x.h5", dataset=path)
    )


def test_soft_links(message_of: Callable[..., str]) -> None:
    with h5py.File("x.h5", "w") as file:
        file["a/b/x"] = np.ones((2, 2))
        file["a/absolute"] = h5py.SoftLink("/a/b/x")
        file["a/relative"] = h5py.SoftLink("b/x")
        file["a/group"] = h5py.SoftLink("/a/b")
        file["circle"] = h5py.SoftLink("/circle")
        file["ping"], file["pong"] = h5py.SoftLink("/pong"), h5py.SoftLink("/ping")
    for path in ("a/absolute", "a/relative", "a/group/x"):
        with open_source("x.h5", dataset=path) as source:
            assert source.n_rows == 2
    assert "a circle" in message_of(InputError, lambda: open_source("x.h5:/circle"))
    assert "a circle" in message_of(InputError, lambda: open_source("x.h5:/ping"))


def make_leaving_files() -> None:
    """Write files whose data lie in others, in all the ways that HDF5 knows."""
    with h5py.File("secret.h5", "w") as file:
        file["grp/x"] = np.full((4, 2), 42.0)
    Path("secret.raw").write_bytes(np.full((4, 2), 42.0).tobytes())
    with h5py.File("external.h5", "w") as file:
        file["x"] = h5py.ExternalLink("secret.h5", "/grp/x")
        file["soft"] = h5py.SoftLink("/x")
        file["group"] = h5py.ExternalLink("secret.h5", "/grp")
        file["inner/soft"] = h5py.SoftLink("/group")
    with h5py.File("storage.h5", "w") as file:
        file.create_dataset("x", (4, 2), "f8", external=[("secret.raw", 0, 64)])
    with h5py.File("virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 2), "f8")
        layout[:] = h5py.VirtualSource("secret.h5", "/grp/x", (4, 2))
        file.create_virtual_dataset("x", layout)


LEAVING = [
    ("external.h5:/x", "secret.h5:/grp/x"),
    ("external.h5:/soft", "secret.h5:/grp/x"),
    ("external.h5:/group/x", "secret.h5:/grp"),
    ("external.h5:/inner/soft/x", "secret.h5:/grp"),
    ("storage.h5:/x", "secret.raw"),
    ("virtual.h5:/x", "secret.h5"),
]


@contextmanager
def no_other_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the other files away: HDF5 then reads zeros or fails, but nothing can leak."""
    hidden = [(Path(name), Path(f"{name}.away")) for name in ("secret.h5", "secret.raw")]
    for path, away in hidden:
        path.rename(away)
    yield
    for path, away in hidden:
        away.rename(path)


@pytest.mark.parametrize(("location", "target"), LEAVING)
def test_data_in_other_files_are_refused(
    location: str, target: str, monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]
) -> None:
    make_leaving_files()
    message = message_of(InputError, lambda: open_source(location))
    assert target in message
    assert "--allow-external" in message
    # The answer does not depend on the other file: it was not even looked for.
    with no_other_file(monkeypatch):
        assert message_of(InputError, lambda: open_source(location)) == message
    with open_source(location, allow_external=True) as source:
        assert np.array_equal(next(source.blocks(9))[1], np.full((4, 2), 42.0))


@pytest.mark.parametrize("name", ["external.h5", "storage.h5", "virtual.h5"])
def test_data_in_other_files_are_no_candidates(name: str, message_of: Callable[..., str]) -> None:
    make_leaving_files()
    assert "secret" in message_of(InputError, lambda: open_source(name))
    with h5py.File(name, "a") as file:
        file["own"] = np.ones((7, 2))
    with open_source(name) as source:
        assert (source.dataset, source.n_rows) == ("/own", 7)


def test_weights_in_other_files_are_refused(message_of: Callable[..., str]) -> None:
    make_leaving_files()
    with h5py.File("external.h5", "a") as file:
        file["own"] = np.ones((4, 2))
        file["mass"] = h5py.ExternalLink("secret.h5", "/grp/x")
    message = message_of(InputError, lambda: open_source("external.h5:/own", weights="/mass"))
    assert "secret.h5" in message


def test_an_imitation_of_a_result_pulls_nothing_in(message_of: Callable[..., str]) -> None:
    make_leaving_files()
    with h5py.File("x.h5", "w") as file:
        file.attrs["momentc"] = "{}"
        for name in ("c", "w", "index"):
            file[name] = h5py.ExternalLink("secret.h5", "/grp/x")
    assert "secret.h5" in message_of(InputError, lambda: open_source("x.h5"))


def test_chunks_that_were_never_written(message_of: Callable[..., str]) -> None:
    with h5py.File("x.h5", "w") as file:
        dataset = file.create_dataset("x", (100, 3), chunks=(10, 2), dtype="f8")
        dataset[:30] = 1
    message = message_of(InputError, lambda: open_source("x.h5"))
    assert "x.h5:/x: 14 of 20 chunks were never written" in message


def test_a_huge_dataset_of_nothing(message_of: Callable[..., str]) -> None:
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", (10**10, 10), chunks=(10**6, 10), dtype="f8")
        file.create_dataset("y", (10**10, 10), dtype="f8")
    assert Path("x.h5").stat().st_size < 20_000
    assert "10000 of 10000 chunks" in message_of(InputError, lambda: open_source("x.h5:/x"))
    assert "its data were never written" in message_of(InputError, lambda: open_source("x.h5:/y"))


WRITER = """
import sys, h5py, numpy
file = h5py.File("x.h5", "w", libver=sys.argv[1], locking=sys.argv[2] == "lock")
file.create_dataset("x", data=numpy.ones((100_000, 3)), chunks=(100, 3))
file.flush()
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def writer(libver: str, locking: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has x.h5 open for writing."""
    command = [sys.executable, "-c", WRITER, libver, locking]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_a_file_that_a_writer_holds(message_of: Callable[..., str]) -> None:
    with writer("earliest", "lock"):
        message = message_of(InputError, lambda: open_source("x.h5"))
    assert "x.h5 cannot be opened as HDF5" in message
    assert "open for writing" in message
    assert "HDF5_USE_FILE_LOCKING" in message


def test_a_file_that_a_killed_writer_left(message_of: Callable[..., str]) -> None:
    with writer("latest", "no lock") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        message = message_of(InputError, lambda: open_source("x.h5"))
    assert "the producer may have been killed" in message


def test_truncated_and_garbled_files(message_of: Callable[..., str]) -> None:
    with h5py.File("whole.h5", "w") as file:
        file["x"] = np.ones((100, 3))
    content = Path("whole.h5").read_bytes()
    for size in (8, 96, 500, 2000, len(content) - 1):
        Path("x.h5").write_bytes(content[:size])
        message = message_of(InputError, lambda: open_source("x.h5"))
        assert "the producer may have been killed" in message
    Path("x.h5").write_bytes(content[:8] + b"\xff" * (len(content) - 8))
    assert "damaged" in message_of(InputError, lambda: open_source("x.h5"))


def test_damaged_chunks(message_of: Callable[..., str]) -> None:
    array = np.random.default_rng(0).normal(size=(1000, 3))
    with h5py.File("x.h5", "w") as file:
        dataset = file.create_dataset("x", data=array, chunks=(100, 3), fletcher32=True)
        place = dataset.id.get_chunk_info(5).byte_offset
    with Path("x.h5").open("r+b") as file:
        file.seek(place + 40)
        file.write(b"\x00\xff\x00")
    with open_source("x.h5") as source:
        assert "the HDF5 library failed" in message_of(
            InputError, lambda: list(source.blocks(1000))
        )


def test_a_filter_that_is_not_installed(message_of: Callable[..., str]) -> None:
    with h5py.File("x.h5", "w") as file:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk((4, 2))
        # Optional: the library then writes without it, but the file says what the reader needs.
        layout.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4, 2))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, space, layout)
        h5py.Dataset(made)[:] = 1.0
    message = message_of(InputError, lambda: open_source("x.h5"))
    assert "needs the HDF5 filter 32015 (zstd)" in message
    assert "pip install hdf5plugin" in message


def test_weights_by_path(points: NDArray[np.float64], message_of: Callable[..., str]) -> None:
    mass = np.arange(1.0, 1001.0, dtype="f4")
    with h5py.File("x.h5", "w") as file:
        file["x"], file["grp/mass"], file["short"] = points, mass, mass[:5]
    np.save("mass.npy", mass)
    for weights in ("/grp/mass", "grp/mass", "mass.npy", "x.h5:/grp/mass"):
        with open_source("x.h5", weights=weights) as source:
            assert source.weights is not None
            assert np.array_equal(source.weights, mass)
    message = message_of(InputError, lambda: open_source("x.h5", weights="short"))
    assert "weights x.h5:/short have 5 values, but x.h5:/x has 1000 rows" in message
    message = message_of(InputError, lambda: open_source("x.h5", weights="/gone"))
    assert message == (
        "weights /gone: there is no such file, and x.h5 has no dataset /gone: 'gone' is not in /, "
        "which holds: grp, short, x"
    )
    with h5py.File("y.h5", "w") as file:
        file["grp/x"], file["grp/weights"], file["grp/id"] = points, mass, mass + 1.0
    np.save("x.npy", points)
    for rows, weights in (("x.npy", "y.h5"), ("x.npy", "y.h5:/grp"), ("y.h5:/grp/x", "/grp")):
        with open_source(rows, weights=weights) as source:
            assert source.weights is not None
            assert np.array_equal(source.weights, mass)


def test_opening_reads_no_weights(points: NDArray[np.float64]) -> None:
    with h5py.File("x.h5", "w") as file:
        file["x"], file["mass"] = points, np.full(1000, -1.0)
    with open_source("x.h5:/x", weights="mass") as source:  # a plan needs only the headers
        assert source.has_weights
        with pytest.raises(InputError, match="negative"):
            assert source.weights


def test_a_file_that_is_written_to(message_of: Callable[..., str]) -> None:
    with h5py.File("x.h5", "w") as file:
        file["x"] = np.ones((100_000, 4))
    with open_source("x.h5") as source:
        blocks = source.blocks(10)
        next(blocks)
        os.utime("x.h5", ns=(0, 0))
        assert "changed while it was read" in message_of(InputError, lambda: list(blocks))


def test_the_input_is_never_changed() -> None:
    with h5py.File("x.h5", "w") as file:
        file["x"] = np.ones((10, 4))
    before = (Path("x.h5").read_bytes(), Path("x.h5").stat().st_mtime_ns)
    with open_source("x.h5") as source:
        source.fingerprint()
    assert (Path("x.h5").read_bytes(), Path("x.h5").stat().st_mtime_ns) == before


def test_names_that_are_not_ascii() -> None:
    with h5py.File("größe x.h5", "w") as file:
        file["gruppe ä/数据"] = np.ones((3, 2))
        file["gruppe ä/y"] = np.ones((3, 2))
    with open_source("größe x.h5:/gruppe ä/数据") as source:
        assert source.name == "größe x.h5:/gruppe ä/数据"


@pytest.mark.parametrize(
    "name", ["new\nline.h5", "-leading.h5", "a b:c.h5", os.fsdecode(b"latin-\xe9.h5")]
)
def test_unusual_file_names(name: str) -> None:
    with h5py.File(f"./{name}", "w") as file:
        file["x"] = np.ones((3, 2))
    for location in (name, f"{name}:/x", f"{name}/x"):
        with open_source(location) as source:
            assert np.array_equal(source.take(np.arange(3)), np.ones((3, 2)))
            source.name.encode()


def test_in_memory(points: NDArray[np.float64]) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["x"], file["mass"] = points, np.ones(1000)
    with open_source("-", weights="mass", stdin=io.BytesIO(buffer.getvalue())) as source:
        assert (source.name, source.path) == ("<stdin>:/x", None)
        assert np.array_equal(next(source.blocks(5000))[1], points)
        assert source.weights is not None
