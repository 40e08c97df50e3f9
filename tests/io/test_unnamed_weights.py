"""Weights that lie beside the rows and were not named: missed, but not in silence."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from momentc.errors import InputError
from momentc.io.choice import named_like_weights
from momentc.io.source import open_source, open_sources

N_ROWS = 40
POINTS = np.arange(2.0 * N_ROWS).reshape(N_ROWS, 2)
WEIGHTS = np.ones(N_ROWS)


def notes(*locations: str, **options: Any) -> tuple[str, ...]:
    with open_sources(locations, **options) as source:
        return source.warnings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weights", True), ("sample_weight", True), ("/chain/LogWeights", True), ("w", True),
        ("c", True), ("logwt", True), ("log_w", True), ("Counts", True), ("multiplicity", True),
        ("x", False), ("label", False), ("/weights/x", False), ("wave", False),
    ],
)  # fmt: skip
def test_names(name: str, expected: bool) -> None:
    assert named_like_weights(name) is expected


def test_a_member() -> None:
    np.savez("a.npz", x=POINTS, weights=WEIGHTS, label=WEIGHTS)
    expected = (
        "a.npz:x: a.npz holds weights as well, a number for each row, which takes no part. "
        "If these are weights of the rows, give --weights weights",
    )
    assert notes("a.npz") == notes("a.npz:x") == expected
    assert notes("a.npz", weights="weights") == ()
    assert notes("a.npz:weights") == ()
    np.save("w.npy", WEIGHTS)
    assert notes("a.npz", weights="w.npy") == ()
    np.savez("column.npz", x=POINTS, weights=WEIGHTS[:, None])
    assert len(notes("column.npz:x")) == 1


@pytest.mark.parametrize(
    "other", [np.ones(N_ROWS - 1), np.ones((N_ROWS, 1, 1)), np.ones(N_ROWS, complex), np.float64(1)]
)
def test_what_is_no_number_for_each_row(other: Any) -> None:
    np.savez("a.npz", x=POINTS, weights=other)
    with h5py.File("a.h5", "w") as file:
        file["x"], file["weights"] = POINTS, other
    assert notes("a.npz:x") == notes("a.h5:x") == ()


def test_a_dataset_of_the_same_group() -> None:
    with h5py.File("a.h5", "w") as file:
        file["chain/samples"] = POINTS
        file["chain/log_weights"] = WEIGHTS
        file["chain/weights_of_all"] = h5py.SoftLink("/weights")
        file["chain/more_weights/x"] = WEIGHTS
        file["weights"] = WEIGHTS
    (note,) = notes("a.h5")
    assert "a.h5 holds /chain/log_weights as well" in note
    assert note.endswith("give --weights /chain/log_weights")
    assert notes("a.h5:/chain/samples") == notes("a.h5:chain/samples") == (note,)


def test_what_cannot_be_read_does_no_harm(message_of: Callable[..., str]) -> None:
    """The rows can be read: what lies beside them must not keep anybody from that."""
    np.savez("a.npz", x=POINTS, weights=np.array([{}] * N_ROWS, dtype=object))
    assert notes("a.npz:x") == ()
    with h5py.File("a.h5", "w") as file:
        file["x"] = POINTS
        file["weights"] = h5py.ExternalLink("missing.h5", "/x")
        file["w"] = h5py.SoftLink("/nowhere")
        time = h5py.h5s.create_simple((N_ROWS,))
        h5py.h5d.create(file.id, b"c", h5py.h5t.UNIX_D32LE, time)  # a type that numpy has not
    assert notes("a.h5:x") == ()
    assert "ExternalLink" not in message_of(InputError, lambda: open_source("a.h5:w"))


def test_several_inputs() -> None:
    for name in "ab":
        np.savez(f"{name}.npz", x=POINTS, weights=WEIGHTS)
    assert notes("a.npz", "b.npz") == notes("a.npz"), "one note, however many inputs"
    np.save("c.npy", POINTS)
    assert notes("c.npy", "b.npz") == notes("b.npz")
    assert notes("a.npz", "b.npz", weights="weights") == ()
