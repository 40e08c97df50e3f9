"""What `momentc.compress` and `momentc.verify_moments` refuse, from Python."""

import numpy as np
import pytest

import momentc
from momentc.errors import InputError, UsageError

POINTS = np.random.default_rng(0).normal(size=(500, 3))


def test_masked_entries_are_refused_not_counted() -> None:
    masked = np.ma.masked_array(POINTS, mask=np.zeros(POINTS.shape, dtype=bool))
    assert len(momentc.compress(masked, k=2, target=50)) == 50, "nothing is masked"
    masked[::2] = np.ma.masked
    with pytest.raises(InputError, match="X has masked entries"):
        momentc.compress(masked, k=2, target=50)
    with pytest.raises(InputError, match="X has masked entries"):
        momentc.MomentCompressor(2, 50).partial_fit(masked)
    weights = np.ma.masked_less(np.arange(500.0), 10.0)
    with pytest.raises(InputError, match="weights has masked entries"):
        momentc.compress(POINTS, k=2, target=50, weights=weights)
    kept = momentc.compress(POINTS, k=2, target=50)
    with pytest.raises(InputError, match="points has masked entries"):
        momentc.verify_moments(masked, kept, k=2)


@pytest.mark.parametrize("columns", [[0, 1], [0, 1, 2, 0], 0])
def test_only_what_has_the_same_columns_is_compared(columns: list[int] | int) -> None:
    kept = momentc.compress(POINTS, k=2, target=50)
    assert momentc.verify_moments(POINTS, kept, k=2).ok
    with pytest.raises(InputError, match="have 3 columns"):
        momentc.verify_moments(POINTS[:, columns], kept, k=2)


def test_a_compressed_set_is_expected() -> None:
    with pytest.raises(UsageError, match="compressed is a ndarray"):
        momentc.verify_moments(POINTS, POINTS[:50], k=2)  # type: ignore[arg-type]


def test_many_columns() -> None:
    """More than Python's calls may be deep."""
    points = np.random.default_rng(1).normal(size=(1500, 1200))
    kept = momentc.compress(points, k=1, target=1250, effort="low")
    assert len(kept) == 1250
    assert np.abs(kept.weights @ kept.points.astype(np.float64) - points.sum(axis=0)).max() < 1e-9
