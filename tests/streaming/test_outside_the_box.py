"""Rows that lie far outside of the box of the first batch keep all digits of the moments."""

import numpy as np
import pytest

from momentc import MomentCompressor, verify_moments
from momentc.errors import InputError, UsageError


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


def test_powers_that_leave_float64_are_an_error() -> None:
    rng = np.random.default_rng(0)
    compressor = MomentCompressor(12, 200).partial_fit(rng.normal(size=(5_000, 1)))
    with pytest.raises(InputError, match="leave float64"):
        compressor.partial_fit(1e40 * rng.normal(size=(2_000, 1)))
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
