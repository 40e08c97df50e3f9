"""How a stream is to be worked on within a memory budget: a pure function of sizes."""

import math
from dataclasses import dataclass
from typing import Final

from momentc.errors import MemoryBudgetError
from momentc.streaming.cell_store import LEAST_CELL
from momentc.text import format_bytes

__all__ = ["StreamPlan", "plan_stream"]

# Points that the stream leaves, in multiples of the target: the in-memory stages, which make the
# better groups, take over from there. Measured at 4, 6 and 8 (docs/algorithm.md).
LEFT: Final = 6

# The same where memory is short, and the rows of a cell, in multiples of N, that it is worth: short
# buffers are reduced often, at a cost of N^3 each time.
LEAST_LEFT: Final = 3
WORTH_CELL: Final = 24

# Rows that a cell holds, in multiples of N: beyond the larger one, longer buffers gain nothing.
MOST_CELL: Final = 256

# Rows that all cells hold together, in multiples of those that come, where these are known and few:
# cells do not fill alike, and what they hold beyond that is only memory.
SPARE_SLOTS: Final = 4

# Bytes of the rows of a block as they stand in the file, and rows at most. Blocks are as large as
# is needed to share them among threads, and small enough to be forgotten.
BLOCK_BYTES: Final = 1 << 23
MOST_BLOCK_ROWS: Final = 1 << 18
LEAST_BLOCK_ROWS: Final = 64
BLOCK_SHARE: Final = 6  # one part in so many of the budget

# Copies of a block's rows in float64 at a time: read ahead, converted, in the frame; and bytes a
# row for weights, numbers, cells and their order.
BLOCK_COPIES: Final = 5
BLOCK_ROW_BYTES: Final = 72

# The same for the points that are left, in the in-memory stages.
LEFT_COPIES: Final = 5
LEFT_ROW_BYTES: Final = 128

# A state that is read back stands in memory until it is in the cells, half full on average; and
# what Python keeps of freed memory. (At 1 GB the peak is 0.8 of the budget.)
RESTORED: Final = 1.4

# Features and tableaus of the groups that are worked on at a time, in units of N x N numbers.
TABLEAUS: Final = 16

# Rows of the sample on which frame and cells are found.
SAMPLE_ROWS_A_CELL: Final = 24
LEAST_SAMPLE: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """Sizes of a stream.

    Parameters
    ----------
    n_cells : int
        Cells to find; a few more or fewer may come out.
    slots : int
        Rows that all cells can hold together.
    block_rows : int
        Rows that are read at a time.
    sample_rows : int
        Rows of the sample on which the frame and the cells are found.
    left : int
        Points that the stream leaves at most, about.
    memory : int
        Bytes in all, without the interpreter and its libraries.
    """

    n_cells: int
    slots: int
    block_rows: int
    sample_rows: int
    left: int
    memory: int

    def cell_rows(self, n_cells: int, n_moments: int) -> int:
        """Return the rows of each of the cells that were found."""
        return max(LEAST_CELL * n_moments, min(self.slots // n_cells, MOST_CELL * n_moments))


def plan_stream(
    *,
    row_bytes: int,
    n_raw: int,
    n_variables: int,
    n_moments: int,
    target: int,
    budget: int,
    n_rows: int | None = None,
) -> StreamPlan:
    """Plan a stream.

    Parameters
    ----------
    row_bytes : int
        Of a row of the input.
    n_raw : int
        Bytes of it that are carried along with every point.
    n_variables : int
        Affine rank, or an upper bound of it.
    n_moments : int
        N, of the order that the reductions keep.
    target : int
    budget : int
        Bytes, without the interpreter and its libraries.
    n_rows : int, optional
        Rows that will come, where that is known. Cells and sample do not depend on it: the parts of
        a job have the same.

    Raises
    ------
    MemoryBudgetError
        If not even the least buffers fit.
    """
    block_row = row_bytes + BLOCK_COPIES * 8 * n_variables + BLOCK_ROW_BYTES
    slot = 8 * n_variables + 16 + n_raw
    tableaus = TABLEAUS * 8 * n_moments**2

    def store(n_cells: int, slots: int) -> int:
        """Return the bytes of the cells, or of what they leave in the last stages."""
        left = n_cells * n_moments * (LEFT_COPIES * 8 * n_variables + LEFT_ROW_BYTES + 2 * n_raw)
        return tableaus + max(math.ceil(RESTORED * slots * slot), left)

    fewest = max(1, -(-LEAST_LEFT * target // n_moments))
    least = store(fewest, fewest * LEAST_CELL * n_moments)
    if least + LEAST_BLOCK_ROWS * block_row > budget:
        needed = least + LEAST_BLOCK_ROWS * block_row
        raise MemoryBudgetError(
            f"{fewest} cells for {target} points with {n_moments} moments need about "
            f"{format_bytes(needed)} of memory besides the libraries, the budget leaves "
            f"{format_bytes(max(budget, 0))}; allow more with --memory, or give a smaller "
            "target or k",
            needed,
        )
    share = max(LEAST_BLOCK_ROWS, budget // (BLOCK_SHARE * block_row))
    most = max(LEAST_BLOCK_ROWS, min(BLOCK_BYTES // row_bytes, MOST_BLOCK_ROWS))
    block_rows = min(most, share, (budget - least) // block_row)
    free = budget - block_rows * block_row - tableaus
    worth = RESTORED * slot * WORTH_CELL * n_moments
    n_cells = max(fewest, min(-(-LEFT * target // n_moments), int(free / worth)))
    slots = max(n_cells * LEAST_CELL * n_moments, int(free / (RESTORED * slot)) - 1)
    slots = min(slots, n_cells * MOST_CELL * n_moments)
    if n_rows is not None:
        slots = min(slots, max(n_cells * WORTH_CELL * n_moments, SPARE_SLOTS * n_rows))
    return StreamPlan(
        n_cells=n_cells,
        slots=slots,
        block_rows=block_rows,
        sample_rows=min(
            max(LEAST_SAMPLE, SAMPLE_ROWS_A_CELL * n_cells),
            # It is gone before the cells are filled: only wide rows make it too large.
            max(2 * n_cells, budget // (2 * (row_bytes + 24 * n_variables))),
        ),
        left=n_cells * n_moments,
        memory=block_rows * block_row + store(n_cells, slots),
    )
