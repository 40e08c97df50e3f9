"""Part files: what each says of itself, and whether they belong together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError, PartsError
from momentc.files.names import STDOUT, is_file_name
from momentc.files.open import open_result
from momentc.files.parts import digests_of_arrays
from momentc.io.location import parse_location
from momentc.moments.frame import Dependence, Frame
from momentc.moments.totals import Totals
from momentc.streaming.stream import totals_of
from momentc.text import printable

__all__ = ["Part", "carried", "check_rows", "digests_of", "frame_of", "joined_rows", "read_parts"]

# What must be the same in all parts, with the words for a message.
SAME: Final = {
    "momentc": "made by different versions of momentc",
    "shape": "made from inputs of different shapes",
    "dtype": "made from inputs of different types",
    "weighted": "made with and without weights",
    "sample": "made from different inputs (the digests of a sample of all rows differ)",
    "files": "made from different files, or from files that were written to in between (names, "
    "sizes, times of change; cp -p keeps the time of a copy)",
    "datasets": "made from different datasets or weights",
    "columns": "made of different columns",
    "k": "made for different k",
    "kept_order": "made with different working orders (another --target, --effort or k)",
    "compared_order": "made with different working orders (another --target, --effort or k)",
    "weight_exponent": "made with different units of the weights",
    "nan": "made with different --nan",
    "allow_lossy": "made with and without --allow-lossy",
    "frame": "made in different frames",
    "moments_in": "made with sums in different frames",
}

# What a part of this version says besides.
BESIDES: Final = ("rows", "stream")

# Sizes of a stream that all parts of a job have alike.
BY_BUDGET: Final = ("cells", "block_rows", "sample_rows")


@dataclass(frozen=True, slots=True)
class Part:
    """What a part file says of itself, without its points."""

    location: str
    metadata: dict[str, Any]
    extra: dict[str, NDArray[Any]]

    @property
    def head(self) -> dict[str, Any]:
        """What its state depends on; see :func:`momentc.files.parts.part_head`."""
        return dict(self.metadata["part"])

    @property
    def rows(self) -> list[tuple[int, int]]:
        """Stretches (start, stop) of the input's rows that it was made from."""
        return [(int(start), int(stop)) for start, stop in self.head["rows"]]

    @property
    def is_empty(self) -> bool:
        """Whether no row of it counts."""
        return int(self.metadata["n_kept"]) == 0 and "moments" not in self.extra

    @property
    def name(self) -> str:
        """For messages."""
        return printable(self.location)


def read_parts(locations: Sequence[str]) -> list[Part]:
    """Return the parts in the order of their rows, whatever the order of their names."""
    parts: list[Part] = []
    for location in locations:
        if not is_file_name(str(parse_location(location).path or STDOUT)):
            raise InputError(
                f"{printable(location)} is a pipe, which can be read only once; expected files: "
                "parts of a job are read more than once"
            )
        source = open_result(location, "parts of a job, as compress --shard writes them")
        metadata, extra = source.metadata, source.extra
        if metadata.get("part") is None:
            why = (
                "it is what a merge has made of the parts; leave it out"
                if metadata.get("parts") is not None
                else "it was not made with --shard"
            )
            raise PartsError(f"{printable(location)} is not a part of a job: {why}")
        part = Part(location, metadata, extra)
        for field in (*SAME, *BESIDES):
            if field not in part.head:
                raise PartsError(
                    f"{part.name} does not say its {field}: it was made by another version of "
                    f"momentc, {part.head.get('momentc', 'which is not known')}; merge it with "
                    "that one, or make it anew"
                )
        parts.append(part)
    parts.sort(key=lambda part: (part.rows[0], part.location))
    first = parts[0]
    for part in parts[1:]:
        for field, made in SAME.items():
            if part.head[field] != first.head[field]:
                values = (
                    ""
                    if field in {"sample", "frame"}
                    else f": {first.head[field]} and {part.head[field]}"
                )
                words = made
                if field == "sample" and any(
                    part.head["stream"][size] != first.head["stream"][size] for size in BY_BUDGET
                ):
                    # The size of the sample follows from the budget.
                    words = "made with different --memory or from different inputs"
                    values = " (the samples of all rows differ); give all parts the same --memory"
                raise PartsError(
                    f"{first.name} and {part.name} do not belong together, they were {words}"
                    f"{values}"
                )
    return parts


def check_rows(parts: Sequence[Part], *, allow_missing: bool) -> list[tuple[int, int]]:
    """Return the rows that no part holds.

    Raises
    ------
    PartsError
        Rows are in two parts, or in none.
    """
    n_rows = int(parts[0].head["shape"][0])
    stretches = sorted((start, stop, part.name) for part in parts for start, stop in part.rows)
    missing = []
    done, owner = 0, ""
    for start, stop, name in stretches:
        if start < done:
            same = "is given twice" if owner == name else f"and {name} overlap"
            raise PartsError(f"{owner} {same}: both hold row {start}")
        if start > done:
            missing.append((done, start))
        done, owner = stop, name
    if done < n_rows:
        missing.append((done, n_rows))
    if missing and not allow_missing:
        listed = ", ".join(f"{start} .. {stop - 1}" for start, stop in missing[:5])
        more = f" and {len(missing) - 5} more stretches" if len(missing) > 5 else ""
        count = sum(stop - start for start, stop in missing)
        raise PartsError(
            f"{count} of {n_rows} rows are in no part: rows {listed}{more}; make the missing "
            "parts, or merge what is there with --allow-missing"
        )
    return missing


def frame_of(values: dict[str, Any]) -> Frame:
    """Return the frame that a head tells of."""
    return Frame(
        np.array(values["center"], dtype=np.float64),
        np.array(values["scale"], dtype=np.float64),
        np.array(values["columns"], dtype=np.int64),
        tuple(values["constant"]),
        tuple(
            Dependence(int(column), float(residual), float(growth))
            for column, residual, growth in values["dependent"]
        ),
    )


def carried(part: Part) -> Totals:
    """Return the totals of all rows that a part was made from."""
    head = part.head
    columns = np.array(head["frame"]["columns"], dtype=np.int64)
    return totals_of(part.extra, columns, int(head["compared_order"]))


def joined_rows(parts: Iterable[Part]) -> list[list[int]]:
    """Return the rows of all parts, neighbours put together."""
    joined: list[list[int]] = []
    for start, stop in sorted(rows for part in parts for rows in part.rows):
        if joined and joined[-1][1] == start:
            joined[-1][1] = stop
        else:
            joined.append([start, stop])
    return joined


def digests_of(parts: Iterable[Part]) -> dict[int, bytes]:
    """Return the digest of each leaf of the input's fingerprint that the parts know."""
    return {leaf: d for part in parts for leaf, d in digests_of_arrays(part.extra).items()}
