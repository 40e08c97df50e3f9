"""What a source of rows offers; `momentc.io.base` has the part that all of them share.

A source hands out raw rows in the input's own dtype. It never converts and never judges values:
that is the policy in `momentc.io.convert`.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Source"]


class Source(Protocol):
    """Rows of numbers from a file, a pipe or memory, with optional weights."""

    @property
    def name(self) -> str:
        """For messages: ``x.npy``, ``data.h5:/grp/x``, ``<stdin>``."""
        ...

    @property
    def path(self) -> Path | None:
        """The file; None for a pipe or an array in memory. Of several files, the first."""
        ...

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that is read, those of the weights included: never to be replaced."""
        ...

    @property
    def sequential_only(self) -> bool:
        """Whether the rows can be read only once, from the first to the last."""
        ...

    @property
    def dataset(self) -> str | None:
        """The dataset or member that was chosen."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's own shape, (n_rows,) or (n_rows, n_columns)."""
        ...

    @property
    def n_rows(self) -> int:
        """At least 1."""
        ...

    @property
    def n_columns(self) -> int:
        """At least 1; a 1-D array is one column."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The input's own type, byte order kept."""
        ...

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        ...

    @property
    def has_weights(self) -> bool:
        """Whether there are weights; answers without reading them."""
        ...

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """(n_rows,) weights: finite, none below 0, sum above 0. Read when first asked for."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user about the file."""
        ...

    @property
    def weights_name(self) -> str | None:
        """Where the weights are from, for messages; None if there are none."""
        ...

    @property
    def digests(self) -> dict[int, bytes]:
        """Digest of each leaf of the fingerprint that is known; may be added to."""
        ...

    def place_of(self, row: int) -> str:
        """Name the source for a message about one row; of several files, also which one."""
        ...

    def weights_of(self, start: int, stop: int) -> NDArray[np.float64] | None:
        """Return the weights of rows start..stop, finite and none below 0, reading no others.

        Raises
        ------
        InputError
            One of them cannot be a weight; names its row. All may be 0.
        """
        ...

    def blocks(
        self, n_rows: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (number of the first row, raw rows (<= n_rows, n_columns)) from start to stop.

        A pass that goes on where another ended has blocks with the borders that the other would
        have had. Every whole leaf that goes by is entered in `digests`.

        Raises
        ------
        InputError
            The input changed or cannot be read any more.
        """
        ...

    def held(self) -> NDArray[Any] | None:
        """Return all raw rows, not to be written to, where they are in memory anyhow.

        None where they are not, or where the fingerprint wants them to pass by in blocks.
        """
        ...

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the raw rows (len(rows), n_columns) of ascending numbers, bit for bit."""
        ...

    def sample(self, n_rows: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return about `n_rows` row numbers, ascending, and these raw rows.

        They are runs of consecutive rows, spread evenly over the whole source and always the same;
        all rows if there are no more than `n_rows`. A source that can be read only once gives its
        first rows.
        """
        ...

    def fingerprint(self) -> str:
        """Return ``blake2b-128:<hex>`` of content, weights, dtype and shape.

        Reads only the leaves that `digests` lacks; see `momentc.io.fingerprint`.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...

    def __enter__(self) -> Self:
        """Return the source itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        ...
