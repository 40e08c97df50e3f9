"""Rows that lie far outside of the box of the first batch keep all digits of the moments."""

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc import MomentCompressor, verify_moments
from momentc.errors import InputError, UsageError

Array = NDArray[np.float64]


@pytest.mark.parametrize("factor", [3.0, 1e2, 1e5])
def test_rows_far_from_the_first_batch(factor: float) -> None:
    rng = np.random.default_rng(0)
    near = rng.normal(size=(20_000, 2))
    far = factor * (rng.normal(size=(5_000, 2)) + 4.0)
    compressor = MomentCompressor(4, 200).partial_fit(near).partial_fit(far).finalize()
    whole = np.concatenate([near, far])
    assert np.array_equal(compressor.compressed_.points, whole[compressor.compressed_.index])
    assert compressor.result_.largest_error < 1e-15
    assert max(verify_moments(whole, compressor.compressed_, 4).error[:5]) < 1e-15


@pytest.mark.parametrize("factor", [1e40, 1e150])
def test_rows_so_far_away_that_no_power_of_their_distance_fits(factor: float) -> None:
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(5_000, 1)), factor * rng.normal(size=(2_000, 1))
    compressor = MomentCompressor(12, 200).partial_fit(near).partial_fit(far).finalize()
    assert compressor.result_.largest_error < 1e-15
    whole = np.concatenate([near, far])
    assert max(verify_moments(whole, compressor.compressed_, 12).error[:13]) < 1e-15


def drifting(kind: str, m: int) -> Array:
    rng = np.random.default_rng(1)
    if kind == "sorted":
        return np.sort(rng.uniform(size=(30_000, m)), axis=0)
    if kind == "drift":
        return rng.normal(size=(30_000, m)) + np.linspace(0.0, 100.0, 30_000)[:, None]
    # Two clusters, the second one where the first rows know nothing of.
    rows = 1e3 + rng.normal(size=(30_000, m))
    rows[15_000:] += 1e3
    return rows


@pytest.mark.parametrize("kind", ["sorted", "drift", "two places"])
@pytest.mark.parametrize(
    ("m", "k", "target"), [(1, 8, 27), (1, 20, 63), (1, 30, 100), (2, 10, 200)]
)
def test_first_rows_at_one_end_of_all(kind: str, m: int, k: int, target: int) -> None:
    """Sums in the frame of the first rows would lose up to seven digits, and nobody would know."""
    rows = drifting(kind, m)
    compressor = MomentCompressor(k, target)
    for batch in np.array_split(rows, 20):
        compressor.partial_fit(batch)
    result = compressor.finalize().result_
    true = max(verify_moments(rows, compressor.compressed_, k).error[: k + 1])
    assert max(true, result.largest_error) < 1e-14


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("k", [6, 14])
def test_a_heavy_row_that_the_first_ones_do_not_tell_of(k: int, merged: bool) -> None:
    rows = np.random.default_rng(5).uniform(size=(20_000, 1))
    weights = np.ones(20_000)
    rows[-77], weights[-77] = 10.0, 1e5
    parts = [slice(0, 8_000), slice(8_000, 20_000)]
    compressor, other = (
        MomentCompressor(k, 100).partial_fit(rows[part], sample_weight=weights[part])
        for part in parts
    )
    if merged:
        compressor.merge(other)
    else:
        compressor.partial_fit(rows[parts[1]], sample_weight=weights[parts[1]])
    result = compressor.finalize().result_
    found = verify_moments(rows, compressor.compressed_, k, weights=weights)
    assert max(*found.error[: k + 1], result.largest_error) < 1e-14


def test_a_distance_that_leaves_float64_is_an_error() -> None:
    rng = np.random.default_rng(0)
    compressor = MomentCompressor(12, 200).partial_fit(1e-5 * rng.normal(size=(5_000, 1)))
    with pytest.raises(InputError, match=r"column 0 reaches -1e\+300, so far outside"):
        compressor.partial_fit(np.full((2_000, 1), -1e300))
    # What was taken in before is still there, and moments of the row numbers go on.
    assert compressor.finalize().result_.n_points == 5_000


def test_weights_without_their_digits_are_an_error() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5_000, 1))
    compressor = MomentCompressor(2, 200)
    with pytest.raises(InputError, match="multiply all weights"):
        compressor.partial_fit(rows, sample_weight=np.full(5_000, 1e-310))
    with pytest.raises(UsageError, match="no row has been taken in"):
        compressor.finalize()
    # A batch that is refused is refused whole.
    result = compressor.partial_fit(rows).finalize().result_
    assert (result.n_points, result.moments.mass) == (5_000, 5_000.0)


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0, 1e9])
def test_a_column_that_begins_to_vary_later(size: float) -> None:
    """The first batch gives it no scale; whatever comes must keep its digits."""
    rng = np.random.default_rng(0)
    first = np.column_stack([rng.normal(size=5_000), np.full(5_000, 2.0 if size > 1e-6 else 0.0)])
    rest = np.column_stack([rng.normal(size=20_000), size * rng.normal(size=20_000)])
    compressor = MomentCompressor(4, 200).partial_fit(first).partial_fit(rest).finalize()
    assert compressor.result_.largest_error < 1e-12
    whole = np.concatenate([first, rest])
    assert max(verify_moments(whole, compressor.compressed_, 4).error[:5]) < 1e-12


@pytest.mark.parametrize("seed", [8, 9, 10])
def test_a_cell_that_reaches_over_many_decades(seed: int) -> None:
    """In one box its points could not be told apart: it is reduced piece by piece."""
    rows = np.random.default_rng(seed).lognormal(0.0, 10.0, (60_000, 1))
    compressor = MomentCompressor(8, 60)
    for batch in np.array_split(rows, 20):
        compressor.partial_fit(batch)
    result = compressor.finalize().result_
    found = verify_moments(rows, compressor.compressed_, 8)
    assert max(*found.error[:9], result.largest_error) < 1e-14
