"""Stream an input in ranges of rows, apart from each other, and put together what each leaves.

Whoever runs the tree: the ranges and the order in which they are merged follow from the plan, so
the threads of this process and the workers of any cluster give the same bytes.
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from momentc.cpus import available_threads
from momentc.engine.prefetch import read_ahead
from momentc.engine.threads import thread_map
from momentc.engine.tree import tree_here
from momentc.errors import InputError, UsageError
from momentc.files.jobs import CompressJob, InputChoice
from momentc.files.open import open_input
from momentc.files.parts import digests_as_arrays, digests_of_arrays, file_stamps
from momentc.files.work import Counts, take_in
from momentc.io.convert import float64_blocks
from momentc.io.fingerprint import leaf_rows
from momentc.io.location import parse_location
from momentc.io.source import Source
from momentc.io.weights import require_total
from momentc.map_function import TreeFunction
from momentc.progress import ProgressCallback
from momentc.streaming.shape import State, StreamShape
from momentc.streaming.stream import CellStream
from momentc.version import __version__

if TYPE_CHECKING:
    from momentc.files.plan import CompressPlan
    from momentc.files.streamed import StreamInput

__all__ = ["RANGE_ROWS", "cut_ranges", "take_in_ranges"]

# Rows of a range, and bytes of it, at most: a few seconds of work, so that what a worker does is
# much more than what it takes to send it there, and little is lost when it dies.
RANGE_ROWS: Final = 1 << 22
RANGE_BYTES: Final = 1 << 27

# Ranges in all, at most; larger inputs have longer ones. A Dask scheduler handles a few hundred
# pieces of work a second (150 were measured on two busy cores): more would only wait for it.
MOST_RANGES: Final = 4096


def cut_ranges(
    rows: tuple[int, int], n_rows: int, row_bytes: int, most_rows: int = RANGE_ROWS
) -> tuple[tuple[int, int], ...]:
    """Cut rows into ranges (start, stop).

    They have about ``most_rows`` rows and RANGE_BYTES at most, but there are no more than
    MOST_RANGES. They begin and end with leaves of the fingerprint.

    Parameters
    ----------
    rows : (int, int)
        First row, which begins a leaf, and the row after the last.
    n_rows : int
        Of the whole input.
    row_bytes : int
    most_rows : int
    """
    start, stop = rows
    size = leaf_rows(n_rows)
    n_leaves = -(-(stop - start) // size)
    wanted = -(-(stop - start) // max(1, min(most_rows, RANGE_BYTES // row_bytes)))
    n = min(n_leaves, wanted, MOST_RANGES)
    borders = [min(stop, start + size * (i * n_leaves // n)) for i in range(n + 1)]
    return tuple(pairwise(borders))


@dataclass(frozen=True, slots=True)
class _Task:
    """What all ranges of an input have in common.

    Parameters
    ----------
    choice : InputChoice
        With absolute names: a worker has a folder of its own.
    files : list of [str, int, int]
        Name, size and time of change in ns of every file.
    columns : (n_selected,) int64 ndarray
    shape : StreamShape
    momentc : str
        Version.
    threads : int
        That one range may use.
    """

    choice: InputChoice
    files: list[list[str | int]]
    columns: NDArray[np.int64]
    shape: StreamShape
    momentc: str
    threads: int


@dataclass(frozen=True, slots=True)
class _Reduced:
    """What is left of some ranges.

    Parameters
    ----------
    state : State
    counts : Counts
    leaves, digests : ndarray
        Of the rows that were read, for the fingerprint.
    """

    state: State
    counts: Counts
    leaves: NDArray[np.int64]
    digests: NDArray[np.uint8]


def take_in_ranges(
    job: CompressJob,
    source: Source,
    plan: "CompressPlan",
    opened: "StreamInput",
    say: ProgressCallback,
) -> tuple[CellStream, Counts]:
    """Stream the rows of a job range by range, where the job's engine wants it.

    Returns
    -------
    CellStream
        Reduced.
    Counts

    Raises
    ------
    InputError, VerificationError, MemoryBudgetError, UsageError
        What the classes say; row numbers are those of the whole input.
    """
    shape = StreamShape(opened.setting, opened.sizes, plan.n_raw)
    n_threads = job.options.threads or available_threads()
    task = _Task(
        choice=_absolute(job.source, source),
        files=file_stamps(source),
        columns=opened.columns,
        shape=shape,
        momentc=__version__,
        threads=n_threads if job.engine == "threads" else 1,
    )
    total = len(plan.ranges)
    stage = "ranges of rows" if job.engine == "threads" else "ranges of rows on the cluster"
    say(stage, 0, total)
    with _tree(job, n_threads) as run_tree:
        left: _Reduced = run_tree(
            partial(_reduce_range, task),
            plan.ranges,
            partial(_merge, task),
            lambda n_done: say(stage, n_done, total),
        )
    source.digests.update(digests_of_arrays({"leaves": left.leaves, "digests": left.digests}))
    stream = shape.stream(left.state)
    if stream.totals is not None and source.weights_name is not None:
        # No range has seen all of them.
        with np.errstate(over="ignore"):
            weight = float(np.ldexp(stream.totals.extent.mass, opened.setting.exponent))
        require_total(weight, source.n_rows, source.weights_name)
    return stream, left.counts


@contextmanager
def _tree(job: CompressJob, n_threads: int) -> Iterator[TreeFunction]:
    if job.engine == "threads":
        yield tree_here
        return
    from momentc.engine.dask_cluster import dask_tree

    with dask_tree(job.scheduler, job.workers or n_threads) as run_tree:
        yield run_tree


def _reduce_range(task: _Task, rows: tuple[int, int]) -> _Reduced:
    """Read a range of rows and reduce it."""
    start, stop = rows
    counts = Counts()
    stream = task.shape.stream()
    with _open(task) as source, thread_map(task.threads) as map_function:
        blocks = float64_blocks(
            source, task.columns, nan=task.choice.nan, allow_lossy=task.choice.allow_lossy,
            rows_per_block=task.shape.sizes.block_rows, start=start, stop=stop,
        )  # fmt: skip
        try:
            with read_ahead(blocks) as ahead:
                for block in ahead:
                    take_in(stream, block, task.shape.n_raw, counts, map_function)
        except InputError as error:
            # Its numbers of bad values are those of the range; the others are not waited for.
            raise InputError(f"in rows {start} .. {stop - 1}: {error}") from error
        stream.reduce(map_function)
        return _Reduced(stream.state(), counts, **digests_as_arrays(source.digests))


def _merge(task: _Task, first: _Reduced, second: _Reduced) -> _Reduced:
    """Put what is left of neighbours together."""
    with thread_map(task.threads) as map_function:
        state = task.shape.merged(first.state, second.state, map_function)
    return _Reduced(
        state,
        first.counts.plus(second.counts),
        np.concatenate([first.leaves, second.leaves]),
        np.concatenate([first.digests, second.digests]),
    )


def _open(task: _Task) -> Source:
    """Open the input, which must be what the client has seen.

    Raises
    ------
    UsageError, InputError
        Another version of momentc, or other files, or none.
    """
    here = platform.node()
    if task.momentc != __version__:
        raise UsageError(
            f"the worker on {here} has momentc {__version__}, the client {task.momentc}; install "
            "the same version on both"
        )
    try:
        source = open_input(task.choice)
    except InputError as error:
        raise InputError(
            f"{error} (on {here}: workers read the input themselves, under the same name)"
        ) from error
    if file_stamps(source) != task.files:
        source.close()
        raise InputError(
            f"{source.name} on {here} is not the file that the client has seen, or was written to: "
            "size or time differ; workers need a file system that they share with the client"
        )
    return source


def _absolute(choice: InputChoice, source: Source) -> InputChoice:
    """Return the choice with names that mean the same in any folder."""
    weights = choice.weights
    if weights is not None and _is_file_of(weights, source):
        weights = _absolute_name(weights)
    return replace(
        choice,
        location=_absolute_name(choice.location),
        more=tuple(map(_absolute_name, choice.more)),
        weights=weights,
    )


def _absolute_name(location: str) -> str:
    return location if location.startswith("/") else f"{Path.cwd()}/{location}"


def _is_file_of(weights: str, source: Source) -> bool:
    """Whether weights are a file of their own: a dataset of the input goes before one."""
    try:
        path = parse_location(weights).path
    except InputError:
        return False
    return path is not None and path in source.paths
