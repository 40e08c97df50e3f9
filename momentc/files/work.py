"""What reading and compressing an input leaves, in memory or streamed."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from momentc.compression import Compression
from momentc.io.convert import LoadedPoints, PointBlock
from momentc.io.weights import weight_ratio_warning
from momentc.map_function import MapFunction
from momentc.streaming.stream import CellStream
from momentc.weighted import WeightedSet, rows_as_bytes

if TYPE_CHECKING:
    from momentc.study.order import OrderChoice

__all__ = ["Counts", "Work", "as_float64", "take_in"]


@dataclass(slots=True)
class Counts:
    """What became of the rows so far.

    Parameters
    ----------
    n_dropped_nan, n_zero_weight : int
        Rows that were dropped.
    n_lossy : int
        Values that float64 does not hold exactly.
    least_weight, largest_weight : float
        Of the rows that count.
    """

    n_dropped_nan: int = 0
    n_zero_weight: int = 0
    n_lossy: int = 0
    least_weight: float = math.inf
    largest_weight: float = 0.0

    @classmethod
    def of(cls, loaded: LoadedPoints) -> "Counts":
        """Return the counts of an input that was loaded whole."""
        return cls(
            loaded.n_dropped_nan,
            loaded.n_zero_weight,
            loaded.n_lossy,
            float(loaded.weights.min()),
            float(loaded.weights.max()),
        )

    def add(self, block: PointBlock) -> None:
        """Count a block in."""
        self.n_dropped_nan += block.n_dropped_nan
        self.n_zero_weight += block.n_zero_weight
        self.n_lossy += block.n_lossy
        if len(block.weights):
            self.least_weight = min(self.least_weight, float(block.weights.min()))
            self.largest_weight = max(self.largest_weight, float(block.weights.max()))

    def plus(self, other: "Counts") -> "Counts":
        """Return the counts of both together."""
        return Counts(
            self.n_dropped_nan + other.n_dropped_nan,
            self.n_zero_weight + other.n_zero_weight,
            self.n_lossy + other.n_lossy,
            min(self.least_weight, other.least_weight),
            max(self.largest_weight, other.largest_weight),
        )

    def notes(self, name: str) -> list[str]:
        """Say what the user should know of it."""
        notes = []
        if self.n_lossy:
            notes.append(f"{name}: {self.n_lossy} values are not exact in float64 and were rounded")
        if self.largest_weight > 0.0:
            warning = weight_ratio_warning(np.array([self.least_weight, self.largest_weight]))
            notes += [] if warning is None else [warning]
        if self.n_dropped_nan:
            notes.append(
                f"{self.n_dropped_nan} rows with NaN or infinity were dropped, as --nan drop asks"
            )
        if self.n_zero_weight:
            notes.append(f"{self.n_zero_weight} rows have the weight 0 and were left out")
        return notes


@dataclass(frozen=True, slots=True)
class Work:
    """A compression with the rows that it kept.

    Parameters
    ----------
    compression : Compression
    result : WeightedSet
        The rows as they stand in the input, bit for bit.
    columns : (n_selected,) int64 ndarray
        Whose moments are matched.
    counts : Counts
    warnings : tuple of str
        Sentences about the input.
    choice : OrderChoice or None
        How the order was chosen, if it was to be.
    streamed : dict or None
        The sizes of the stream on which the result depends; None where all was in memory.
    part : dict or None
        Of a part of a job: what it needs to be merged; plain JSON values.
    extra : dict of ndarray
        Of a part: the arrays that it needs to be merged.
    resumed_after : int
        Objects that an earlier run had taken in before it was interrupted.
    """

    compression: Compression
    result: WeightedSet
    columns: NDArray[np.int64]
    counts: Counts
    warnings: tuple[str, ...]
    choice: "OrderChoice | None" = None
    streamed: dict[str, Any] | None = None
    part: dict[str, Any] | None = None
    extra: dict[str, NDArray[Any]] | None = None
    resumed_after: int = 0


def as_float64(result: WeightedSet, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the matched columns as the mathematics sees them."""
    return np.ascontiguousarray(result.points[:, columns].astype(np.float64))


def take_in(
    stream: CellStream, block: PointBlock, n_raw: int, counts: Counts, map_function: MapFunction
) -> None:
    """Let a block of an input pass, with its rows as they stand there if ``n_raw`` > 0."""
    raw = rows_as_bytes(block.raw) if n_raw else np.empty((len(block.raw), 0), dtype=np.uint8)
    stream.add(block.points, block.weights, block.index, raw, map_function)
    counts.add(block)
