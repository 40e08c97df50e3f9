"""What a compression will need, worked out from the headers alone, before any row is read."""

import os
import resource
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentc.cgroup import memory_limit
from momentc.effort import removal_seconds, surplus_bytes, working_order
from momentc.errors import MemoryBudgetError, RequestError, UsageError
from momentc.files.jobs import CompressJob
from momentc.files.names import is_file_name, made_folder, output_of, report_of
from momentc.files.parts import shard_rows
from momentc.files.ranges import RANGE_ROWS, cut_ranges
from momentc.options import CompressOptions
from momentc.streaming.plan import StreamPlan, plan_stream
from momentc.text import format_bytes, printable

if TYPE_CHECKING:
    from momentc.io.source import Source

__all__ = [
    "CompressPlan",
    "count_moments",
    "default_memory",
    "make_plan",
    "most_held",
    "plan_compress",
    "plan_stream_within",
]

# The affine rank of more columns than this takes a matrix of more than 128 MiB.
MAX_RANK_COLUMNS = 4096

# Counts of moments beyond this are not worked out: they are out of reach by far.
MAX_COUNT = 10**15

# Interpreter, numerical libraries and compiled code, in bytes; measured 197 to 265 MiB on Linux
# x86-64 with two threads. How much of a library's file is mapped is up to the kernel: all of it
# around a page that is used, where it lies in large pages of the cache (70 MiB more).
LIBRARY_BYTES = 288 * 2**20

# Copies of the points in float64 that live at the same time (as read, in the frame, the working
# set of a round), and bytes a row for weights, indices, labels and sort keys. Measured peaks of
# eight shapes (1,000 x 2 to 3,000,000 x 2, 400,000 x 8) lie 10 to 30 % below the sum.
POINT_COPIES = 4
ROW_BYTES = 96

# A round handles blocks of features and tableaus of at most 2N x N numbers, a few at a time.
TABLEAU_COPIES = 16

START_SECONDS = 1.0

# Seconds a row of a stream on one thread: reading, sending to a cell, summing and reducing.
STREAM_ROW = 3.5e-7
STREAM_MOMENT = 1.2e-8

# Budget of each worker of a cluster where none was given. Not a part of a machine's memory: the
# result depends on it, and shall be the same from any cluster.
WORKER_MEMORY = 2**30

# Copies of the bytes of a pipe while they are read, and the part of the budget up to which they are
# read whole. The rows of a larger .npy array pass by instead.
HELD_COPIES = 2
MOST_HELD = 1 / 8

# A stream carries whole rows along if they are at most so many times as wide as the columns that
# count are in float64.
MOST_CARRIED = 4


@dataclass(frozen=True, slots=True)
class CompressPlan:
    """What a compression will read, need and write.

    Parameters
    ----------
    input : str
        Name of the input for messages.
    dtype : str
        The input's own type of number.
    n_rows, n_columns : int
        Rows of the input; columns whose moments are matched.
    weighted : bool
        Whether the input carries weights.
    k, target : int
        The request.
    auto_order : bool
        The order will be chosen from measurements; ``k`` is the least that it can be.
    n_moments : int or None
        C(n_columns + k, k), the bound on the number of objects kept; smaller if columns depend
        on each other. None beyond MAX_COUNT.
    copies_through : bool
        The input already has no more rows than the target.
    memory_needed, memory_budget : int
        Bytes.
    passes : int
        How often the input is read.
    seconds : float
        Rough time.
    output : str
        File that will be written.
    report : str or None
        File that the report will be written to.
    rows : (int, int)
        First row, and the row after the last: all, or those of a shard.
    stream : StreamPlan or None
        The sizes of a stream; None where all rows are held in memory.
    n_raw : int
        Bytes of a row that a stream carries along with every point, so that no row is read twice.
    row_bytes : int
        Bytes of a row.
    held : int
        Bytes of the rows of a pipe that is read whole; 0 for files.
    inputs : tuple of pathlib.Path
        Files that are read.
    checkpoints : bool
        Whether the work can be interrupted and taken up again.
    ranges : tuple of (int, int)
        Ranges of rows that are streamed apart and merged; none where one pass takes all.
    notes : tuple of str
        Sentences for the user about the input.
    """

    input: str
    dtype: str
    n_rows: int
    n_columns: int
    weighted: bool
    k: int
    target: int
    auto_order: bool
    n_moments: int | None
    copies_through: bool
    memory_needed: int
    memory_budget: int
    passes: int
    seconds: float
    output: str
    report: str | None
    rows: tuple[int, int]
    stream: StreamPlan | None
    n_raw: int
    row_bytes: int
    held: int
    inputs: tuple[Path, ...]
    checkpoints: bool
    ranges: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def target_may_be_low(self) -> bool:
        """Whether the target only suffices if the columns depend on each other."""
        return not self.copies_through and (self.n_moments is None or self.target < self.n_moments)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["stream"] = None if self.stream is None else asdict(self.stream)
        values["inputs"] = [str(path) for path in self.inputs]
        values["rows"] = list(self.rows)
        values["ranges"] = len(self.ranges)
        # The order is not chosen before the data are read; the one in the plan is the least.
        return {**values, "k": "auto"} if self.auto_order else values

    def stream_for(self, target: int, rank: int, n_moments: int) -> StreamPlan:
        """Return the sizes of the stream now that the rank and the order are known.

        Raises
        ------
        MemoryBudgetError
        """
        return plan_stream_within(
            self.input,
            row_bytes=self.row_bytes,
            n_raw=self.n_raw,
            n_variables=rank,
            n_moments=n_moments,
            target=target,
            budget=self.memory_budget,
            held=self.held,
            n_rows=_most_rows(self.rows, self.ranges),
        )

    def check_columns(self) -> None:
        """Refuse from the header alone what so many columns make hopeless.

        Up to MAX_RANK_COLUMNS the affine rank of the rows, which may be lower than the number of
        columns, has the last word; beyond, finding it would itself be too much.

        Raises
        ------
        RequestError
            The target is below C(n_columns + k, k).
        """
        if self.n_columns <= MAX_RANK_COLUMNS or self.copies_through:
            return
        rank = min(self.n_columns, self.n_rows - 1)
        needed = count_moments(rank, self.k)
        if needed is not None and needed <= self.target:
            return
        size = f"more than {MAX_COUNT:.0e}" if needed is None else f"{needed}"
        order = 0
        while (count_moments(rank, order + 1) or MAX_COUNT) <= self.target:
            order += 1
        advice = f"k = {order} is the largest that fits" if order else "no k fits so many columns"
        raise RequestError(
            f"{self.input}: target {self.target} is below C({rank}+{self.k},{self.k}), the number "
            f"of moments up to order {self.k} in {rank} columns, which is {size}; {advice}; select "
            "fewer columns with --columns or give a larger target"
        )

    def check_output(self, job: CompressJob) -> None:
        """Refuse an output that the run would refuse; nothing is written to try it.

        Raises
        ------
        UsageError, OutputError
            See :func:`momentc.files.outputs.probe`.
        """
        from momentc.files.outputs import check_names, probe
        from momentc.io.atomic import require_folder

        folder = Path(self.output).parent
        if made_folder(job) is not None and not folder.exists():
            # Nothing is in the way in a folder that is yet to be made.
            check_names(self.output, self.report)
            require_folder(folder.parent, printable(str(folder)))
            return
        probe(self.output, self.report, force=job.force, inputs=self.inputs, by_writing=False)

    def check_memory(self) -> None:
        """Refuse to start what will not fit.

        Raises
        ------
        MemoryBudgetError
            More is needed than the budget has.
        """
        if self.memory_needed > self.memory_budget:
            raise MemoryBudgetError(
                f"{self.input}: {self.n_rows} rows x {self.n_columns} columns need about "
                f"{format_bytes(self.memory_needed)} of memory, the budget is "
                f"{format_bytes(self.memory_budget)}; allow more with --memory, select fewer "
                "--columns, or give a smaller target or k"
            )


def count_moments(n_columns: int, k: int) -> int | None:
    """C(n_columns + k, k), or None beyond MAX_COUNT: it may have millions of digits."""
    count = 1
    for i in range(1, min(n_columns, k) + 1):
        count = count * (max(n_columns, k) + i) // i  # C(max + i, i), an integer at each step
        if count > MAX_COUNT:
            return None
    return count


def plan_compress(job: CompressJob) -> CompressPlan:
    """Plan a compression; opens the input and reads its headers, nothing else.

    Raises
    ------
    InputError
        The input is missing, malformed or of a type that cannot be used.
    UsageError
        An option has the wrong form, or the output's name cannot be derived.
    """
    from momentc.files.open import open_input

    with open_input(job.source, hold_at_most=most_held(job)) as source:
        return make_plan(job, source)


def make_plan(job: CompressJob, source: "Source") -> CompressPlan:
    """Plan a compression of an open `source`; what :func:`plan_compress` describes."""
    from momentc.io.convert import select_columns

    n_columns = len(select_columns(job.source.columns, source.n_columns))
    k, target = job.options.k, job.options.target
    n_moments = count_moments(n_columns, k)
    # N beyond the target or the rows is refused before the mathematics begins.
    largest = min(n_moments or MAX_COUNT, target, source.n_rows)
    if job.auto_order:
        from momentc.study.order import MOST_MOMENTS_TRIED

        largest = min(MOST_MOMENTS_TRIED, target, source.n_rows)
    output = output_of(job)
    report = report_of(job)
    in_ranges = job.engine == "dask" or job.range_rows is not None
    if in_ranges:
        _check_files(source)
    budget = job.memory
    if budget is None:
        budget = WORKER_MEMORY if in_ranges else default_memory()
    rows = (0, source.n_rows) if job.shard is None else shard_rows(source.n_rows, job.shard)
    copies_through = source.n_rows <= target
    needed = needed_memory(source, n_columns, largest, job.options)
    # Wide rows of which few columns count are read again at the end.
    carries = source.sequential_only or source.row_bytes <= MOST_CARRIED * 8 * n_columns
    n_raw = source.row_bytes if carries else 0
    held = held_bytes(source)
    stream = None
    ranges = (
        cut_ranges(rows, source.n_rows, source.row_bytes, job.range_rows or RANGE_ROWS)
        if in_ranges
        else ()
    )
    # A pipe that passes by cannot be copied through either: its rows are not there any more.
    too_large = source.sequential_only or (needed > budget and not copies_through)
    if in_ranges or job.shard is not None or too_large:
        order = working_order(k, n_columns, target, job.options.effort)
        stream = plan_stream_within(
            source.name,
            row_bytes=source.row_bytes,
            n_raw=n_raw,
            n_variables=n_columns,
            n_moments=min(count_moments(n_columns, order) or MAX_COUNT, target),
            target=target,
            budget=budget,
            held=held,
            n_rows=_most_rows(rows, ranges),
        )
        needed = LIBRARY_BYTES + held + stream.memory
    one_pass = stream is not None or source.path is None
    return CompressPlan(
        input=source.name,
        dtype=str(source.dtype),
        n_rows=source.n_rows,
        n_columns=n_columns,
        weighted=source.has_weights,
        k=k,
        target=target,
        auto_order=job.auto_order,
        n_moments=n_moments,
        copies_through=copies_through,
        memory_needed=needed,
        memory_budget=budget,
        passes=1 if one_pass else 2,
        seconds=_seconds(job, rows[1] - rows[0], largest, streams=stream is not None),
        output=output,
        report=report,
        rows=rows,
        stream=stream,
        n_raw=n_raw if stream is not None else 0,
        row_bytes=source.row_bytes,
        held=held,
        inputs=source.paths,
        checkpoints=not (stream is None or in_ranges or source.sequential_only)
        and is_file_name(output),
        ranges=ranges,
        notes=source.warnings,
    )


def _most_rows(rows: tuple[int, int], ranges: Sequence[tuple[int, int]]) -> int:
    """Return how many rows a stream takes in at most: all, or those of a range."""
    return max(stop - start for start, stop in ranges or (rows,))


def _check_files(source: "Source") -> None:
    """Refuse what processes other than this one cannot read.

    Raises
    ------
    UsageError
    """
    if not source.paths or not all(path.is_file() for path in source.paths):
        raise UsageError(
            f"{source.name} is a pipe, which only one process can read; --engine dask needs files"
        )


def plan_stream_within(name: str, *, budget: int, held: int = 0, **sizes: int) -> StreamPlan:
    """Plan a stream in what the libraries and a pipe that is held leave of the budget.

    Raises
    ------
    MemoryBudgetError
        Says what would do.
    """
    try:
        return plan_stream(budget=budget - LIBRARY_BYTES - held, **sizes)
    except MemoryBudgetError as error:
        taken = (
            f"{format_bytes(LIBRARY_BYTES)} of --memory are for the interpreter and its libraries"
        )
        if held:
            taken += f", {format_bytes(held)} for the whole of the pipe"
        else:
            taken += f"; --memory {-(-(LIBRARY_BYTES + error.needed) // 2**20)}MiB would do"
        raise MemoryBudgetError(f"{name}: {error} ({taken})") from error


def most_held(job: CompressJob) -> int:
    """Bytes of a pipe that may be read whole; what is larger passes by, if its format allows it."""
    budget = default_memory() if job.memory is None else job.memory
    return max(0, int((budget - LIBRARY_BYTES) * MOST_HELD))


def held_bytes(source: "Source") -> int:
    """Bytes that the rows of a pipe take which is read whole."""
    if source.path is not None or source.sequential_only:
        return 0
    return HELD_COPIES * source.n_rows * source.n_columns * source.dtype.itemsize


def _seconds(job: CompressJob, n_rows: int, n_moments: int, *, streams: bool) -> float:
    """Guess the time that the work will take."""
    if n_rows <= job.options.target:
        return START_SECONDS
    if streams:
        row = STREAM_ROW + STREAM_MOMENT * n_moments
        return START_SECONDS + n_rows * row / _threads(job)
    points = n_rows - job.options.target
    return START_SECONDS + removal_seconds(points, n_moments) / _threads(job)


def needed_memory(
    source: "Source", n_columns: int, n_moments: int, options: CompressOptions
) -> int:
    """Bytes that the in-memory compression of `source` takes at its peak."""
    points = source.n_rows * (POINT_COPIES * 8 * n_columns + ROW_BYTES) + held_bytes(source)
    tableaus = TABLEAU_COPIES * n_moments * n_moments * 8
    surplus = surplus_bytes(options.k, n_columns, options.target, options.effort)
    return LIBRARY_BYTES + points + tableaus + surplus


def default_memory() -> int:
    """Bytes of the budget where none was given: half of what the process may ever use.

    Not of what happens to be free: the sizes of a stream follow from the budget, and the result
    from the sizes.
    """
    return usable_memory() // 2


def usable_memory() -> int:
    """Bytes that this process may use: memory of the machine, of its groups, and its limits."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        limit, _ = resource.getrlimit(kind)
        limits += [limit] if limit != resource.RLIM_INFINITY else []
    grouped = memory_limit()
    return min(limits if grouped is None else [*limits, grouped])


def _threads(job: CompressJob) -> int:
    return max(job.workers or job.options.threads, 1)
