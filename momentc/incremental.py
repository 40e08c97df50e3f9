"""Batches of rows from memory, one after the other, and accumulations that merge.

The frame is that of the first batch with rows, so its rows should be like the others; where they
are not, the moments stay exact and only the groups are worse. All columns are kept, whether or not
they depend on each other: what comes may not.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.compression import Compression
from momentc.effort import working_order
from momentc.engine.threads import thread_map
from momentc.errors import PartsError, UsageError
from momentc.moments.change_frame import change_frame
from momentc.moments.frame import with_every_column
from momentc.moments.frame_fit import fit_frame
from momentc.moments.multi_index import n_moments
from momentc.moments.request import check_request
from momentc.options import CompressOptions
from momentc.pipeline import compress_stream
from momentc.streaming.plan import plan_stream
from momentc.streaming.shape import StreamShape
from momentc.streaming.stream import fit_setting
from momentc.weighted import WeightedSet, bytes_as_rows, rows_as_bytes

__all__ = ["Accumulation"]

# Bytes for the cells: buffers beyond it gain nothing that is worth the memory of a notebook.
BUDGET: Final = 256 * 2**20


class Accumulation:
    """What has been taken in so far.

    Parameters
    ----------
    options : CompressOptions
    points : (n, m) float64 ndarray
        The first batch, from which the frame and the cells are taken; it still has to be added.
    weights : (n,) float64 ndarray
        > 0.
    dtype : numpy.dtype
        Of the rows as they come.

    Raises
    ------
    RequestError
        The target is below C(m+k, k).
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
        frame = with_every_column(sampled, options.k)
        order = working_order(options.k, m, options.target, options.effort)
        n_raw = m * dtype.itemsize
        sizes = plan_stream(
            row_bytes=n_raw,
            n_raw=n_raw,
            n_variables=m,
            n_moments=n_moments(m, order),
            target=options.target,
            budget=BUDGET,
        )
        stride = max(1, n // sizes.sample_rows)
        setting = fit_setting(points[::stride], weights[::stride], frame, options, sizes.n_cells)
        self.shape = StreamShape(setting, sizes, n_raw)
        self.stream = self.shape.stream()

    @property
    def n_columns(self) -> int:
        """Columns of the rows."""
        return len(self.stream.setting.frame.columns)

    def add(
        self,
        rows: NDArray[Any],
        points: NDArray[np.float64],
        weights: NDArray[np.float64],
        index: NDArray[np.int64],
        n_batch: int,
    ) -> None:
        """Take in a batch.

        Parameters
        ----------
        rows : (n, m) ndarray
            The rows that count, as they came.
        points : (n, m) float64 ndarray
        weights : (n,) float64 ndarray
            > 0.
        index : (n,) int64 ndarray
            Their numbers in the batch.
        n_batch : int
            Rows of the batch, those that do not count included.

        Raises
        ------
        UsageError
            Another number of columns, or another type, than the first batch had.
        """
        if rows.shape[1] != self.n_columns or rows.dtype != self.dtype:
            raise UsageError(
                f"this batch has {rows.shape[1]} columns of {rows.dtype}, the first one had "
                f"{self.n_columns} of {self.dtype}"
            )
        raw = rows_as_bytes(rows)
        with thread_map(self.options.threads) as map_function:
            self.stream.add(points, weights, index + self.n_seen, raw, map_function)
        self.n_seen += n_batch

    def merge(self, other: "Accumulation") -> None:
        """Take in another accumulation; its rows count on from the last one here.

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
        theirs, mine = other.stream, self.stream
        if theirs.moments is None or theirs.extent is None:
            self.n_seen += other.n_seen
            return
        _, scaled, index, raw = theirs.points()
        points = bytes_as_rows(raw, self.dtype).astype(np.float64)
        exponent = theirs.setting.exponent - mine.setting.exponent
        moments = change_frame(theirs.moments, theirs.setting.frame, mine.setting.frame, exponent)
        with thread_map(self.options.threads) as map_function:
            mine.take_over(
                points, np.ldexp(scaled, exponent), index + self.n_seen, raw, moments,
                theirs.extent.in_units(exponent), map_function,
            )  # fmt: skip
        self.n_seen += other.n_seen

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
        return compression, WeightedSet(rows, support.weights, support.index)
