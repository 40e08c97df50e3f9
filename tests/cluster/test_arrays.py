"""Arrays that lie on a cluster."""

from collections.abc import Iterator

import numpy as np
import pytest
from dask import array
from dask.delayed import delayed
from distributed import Client, LocalCluster

import momentc
import momentc.dask
from momentc.errors import InputError, UsageError

N_ROWS = 20_000


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


@pytest.fixture
def points() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(3).normal(size=(N_ROWS, 3)).astype(np.float32)


def test_moments_rows_and_weights(
    client: Client, points: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> None:
    weights = np.random.default_rng(4).uniform(0.0, 2.0, N_ROWS)
    weights[3000:7000] = 0.0
    there = array.from_array(points, chunks=((3000, 4000, 5000, 0, 8000), (2, 1)))
    kept = momentc.dask.compress(there, k=3, target=100, weights=weights, effort="low")
    assert len(kept) == 100
    assert kept.points.dtype == np.float32
    assert np.array_equal(points[kept.index], kept.points)
    assert momentc.verify_moments(points, kept, k=3, weights=weights).ok
    heavy = array.from_array(weights, chunks=3333)
    again = momentc.dask.compress(there, k=3, target=100, weights=heavy, effort="low")
    assert np.array_equal(again.weights, kept.weights)
    assert np.array_equal(again.index, kept.index)


def test_masked_entries(client: Client) -> None:
    """An array knows of them only if its maker said so; its chunks always do."""
    values = np.ma.masked_greater(np.arange(5000.0), 4000.0)
    plain = array.from_array(np.arange(5000.0), chunks=1000)
    said = array.ma.masked_array(plain, plain > 4000.0)
    unsaid = array.from_delayed(delayed(values), shape=(5000,), dtype=float)
    for points, weights in ((said, None), (unsaid, None), (plain, said), (plain, values)):
        with pytest.raises(InputError, match="masked entries, and they would count"):
            momentc.dask.compress(points, k=2, target=20, weights=weights)
    nothing = array.ma.masked_array(plain, plain < 0.0)
    assert len(momentc.dask.compress(nothing, k=2, target=20, effort="low")) == 20


def test_few_rows_that_count(
    client: Client,
    points: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None of them in the chunks that are looked at first, and then none at all."""
    monkeypatch.setattr("momentc.dask.SAMPLE_CHUNKS", 4)
    there = array.from_array(points, chunks=(2000, 3))
    weights = np.zeros(N_ROWS)
    weights[2000:2100:3] = 1.0
    kept = momentc.dask.compress(there, k=2, target=20, weights=weights, effort="low")
    assert set(kept.index.tolist()) <= set(range(2000, 2100, 3))
    assert momentc.verify_moments(points, kept, k=2, weights=weights).ok
    with pytest.raises(InputError, match="none of the rows of the array counts"):
        momentc.dask.compress(there, k=2, target=20, weights=np.zeros(N_ROWS))


def test_one_column_and_few_rows(client: Client) -> None:
    values = np.arange(5000.0)
    kept = momentc.dask.compress(array.from_array(values, chunks=1000), k=3, target=50)
    assert kept.points.shape == (50, 1)
    assert momentc.verify_moments(values, kept, k=3).ok
    few = momentc.dask.compress(array.from_array(values[:20], chunks=7), k=3, target=50)
    assert np.array_equal(few.points[:, 0], values[:20])


def test_a_bad_value_is_named(
    client: Client, points: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> None:
    points[12_345, 2] = np.inf
    there = array.from_array(points, chunks=(10_000, 3))
    with pytest.raises(InputError, match=r"row 12345, column 2 of the Dask array is inf"):
        momentc.dask.compress(there, k=3, target=100)
    weights = np.ones(N_ROWS)
    weights[17_000] = -1.0
    with pytest.raises(InputError, match=r"row 17000 is -1.0, which is negative"):
        momentc.dask.compress(
            array.from_array(np.zeros((N_ROWS, 1)) + 1.0, chunks=10_000), 3, 100, weights
        )


def test_what_is_no_such_array(client: Client) -> None:
    with pytest.raises(UsageError, match=r"momentc\.compress takes arrays in memory"):
        momentc.dask.compress(np.zeros((5, 2)))  # type: ignore[arg-type]
    values = array.from_array(np.arange(100.0), chunks=10)
    with pytest.raises(UsageError, match="compute_chunk_sizes"):
        momentc.dask.compress(values[values > 5.0])
    with pytest.raises(InputError, match=r"have shape \(3,\), expected \(100,\)"):
        momentc.dask.compress(values, weights=np.ones(3))
    with pytest.raises(InputError, match="complex128"):
        momentc.dask.compress(values * 1j)
    with pytest.raises(UsageError, match="random_state must be at least 0"):
        momentc.dask.compress(values, random_state=-1)


def test_without_a_client() -> None:
    with pytest.raises(UsageError, match="there is no Dask client"):
        momentc.dask.compress(array.from_array(np.arange(100.0), chunks=10))
