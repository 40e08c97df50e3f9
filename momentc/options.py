"""Every knob of a compression, validated once."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

from momentc.errors import UsageError
from momentc.text import readable

__all__ = [
    "DEFAULT_TOLERANCE",
    "CompressOptions",
    "Effort",
    "require_fraction",
    "require_integer",
]

Effort = Literal["low", "normal", "high"]

DEFAULT_TOLERANCE = 1e-10
"""Largest accepted moment error in the frame. What is reached is about 1e-15."""


@dataclass(frozen=True, slots=True)
class CompressOptions:
    """What to keep of a weighted set, and how to work.

    Parameters
    ----------
    k : int
        Moments up to this order are kept. Default 5, as in the paper's figures.
    target : int
        Points to keep.
    seed : int
        Of every random choice; >= 0.
    threads : int
        0: all that the process may use. The result does not depend on it.
    tolerance : float
        Largest accepted moment error in the frame.
    effort : {'low', 'normal', 'high'}
        How much time to spend on functions that are no moments up to k: on higher orders, and
        on the freedom that the moments leave the weights. 'low' keeps k alone.
    """

    k: int = 5
    target: int = 1000
    seed: int = 0
    threads: int = 0
    tolerance: float = DEFAULT_TOLERANCE
    effort: Effort = "normal"

    def __post_init__(self) -> None:
        """Check the form of every option; whether they can be met depends on the data.

        Raises
        ------
        UsageError
        """
        for name, least in (("k", 1), ("target", 1), ("seed", 0), ("threads", 0)):
            # As Python's own: those of numpy overflow.
            object.__setattr__(self, name, require_integer(name, getattr(self, name), least))
        object.__setattr__(self, "tolerance", require_fraction("tolerance", self.tolerance))
        if self.effort not in get_args(Effort):
            raise UsageError(
                f"effort must be one of {', '.join(get_args(Effort))}, got {self.effort!r}"
            )


def require_integer(name: str, value: object, least: int) -> int:
    """Return an integer, of Python or numpy, that is not below the least; True and False are none.

    Raises
    ------
    UsageError
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UsageError(f"{name} must be an integer, got {value!r}")
    if not least <= int(value) < 2**63:
        bound = f"at least {least}" if int(value) < least else "below 2^63"
        raise UsageError(f"{name} must be {bound}, got {readable(int(value))}")
    return int(value)


def require_fraction(name: str, value: object) -> float:
    """Return a number between 0 and 1; NaN is none.

    Raises
    ------
    UsageError
    """
    if not (isinstance(value, Real) and 0.0 < float(value) < 1.0):
        raise UsageError(f"{name} must be between 0 and 1, got {value!r}")
    return float(value)
