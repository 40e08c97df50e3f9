"""What may be a weight."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.numeric import inexact_mask, to_float64

__all__ = ["require_total", "validated_weights", "weight_ratio_warning", "weight_rows"]

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
    weights = _converted(raw, lambda row, n_bad: (f"weights {name}: row {row}", f"{n_bad} in all"))
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    require_total(total, len(weights), name)
    weights.flags.writeable = False
    return weights


def weight_rows(
    raw: NDArray[Any], name: str, start: int, *, place_of: Callable[[int], str] | None = None
) -> NDArray[np.float64]:
    """Check the weights of some rows, as `validated_weights` does those of all.

    Parameters
    ----------
    raw : (n,) ndarray
        Real numbers of any type.
    name : str
        Where they are from, for the message.
    start : int
        Row number of the first.
    place_of : callable, optional
        Names the file that a row is in; by default always `name`.

    Returns
    -------
    (n,) ndarray of float64
        Finite, none below 0; all may be 0. Its own memory.

    Raises
    ------
    InputError
        A weight is negative, not finite or no float64.
    """

    def place(row: int, n_bad: int) -> tuple[str, str]:
        where = name if place_of is None else place_of(start + row)
        stretch = f"{n_bad} in rows {start} to {start + len(raw) - 1}"
        return f"weights {where}: row {start + row}", stretch

    return _converted(raw, place)


def require_total(total: float, n_weights: int, name: str) -> None:
    """Refuse a sum of weights that is 0 or beyond float64.

    Raises
    ------
    InputError
        Nothing could be divided by such a sum.
    """
    if total == 0:
        raise InputError(f"weights {name}: all {n_weights} are 0, expected a sum above 0")
    if not np.isfinite(total):
        raise InputError(
            f"weights {name}: their sum is beyond float64 (1.8e308). Divide all by one number"
        )


Place = Callable[[int, int], tuple[str, str]]
"""From the first bad row and the number of them to the words for the place and for the number."""


def _converted(raw: NDArray[Any], place: Place) -> NDArray[np.float64]:
    """Convert to float64, in memory of its own; raise on values that are no weights."""
    weights = np.array(to_float64(raw))
    _refuse_rows(
        ~np.isfinite(weights), raw, place, "not finite", "a weight must be a finite number >= 0"
    )
    _refuse_rows(weights < 0, raw, place, "negative", "a weight must be >= 0")
    inexact = inexact_mask(raw, weights) if len(raw) else None
    if inexact is not None:
        _refuse_rows(inexact, raw, place, "not exact in float64", "store the weights as float64")
    return weights


def _refuse_rows(
    bad: NDArray[np.bool_], raw: NDArray[Any], place: Place, what: str, expected: str
) -> None:
    """Raise an error that names the first bad row and counts all."""
    n_bad = int(np.count_nonzero(bad))
    if n_bad:
        row = int(np.argmax(bad))
        where, count = place(row, n_bad)
        raise InputError(f"{where} is {raw[row]!s}, which is {what} ({count}); {expected}")


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
