"""Every knob of a compression, validated once."""

from dataclasses import dataclass
from typing import Literal, get_args

from momentc.errors import UsageError

__all__ = ["DEFAULT_TOLERANCE", "CompressOptions", "Effort"]

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
            value = getattr(self, name)
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise UsageError(f"{name} must be an integer, got {value!r}")
            if value < least:
                raise UsageError(f"{name} must be at least {least}, got {value}")
        if not 0.0 < self.tolerance < 1.0:
            raise UsageError(f"tolerance must be between 0 and 1, got {self.tolerance!r}")
        if self.effort not in get_args(Effort):
            raise UsageError(
                f"effort must be one of {', '.join(get_args(Effort))}, got {self.effort!r}"
            )
