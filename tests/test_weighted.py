"""The unit of the weights."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from momentc.weighted import scaled_weights, weight_exponent

LARGEST = float(np.finfo(np.float64).max)


@given(
    largest=st.floats(2.0**-1010, LARGEST),
    shares=st.lists(st.floats(0.0, 1.0), max_size=20),
)
def test_scaled_without_rounding(largest: float, shares: list[float]) -> None:
    """As ldexp, to the last bit, also where what is far below the largest loses digits."""
    weights = largest * np.array([1.0, *shares])
    exponent = weight_exponent(weights)
    scaled = scaled_weights(weights, exponent)
    assert 0.5 <= scaled[0] < 1.0
    assert scaled.tobytes() == np.ldexp(weights, -exponent).tobytes()
