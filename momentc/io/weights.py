"""What may be a weight."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.numeric import inexact_mask, to_float64

__all__ = ["validated_weights", "weight_ratio_warning"]

MAX_WEIGHT_RATIO = 1e15
"""Above this ratio of two weights the smaller one is lost in a float64 sum of both (eps is
2.2e-16)."""


def validated_weights(raw: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Check weights as they stand in the input.

    Parameters
    ----------
    raw : (n,) ndarray
        Real numbers of any type.
    name : str
        Where they are from, for the message.

    Returns
    -------
    (n,) ndarray of float64
        Finite, none below 0 (-0.0 counts as 0), with a finite sum above 0. Read-only.

    Raises
    ------
    InputError
        A weight is negative, not finite or no float64; or all are 0; or their sum overflows.
    """
    weights = np.array(to_float64(raw))
    _refuse_rows(
        ~np.isfinite(weights), raw, name, "not finite", "a weight must be a finite number >= 0"
    )
    _refuse_rows(weights < 0, raw, name, "negative", "a weight must be >= 0")
    inexact = inexact_mask(raw, weights)
    if inexact is not None:
        _refuse_rows(inexact, raw, name, "not exact in float64", "store the weights as float64")
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if total == 0:
        raise InputError(f"weights {name}: all {len(weights)} are 0, expected a sum above 0")
    if not np.isfinite(total):
        raise InputError(
            f"weights {name}: their sum is beyond float64 (1.8e308). Divide all by one number"
        )
    weights.flags.writeable = False
    return weights


def _refuse_rows(
    bad: NDArray[np.bool_], raw: NDArray[Any], name: str, what: str, expected: str
) -> None:
    """Raise an error that names the first bad row and counts all."""
    n_bad = int(np.count_nonzero(bad))
    if n_bad:
        row = int(np.argmax(bad))
        raise InputError(
            f"weights {name}: row {row} is {raw[row]!s}, which is {what} "
            f"({n_bad} in all); {expected}"
        )


def weight_ratio_warning(weights: NDArray[np.float64]) -> str | None:
    """Return a sentence if the largest weight makes the smallest one disappear, else None."""
    largest, smallest = float(weights.max()), float(weights.min())
    # Compared as a product: the quotient may overflow.
    if smallest * MAX_WEIGHT_RATIO >= largest:
        return None
    return (
        f"the weights range from {smallest:.3g} to {largest:.3g}, a ratio above "
        f"{MAX_WEIGHT_RATIO:.0e}: "
        "the smallest ones are below the rounding of the largest"
    )
