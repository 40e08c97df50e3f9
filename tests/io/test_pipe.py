"""The standard input, and files that can be read only once."""

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError
from momentc.io.source import open_source


class Pipe(io.BytesIO):
    """Bytes that come in small pieces and cannot be gone back in."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise OSError(29, "Illegal seek")


def content_of(kind: str, points: NDArray[np.float64]) -> bytes:
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, points)
    elif kind == "fortran":
        np.save(buffer, np.asfortranarray(points))
    else:
        (np.savez_compressed if kind == "compressed" else np.savez)(buffer, x=points)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["npy", "fortran", "npz", "compressed"])
def test_every_format(kind: str, points: NDArray[np.float64]) -> None:
    with open_source("-", stdin=Pipe(content_of(kind, points))) as source:
        assert source.name.startswith("<stdin>")
        assert source.path is None
        for _ in range(2):
            assert np.array_equal(np.concatenate([rows for _, rows in source.blocks(77)]), points)
        assert np.array_equal(source.take(np.array([3, 700])), points[[3, 700]])


def test_one_of_several_members(points: NDArray[np.float64]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=points, mass=np.ones(1000), y=points)
    with open_source("-", dataset="y", weights="mass", stdin=Pipe(buffer.getvalue())) as source:
        assert source.name == "<stdin>:y"
        assert source.weights is not None


def test_the_process_s_own_standard_input(
    monkeypatch: pytest.MonkeyPatch, points: NDArray[np.float64]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Pipe(content_of("npy", points))))
    with open_source("-") as source:
        assert source.n_rows == 1000


def test_nothing_comes(message_of: Callable[..., str]) -> None:
    message = message_of(InputError, lambda: open_source("-", stdin=Pipe(b"")))
    assert "<stdin> gave 0 bytes" in message


def test_something_else_comes(message_of: Callable[..., str]) -> None:
    message = message_of(InputError, lambda: open_source("-", stdin=Pipe(b"1 2 3\n")))
    assert "<stdin> is not a .npy file" in message


def test_half_of_it_comes(points: NDArray[np.float64], message_of: Callable[..., str]) -> None:
    content = content_of("npy", points)[:10_000]
    message = message_of(InputError, lambda: open_source("-", stdin=Pipe(content)))
    assert "<stdin> is truncated" in message


def test_trailing_bytes_are_a_warning(points: NDArray[np.float64]) -> None:
    with open_source("-", stdin=Pipe(content_of("npy", points) + b"xyz")) as source:
        assert source.warnings == ("<stdin>: 3 bytes after the array were ignored",)


def test_a_terminal_is_not_waited_for(message_of: Callable[..., str]) -> None:
    leader, follower = os.openpty()
    with io.FileIO(leader), io.FileIO(follower) as terminal:
        message = message_of(UsageError, lambda: open_source("-", stdin=terminal))
    assert "<stdin> is a terminal" in message


def test_a_read_error(message_of: Callable[..., str]) -> None:
    class Broken(Pipe):
        def read(self, *_: int | None) -> bytes:
            raise OSError(5, "Input/output error")

    message = message_of(InputError, lambda: open_source("-", stdin=Broken()))
    assert message == "<stdin>: reading failed: Input/output error"


def test_points_and_weights_cannot_share_it(message_of: Callable[..., str]) -> None:
    assert "both" in message_of(UsageError, lambda: open_source("-", weights="-", stdin=Pipe()))


def test_a_fifo_is_read_whole(points: NDArray[np.float64]) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(content_of("npy", points),))
    writer.start()
    with open_source("pipe") as source:
        writer.join()
        assert source.name == "pipe"
        assert np.array_equal(source.take(np.arange(1000)), points)


def test_an_empty_device(message_of: Callable[..., str]) -> None:
    assert "/dev/null gave 0 bytes" in message_of(InputError, lambda: open_source("/dev/null"))


def test_a_file_that_may_not_be_opened(
    monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    np.save("x.npy", np.ones((2, 2)))
    monkeypatch.setattr(Path, "open", refuse)
    message = message_of(InputError, lambda: open_source("x.npy"))
    assert message == "x.npy cannot be opened: Permission denied. Check its permissions"
