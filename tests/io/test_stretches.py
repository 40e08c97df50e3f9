"""Parts of a source: blocks of some rows, weights of some rows, and a sample of all."""

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.base import ArraySource
from momentc.io.convert import float64_blocks, load_points
from momentc.io.npz import NpzArchive
from momentc.io.sampling import sample_runs
from momentc.io.source import open_source


@pytest.fixture
def files(points: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make one array in every container, its chunks and reads so small that borders abound."""
    monkeypatch.setattr("momentc.io.hdf5.BLOCK_BYTES", 24 * 100)
    monkeypatch.setattr("momentc.io.npy._FORTRAN_READ_BYTES", 24 * 77)
    mass = np.arange(1000.0) % 7
    np.save("c.npy", points)
    np.save("f.npy", np.asfortranarray(points))
    np.savez_compressed("x.npz", x=points, mass=mass)
    np.save("mass.npy", mass)
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", data=points, chunks=(37, 2), compression="gzip")
        file.create_dataset("mass", data=mass.astype(">f4"), chunks=(53,))
    return ["c.npy", "f.npy", "x.npz:x", "x.h5:/x"]


def weights_for(name: str) -> str:
    return "mass.npy" if name.endswith(".npy") else "mass"


@pytest.mark.parametrize("block", [1, 7, 37, 250, 5000])
@pytest.mark.parametrize(("start", "stop"), [(0, 1000), (0, 1), (5, 999), (500, 600), (1000, 1000)])
def test_blocks_of_a_stretch(
    files: list[str], points: NDArray[np.float64], block: int, start: int, stop: int
) -> None:
    for name in files:
        with open_source(name) as source:
            expected = start
            for first, rows in source.blocks(block, start, stop):
                assert first == expected
                assert 1 <= len(rows) <= block
                assert rows.tobytes() == points[first : first + len(rows)].tobytes()
                expected += len(rows)
            assert expected == stop


@pytest.mark.parametrize("block", [1, 7, 37, 250, 5000])
def test_a_pass_that_is_taken_up_again_has_the_same_borders(files: list[str], block: int) -> None:
    for name in files:
        with open_source(name) as source:
            borders = [first for first, _ in source.blocks(block)]
            for at in range(0, len(borders), 1 + len(borders) // 10):
                assert [first for first, _ in source.blocks(block, borders[at])] == borders[at:]


def test_stretches_outside_of_the_rows(points: NDArray[np.float64]) -> None:
    source = ArraySource(points, np.ones(1000))
    for start, stop in ((-1, 5), (6, 5), (0, 1001), (1001, None)):
        with pytest.raises(ValueError, match="do not lie within"):
            next(source.blocks(1, start, stop))
    for start, stop in ((-1, 5), (5, 5), (0, 1001)):
        with pytest.raises(ValueError, match="the rows are"):
            source.weights_of(start, stop)


@pytest.mark.parametrize("block", [3, 100, 5000])
def test_float64_blocks_of_stretches_are_those_of_the_whole(files: list[str], block: int) -> None:
    for name in files:
        with open_source(name, weights=weights_for(name)) as source:
            whole = load_points(source)
        with open_source(name, weights=weights_for(name)) as source:
            parts = [
                part
                for start, stop in ((0, 333), (333, 334), (334, None))
                for part in float64_blocks(source, rows_per_block=block, start=start, stop=stop)
            ]
            assert np.array_equal(np.concatenate([part.points for part in parts]), whole.points)
            assert np.array_equal(np.concatenate([part.weights for part in parts]), whole.weights)
            assert np.array_equal(np.concatenate([part.index for part in parts]), whole.index)
            assert sum(part.n_zero_weight for part in parts) == whole.n_zero_weight
            assert parts[-1].stop == 1000


@given(stretches=st.lists(st.tuples(st.integers(0, 999), st.integers(1, 300)), max_size=8))
def test_weights_of_any_stretches(stretches: list[tuple[int, int]]) -> None:
    mass = (np.arange(1000) % 11).astype(">f4")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["x"] = np.zeros((1000, 2))
        file.create_dataset("mass", data=mass, chunks=(53,))
    buffer.seek(0)
    with open_source("-", dataset="x", weights="mass", stdin=buffer) as source:
        for start, length in stretches:
            stop = min(1000, start + length)
            weights = source.weights_of(start, stop)
            assert weights is not None
            assert weights.dtype == np.float64
            assert weights.tolist() == mass[start:stop].tolist()
            weights[:] = -1  # the receiver's own
    assert ArraySource(np.zeros((9, 2))).weights_of(0, 9) is None


def test_a_block_of_weights_reads_no_others(message_of: Callable[..., str]) -> None:
    weights = np.ones(1000)
    weights[[400, 410]] = [-1.0, np.nan]
    np.save("x.npy", np.zeros((1000, 2)))
    np.save("mass.npy", weights)
    with open_source("x.npy", weights="mass.npy") as source:
        assert len(list(float64_blocks(source, start=500))) == 1
        assert len(list(float64_blocks(source, stop=400))) == 1
        message = message_of(InputError, lambda: source.weights_of(405, 1000))
        assert message == (
            "weights mass.npy: row 410 is nan, which is not finite (1 in rows 405 to 999); "
            "a weight must be a finite number >= 0"
        )
        message = message_of(InputError, lambda: list(float64_blocks(source, start=300, stop=401)))
        assert "row 400 is -1.0, which is negative (1 in rows 300 to 400)" in message


def test_compressed_weights_are_unpacked_once(
    points: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save("x.npy", points)
    np.savez_compressed("mass.npz", mass=np.arange(1000.0))
    opened: list[str] = []
    archive_open = NpzArchive.open

    def counted(archive: NpzArchive, member: str) -> Any:
        opened.append(member)
        return archive_open(archive, member)

    with open_source("x.npy", weights="mass.npz") as source:
        monkeypatch.setattr(NpzArchive, "open", counted)
        for first, rows in source.blocks(130):
            for start in range(first, first + len(rows), 50):
                weights = source.weights_of(start, min(start + 50, first + len(rows)))
                assert weights is not None
                assert weights[0] == start
    assert opened == ["mass.npy"]


@pytest.mark.parametrize("rows_per_block", [1, 2, 100])
def test_only_a_pass_over_all_rows_judges_the_sum(
    rows_per_block: int, message_of: Callable[..., str]
) -> None:
    def read(weights: list[float], stop: int | None = None) -> Callable[[], object]:
        source = ArraySource(np.ones((3, 2)), np.array(weights), name="x")
        return lambda: list(float64_blocks(source, rows_per_block=rows_per_block, stop=stop))

    read([0.0, 0.0, 1.0], stop=2)()
    assert "all 3 are 0" in message_of(InputError, read([0.0, 0.0, -0.0]))
    assert "beyond float64" in message_of(InputError, read([1.5e308, 1.5e308, 1.0]))


@given(
    n_rows=st.integers(1, 10**12),
    wanted=st.integers(1, 10**9),
    least_rows=st.integers(1, 10**6),
    unit_rows=st.integers(1, 10**6),
)
def test_runs_of_a_sample(n_rows: int, wanted: int, least_rows: int, unit_rows: int) -> None:
    runs = sample_runs(
        n_rows,
        wanted,
        least_rows=least_rows,
        unit_rows=unit_rows,
        floor=lambda row: row - row % unit_rows,
    )
    lengths = [stop - start for start, stop in runs]
    assert len(runs) <= 256
    assert sum(lengths) == min(wanted, n_rows)
    assert min(lengths) >= 1
    assert runs[0][0] == 0
    assert runs[-1][1] <= n_rows
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(runs))
    if wanted >= 16 * least_rows and len(runs) > 1:
        assert min(lengths) >= least_rows
    # No part of the source as long as three of the equal parts is without a row.
    if len(runs) > 1:
        assert max(start for start, _ in runs) >= n_rows - 3 * -(-n_rows // len(runs))


def test_a_sample(files: list[str], points: NDArray[np.float64]) -> None:
    for name in files:
        with open_source(name) as source:
            for n_rows in (1, 2, 100, 999, 1000, 10**9):
                index, rows = source.sample(n_rows)
                assert index.dtype == np.int64
                assert len(index) == min(n_rows, 1000)
                assert bool(np.all(np.diff(index) > 0))
                assert rows.dtype == points.dtype
                assert rows.tobytes() == points[index].tobytes()
                again = source.sample(n_rows)
                assert np.array_equal(again[0], index)
            assert source.digests == {}
    with pytest.raises(ValueError, match="at least one row"):
        ArraySource(points).sample(0)


def test_a_small_sample_of_a_large_file_is_from_everywhere() -> None:
    """A sorted file: one run would know one value."""
    start = np.lib.format.magic(1, 0)
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000000, 1), }\n"
    with Path("x.npy").open("wb") as file:
        file.write(start + len(text).to_bytes(2, "little") + text)
        file.truncate(file.tell() + 10**8)
    with open_source("x.npy") as source:
        index, _ = source.sample(320)
        assert len(np.unique(index // 6_250_000)) >= 15
        assert int(index[-1]) == 10**8 - 1


def test_chunks_of_a_sample_are_whole() -> None:
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", data=np.arange(200_000), chunks=(1000,))
    with open_source("x.h5") as source:
        index, rows = source.sample(30_000)
        starts = index[np.flatnonzero(np.diff(index, prepend=-2) > 1)]
        assert np.all(starts % 1000 == 0)
        assert np.array_equal(rows[:, 0], index)


def test_paths_and_places(points: NDArray[np.float64], files: list[str]) -> None:
    with open_source("c.npy", weights="mass.npy") as source:
        assert source.paths == (Path("c.npy"), Path("mass.npy"))
        assert source.weights_name == "mass.npy"
        assert source.place_of(7) == "c.npy"
        assert not source.sequential_only
    bare: Any = ArraySource(points)
    assert (bare.paths, bare.weights_name) == ((), None)
