"""Checkpoints: what goes in comes out, any damage is noticed, a killed writer harms nothing."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from momentc.errors import InputError, OutputError, PartsError
from momentc.io.checkpoint import (
    checkpoint_path,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)

from .outputs import here

PATH = Path("run.checkpoint")
HEAD = {"k": 4, "target": 200, "tol": 1e-10, "columns": [0, 1], "name": "größe\udce9.npy"}
STATE = {"next_row": 12345, "counts": {"nan": 0}, "note": None, "rows": (1, 2)}


def arrays() -> dict[str, NDArray[Any]]:
    return {
        "points": np.arange(12.0).reshape(4, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        "strided": np.arange(10)[::3],
        "empty": np.empty((0, 16), np.uint8),
        "one": np.array(2.5, np.float32),
        "flags": np.array([True, False]),
    }


def test_what_goes_in_comes_out() -> None:
    assert read_checkpoint(PATH, HEAD) is None
    write_checkpoint(PATH, HEAD, STATE, arrays())
    assert here() == ["run.checkpoint"]
    found = read_checkpoint(PATH, {**HEAD, "columns": (0, 1)})
    assert found is not None
    state, read = found
    assert state == {**STATE, "rows": [1, 2]}
    assert list(read) == list(arrays())
    for name, array in arrays().items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()
        assert read[name].flags.writeable
    write_checkpoint(PATH, HEAD, {}, {})
    assert read_checkpoint(PATH, HEAD) == ({}, {})
    remove_checkpoint(PATH)
    remove_checkpoint(PATH)
    assert here() == []


@given(
    array=hnp.arrays(
        st.sampled_from(["<f8", ">f4", "?", "u1", "<i8", "longdouble"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
        elements=st.integers(0, 1),
    ),
    transposed=st.booleans(),
)
def test_any_array(array: NDArray[Any], transposed: bool) -> None:
    array = array.T if transposed else array
    write_checkpoint(PATH, {}, {}, {"x": array})
    found = read_checkpoint(PATH, {})
    assert found is not None
    assert found[1]["x"].dtype == array.dtype
    assert found[1]["x"].shape == array.shape
    assert np.array_equal(found[1]["x"], array)


def test_arrays_in_another_order_are_put_in_order_by_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("momentc.io.checkpoint.COPY_BYTES", 100)
    for array in (np.arange(3000.0).reshape(3, 1000).T, np.arange(3000.0).reshape(1000, 3).T):
        write_checkpoint(PATH, {}, {}, {"x": array})
        found = read_checkpoint(PATH, {})
        assert found is not None
        assert np.array_equal(found[1]["x"], array)


def test_every_flipped_byte_and_every_cut_is_noticed(message_of: Callable[..., str]) -> None:
    write_checkpoint(PATH, HEAD, STATE, arrays())
    content = PATH.read_bytes()
    for i in range(len(content)):
        for damaged in (
            content[:i] + bytes([content[i] ^ (1 << i % 8)]) + content[i + 1 :],
            content[:i],
        ):
            PATH.write_bytes(damaged)
            # A damaged header is not believed: with another head, either the damage is named, or
            # what the checkpoint truly is for, where the damage lies behind it.
            message = message_of(PartsError, lambda: read_checkpoint(PATH, {"k": 1}))
            assert "is damaged: " in message or "is for k = 4 and " in message
            message = message_of(PartsError, lambda: read_checkpoint(PATH, HEAD))
            assert message.startswith("the checkpoint run.checkpoint is damaged: ")
            assert "--restart" in message
    PATH.write_bytes(content + b"\0")
    assert "is damaged" in message_of(PartsError, lambda: read_checkpoint(PATH, HEAD))


def test_a_declared_size_is_compared_before_memory_is_taken(message_of: Callable[..., str]) -> None:
    """A header with a good checksum that declares an exabyte, or no array at all."""
    for listed in (
        [["x", "<f8", [2**57]]],
        [["x", "<f8", [-1, 2**57]]],
        [["x", "|O", [1]]],
        [["x", "<f8"]],
        [["x", "<f8", ["a"]]],
        [["x", "nonsense", [1]]],
        5,
    ):
        text = json.dumps({"head": {}, "state": {}, "arrays": listed}).encode()
        start = b"momentc checkpoint 1\n" + len(text).to_bytes(8, "little") + text
        digest = hashlib.blake2b(start, digest_size=16).digest()
        PATH.write_bytes(start + digest + bytes(16) + bytes(8))
        tracemalloc.start()
        try:
            assert "is damaged" in message_of(PartsError, lambda: read_checkpoint(PATH, {}))
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
    PATH.write_bytes(b"momentc checkpoint 1\n" + b"\xff" * 8 + bytes(100))
    assert "ends too early" in message_of(PartsError, lambda: read_checkpoint(PATH, {}))


def test_another_head_is_named_field_by_field(message_of: Callable[..., str]) -> None:
    write_checkpoint(PATH, HEAD, STATE, arrays())
    assert message_of(PartsError, lambda: read_checkpoint(PATH, {**HEAD, "k": 5})) == (
        "the checkpoint run.checkpoint is for k = 4, now k = 5 is asked for; give the same "
        "options, or start anew with --restart"
    )
    other = {**HEAD, "columns": [0], "seed": None}
    del other["tol"]
    message = message_of(PartsError, lambda: read_checkpoint(PATH, other))
    assert "is for columns = [0, 1] and seed = (nothing) and tol = 1e-10, now" in message or (
        "is for columns = [0, 1] and tol = 1e-10 and seed = (nothing), now" in message
    )
    assert "columns = [0]" in message
    assert "seed = null" in message
    assert "tol = (nothing)" in message
    assert "are asked for" in message
    words = {"columns": "another width", "seed": "other luck"}
    said = message_of(PartsError, lambda: read_checkpoint(PATH, {**other, "tol": 1e-10}, words))
    assert "is for another width; give the same options" in said
    said = message_of(PartsError, lambda: read_checkpoint(PATH, {**HEAD, "k": 5, "seed": 1}, words))
    assert "is for k = 4, now k = 5 is asked for" in said
    long = {**HEAD, "name": "x" * 1000}
    assert len(message_of(PartsError, lambda: read_checkpoint(PATH, long))) < 500


def test_no_file_at_all(message_of: Callable[..., str]) -> None:
    PATH.mkdir()
    assert "it is not a file" in message_of(PartsError, lambda: read_checkpoint(PATH, {}))
    assert "run.checkpoint" in message_of(OutputError, lambda: write_checkpoint(PATH, {}, {}, {}))
    PATH.rmdir()
    os.mkfifo(PATH)
    assert "it is not a file" in message_of(PartsError, lambda: read_checkpoint(PATH, {}))
    PATH.unlink()
    PATH.write_bytes(b"")
    assert "is damaged" in message_of(PartsError, lambda: read_checkpoint(PATH, {}))


def test_a_file_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    write_checkpoint(PATH, {}, {}, {})
    monkeypatch.setattr(Path, "open", refuse)
    message = message_of(InputError, lambda: read_checkpoint(PATH, {}))
    assert "run.checkpoint cannot be read: Permission denied" in message


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_disk_that_fails_leaves_the_older_checkpoint(
    fails: str, monkeypatch: pytest.MonkeyPatch, message_of: Callable[..., str]
) -> None:
    write_checkpoint(PATH, HEAD, {"next_row": 1}, arrays())

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if fails == "replace":
            patch.setattr(Path, "replace", fail)
        elif fails == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            write, calls = os.write, []

            def fill(descriptor: int, data: Any) -> int:
                calls.append(1)
                if len(calls) > 4:
                    fail()
                return write(descriptor, data)

            patch.setattr(os, "write", fill)
        message = message_of(
            OutputError, lambda: write_checkpoint(PATH, HEAD, {"next_row": 2}, arrays())
        )
    assert message.startswith("run.checkpoint cannot be written: No space left on device")
    assert here() == ["run.checkpoint"]
    found = read_checkpoint(PATH, HEAD)
    assert found is not None
    assert found[0] == {"next_row": 1}


def test_the_folder_itself_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        flushed.append((is_folder, PATH.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_checkpoint(PATH, HEAD, STATE, arrays())
    assert flushed == [(False, False), (True, True)]


def test_what_json_cannot_hold() -> None:
    for state, values in (
        ({"x": float("nan")}, {}),
        ({}, {"x": np.array([None])}),
        ({}, {"x": np.array([1j])}),
    ):
        with pytest.raises(ValueError, match=r"JSON|real numbers"):
            write_checkpoint(PATH, {}, state, values)
    assert here() == []


def test_a_writer_that_is_killed_leaves_the_older_checkpoint() -> None:
    script = """
import sys, numpy as np
from pathlib import Path
from momentc.io.checkpoint import write_checkpoint
array = np.zeros(1 << 20)
print("go", flush=True)
number = 0
while True:
    number += 1
    array[:] = number
    write_checkpoint(Path("run.checkpoint"), {}, {"number": number}, {"x": array})
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for delay in (0.05, 0.1, 0.2):
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        found = read_checkpoint(PATH, {})
        if found is not None:
            assert np.all(found[1]["x"] == found[0]["number"])
    remove_checkpoint(PATH)
    assert here() == []


def test_no_second_copy_of_the_arrays() -> None:
    array = np.zeros((1 << 21, 2), order="F")
    tracemalloc.start()
    try:
        write_checkpoint(PATH, {}, {}, {"x": array, "y": array.T})
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


def test_a_checkpoint_stands_beside_its_output() -> None:
    Path("folder").mkdir()
    assert checkpoint_path("folder/out.npz").name == ".out.npz.checkpoint"
    assert checkpoint_path("folder/out.npz").parent == Path("folder").resolve()
    Path("link.npz").symlink_to("folder/out.npz")
    assert checkpoint_path(Path("link.npz")) == checkpoint_path("folder/out.npz")
    assert len(os.fsencode(checkpoint_path("x" * 250).name)) < 250
