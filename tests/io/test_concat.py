"""Several inputs read as one: nothing tells where one file ends and the next begins."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError
from momentc.io.base import ArraySource
from momentc.io.concat import ConcatSource
from momentc.io.convert import float64_blocks, load_points
from momentc.io.hdf5 import Hdf5Source
from momentc.io.result_file import write_result
from momentc.io.source import open_source, open_sources
from momentc.weighted import WeightedSet

from .open_files import open_files


@given(
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=6),
    block=st.integers(1, 200),
    weighted=st.booleans(),
    flat=st.booleans(),
    data=st.data(),
)
def test_parts_are_the_whole(
    lengths: list[int], block: int, weighted: bool, flat: bool, data: st.DataObject
) -> None:
    n_rows = sum(lengths)
    array: NDArray[Any] = np.random.default_rng(n_rows).integers(0, 9, (n_rows, 2)).astype(">i2")
    array = array[:, 0] if flat else array
    weights = np.arange(n_rows).astype("f4") + 1 if weighted else None
    whole = ArraySource(array, weights)
    borders = np.cumsum(lengths)[:-1].tolist()
    pieces = np.split(array, borders)
    heavy = [None] * len(pieces) if weights is None else np.split(weights, borders)
    parts = ConcatSource([ArraySource(p, w) for p, w in zip(pieces, heavy, strict=True)])

    assert (parts.shape, parts.dtype) == (whole.shape, whole.dtype)
    assert (parts.n_rows, parts.n_columns) == (whole.n_rows, whole.n_columns)
    start = data.draw(st.integers(0, n_rows))
    stop = data.draw(st.integers(start, n_rows))
    for one, other in zip(
        parts.blocks(block, start, stop), whole.blocks(block, start, stop), strict=True
    ):
        assert one[0] == other[0]
        assert one[1].tobytes() == other[1].tobytes()
        assert one[1].dtype == other[1].dtype
    assert parts.digests == whole.digests
    rows = np.array(sorted(data.draw(st.lists(st.integers(0, n_rows - 1)))), dtype=np.int64)
    assert parts.take(rows).tobytes() == whole.take(rows).tobytes()
    wanted = data.draw(st.integers(1, n_rows + 1))
    for got, expected in zip(parts.sample(wanted), whole.sample(wanted), strict=True):
        assert got.dtype == expected.dtype
        assert got.tobytes() == expected.tobytes()
    if weighted and start < stop:
        got_weights, expected_weights = parts.weights_of(start, stop), whole.weights_of(start, stop)
        assert got_weights is not None
        assert expected_weights is not None
        assert got_weights.tobytes() == expected_weights.tobytes()
    assert parts.fingerprint() == whole.fingerprint()
    loaded, expected_points = load_points(parts), load_points(whole)
    assert loaded.points.tobytes() == expected_points.points.tobytes()
    assert loaded.weights.tobytes() == expected_points.weights.tobytes()


@pytest.fixture
def files(points: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cut the rows into one file of each kind; each .h5 and .npz has its own weights."""
    monkeypatch.setattr("momentc.io.hdf5.BLOCK_BYTES", 24 * 50)
    monkeypatch.setattr("momentc.io.npy._FORTRAN_READ_BYTES", 24 * 77)
    np.save("a.npy", points[:100])
    np.save("b.npy", np.asfortranarray(points[100:350]))
    np.savez_compressed("c.npz", x=points[350:500])
    with h5py.File("d.h5", "w") as file:
        file.create_dataset("x", data=points[500:], chunks=(37, 2), compression="gzip")
    return ["a.npy", "b.npy", "c.npz", "d.h5"]


@pytest.mark.parametrize("block", [1, 30, 64, 400, 5000])
def test_files_of_every_kind(files: list[str], points: NDArray[np.float64], block: int) -> None:
    np.save("mass.npy", np.arange(1000.0))
    with open_sources(files, weights="mass.npy") as source:
        assert source.name == "4 files, a.npy .. d.h5:/x"
        assert source.path == Path("a.npy")
        assert [str(path) for path in source.paths] == [*files, "mass.npy"]
        assert source.dataset is None
        blocks = list(source.blocks(block, 3))
        assert np.array_equal(np.concatenate([rows for _, rows in blocks]), points[3:])
        borders = [first for first, _ in blocks]
        again = [first for first, _ in source.blocks(block, borders[len(borders) // 2])]
        assert again == borders[len(borders) // 2 :]
        chosen = np.arange(0, 1000, 7)
        assert np.array_equal(source.take(chosen), points[chosen])
        index, rows = source.sample(200)
        assert np.array_equal(rows, points[index])
        assert source.fingerprint() == ArraySource(points, np.arange(1000.0)).fingerprint()


def test_one_location_is_that_source(files: list[str]) -> None:
    with open_sources(files[:1]) as source, open_source(files[0]) as alone:
        assert type(source) is type(alone)
        assert source.name == "a.npy"
    with pytest.raises(UsageError, match="no input"):
        open_sources([])
    with pytest.raises(ValueError, match="no source"):
        ConcatSource([])


def in_hdf5(name: str, array: NDArray[Any], **weights: NDArray[Any]) -> str:
    with h5py.File(name, "w") as file:
        file["x"] = array
        for key, values in weights.items():
            file[key] = values
    return name


def test_weights_inside_each_file(message_of: Callable[..., str]) -> None:
    names = [
        in_hdf5("a.h5", np.zeros((3, 2)), mass=np.zeros(3)),  # all 0 here, but not in all
        in_hdf5("b.h5", np.ones((2, 2)), mass=np.array([1.0, 2.0])),
    ]
    with open_sources(names, dataset="x", weights="mass") as source:
        assert source.dataset == "/x"
        assert source.weights_name == "2 files, a.h5:/mass .. b.h5:/mass"
        assert load_points(source).weights.tolist() == [1.0, 2.0]
        assert [str(path) for path in source.paths] == names
    names.append(in_hdf5("c.h5", np.ones((2, 2))))
    message = message_of(InputError, lambda: open_sources(names, dataset="x", weights="mass"))
    assert message.startswith("a.h5 has weights mass, but c.h5 has none of this name")
    message = message_of(InputError, lambda: open_sources(names, dataset="x", weights="gone"))
    assert message == (
        "weights gone: there is no such file, and 3 files, a.h5:/x .. c.h5:/x has no such dataset"
    )


def test_weights_for_all_rows_in_one_file(files: list[str], message_of: Callable[..., str]) -> None:
    np.save("short.npy", np.ones(100))
    message = message_of(InputError, lambda: open_sources(files, weights="short.npy"))
    assert "short.npy have 100 values, but 4 files, a.npy .. d.h5:/x has 1000 rows" in message


def test_results_of_momentc_bring_their_weights(message_of: Callable[..., str]) -> None:
    for name in ("a.npz", "b.h5"):
        write_result(
            name,
            WeightedSet(np.eye(2), np.array([1.0, 3.0]), np.array([0, 5])),
            {},
            force=False,
            inputs=(),
            verify=lambda *_: None,
        )
    with open_sources(["a.npz", "b.h5"]) as source:
        assert load_points(source).weights.tolist() == [1.0, 3.0, 1.0, 3.0]
    np.save("bare.npy", np.eye(2))
    message = message_of(InputError, lambda: open_sources(["bare.npy", "a.npz"]))
    assert message.startswith("a.npz has weights, but bare.npy has none")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 4)), "b.npy has 4 columns, but a.npy has 3"),
        (np.ones((2, 3), "<f4"), "b.npy has dtype <f4, but a.npy has <f8"),
        (np.ones((2, 3), ">f8"), "b.npy has dtype >f8, but a.npy has <f8"),
    ],
)
def test_files_that_do_not_go_together(
    array: NDArray[Any], message: str, message_of: Callable[..., str]
) -> None:
    np.save("a.npy", np.ones((2, 3)))
    np.save("b.npy", array)
    with open_source("a.npy"):
        assert open_files() == ["a.npy"]
    assert message_of(InputError, lambda: open_sources(["a.npy", "b.npy"])).startswith(message)
    assert open_files() == []


def test_one_column_with_and_without_its_dimension() -> None:
    np.save("a.npy", np.arange(3.0))
    np.save("b.npy", np.arange(3.0, 5.0).reshape(-1, 1))
    with open_sources(["a.npy", "b.npy"]) as source:
        assert source.shape == (5, 1)
        assert source.fingerprint() == ArraySource(np.arange(5.0).reshape(-1, 1)).fingerprint()


def test_a_bad_row_is_named_in_its_own_file(message_of: Callable[..., str]) -> None:
    array = np.ones((4, 2))
    np.save("a.npy", array)
    array[2, 1] = np.nan
    np.save("b.npy", array)
    with open_sources(["a.npy", "b.npy"]) as source:
        message = message_of(InputError, lambda: load_points(source))
        assert "row 6, column 1 of 2 files, a.npy .. b.npy (row 2 of b.npy) is nan" in message
    names = [
        in_hdf5("a.h5", np.ones((4, 2)), mass=np.ones(4)),
        in_hdf5("b.h5", np.ones((4, 2)), mass=np.array([1.0, 1, 1, -1])),
    ]
    with open_sources(names, dataset="x", weights="mass") as source:
        message = message_of(InputError, lambda: list(float64_blocks(source)))
        assert "(row 3 of b.h5:/mass): row 7 is -1.0, which is negative" in message


def test_a_file_that_changes_is_noticed(files: list[str], message_of: Callable[..., str]) -> None:
    with open_sources(files) as source:
        os.utime("b.npy", ns=(0, 0))
        assert len(next(source.blocks(10))[1]) == 10
        message = message_of(InputError, lambda: list(source.blocks(10)))
        assert message.startswith("b.npy changed while it was read")
        message = message_of(InputError, lambda: source.take(np.array([1, 200])))
        assert message.startswith("b.npy changed while it was read")


def test_the_standard_input_among_others(message_of: Callable[..., str]) -> None:
    np.save("a.npy", np.ones((2, 3)))
    content = Path("a.npy").read_bytes()
    with open_sources(["a.npy", "-"], stdin=io.BytesIO(content)) as source:
        assert source.path is None  # the rows of the pipe are held in memory
        assert source.paths == (Path("a.npy"),)
        assert source.n_rows == 4
    for locations, weights in ((["-", "-"], None), (["a.npy", "-"], "-")):

        def twice(names: Sequence[str] = locations, mass: str | None = weights) -> object:
            return open_sources(names, weights=mass, stdin=io.BytesIO(content))

        assert "named twice" in message_of(UsageError, twice)
    message = message_of(
        InputError,
        lambda: open_sources(["a.npy", "-"], stdin=io.BytesIO(content), hold_at_most=10),
    )
    assert "<stdin> can be read only once, and not together with other inputs" in message


def test_too_many_files(monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    np.save("a.npy", np.ones((2, 2)))
    monkeypatch.setattr(Path, "open", refuse)
    message = message_of(InputError, lambda: open_sources(["a.npy", "a.npy"]))
    assert message.startswith("a.npy cannot be opened: Too many open files. Raise the limit")


def test_reads_begin_at_the_chunks_of_each_file(
    monkeypatch: pytest.MonkeyPatch, points: NDArray[np.float64]
) -> None:
    """A chunk that two reads share is unpacked twice."""
    monkeypatch.setattr("momentc.io.hdf5.BLOCK_BYTES", 1)
    for name, rows in (("a.h5", points[:350]), ("b.h5", points[350:])):
        with h5py.File(name, "w") as file:
            file.create_dataset("x", data=rows, chunks=(50 if name == "a.h5" else 60, 3))
    starts: list[tuple[int, int]] = []
    read = Hdf5Source._read

    def noted(source: Hdf5Source, start: int, stop: int) -> NDArray[Any]:
        starts.append((50 if source.n_rows == 350 else 60, start))
        return read(source, start, stop)

    monkeypatch.setattr(Hdf5Source, "_read", noted)
    with open_sources(["a.h5", "b.h5"]) as source:
        assert sum(len(rows) for _, rows in source.blocks(70)) == 1000
    assert len(starts) > 10
    assert all(start % chunk == 0 for chunk, start in starts)
