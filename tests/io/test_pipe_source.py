"""A pipe larger than the memory for it: every row passes once, and equals that of the file."""

import contextlib
import io
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError
from momentc.io.base import ArraySource
from momentc.io.convert import float64_blocks, load_points
from momentc.io.pipe_source import PipeSource
from momentc.io.source import open_source

from .open_files import open_files


class Pipe(io.BytesIO):
    """Bytes that come in pieces of at most 1000 and cannot be gone back in."""

    def read(self, n_bytes: int | None = -1) -> bytes:
        return super().read(n_bytes if n_bytes is None or n_bytes < 0 else min(n_bytes, 1000))

    def seek(self, *_: int) -> int:
        raise OSError(29, "Illegal seek")


def content_of(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def pipe_of(array: NDArray[Any], extra: bytes = b"", cut: int | None = None) -> PipeSource:
    source = open_source("-", stdin=Pipe(content_of(array)[:cut] + extra), hold_at_most=0)
    assert isinstance(source, PipeSource)
    return source


@given(
    n_rows=st.integers(1, 500),
    block=st.integers(1, 600),
    dtype=st.sampled_from(["<f8", ">f4", "u1"]),
    samples=st.lists(st.integers(1, 600), max_size=3),
    start=st.integers(0, 500),
    flat=st.booleans(),
)
def test_it_equals_the_file(
    n_rows: int, block: int, dtype: str, samples: list[int], start: int, flat: bool
) -> None:
    array = (np.arange(n_rows * 3) % 251).astype(dtype).reshape(n_rows, 3)
    array = array[:, 0] if flat else array
    plain = ArraySource(array)
    start = min(start, n_rows)
    with pipe_of(array) as source:
        assert (source.sequential_only, source.path, source.paths) == (True, None, ())
        assert (source.shape, source.dtype, source.n_rows) == (array.shape, array.dtype, n_rows)
        for n in samples:
            index, rows = source.sample(n)
            assert np.array_equal(index, np.arange(min(n, n_rows)))
            assert rows.tobytes() == array[: len(index)].tobytes()
            rows[:] = 0  # the receiver's own
        passed = list(source.blocks(block, start))
        for one, other in zip(passed, plain.blocks(block, start), strict=True):
            assert one[0] == other[0]
            assert one[1].dtype == other[1].dtype
            assert one[1].tobytes() == other[1].tobytes()
        # Also of rows that were only passed over: nobody can read them again.
        expected = plain.fingerprint()
        assert source.digests == plain.digests
        assert source.fingerprint() == expected


@given(cuts=st.lists(st.integers(0, 300), max_size=6), known=st.sets(st.integers(0, 4)))
def test_stretches_one_after_the_other(cuts: list[int], known: set[int]) -> None:
    """As a run that is taken up again reads them, with the digests of the earlier one at hand."""
    array = np.arange(600.0).reshape(300, 2)
    weights = np.arange(300.0) + 1
    plain = ArraySource(array, weights)
    expected = plain.fingerprint()
    with pipe_of(array) as source:
        source.attach_weights(ArraySource(weights))
        for number, (start, stop) in enumerate(itertools.pairwise([*sorted(cuts), 300])):
            for first, rows in source.blocks(17, start, stop):
                assert np.array_equal(rows, array[first : first + len(rows)])
            if number == 1:
                source.digests.update({leaf: plain.digests[leaf] for leaf in known})
        if not cuts:
            list(source.blocks(17))
        for _ in source.blocks(1, 300):
            pass
        assert source.digests == plain.digests
        assert source.fingerprint() == expected


def test_its_points_and_weights(points: NDArray[np.float64]) -> None:
    mass = np.arange(1000.0) % 3
    np.save("mass.npy", mass)
    expected = load_points(ArraySource(points, mass))
    with open_source(
        "-", weights="mass.npy", stdin=Pipe(content_of(points)), hold_at_most=23_999
    ) as source:
        assert source.sequential_only
        blocks = list(float64_blocks(source, rows_per_block=77))
        assert np.array_equal(np.concatenate([b.points for b in blocks]), expected.points)
        assert np.array_equal(np.concatenate([b.weights for b in blocks]), expected.weights)
        assert source.fingerprint() == ArraySource(points, mass).fingerprint()


def test_what_fits_or_is_not_by_rows_is_read_whole(points: NDArray[np.float64]) -> None:
    archive = io.BytesIO()
    np.savez(archive, x=points)
    for content, hold_at_most in (
        (content_of(points), 24_000),
        (content_of(points), None),
        (content_of(np.asfortranarray(points)), 0),
        (archive.getvalue(), 0),
    ):
        with open_source("-", stdin=Pipe(content), hold_at_most=hold_at_most) as source:
            assert not source.sequential_only
            for _ in range(2):
                assert np.array_equal(np.concatenate([r for _, r in source.blocks(77)]), points)
    column = np.asfortranarray(points[:, :1])
    with pipe_of(column) as source:
        assert np.array_equal(next(source.blocks(1000))[1], column)


def test_nothing_twice(points: NDArray[np.float64], message_of: Callable[..., str]) -> None:
    once = "<stdin> is a pipe larger than the memory for it, whose rows can be read only once"
    with pipe_of(points) as source:
        assert once in message_of(InputError, lambda: source.take(np.array([1])))
        assert once in message_of(InputError, source.fingerprint)
        source.sample(10)
        blocks = source.blocks(100)
        next(blocks)
        assert "first rows have gone by" in message_of(InputError, lambda: source.sample(10))
        assert "fingerprint" in message_of(InputError, source.fingerprint)
        assert len(list(blocks)) == 9
        message = message_of(InputError, lambda: next(source.blocks(100)))
        assert once in message
        assert "row 0 has gone by" in message
        with pytest.raises(ValueError, match="at least one row"):
            source.sample(0)


@pytest.mark.parametrize("sampled", [0, 1, 1000])
def test_too_few_bytes(
    points: NDArray[np.float64], sampled: int, message_of: Callable[..., str]
) -> None:
    with pipe_of(points, cut=-1) as source:

        def read() -> None:
            if sampled:
                source.sample(sampled)
            for _ in source.blocks(7):
                pass

        assert message_of(InputError, read) == (
            "<stdin> is truncated: shape (1000, 3) of float64 needs 24000 bytes, there are 23999. "
            "Copy it again from its origin"
        )


def test_trailing_bytes_are_a_warning(points: NDArray[np.float64]) -> None:
    with pipe_of(points, b"x" * 5000) as source:
        assert not source.warnings
        loaded = load_points(source)
        assert source.warnings == ("<stdin>: 5000 bytes after the array were ignored",)
        assert np.array_equal(loaded.points, points)
    with pipe_of(points) as source:
        load_points(source)
        assert not source.warnings


def test_a_header_that_is_none(points: NDArray[np.float64], message_of: Callable[..., str]) -> None:
    content = content_of(points)
    for cut, message in (
        (0, "gave 0 bytes"),
        (3, "is not a .npy file"),
        (9, "ends inside the .npy header"),
        (100, "ends inside the .npy header"),
    ):
        stream = Pipe(content[:cut])
        found = message_of(InputError, lambda s=stream: open_source("-", stdin=s, hold_at_most=0))
        assert message in found
    stream = Pipe(content_of(np.ones((2, 2, 2))))
    found = message_of(InputError, lambda: open_source("-", stdin=stream, hold_at_most=0))
    assert "has 3 dimensions" in found
    stream = Pipe(content)
    found = message_of(
        InputError, lambda: open_source("-", dataset="x", stdin=stream, hold_at_most=0)
    )
    assert "no dataset x" in found


def test_a_terminal_is_not_waited_for(message_of: Callable[..., str]) -> None:
    leader, follower = os.openpty()
    with io.FileIO(leader), io.FileIO(follower) as terminal:
        message = message_of(
            UsageError,
            lambda: open_source("-", stdin=terminal, hold_at_most=0),
        )
    assert "<stdin> is a terminal" in message


def test_a_read_error(points: NDArray[np.float64], message_of: Callable[..., str]) -> None:
    class Broken(Pipe):
        def read(self, n_bytes: int | None = -1) -> bytes:
            if self.tell() > 5000:
                raise OSError(5, "Input/output error")
            return super().read(n_bytes)

    with open_source("-", stdin=Broken(content_of(points)), hold_at_most=0) as source:
        message = message_of(InputError, lambda: list(source.blocks(10)))
    assert message == "<stdin>: reading failed: Input/output error"


@pytest.mark.parametrize("dataset", [None, "x"])
def test_a_fifo_is_closed_with_its_source(
    points: NDArray[np.float64], dataset: str | None, message_of: Callable[..., str]
) -> None:
    os.mkfifo("pipe")

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            Path("pipe").write_bytes(content_of(points))

    writer = threading.Thread(target=write)
    writer.start()
    if dataset is None:
        with open_source("pipe", hold_at_most=0) as source:
            assert "pipe" in open_files()
            assert source.name == "pipe"
            assert np.array_equal(np.concatenate([r for _, r in source.blocks(77)]), points)
    else:
        message_of(InputError, lambda: open_source("pipe", dataset=dataset, hold_at_most=0))
    writer.join()
    assert open_files() == []


def test_memory_does_not_grow_with_the_pipe() -> None:
    """256 MiB that are never anywhere at once."""

    class Zeros(io.RawIOBase):
        left = 1 << 28

        def readable(self) -> bool:
            return True

        def read(self, n_bytes: int = -1) -> bytes:
            piece = bytes(min(self.left, n_bytes))
            self.left -= len(piece)
            return piece

    class Both(Pipe):
        zeros = Zeros()

        def read(self, n_bytes: int | None = -1) -> bytes:
            return super().read(n_bytes) or self.zeros.read(n_bytes or 0)

    import tracemalloc

    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (16777216, 2), }\n"
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    tracemalloc.start()
    try:
        with open_source("-", stdin=Both(head), hold_at_most=1 << 20) as source:
            source.sample(10_000)
            n_rows = sum(len(rows) for _, rows in source.blocks(65536))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n_rows == 1 << 24
    assert peak < 1 << 24
