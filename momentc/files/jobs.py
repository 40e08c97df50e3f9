"""What a job on files is asked to do, and what it answers."""

import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from momentc.errors import InputError, UsageError
from momentc.io.location import parse_location
from momentc.options import (
    DEFAULT_TOLERANCE,
    CompressOptions,
    Effort,
    require_fraction,
    require_integer,
)

__all__ = ["CompressJob", "Engine", "InputChoice", "JobReport", "MergeJob", "VerifyJob"]

DEV_STDIN = Path("/dev/stdin")

Engine = Literal["threads", "dask"]
"""What runs the work: the threads of this process, or processes and machines under Dask."""


@dataclass(frozen=True, slots=True)
class InputChoice:
    """Which numbers of a file are meant, and what to do with difficult ones.

    Parameters
    ----------
    location : str
        A file (``x.npy``, ``x.npz``, ``x.h5``), optionally with the name of what is meant in it
        (``x.h5:/grp/x``), or ``-`` for the standard input.
    dataset : str, optional
        HDF5 dataset or npz member; needed if the file holds more than one candidate.
    weights : str, optional
        Dataset or member of the same file, or another file. Default: all 1, or the weights that
        a file written by momentc carries.
    columns : str, optional
        Columns whose moments count, as ``0,1,4:7``. Default: all.
    nan : {'error', 'drop'}
        What to do with rows that hold NaN or infinity. Refusing is the default, because a
        dropped row changes the moments.
    allow_lossy : bool
        Accept numbers that float64 cannot hold exactly (integers beyond 2^53, float128).
    allow_external : bool
        Follow HDF5 links, storage and virtual datasets that lead to other files.
    more : tuple of str
        Further inputs, whose rows follow those of the first.
    usual_dataset : str, optional
        As `dataset`, for inputs that name none and can have any: a .npy file has none.
    """

    location: str
    dataset: str | None = None
    weights: str | None = None
    columns: str | None = None
    nan: Literal["error", "drop"] = "error"
    allow_lossy: bool = False
    allow_external: bool = False
    more: tuple[str, ...] = ()
    usual_dataset: str | None = None

    def __post_init__(self) -> None:
        """Check the one choice that is a word."""
        if self.nan not in {"error", "drop"}:
            raise UsageError(f"--nan is {self.nan!r}; expected error or drop")

    def files(self) -> list[Path]:
        """Return the files that are read, which no output may ever replace."""
        files = [parse_location(self.location, self.dataset).path]
        files += [parse_location(other).path for other in self.more]
        if self.location == "-":
            with suppress(OSError, ValueError):  # closed, or none of the system's
                if stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):
                    files.append(DEV_STDIN)  # < data.npy
        if self.weights is not None:
            # Not a file: a dataset of the input, or a mistake that opening the input will name.
            with suppress(InputError):
                files.append(parse_location(self.weights).path)
        return [path for path in files if path is not None]


@dataclass(frozen=True, slots=True)
class CompressJob:
    """Compress one file into another.

    Parameters
    ----------
    source : InputChoice
        The input.
    options : CompressOptions
        Order, target, seed, threads, tolerance.
    output : str, optional
        File to write, ``-`` for the standard output. Default: derived from the input's name.
    report : str, optional
        File for the report. Default: beside the output, none with ``-`` and devices.
    memory : int, optional
        Budget in bytes. Default: half of what the process may use.
    force : bool
        Overwrite an existing output; never the input.
    keep_going : bool
        Write the result even if the tolerance is not reached, marked as not ok.
    auto_order : bool
        Choose the order from measurements on the input; the options' own order does not count.
    shard : (int, int), optional
        Compress the i-th of n stretches of rows alone, i from 1, into a part for ``merge``.
    checkpoint_every : float
        Seconds between checkpoints of a stream.
    restart : bool
        Begin anew even if there is a checkpoint.
    engine : {'threads', 'dask'}
        With dask, the input is always streamed, in ranges of rows.
    scheduler : str, optional
        Address of a Dask cluster that is there. Default: one of this machine, for this job.
    workers : int
        Processes of the cluster of this machine; 0: as many as threads.
    range_rows : int, optional
        Rows of a range, at most. Default: what dask does well with; no ranges with threads.

    Raises
    ------
    UsageError
        The choices of the engine contradict each other.
    """

    source: InputChoice
    options: CompressOptions = field(default_factory=CompressOptions)
    output: str | None = None
    report: str | None = None
    memory: int | None = None
    force: bool = False
    keep_going: bool = False
    auto_order: bool = False
    shard: tuple[int, int] | None = None
    checkpoint_every: float = 60.0
    restart: bool = False
    engine: Engine = "threads"
    scheduler: str | None = None
    workers: int = 0
    range_rows: int | None = None

    def __post_init__(self) -> None:
        """Check what belongs to the engine, and the form of the numbers; NaN is no time."""
        if self.engine not in get_args(Engine):
            raise UsageError(
                f"--engine is {self.engine!r}; expected one of {', '.join(get_args(Engine))}"
            )
        if self.workers < 0:
            raise UsageError(f"--workers is {self.workers}; expected 0 (as --threads) or more")
        if self.engine != "dask" and (self.scheduler is not None or self.workers):
            raise UsageError("--scheduler and --workers go with --engine dask")
        if self.scheduler is not None and self.workers:
            raise UsageError(
                f"--workers {self.workers} goes with a cluster of this machine, but the one at "
                f"{self.scheduler!r} has its own workers; give one of --workers and --scheduler"
            )
        if not self.checkpoint_every >= 0.0:
            raise UsageError(
                f"--checkpoint-every is {self.checkpoint_every!r}; expected seconds, 0 or more"
            )


@dataclass(frozen=True, slots=True)
class MergeJob:
    """Merge the parts of a compression that was done in shards.

    Parameters
    ----------
    parts : tuple of str
        Files that ``--shard`` wrote, or merges of some of them, in any order.
    target : int
        Objects to keep.
    k : int, optional
        At most that of the parts, which is the default.
    seed, threads : int
    tolerance : float
    effort : {'low', 'normal', 'high'}
    output, report : str, optional
        As for a compression. Default: named after the parts, beside them.
    memory : int, optional
        Budget in bytes.
    force, keep_going : bool
        As for a compression.
    allow_missing : bool
        Merge although rows are in no part, and say so in the result.
    """

    parts: tuple[str, ...]
    target: int = 1000
    k: int | None = None
    seed: int = 0
    threads: int = 0
    tolerance: float = DEFAULT_TOLERANCE
    effort: Effort = "normal"
    output: str | None = None
    report: str | None = None
    memory: int | None = None
    force: bool = False
    keep_going: bool = False
    allow_missing: bool = False

    def __post_init__(self) -> None:
        """Check the form of the options, whatever order the parts have.

        Raises
        ------
        UsageError
        """
        self.options_for(1 if self.k is None else self.k)

    def options_for(self, k: int) -> CompressOptions:
        """Return the options of the compression that ends the merge."""
        return CompressOptions(k, self.target, self.seed, self.threads, self.tolerance, self.effort)


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """Compare the moments of a compressed file with those of its original.

    Parameters
    ----------
    source : InputChoice
        The original. Dataset, weights, columns and the handling of NaN default to what the
        compressed file records of itself.
    compressed : str
        A file written by momentc.
    k : int, optional
        Order up to which the moments must agree. Default: the order of the compressed file.
    tolerance : float
        Largest moment error in the frame that passes.
    nan_as_recorded : bool
        Leave rows with NaN out where the compressed file says that this was done; otherwise what
        ``source`` says holds.
    threads : int
        0: all that this process may use. The result does not depend on it.
    """

    source: InputChoice
    compressed: str
    k: int | None = None
    tolerance: float = DEFAULT_TOLERANCE
    nan_as_recorded: bool = True
    threads: int = 0

    def __post_init__(self) -> None:
        """Check the form of the numbers; NaN is no tolerance."""
        require_fraction("tolerance", self.tolerance)
        if self.k is not None:
            require_integer("k", self.k, 0)


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a finished job has to say.

    Parameters
    ----------
    content : dict
        The report: plain JSON values only.
    ok : bool
        Whether the moments agree within the tolerance.
    notes : tuple of str
        Sentences that the user should read.
    output : str, optional
        The file that was written.
    report_path : str, optional
        Where the report was written.
    """

    content: dict[str, Any]
    ok: bool
    notes: tuple[str, ...] = ()
    output: str | None = None
    report_path: str | None = None
