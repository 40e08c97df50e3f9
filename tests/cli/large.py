"""Inputs that are streamed although they are small, and what every result must hold."""

import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from momentc.files.plan import LIBRARY_BYTES

__all__ = [
    "SMALL",
    "TINY",
    "Result",
    "above_libraries",
    "in_hdf5",
    "moment_gap",
    "npy_bytes",
    "read_result_file",
    "require",
]


def above_libraries(n_bytes: int) -> str:
    """Return a --memory that leaves so much beside the interpreter and the libraries."""
    return str(LIBRARY_BYTES + n_bytes)


# So little that some ten thousand rows do not fit.
SMALL = ("-M", above_libraries(6_560_000))

# So little that some thousand rows do not fit.
TINY = ("-M", above_libraries(1_560_000))

# What the independent sums may differ by: moments are promised to 1e-10, and reach rounding.
GAP = 1e-14

Array = NDArray[Any]
Result = tuple[Array, Array, Array, dict[str, Any]]


def npy_bytes(array: Array) -> bytes:
    """Return the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def in_hdf5(path: Path, array: Array, weights: Array | None = None, **options: Any) -> None:
    """Write /x, and /mass if there are weights."""
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=array, **options)
        if weights is not None:
            file["mass"] = weights


def read_result_file(path: Path) -> Result:
    """Return rows, weights, index and metadata by numpy and h5py alone."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            about = json.loads(file.attrs["momentc"])
            return file["w"][()], file["c"][()], file["index"][()], about
    with np.load(path, allow_pickle=False) as file:
        return file["w"], file["c"], file["index"], json.loads(file["momentc.json"])


def moment_gap(rows: Array, weights: Array, kept: Array, kept_weights: Array, k: int) -> float:
    """Return the largest difference of a normalised moment up to order k, in the rows' frame.

    By long doubles, straight from the definition.
    """
    wide = rows.astype(np.longdouble)
    mass = weights.astype(np.longdouble)
    center = (mass @ wide) / mass.sum()
    scale = np.abs(wide - center).max(axis=0)
    scale[scale == 0] = 1
    worst = abs(kept_weights.astype(np.longdouble).sum() / mass.sum() - 1)
    both = [
        ((wide - center) / scale, mass),
        (
            (kept.astype(np.longdouble) - center) / scale,
            kept_weights.astype(np.longdouble),
        ),
    ]
    for degree in range(1, k + 1):
        for columns in itertools.combinations_with_replacement(range(rows.shape[1]), degree):
            first, second = (
                share @ local[:, columns].prod(axis=1) / share.sum() for local, share in both
            )
            worst = max(worst, abs(first - second))
    return float(worst)


def require(
    path: Path,
    rows: Array,
    k: int,
    target: int,
    *,
    weights: Array | None = None,
    columns: list[int] | None = None,
    counted: NDArray[np.bool_] | None = None,
) -> Result:
    """Hold a result to every promise, by means that are not momentc's; return what it holds."""
    kept, kept_weights, index, about = read_result_file(path)
    assert kept.dtype == rows.dtype
    assert kept.tobytes() == np.ascontiguousarray(rows[index]).tobytes(), "rows of the input"
    assert np.all(np.diff(index) > 0)
    assert np.all(kept_weights > 0)
    assert len(kept) <= target
    mass = np.ones(len(rows)) if weights is None else weights
    counts = mass > 0 if counted is None else counted & (mass > 0)
    assert counts[index].all()
    assert math.isclose(kept_weights.sum(), math.fsum(mass[counts]), rel_tol=1e-13)
    chosen = list(range(rows.shape[1])) if columns is None else columns
    gap = moment_gap(rows[counts][:, chosen], mass[counts], kept[:, chosen], kept_weights, k)
    assert gap <= GAP, f"{gap:.1e}"
    assert about["ok"] is True
    return kept, kept_weights, index, about
