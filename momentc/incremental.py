"""Batches of rows from memory, one after the other, and accumulations that merge.

The frame and the cells are those of the first rows, so these should be like the others; where they
are not, the moments stay exact and only the groups are worse. All columns are kept, whether or not
they depend on each other: what comes may not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.duplicates import merge_duplicates
from momentc.compression import Compression, certify
from momentc.effort import working_order
from momentc.engine.threads import thread_map
from momentc.errors import MemoryBudgetError, PartsError, UsageError
from momentc.moments.frame import with_every_column
from momentc.moments.frame_fit import fit_frame
from momentc.moments.multi_index import n_moments
from momentc.moments.request import check_request
from momentc.options import CompressOptions
from momentc.pipeline.stream import compress_stream
from momentc.streaming.plan import plan_stream
from momentc.streaming.shape import StreamShape
from momentc.streaming.stream import fit_setting
from momentc.text import format_bytes
from momentc.weighted import WeightedSet, bytes_as_rows, rows_as_bytes

__all__ = ["Accumulation", "Batch", "Batches"]

# Bytes for the cells: buffers beyond it gain nothing that is worth the memory of a notebook.
BUDGET: Final = 256 * 2**20

# Distinct rows that wait until frame and cells are found on them: of a few there are few cells, and
# each leaves only so many points. But no more bytes than this wait for distinct ones.
FIRST_ROWS: Final = 4096
MOST_WAITING: Final = 64 * 2**20
BATCH_BYTES: Final = 600


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that come together.

    Parameters
    ----------
    rows : (n, m) ndarray
        The rows that count, as they came.
    points : (n, m) float64 ndarray
    weights : (n,) float64 ndarray
        > 0.
    index : (n,) int64 ndarray
        Their numbers in the batch.
    n_rows : int
        Rows of the batch, those that do not count included.
    """

    rows: NDArray[Any]
    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    index: NDArray[np.int64]
    n_rows: int

    def __len__(self) -> int:
        """Return the number of rows that count."""
        return len(self.rows)

    @property
    def n_bytes(self) -> int:
        """Bytes that it takes, about; the least of a batch of a row are Python's."""
        arrays = (self.rows, self.points, self.weights, self.index)
        return BATCH_BYTES + sum(array.nbytes for array in arrays)


def _joined(batches: Sequence[Batch], dtype: np.dtype[Any]) -> Batch:
    """Return batches as one, which is taken in whole or not at all."""
    *firsts, n_rows = accumulate((batch.n_rows for batch in batches), initial=0)
    return Batch(
        # In their own order of bytes: numpy would join them in that of the machine.
        np.concatenate([batch.rows for batch in batches], dtype=dtype),
        np.concatenate([batch.points for batch in batches]),
        np.concatenate([batch.weights for batch in batches]),
        np.concatenate([batch.index + first for batch, first in zip(batches, firsts, strict=True)]),
        n_rows,
    )


class Batches:
    """What has been taken in so far, the first rows as they are.

    Parameters
    ----------
    options : CompressOptions
    n_columns : int
    dtype : numpy.dtype
        Of the rows as they come.

    Raises
    ------
    RequestError
        The target is below C(m+k, k).
    """

    def __init__(self, options: CompressOptions, n_columns: int, dtype: np.dtype[Any]) -> None:
        # Any number of rows may follow.
        check_request(options.k, options.target, options.target + 1, n_columns)
        self.options = options
        self.n_columns = n_columns
        self.dtype = dtype
        self._waiting: list[Batch] = []
        # Their rows and bytes, and from how many rows on it is looked again how many differ.
        self._n_waiting = 0
        self._bytes_waiting = 0
        self._look_again_at = 0
        self._accumulation: Accumulation | None = None

    def add(self, batch: Batch) -> None:
        """Take in a batch.

        Raises
        ------
        UsageError
            Another number of columns, or another type, than the first batch had; or an earlier
            batch was taken in only in part.
        """
        rows = batch.rows
        if rows.shape[1] != self.n_columns or rows.dtype != self.dtype:
            raise UsageError(
                f"this batch has {rows.shape[1]} columns of {rows.dtype}, the first one had "
                f"{self.n_columns} of {self.dtype}"
            )
        if self._accumulation is not None:
            self._accumulation.add(batch)
            return
        before = len(self._waiting), self._n_waiting, self._bytes_waiting, self._look_again_at
        try:
            self._waiting.append(batch)
            self._n_waiting += len(batch)
            self._bytes_waiting += batch.n_bytes
            if self._knows_enough():
                self._opened()
        except BaseException:
            if self._accumulation is None:  # refused whole
                n_batches, self._n_waiting, self._bytes_waiting, self._look_again_at = before
                del self._waiting[n_batches:]
            raise

    def _knows_enough(self) -> bool:
        """Whether frame and cells can be found on the rows that wait."""
        if self._n_waiting < FIRST_ROWS:
            return False
        if self._bytes_waiting > MOST_WAITING:
            return True
        if self._n_waiting < self._look_again_at:
            return False
        self._look_again_at = 2 * self._n_waiting
        together = _joined(self._waiting, self.dtype)
        distinct, _ = merge_duplicates(together.points, together.weights)
        return len(distinct) >= FIRST_ROWS

    def merge(self, other: "Batches") -> None:
        """Take in what another has taken in; its rows count on from the last one here.

        Raises
        ------
        PartsError
            It was made with another k, target or effort, or of other columns.
        """
        for name in ("k", "target", "effort"):
            mine, theirs = getattr(self.options, name), getattr(other.options, name)
            if mine != theirs:
                raise PartsError(f"merge needs the same {name}, got {mine!r} and {theirs!r}")
        if other.dtype != self.dtype or other.n_columns != self.n_columns:
            raise PartsError(
                f"merge needs the same columns, got {self.n_columns} of {self.dtype} and "
                f"{other.n_columns} of {other.dtype}"
            )
        if other._accumulation is None:
            if other._waiting:
                self.add(_joined(other._waiting, other.dtype))
        else:
            self._opened(other._accumulation).merge(other._accumulation)

    def compress(self) -> tuple[Compression, WeightedSet]:
        """Compress what has been taken in; more may follow.

        Raises
        ------
        UsageError
            Nothing has been taken in.
        RequestError, VerificationError
        """
        return self._opened().compress()

    def _opened(self, following: "Accumulation | None" = None) -> "Accumulation":
        """Let the rows that wait pass, and all that follow; some of these are known, perhaps."""
        if self._accumulation is None:
            known = [(batch.points, batch.weights) for batch in self._waiting]
            known += [] if following is None else [following.left()]
            if not any(len(points) for points, _ in known):
                raise UsageError("finalize() comes after partial_fit(): no row has been taken in")
            points, weights = map(np.concatenate, zip(*known, strict=True))
            accumulation = Accumulation(self.options, points, weights, self.dtype)
            for batch in self._waiting:
                accumulation.add(batch)
            # Only now: what an error leaves behind still waits.
            self._accumulation, self._waiting = accumulation, []
        return self._accumulation


class Accumulation:
    """What has been taken in so far.

    Parameters
    ----------
    options : CompressOptions
    points : (n, m) float64 ndarray
        The first rows, from which the frame and the cells are taken; they still have to be added.
    weights : (n,) float64 ndarray
        > 0.
    dtype : numpy.dtype
        Of the rows as they come.

    Raises
    ------
    RequestError
        The target is below C(m+k, k).
    MemoryBudgetError
        It is too large for batches.
    """

    def __init__(
        self,
        options: CompressOptions,
        points: NDArray[np.float64],
        weights: NDArray[np.float64],
        dtype: np.dtype[Any],
    ) -> None:
        self.options = options
        self.dtype = dtype
        self.n_seen = 0
        n, m = points.shape
        sampled = fit_frame(points, weights, options.k)
        # Any number of rows may follow.
        check_request(options.k, options.target, max(n, options.target + 1), m)
        frame = with_every_column(sampled)
        order = working_order(options.k, m, options.target, options.effort)
        n_raw = m * dtype.itemsize
        try:
            sizes = plan_stream(
                row_bytes=n_raw,
                n_raw=n_raw,
                n_variables=m,
                n_moments=n_moments(m, order),
                target=options.target,
                budget=BUDGET,
            )
        except MemoryBudgetError as error:
            raise MemoryBudgetError(
                f"batches need about {format_bytes(error.needed)} for a target of {options.target} "
                f"and {n_moments(m, order)} moments, more than the {format_bytes(BUDGET)} that "
                "they may take; give a smaller target or k, or all rows at once to fit",
                error.needed,
            ) from error
        stride = max(1, n // sizes.sample_rows)
        setting = fit_setting(points[::stride], weights[::stride], frame, options, sizes.n_cells)
        self.shape = StreamShape(setting, sizes, n_raw)
        self.stream = self.shape.stream()

    def add(self, batch: Batch) -> None:
        """Let a batch pass."""
        # Rows that were pickled meanwhile have come back in the machine's order of bytes.
        raw = rows_as_bytes(np.ascontiguousarray(batch.rows, dtype=self.dtype))
        index = batch.index + self.n_seen
        with thread_map(self.options.threads) as map_function:
            self.stream.add(batch.points, batch.weights, index, raw, map_function)
        self.n_seen += batch.n_rows

    def merge(self, other: "Accumulation") -> None:
        """Take in another one of the same request and columns.

        Raises
        ------
        InputError
            Its rows lie too far from the first ones of this, or its weights are too large beside
            theirs.
        """
        theirs, mine = other.stream, self.stream
        if theirs.totals is None:
            self.n_seen += other.n_seen
            return
        _, scaled, index, raw = theirs.points()
        points = bytes_as_rows(raw, self.dtype).astype(np.float64)
        exponent = theirs.setting.exponent - mine.setting.exponent
        with np.errstate(over="ignore"):  # what overflows is refused there
            scaled, totals = np.ldexp(scaled, exponent), theirs.totals.in_units(exponent)
        with thread_map(self.options.threads) as map_function:
            mine.take_over(points, scaled, index + self.n_seen, raw, totals, map_function)
        self.n_seen += other.n_seen

    def left(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the points that are left of all rows, (n, m), and their weights."""
        _, scaled, _, raw = self.stream.points()
        points = bytes_as_rows(raw, self.dtype).astype(np.float64)
        return points, np.ldexp(scaled, self.stream.setting.exponent)

    def compress(self) -> tuple[Compression, WeightedSet]:
        """Compress what has been taken in; more may follow.

        Raises
        ------
        InputError
            No row has come.
        RequestError, VerificationError
        """
        with thread_map(self.options.threads) as map_function:
            if len(self.stream) > 2 * self.shape.sizes.left:
                self.stream.reduce(map_function)
            compression = compress_stream(self.stream, self.options, map_function=map_function)
        support = compression.support
        rows = bytes_as_rows(support.points, self.dtype)
        # The rows that are handed over, not the coordinates that were worked with.
        error, relative = certify(compression, rows.astype(np.float64), support.weights)
        kept = WeightedSet(rows, support.weights, support.index, compression.k)
        return replace(compression, error=error, relative_error=relative), kept
