"""Rows of .npz members, stored and compressed, and archives that are none."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.base import ArraySource
from momentc.io.npz import NpzSource
from momentc.io.source import open_source, open_sources


def save(path: str, *, compressed: bool = False, **arrays: Any) -> None:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["?", "<i8", ">u2", "<f2", ">f4", "<f8", "longdouble"])
def test_every_kind_of_member(compressed: bool, order: Any, dtype: str) -> None:
    array = np.asarray(np.arange(600).reshape(200, 3) % 100, dtype=dtype, order=order)
    save("x.npz", compressed=compressed, x=array)
    plain = np.ascontiguousarray(array)
    with open_source("x.npz") as source:
        assert isinstance(source, NpzSource)
        assert (source.name, source.dataset, source.shape) == ("x.npz:x", "x", (200, 3))
        assert source.dtype == array.dtype
        for _ in range(2):  # a second pass starts the stream again
            blocks = [rows.tobytes() for _, rows in source.blocks(7)]
            assert b"".join(blocks) == plain.tobytes()
        for chosen in ([3, 60, 199], [0, 1], [150], [20], [199]):
            assert source.take(np.array(chosen)).tobytes() == plain[chosen].tobytes()
        assert source.fingerprint() == ArraySource(plain).fingerprint()


def test_a_member_by_name(message_of: Callable[..., str]) -> None:
    save("x.npz", a=np.zeros((2, 2)), b=np.ones((3, 2)))
    for location, dataset in (("x.npz:b", None), ("x.npz:b.npy", None), ("x.npz", "b")):
        with open_source(location, dataset=dataset) as source:
            assert (source.name, source.n_rows) == ("x.npz:b", 3)
    message = message_of(InputError, lambda: open_source("x.npz:c"))
    assert message == "x.npz has no member c; it holds: a, b"


def test_rows_beside_an_array_of_more_dimensions(message_of: Callable[..., str]) -> None:
    """As in emcee's files, where the chain is meant and the log-probabilities look like rows."""
    save("x.npz", chain=np.zeros((50, 8, 3)), log_prob=np.ones((50, 8)), accepted=np.ones(8))
    message = message_of(InputError, lambda: open_source("x.npz"))
    assert "x.npz holds one array of rows, and one of more dimensions beside it" in message
    assert "chain  (50, 8, 3)" in message
    with open_source("x.npz:log_prob") as source:
        assert source.n_rows == 50
    save("y.npz", x=np.zeros((500, 8)), cube=np.ones((2, 2, 2)))
    with open_source("y.npz") as source:
        assert source.name == "y.npz:x"


def test_several_candidates_are_listed(message_of: Callable[..., str]) -> None:
    save("x.npz", a=np.zeros((2, 2)), b=np.ones((3, 2), "f4"), label=np.array(["x", "y"]))
    message = message_of(InputError, lambda: open_source("x.npz"))
    assert "x.npz holds 2 arrays that could be meant" in message
    assert "--dataset" in message
    assert "a  (2, 2)  float64" in message
    assert "b  (3, 2)  float32" in message
    assert "label" not in message
    assert "more dimensions" not in message
    save("x.npz", chain=np.zeros((5, 4, 3)), log_prob=np.zeros((5, 4)), other=np.ones((2, 2)))
    message = message_of(InputError, lambda: open_source("x.npz"))
    assert "x.npz holds 2 arrays that could be meant" in message
    assert "Arrays of more dimensions have to become rows before" in message
    assert "chain  (5, 4, 3)" in message
    save("x.npz", chain=np.zeros((5, 4, 3)))
    message = message_of(InputError, lambda: open_source("x.npz"))
    assert "x.reshape(-1, x.shape[-1])" in message


def test_the_only_matrix_beside_vectors() -> None:
    save("x.npz", x=np.zeros((2, 2)), time=np.ones(5), extra=np.ones(6), empty=np.ones((0, 3)))
    with open_source("x.npz") as source:
        assert source.dataset == "x"


def test_the_only_vector() -> None:
    save("x.npz", time=np.ones(5), cube=np.ones((2, 2, 2)))
    with open_source("x.npz") as source:
        assert (source.dataset, source.n_columns) == ("time", 1)


def test_nothing_fits(message_of: Callable[..., str]) -> None:
    save("x.npz", cube=np.ones((2, 2, 2)), z=np.ones((2, 2), complex))
    message = message_of(InputError, lambda: open_source("x.npz"))
    assert "no array of real numbers with one or two dimensions" in message
    assert "cube  (2, 2, 2)  float64" in message
    assert "complex" in message
    with zipfile.ZipFile("y.npz", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    assert "holds no array" in message_of(InputError, lambda: open_source("y.npz"))


def test_object_members_are_not_loaded(message_of: Callable[..., str]) -> None:
    np.savez("x.npz", x=np.array([{}, {}], dtype=object))
    assert "never loaded" in message_of(InputError, lambda: open_source("x.npz"))
    assert "never loaded" in message_of(InputError, lambda: open_source("x.npz:x"))


def test_every_truncation_is_noticed(message_of: Callable[..., str]) -> None:
    save("whole.npz", compressed=True, x=np.random.default_rng(0).normal(size=(50, 2)))
    content = Path("whole.npz").read_bytes()
    for size in [*range(0, len(content), 64), len(content) - 1]:
        Path("x.npz").write_bytes(content[:size])
        assert message_of(InputError, lambda: open_source("x.npz")).startswith("x.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_every_flipped_byte_is_noticed_or_harmless(compressed: bool) -> None:
    array = np.random.default_rng(0).normal(size=(5, 2))
    save("whole.npz", compressed=compressed, x=array)
    content = Path("whole.npz").read_bytes()
    n_noticed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        Path("x.npz").write_bytes(damaged)
        try:
            with open_source("x.npz") as source:
                read = np.concatenate([rows for _, rows in source.blocks(2)])
        except InputError:
            n_noticed += 1
        else:
            assert np.array_equal(read, array), f"byte {place}"
    assert n_noticed > array.nbytes


def test_damage_before_trailing_bytes_is_noticed(message_of: Callable[..., str]) -> None:
    """The checksum of a member stands behind its last byte, not behind the array."""
    buffer = io.BytesIO()
    np.save(buffer, np.full((5, 2), 1.25))
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("x.npy", buffer.getvalue() + bytes(10_000))
    with open_source("x.npz") as source:
        assert source.warnings == ("x.npz:x: 10000 bytes after the array were ignored",)
        assert len(next(source.blocks(9))[1]) == 5
    content = Path("x.npz").read_bytes()
    weak = np.float64(1.25).tobytes()
    Path("x.npz").write_bytes(content.replace(weak, np.float64(1.5).tobytes(), 1))
    with open_source("x.npz") as source:
        assert "CRC" in message_of(InputError, lambda: next(source.blocks(9)))


def test_a_declared_size_that_is_not_there(message_of: Callable[..., str]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 2)}
    )
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("x.npy", buffer.getvalue())
    assert "truncated" in message_of(InputError, lambda: open_source("x.npz"))


def test_encrypted_and_unknown_compression(message_of: Callable[..., str]) -> None:
    save("x.npz", x=np.ones((2, 2)))
    content = bytearray(Path("x.npz").read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1  # the flag of an encrypted member
    content[content.index(b"PK\x03\x04") + 6] |= 1
    Path("encrypted.npz").write_bytes(content)
    assert "encrypted" in message_of(InputError, lambda: open_source("encrypted.npz:x"))
    content = bytearray(Path("x.npz").read_bytes())
    content[central + 10] = 99
    Path("unknown.npz").write_bytes(content)
    assert "compression" in message_of(InputError, lambda: open_source("unknown.npz:x"))


def test_weights_in_the_same_file(
    points: NDArray[np.float64], message_of: Callable[..., str]
) -> None:
    mass = np.arange(1.0, 1001.0)
    save("x.npz", x=points, mass=mass, short=mass[:7], table=np.ones((1000, 2)))
    with open_source("x.npz:x", weights="mass") as source:
        assert source.has_weights
        assert source.weights is not None
        assert np.array_equal(source.weights, mass)
    message = message_of(InputError, lambda: open_source("x.npz:x", weights="short"))
    assert "weights x.npz:short have 7 values, but x.npz:x has 1000 rows" in message
    message = message_of(InputError, lambda: open_source("x.npz:x", weights="table"))
    assert "have shape (1000, 2), expected (1000,)" in message
    message = message_of(InputError, lambda: open_source("x.npz:x", weights="gone"))
    assert message == (
        "weights gone: there is no such file, and x.npz has no member gone; it holds: mass, short, "
        "table, x"
    )


def test_the_weights_of_a_file_of_several_arrays(
    points: NDArray[np.float64], message_of: Callable[..., str]
) -> None:
    """The one that is named like weights, or the only one; never just any column of numbers."""
    np.save("x.npy", points)
    mass = np.arange(1.0, 1001.0)
    save("one.npz", mass=mass)
    save("named.npz", samples=points, logp=mass + 1.0, logwt=mass, weights=mass[:, None])
    chosen = "of the arrays in named.npz, named.npz:weights are the weights"
    for name, notes in (("one.npz", ()), ("named.npz", (chosen,)), ("named.npz:weights", ())):
        with open_source("x.npy", weights=name) as source:
            assert source.weights is not None
            assert np.array_equal(source.weights, mass)
            assert source.warnings == notes
    save("two.npz", samples=points, a=mass, b=mass)
    message = message_of(InputError, lambda: open_source("x.npy", weights="two.npz"))
    assert "weights two.npz: it holds 2 arrays with a number for each of the 1000 rows" in message
    assert "--weights two.npz:a" in message
    save("labels.npz", samples=points, labels=mass)
    save("logs.npz", logwt=mass, loglike=mass)
    for name in ("labels.npz", "logs.npz"):
        message = message_of(InputError, lambda name=name: open_source("x.npy", weights=name))
        assert "Name the one that is meant" in message
    save("none.npz", samples=points, short=mass[:7])
    message = message_of(InputError, lambda: open_source("x.npy", weights="none.npz"))
    assert "weights none.npz: it holds no array with a number for each of the 1000" in message
    assert "short  (7,)" in message
    save("damaged.npz", labels=mass, weights=np.array([{}] * 1000, dtype=object))
    message = message_of(InputError, lambda: open_source("x.npy", weights="damaged.npz"))
    assert "Name the one that is meant" in message
    assert "damaged.npz:weights" in message, "why the other was not looked at"


def test_which_array_of_a_group_was_chosen(points: NDArray[np.float64]) -> None:
    np.save("x.npy", points)
    mass = np.arange(1.0, 1001.0)
    with h5py.File("w.h5", "w") as file:
        file["a/weights"], file["b/labels"], file["alone/w"] = mass, mass, mass
        file["two/w"], file["two/labels"] = mass, mass
    for place, chosen in (
        ("w.h5:/two", "/two/w"), ("w.h5:/alone", None), ("w.h5:/a/weights", None),
    ):  # fmt: skip
        with open_source("x.npy", weights=place) as source:
            told = (f"of the arrays in {place}, w.h5:{chosen} are the weights",)
            assert source.warnings == (told if chosen else ())
    with h5py.File("w.h5", "a") as file:
        del file["two"], file["alone"]
    with open_source("x.npy", weights="w.h5") as source:
        assert source.warnings == ("of the arrays in w.h5, w.h5:/a/weights are the weights",)


def test_what_is_to_be_said_of_the_weights(points: NDArray[np.float64]) -> None:
    for name in "ab":
        np.save(f"{name}.npy", points)
    np.save("w.npy", np.ones(2000))
    with Path("w.npy").open("ab") as file:
        file.write(b"more")
    with open_sources(["a.npy", "b.npy"], weights="w.npy") as source:
        assert source.warnings == ("w.npy: 4 bytes after the array were ignored",)


def test_weights_in_another_file(points: NDArray[np.float64]) -> None:
    mass = np.arange(1, 1001, dtype=">i4").reshape(-1, 1)
    np.save("x.npy", points)
    np.save("mass.npy", mass)
    save("x.npz", x=points)
    save("mass.npz", m=mass, n=mass)
    for location, weights in (
        ("x.npy", "mass.npy"),
        ("x.npy", "mass.npz:m"),
        ("x.npz", "mass.npy"),
        ("x.npz", "mass.npz:n"),
    ):
        with open_source(location, weights=weights) as source:
            assert source.weights is not None
            assert source.weights.dtype == np.float64
            assert np.array_equal(source.weights, mass[:, 0])
    with open_source(
        "x.npy", weights="-", stdin=io.BytesIO(Path("mass.npy").read_bytes())
    ) as source:
        assert source.weights is not None


def test_a_file_that_is_written_to(message_of: Callable[..., str]) -> None:
    save("x.npz", x=np.ones((1000, 4)))
    with open_source("x.npz") as source:
        blocks = source.blocks(10)
        next(blocks)
        with Path("x.npz").open("ab") as file:
            file.write(b"more")
        assert "changed while it was read" in message_of(InputError, lambda: next(blocks))


def test_two_archives_in_one_file_are_not_one(
    tmp_path: Path, message_of: Callable[..., str]
) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((5, 2)))
    twice = (tmp_path / "a.npz").read_bytes() * 2
    (tmp_path / "two.npz").write_bytes(twice)
    message = message_of(InputError, lambda: open_source(str(tmp_path / "two.npz")))
    assert "something stands before the archive" in message


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_of_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for value in (1.0, 2.0):
            content = io.BytesIO()
            np.save(content, np.full((5, 2), value))
            archive.writestr("x.npy", content.getvalue())
    with open_source(str(tmp_path / "x.npz")) as source:
        assert float(source.take(np.array([0]))[0, 0]) == 2.0
