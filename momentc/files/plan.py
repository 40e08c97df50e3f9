"""What a compression will need, worked out from the headers alone, before any row is read."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentc.errors import MemoryBudgetError, RequestError
from momentc.files.jobs import CompressJob
from momentc.files.names import output_of, report_of

if TYPE_CHECKING:
    from momentc.io.source import Source

__all__ = ["CompressPlan", "available_memory", "count_moments", "make_plan", "plan_compress"]

# The affine rank of more columns than this takes a matrix of more than 128 MiB.
MAX_RANK_COLUMNS = 4096

# Counts of moments beyond this are not worked out: they are out of reach by far.
MAX_COUNT = 10**15

# Interpreter, numerical libraries and compiled code, in bytes; measured 197 MiB for 1,000 rows on
# Linux x86-64 with two threads.
LIBRARY_BYTES = 256 * 2**20

# Copies of the points in float64 that live at the same time (as read, in the frame, the working
# set of a round), and bytes a row for weights, indices, labels and sort keys. Measured peaks of
# eight shapes (1,000 x 2 to 3,000,000 x 2, 400,000 x 8) lie 10 to 30 % below the sum.
POINT_COPIES = 4
ROW_BYTES = 96

# A round handles blocks of features and tableaus of at most 2N x N numbers, a few at a time.
TABLEAU_COPIES = 16

# Points removed a second are about REMOVAL_RATE / N**REMOVAL_POWER for N moments, on one thread.
# Fitted to whole runs on two cores: 2.3e6 a second for N=6, 2.7e5 for N=45, 1.2e5 for N=165.
REMOVAL_RATE = 1.0e7
REMOVAL_POWER = 1.13
START_SECONDS = 1.0


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

    @property
    def target_may_be_low(self) -> bool:
        """Whether the target only suffices if the columns depend on each other."""
        return not self.copies_through and (self.n_moments is None or self.target < self.n_moments)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        # The order is not chosen before the data are read; the one in the plan is the least.
        return {**values, "k": "auto"} if self.auto_order else values

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
                f"{_mib(self.memory_needed)} of memory, the budget is {_mib(self.memory_budget)}; "
                "allow more with --memory, select fewer --columns, or compress parts of the rows"
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

    with open_input(job.source) as source:
        return make_plan(job, source)


def make_plan(job: CompressJob, source: "Source") -> CompressPlan:
    """Plan a compression of an open `source`; what :func:`plan_compress` describes."""
    from momentc.io.convert import select_columns

    n_columns = len(select_columns(job.source.columns, source.n_columns))
    k, target = job.options.k, job.options.target
    n_moments = count_moments(n_columns, k)
    copies_through = source.n_rows <= target
    # N beyond the target or the rows is refused before the mathematics begins.
    largest = min(n_moments or MAX_COUNT, target, source.n_rows)
    if job.auto_order:
        from momentc.study.order import MOST_MOMENTS_TRIED

        largest = min(MOST_MOMENTS_TRIED, target, source.n_rows)
    output = output_of(job)
    report = report_of(job)
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
        memory_needed=needed_memory(source, n_columns, largest),
        memory_budget=available_memory() if job.memory is None else job.memory,
        passes=1 if source.path is None else 2,
        seconds=START_SECONDS
        if copies_through
        else START_SECONDS
        + (source.n_rows - target) * largest**REMOVAL_POWER / REMOVAL_RATE / _threads(job),
        output=output,
        report=report,
    )


def needed_memory(source: "Source", n_columns: int, n_moments: int) -> int:
    """Bytes that the in-memory compression of `source` takes at its peak."""
    points = source.n_rows * (POINT_COPIES * 8 * n_columns + ROW_BYTES)
    held = source.n_rows * source.n_columns * source.dtype.itemsize if source.path is None else 0
    return LIBRARY_BYTES + points + held + TABLEAU_COPIES * n_moments * n_moments * 8


def available_memory() -> int:
    """Bytes that this process may still take: free memory of the machine or of its container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    meminfo = [line for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    limits += [int(line.split()[1]) * 1024 for line in meminfo]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limits += [int(line) for line in _lines(name) if line.strip().isdecimal()]
    return min(limits)


def _lines(path: str) -> list[str]:
    """Lines of a file of the kernel; none where there is no such file."""
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def _threads(job: CompressJob) -> int:
    return max(job.options.threads, 1)


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.0f} MiB"
