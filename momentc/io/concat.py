"""Several sources read as one: the rows of the second follow those of the first."""

import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.base import SourceBase

__all__ = ["ConcatSource"]


class ConcatSource(SourceBase):
    """The rows of several sources, one source after the other.

    Nothing that is read depends on where one ends and the next begins: rows, sample, weights and
    fingerprint are those of one file with all the rows (a sample begins its runs at the chunks of
    each file).

    Parameters
    ----------
    sources : sequence of SourceBase
        At least one; closed with this source. All of them have weights, or none. None of them may
        be one that can be read only once.

    Raises
    ------
    InputError
        Another number of columns or another dtype than the first source, or weights in some only.
        The message names both sources. They stay open.
    """

    def __init__(self, sources: Sequence[SourceBase]) -> None:
        if not sources:
            raise ValueError("there is no source to read")
        self._parts = tuple(sources)
        first = self._parts[0]
        for part in self._parts:
            _require_alike(first, part)
        n_rows = sum(part.n_rows for part in self._parts)
        is_flat = all(len(part.shape) == 1 for part in self._parts)
        datasets = {part.dataset for part in self._parts}
        # A path says that the rows can be read again at will, and takes no memory to hold. Where
        # one of the parts has none, neither has the whole.
        in_files = all(part.path is not None for part in self._parts)
        super().__init__(
            _name(self._parts),
            path=first.path if in_files else None,
            dataset=first.dataset if len(datasets) == 1 else None,
            shape=(n_rows,) if is_flat else (n_rows, first.n_columns),
            dtype=first.dtype,
            unit_rows=max(part._unit_rows for part in self._parts),
            warnings=tuple(note for part in self._parts for note in part.warnings),
        )
        self._sequential_rows = max(part._sequential_rows for part in self._parts)
        self._first_rows = [0]
        for part in self._parts[:-1]:
            self._first_rows.append(self._first_rows[-1] + part.n_rows)
        weights = [part._weight_source for part in self._parts]
        if weights[0] is not None:
            self.attach_weights(ConcatSource([source for source in weights if source is not None]))
        self._closers += [part.close for part in self._parts]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that is read, those of the weights included."""
        # The weights of the parts are counted by the parts; others may have been attached since.
        parts = [path for part in self._parts for path in part.paths]
        weights = () if self._weight_source is None else self._weight_source.paths
        return tuple(dict.fromkeys([*parts, *weights]))

    def place_of(self, row: int) -> str:
        """Name the source, and the file in which the row is, with the row's number there."""
        number = self._part_of(row)
        part, inside = self._parts[number], row - self._first_rows[number]
        return f"{self.name} (row {inside} of {part.place_of(inside)})"

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return chosen raw rows; see `Source.take`."""
        rows = np.asarray(rows, dtype=np.int64)
        self._check_rows(rows)
        taken = np.empty((len(rows), self.n_columns), self.dtype)
        borders = np.searchsorted(rows, [*self._first_rows, self.n_rows])
        for number, part in enumerate(self._parts):
            begin, end = int(borders[number]), int(borders[number + 1])
            if begin < end:
                taken[begin:end] = part.take(rows[begin:end] - self._first_rows[number])
        return taken

    def _part_of(self, row: int) -> int:
        """Number of the part that a row is in."""
        return bisect.bisect_right(self._first_rows, row) - 1

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        pieces = []
        number = self._part_of(start)
        while start < stop:
            first, part = self._first_rows[number], self._parts[number]
            end = min(stop, first + part.n_rows)
            pieces.append(part._read_unchanged(start - first, end - first))
            start, number = end, number + 1
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, dtype=self.dtype)

    def _floor(self, row: int) -> int:
        """First row of the unit of its own file that a row is in."""
        if row >= self.n_rows:
            return row
        number = self._part_of(row)
        first = self._first_rows[number]
        return first + self._parts[number]._floor(row - first)

    def _ceil(self, row: int) -> int:
        """First row after the unit, of its own file, that the row before `row` is in."""
        number = self._part_of(row - 1)
        first = self._first_rows[number]
        return first + self._parts[number]._ceil(row - first)


def _name(parts: Sequence[SourceBase]) -> str:
    """``3 files, a.npy .. c.npy``."""
    if len(parts) == 1:
        return parts[0].name
    return f"{len(parts)} files, {parts[0].name} .. {parts[-1].name}"


def _require_alike(first: SourceBase, part: SourceBase) -> None:
    """Refuse a part that cannot follow the first one."""
    if part.sequential_only:
        raise InputError(
            f"{part.name} can be read only once, and not together with other inputs: save it to a "
            "file first"
        )
    if part.n_columns != first.n_columns:
        raise InputError(
            f"{part.name} has {part.n_columns} columns, but {first.name} has {first.n_columns}: "
            "inputs that are read as one must have the same columns"
        )
    if part.dtype != first.dtype:
        raise InputError(
            f"{part.name} has dtype {part.dtype.str}, but {first.name} has {first.dtype.str}: "
            "inputs that are read as one must have the same type. Convert one of them with astype"
        )
    if part.has_weights != first.has_weights:
        with_them, without = (part, first) if part.has_weights else (first, part)
        raise InputError(
            f"{with_them.name} has weights, but {without.name} has none: of inputs that are read "
            "as one, all have weights or none has"
        )
