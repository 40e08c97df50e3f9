"""The fingerprint's tree: leaves do not depend on how, or by whom, the rows are read."""

import hashlib
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.io.base import ArraySource, SourceBase
from momentc.io.fingerprint import LeafHasher, leaf_rows, missing_stretches
from momentc.io.source import open_source


def as_documented(array: NDArray[Any], weights: NDArray[Any] | None) -> str:
    """docs/file-format.md, word for word."""
    size = max(64, -(-len(array) // 16384))
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(array), size):
        leaf = hashlib.blake2b(array[start : start + size].tobytes(), digest_size=16)
        if weights is not None:
            leaf.update(weights[start : start + size].astype(float).tobytes())
        digest.update(leaf.digest())
    digest.update(f"|{array.dtype.str}|{array.shape}".encode())
    digest.update(b"" if weights is None else b"|weights")
    return "blake2b-128:" + digest.hexdigest()


def array_of(n_rows: int, dtype: str = "<f4") -> NDArray[Any]:
    return np.random.default_rng(n_rows).integers(0, 100, size=(n_rows, 3)).astype(dtype)


def source_of(n_rows: int, *, weighted: bool) -> ArraySource:
    return ArraySource(array_of(n_rows), np.arange(1.0, n_rows + 1) if weighted else None)


@pytest.mark.parametrize("n_rows", [1, 63, 64, 65, 128, 1000])
@pytest.mark.parametrize("weights_dtype", [None, ">f4", "i8"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "?", "i8"])
def test_it_is_what_the_document_says(n_rows: int, weights_dtype: str | None, dtype: str) -> None:
    array = array_of(n_rows, dtype)
    weights = None if weights_dtype is None else np.arange(1, n_rows + 1).astype(weights_dtype)
    assert ArraySource(array, weights).fingerprint() == as_documented(array, weights)
    flat = np.ascontiguousarray(array[:, 0])
    assert ArraySource(flat, weights).fingerprint() == as_documented(flat, weights)


def test_leaves_of_more_than_64_rows() -> None:
    n_rows = 64 * 16384 + 5
    assert leaf_rows(n_rows) == 65
    array = np.arange(n_rows).astype("u1")
    assert ArraySource(array).fingerprint() == as_documented(array, None)


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(1, 64), (64 * 16384, 64), (64 * 16384 + 1, 65), (10**12, 61035157)]
)
def test_rows_of_a_leaf(n_rows: int, expected: int) -> None:
    assert leaf_rows(n_rows) == expected
    assert -(-n_rows // expected) <= 16384


@given(
    n_rows=st.integers(1, 400),
    block=st.integers(1, 500),
    weighted=st.booleans(),
    cuts=st.lists(st.integers(0, 400), max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_any_blocks_and_any_stretches_give_the_same_leaves(
    n_rows: int, block: int, weighted: bool, cuts: list[int], order: Any
) -> None:
    whole = source_of(n_rows, weighted=weighted)
    whole.fingerprint()
    size = leaf_rows(n_rows)
    borders = sorted({0, n_rows, *(min(cut, n_rows) for cut in cuts)})
    stretches = list(itertools.pairwise(borders))
    order.shuffle(stretches)
    source = source_of(n_rows, weighted=weighted)
    for start, stop in stretches:
        for _, rows in source.blocks(block, start, stop):
            rows[:] = 0  # a block belongs to its receiver
    inside = {
        leaf
        for leaf in whole.digests
        for start, stop in stretches
        if start <= leaf * size and min((leaf + 1) * size, n_rows) <= stop
    }
    assert source.digests == {leaf: whole.digests[leaf] for leaf in inside}
    assert source.fingerprint() == whole.fingerprint()
    assert source.digests == whole.digests


@given(n_rows=st.integers(1, 400), known=st.sets(st.integers(0, 7)))
def test_only_leaves_that_are_missing_are_read(n_rows: int, known: set[int]) -> None:
    class Counting(ArraySource):
        read: list[int]

        def _read(self, start: int, stop: int) -> NDArray[Any]:
            self.read += range(start, stop)
            return super()._read(start, stop)

    whole = source_of(n_rows, weighted=False)
    expected = whole.fingerprint()
    source = Counting(array_of(n_rows))
    source.read = []
    source.digests.update({leaf: whole.digests[leaf] for leaf in known & whole.digests.keys()})
    assert source.fingerprint() == expected
    assert source.read == [row for row in range(n_rows) if row // 64 not in known]
    source.read = []
    assert source.fingerprint() == expected
    assert source.read == []


def test_missing_stretches_are_put_together() -> None:
    assert list(missing_stretches(300, {})) == [(0, 300)]
    assert list(missing_stretches(300, {1: b"", 4: b""})) == [(0, 64), (128, 256)]
    assert list(missing_stretches(300, dict.fromkeys(range(5), b""))) == []


def test_one_weight_changes_one_leaf() -> None:
    weights = np.ones(300)
    plain = ArraySource(array_of(300), weights)
    weights = weights.copy()
    weights[130] = 2.0
    other = ArraySource(array_of(300), weights)
    assert plain.fingerprint() != other.fingerprint()
    assert [leaf for leaf in range(5) if plain.digests[leaf] != other.digests[leaf]] == [2]


def test_weights_that_are_overwritten_while_a_leaf_is_open() -> None:
    """As where a reader fills the same array with block after block."""
    array, weights = array_of(64), np.arange(1.0, 65.0)
    whole: dict[int, bytes] = {}
    LeafHasher(64, whole).add(0, array, weights)
    digests: dict[int, bytes] = {}
    hasher = LeafHasher(64, digests)
    block = np.empty(16)
    for start in range(0, 64, 16):
        block[:] = weights[start : start + 16]
        hasher.add(start, array[start : start + 16], block)
    assert digests == whole


def test_weights_that_come_later_count() -> None:
    source = ArraySource(array_of(100))
    bare = source.fingerprint()
    source.attach_weights(ArraySource(np.ones(100)))
    assert source.fingerprint() != bare
    assert source.fingerprint() == ArraySource(array_of(100), np.ones(100)).fingerprint()


def every_container(array: NDArray[Any]) -> list[SourceBase]:
    import h5py

    np.save("c.npy", array)
    np.save("f.npy", np.asfortranarray(array))
    np.savez_compressed("x.npz", x=array)
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", data=array, chunks=(23, 1), compression="gzip")
    return [open_source(name) for name in ("c.npy", "f.npy", "x.npz", "x.h5")]


@pytest.mark.parametrize("block", [1, 40, 64, 100, 1000])
def test_leaves_of_every_container(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentc.io.hdf5.BLOCK_BYTES", 1)
    monkeypatch.setattr("momentc.io.npy._FORTRAN_READ_BYTES", 1)
    array = array_of(333)
    plain = ArraySource(array)
    plain.fingerprint()
    for source in every_container(array):
        with source:
            rows = [rows for _, rows in source.blocks(block, 64, 300)]
            assert np.array_equal(np.concatenate(rows), array[64:300])
            assert source.digests == {leaf: plain.digests[leaf] for leaf in (1, 2, 3)}
            assert source.fingerprint() == plain.fingerprint()


def test_digests_that_come_while_a_leaf_is_open() -> None:
    whole = source_of(200, weighted=True)
    whole.fingerprint()
    source = source_of(200, weighted=True)
    for first, _ in source.blocks(10):
        if first == 10:
            source.digests[0] = whole.digests[0]
        if first == 40:
            del source.digests[0]  # the pass has skipped rows of it
    source.fingerprint()
    assert source.digests == whole.digests
