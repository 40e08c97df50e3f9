"""Which rows stand for a whole source when reading all of them would take too long."""

from collections.abc import Callable

__all__ = ["sample_runs"]

MAX_RUNS = 256
"""Each run is a seek, or a chunk to unpack: 256 of them take about a second on a slow disk."""
MIN_RUNS = 16
"""However small the sample: files are often sorted, and one place would say nothing of the rest."""


def sample_runs(
    n_rows: int,
    wanted: int,
    *,
    least_rows: int,
    unit_rows: int = 1,
    floor: Callable[[int], int] = lambda row: row,
) -> list[tuple[int, int]]:
    """Spread runs of consecutive rows evenly over a source.

    Parameters
    ----------
    n_rows : int
        Rows of the source.
    wanted : int
        Rows of all runs together, at least 1.
    least_rows : int
        Rows that come at the price of one read: a run is at least so long, unless the sample is
        too small for 16 such runs.
    unit_rows : int, default 1
        Rows of a chunk. Where runs are far enough apart, they begin with one.
    floor : callable, optional
        The first row of the chunk that a row is in.

    Returns
    -------
    list of (start, stop)
        Ascending, apart from each other, within 0..n_rows, at most 256; ``[(0, n_rows)]`` if
        `wanted` is not below `n_rows`. They have `wanted` rows in all. The first run begins with
        row 0; without chunks, the last one ends with the last row.
    """
    if wanted < 1:
        raise ValueError(f"a sample has at least one row, got {wanted}")
    if wanted >= n_rows:
        return [(0, n_rows)]
    n_runs = min(MAX_RUNS, max(MIN_RUNS, wanted // least_rows), wanted)
    runs: list[tuple[int, int]] = []
    done = 0
    for number in range(n_runs):
        length = wanted * (number + 1) // n_runs - done
        done += length
        # Room for the rows not taken lies between the runs, in equal parts.
        skipped = (n_rows - wanted) * number // max(1, n_runs - 1)
        start = done - length + skipped
        if 2 * unit_rows * n_runs <= n_rows - wanted:
            start = floor(start)
        runs.append((start, start + length))
    return runs
