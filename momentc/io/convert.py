"""The policy for numbers: from a source's raw rows to finite float64 rows with positive weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError
from momentc.io.base import BLOCK_BYTES, Source
from momentc.io.numeric import always_exact, inexact_mask, to_float64
from momentc.io.weights import require_total
from momentc.text import shortened

__all__ = ["LoadedPoints", "PointBlock", "float64_blocks", "load_points", "select_columns"]

MAX_BLOCK_ELEMENTS = 2**31 - 1
"""LAPACK and faiss count elements in 32 bits."""

SHOWN = 60
"""Characters of a list of columns in a message."""

LOAD_BLOCK_BYTES = 1 << 17
"""Bytes of a block that is only checked and copied. The allocator uses memory of this size again
instead of mapping it anew, which makes loading (without the fingerprint) four times as fast."""


@dataclass(frozen=True, slots=True)
class PointBlock:
    """Consecutive rows of a source that survived the policy.

    Parameters
    ----------
    points : (n, n_selected) ndarray of float64
        C-ordered and finite. Belongs to the receiver.
    weights : (n,) ndarray of float64
        All above 0; ones if the source has no weights.
    index : (n,) ndarray of int64
        Row numbers in the source, ascending.
    raw : (n, n_columns) ndarray
        The same rows as they stand in the source, all columns. Not to be written to.
    n_dropped_nan, n_zero_weight : int
        Rows of this stretch that were dropped.
    n_lossy : int
        Values of this stretch that float64 does not hold exactly.
    stop : int
        Rows of the source that are done with this block.
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    index: NDArray[np.int64]
    raw: NDArray[Any]
    n_dropped_nan: int
    n_zero_weight: int
    n_lossy: int
    stop: int


@dataclass(frozen=True, slots=True)
class LoadedPoints:
    """All rows of a source that count.

    Parameters
    ----------
    points : (n, n_selected) ndarray of float64
        C-ordered and finite; n is at least 1.
    weights : (n,) ndarray of float64
        All above 0; ones if the source has no weights.
    index : (n,) ndarray of int64
        Row numbers in the source, ascending.
    n_dropped_nan : int
        Rows dropped because a selected value was not finite.
    n_zero_weight : int
        Rows dropped because they weigh nothing.
    n_lossy : int
        Values that float64 does not hold exactly.
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    index: NDArray[np.int64]
    n_dropped_nan: int
    n_zero_weight: int
    n_lossy: int


def select_columns(text: str | None, n_columns: int) -> NDArray[np.int64]:
    """Read a choice of columns such as ``0,1,4:7``.

    Parameters
    ----------
    text : str or None
        Numbers from 0 and ranges ``first:end``, as in Python without ``end``; either side of the
        colon may be left out. None is all columns.
    n_columns : int
        Columns of the input.

    Returns
    -------
    (n_selected,) ndarray of int64
        In the order given, each once, at least one.

    Raises
    ------
    UsageError
        Not of that form, a column that does not exist, or one named twice.
    """
    if text is None:
        return np.arange(n_columns, dtype=np.int64)
    shown = shortened(text, SHOWN)
    chosen: list[int] = []
    for written in text.split(","):
        piece = shortened(written, SHOWN)
        first, colon, end = (part.strip() for part in written.partition(":"))
        if not all(part.isascii() and part.isdigit() for part in (first, end) if part) or not (
            first or colon
        ):
            raise UsageError(
                f"columns {shown!r}: {piece!r} is not a column; expected for example 0,1,4:7"
            )
        begin = int(first) if first else 0
        stop = (int(end) if end else n_columns) if colon else begin + 1
        if colon and first and end and begin >= stop:
            raise UsageError(
                f"columns {shown!r}: {piece!r} is empty; the end is one behind the last column "
                "(4:7 is columns 4, 5 and 6)"
            )
        if begin >= stop or stop > n_columns:
            raise UsageError(
                f"columns {shown!r}: {piece!r} does not lie within 0:{n_columns}, the input has "
                f"{n_columns} columns "
                "numbered from 0 (4:7 is columns 4, 5 and 6)"
            )
        chosen.extend(range(begin, stop))
        if len(chosen) > n_columns:
            break
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"columns {shown!r} name a column twice; each column counts once")
    return np.array(chosen, dtype=np.int64)


def float64_blocks(
    source: Source,
    columns: NDArray[np.int64] | None = None,
    *,
    nan: Literal["error", "drop"] = "error",
    allow_lossy: bool = False,
    rows_per_block: int | None = None,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[PointBlock]:
    """Read a source block by block as float64, holding one block in memory.

    Parameters
    ----------
    source : Source
        What to read.
    columns : (n_selected,) ndarray of int64, optional
        Columns to convert and to check; all by default.
    nan : {"error", "drop"}, default "error"
        What becomes of rows with a value that is not finite.
    allow_lossy : bool, default False
        Take values that float64 rounds (integers above 2**53, longdouble).
    rows_per_block : int, optional
        Rows read at a time, before dropping; by default about one MiB.
    start, stop : int, optional
        The rows to read; all by default.

    Yields
    ------
    PointBlock
        Blocks may be empty where every row was dropped. From the first bad value on all are empty:
        the rest is read only to count.

    Raises
    ------
    InputError
        A weight that is none. After the last row: values that are not finite, or not exact. The
        message has their number and the first row and column in the numbering of the file. After
        a pass over all rows, also if all weights are 0.
    """
    if rows_per_block is None:
        rows_per_block = max(1, BLOCK_BYTES // (8 * source.n_columns))
    rows_per_block = max(1, min(rows_per_block, MAX_BLOCK_ELEMENTS // source.n_columns))
    all_columns = _are_all(columns, source.n_columns)
    reads_all = start == 0 and stop in {None, source.n_rows}
    total_weight = 0.0
    not_finite, inexact = _Offences(), _Offences()
    for first, rows in source.blocks(rows_per_block, start, stop):
        raw = rows if all_columns or columns is None else np.take(rows, columns, axis=1)
        points = to_float64(raw)
        end = first + len(rows)
        block_weights = source.weights_of(first, end)
        if block_weights is not None:
            with np.errstate(over="ignore"):
                total_weight += float(block_weights.sum())
        finite = np.isfinite(points)
        lossy = inexact_mask(raw, points)
        keep: NDArray[np.bool_] | None = None
        n_dropped_nan = n_zero_weight = n_lossy = 0
        if lossy is not None:
            n_lossy = int(np.count_nonzero(lossy))
            if not allow_lossy:
                inexact.note(lossy, raw, first, columns)
        if not finite.all():
            if nan == "error":
                not_finite.note(~finite, raw, first, columns)
            keep = np.asarray(finite.all(axis=1))
            n_dropped_nan = len(rows) - int(np.count_nonzero(keep))
        if not_finite.n_rows or inexact.n_rows:
            # Nothing to use, but whoever waits may want to be interrupted.
            nothing = np.empty(0)
            yield PointBlock(points[:0], nothing, nothing.astype(np.int64), rows[:0], 0, 0, 0, end)
            continue
        if block_weights is None:
            weights = np.ones(len(rows))
        else:
            weights = block_weights
            heavy = weights > 0
            if not heavy.all():
                n_zero_weight = int(np.count_nonzero(~heavy if keep is None else keep & ~heavy))
                keep = heavy if keep is None else keep & heavy
        index = np.arange(first, end, dtype=np.int64)
        kept_rows = rows
        if keep is not None:
            points, weights, index, kept_rows = points[keep], weights[keep], index[keep], rows[keep]
        yield PointBlock(
            points, weights, index, kept_rows, n_dropped_nan, n_zero_weight, n_lossy, end
        )
    not_finite.complain(
        source,
        "not a finite float64",
        "Remove such rows: --nan drop on the command line, X[np.isfinite(X).all(axis=1)] in Python",
        unit="rows",
    )
    inexact.complain(
        source,
        "not exact in float64, in which all is computed",
        "Accept rounding (--allow-lossy on the command line, X.astype(float) in Python), or store "
        "smaller numbers",
        unit="values",
    )
    if reads_all and source.weights_name is not None:
        # Nobody else has seen all of them.
        require_total(total_weight, source.n_rows, source.weights_name)


def _are_all(columns: NDArray[np.int64] | None, n_columns: int) -> bool:
    """Tell whether a choice of columns is no choice."""
    return columns is None or np.array_equal(columns, np.arange(n_columns))


class _Offences:
    """Counts values that break a rule, and remembers the first."""

    def __init__(self) -> None:
        self.n_rows = 0
        self.n_values = 0
        self.first = ""
        self.first_row = 0

    def note(
        self,
        mask: NDArray[np.bool_],
        raw: NDArray[Any],
        first_row: int,
        columns: NDArray[np.int64] | None,
    ) -> None:
        """Add the True places of a block's mask."""
        rows = mask.any(axis=1)
        if self.n_rows == 0:
            row = int(np.argmax(rows))
            place = int(np.argmax(mask[row]))
            column = place if columns is None else int(columns[place])
            self.first_row = first_row + row
            self.first = f"row {self.first_row}, column {column} of {{name}} is {raw[row, place]!s}"
        self.n_rows += int(np.count_nonzero(rows))
        self.n_values += int(np.count_nonzero(mask))

    def complain(
        self, source: Source, what: str, advice: str, *, unit: Literal["rows", "values"]
    ) -> None:
        """Raise `InputError` if anything was noted."""
        if self.n_rows:
            count = self.n_rows if unit == "rows" else self.n_values
            first = self.first.replace("{name}", source.place_of(self.first_row))
            unit_name = unit if count != 1 else unit.removesuffix("s")
            raise InputError(
                f"{first}, {what} ({count} {unit_name} in all; numbered from 0). {advice}"
            )


def load_points(
    source: Source,
    *,
    columns: NDArray[np.int64] | None = None,
    nan: Literal["error", "drop"] = "error",
    allow_lossy: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> LoadedPoints:
    """Read a whole source into memory.

    Parameters
    ----------
    source, columns, nan, allow_lossy
        As in `float64_blocks`.
    on_rows : callable, optional
        Called after each block with the number of rows read so far.

    Returns
    -------
    LoadedPoints

    Raises
    ------
    InputError
        See `float64_blocks`; also if no row is left.
    """
    whole = _copied(source) if _are_all(columns, source.n_columns) else None
    if whole is not None:
        if on_rows is not None:
            on_rows(source.n_rows)
        return whole
    n_selected = source.n_columns if columns is None else len(columns)
    points = np.empty((source.n_rows, n_selected))
    weights = np.empty(source.n_rows)
    index = np.empty(source.n_rows, dtype=np.int64)
    n_kept = n_dropped_nan = n_zero_weight = n_lossy = 0
    # All at once, since all are held anyhow: a bad one is noticed before any row is read.
    _ = source.weights
    blocks = float64_blocks(
        source,
        columns,
        nan=nan,
        allow_lossy=allow_lossy,
        rows_per_block=LOAD_BLOCK_BYTES // (8 * source.n_columns),
    )
    for block in blocks:
        stop = n_kept + len(block.index)
        points[n_kept:stop] = block.points
        weights[n_kept:stop] = block.weights
        index[n_kept:stop] = block.index
        n_kept = stop
        n_dropped_nan += block.n_dropped_nan
        n_zero_weight += block.n_zero_weight
        n_lossy += block.n_lossy
        if on_rows is not None:
            on_rows(block.stop)
    if n_kept == 0:
        raise InputError(
            f"{source.name}: none of {source.n_rows} rows is left: {n_dropped_nan} hold a value "
            "that is not "
            f"finite, {n_zero_weight} have the weight 0"
        )
    return LoadedPoints(
        points[:n_kept],
        weights[:n_kept],
        index[:n_kept],
        n_dropped_nan,
        n_zero_weight,
        n_lossy,
    )


def _copied(source: Source) -> LoadedPoints | None:
    """Return the rows of an array in memory, of which all count; None if it is not as simple.

    At once, not block by block, of which each takes a tenth of a millisecond.
    """
    rows = source.held()
    if rows is None or not always_exact(source.dtype):
        return None
    with np.errstate(all="ignore"):  # as in to_float64
        points = np.array(rows, dtype=np.float64, order="C")
    # A value that is not finite is one of these: a NaN would be both.
    if not (np.isfinite(points.min()) and np.isfinite(points.max())):
        return None
    given = source.weights
    if given is None:
        weights = np.ones(source.n_rows)
    elif given.min() > 0.0:
        weights = given.copy()
    else:
        return None
    return LoadedPoints(points, weights, np.arange(source.n_rows, dtype=np.int64), 0, 0, 0)
