"""What the measuring commands are asked to do."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from momentc.errors import UsageError
from momentc.files.jobs import InputChoice
from momentc.options import DEFAULT_TOLERANCE, Effort

if TYPE_CHECKING:
    from momentc.study.run import Standing

__all__ = ["DEFAULT_FRACTION", "BenchJob", "OnStanding", "ScanJob"]

OnStanding = Callable[["Standing"], None]


# Part of synthetic points that is kept where nothing is said.
DEFAULT_FRACTION: Final = 0.1


@dataclass(frozen=True, slots=True)
class ScanJob:
    """Measure errors over a grid.

    Parameters
    ----------
    source : InputChoice, optional
        The user's array; else ``synthetic`` says which points.
    synthetic : {'uniform', 'gaussian'}, optional
    ms, ds, ks, targets : tuple of int
        The grid. ``ms`` and ``ds`` are for synthetic points only. No targets: the paper's rule.
    fraction : float, optional
        Part of synthetic points to keep where no targets are given. Default: 0.1.
    trials : int
    polylog : bool
        Appendix G of the paper.
    methods, families : tuple of str
    effort : {'low', 'normal', 'high'}
    seed : int
    per_family : int
        Functions of each family.
    max_error : float, optional
        Recommend the cheapest setting with at most this error.
    output : str, optional
        ``.csv`` or ``.json``, or ``-``. Default: derived from the input's name.
    plot : str, optional
    task : (int, int), optional
        Which slice of the cells: i of n.
    processes : int
    force, restart : bool
        Overwrite the output; forget finished cells.
    """

    source: InputChoice | None = None
    synthetic: str | None = None
    ms: tuple[int, ...] = ()
    ds: tuple[int, ...] = ()
    ks: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    fraction: float | None = None
    trials: int = 1
    polylog: bool = False
    methods: tuple[str, ...] = ("momentc", "random", "kmeans")
    families: tuple[str, ...] = ()
    effort: Effort = "normal"
    seed: int = 0
    per_family: int = 32
    max_error: float | None = None
    output: str | None = None
    plot: str | None = None
    task: tuple[int, int] | None = None
    processes: int = 1
    force: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        """Check that the choices fit each other."""
        if (self.source is None) == (self.synthetic is None):
            raise UsageError(
                "either an input file or --synthetic uniform|gaussian says what to scan; "
                + ("both were given" if self.source is not None else "neither was given")
            )
        if self.source is not None and (self.ms or self.ds or self.polylog):
            raise UsageError(
                "--m, --d and --polylog are for --synthetic points; a file has its own size "
                "(choose its columns with --columns)"
            )
        if self.polylog and (self.targets or self.max_error is not None):
            raise UsageError(
                "--polylog has targets of its own, and takes the best order for each: --target and "
                "--max-error do not go with it"
            )
        if self.fraction is not None and (self.source or self.targets or self.polylog):
            raise UsageError(
                "--fraction is for --synthetic points without --target or --polylog; an input "
                "takes --target"
            )
        if self.task is not None and self.output == "-":
            raise UsageError(
                "--task needs a file for --output: its finished cells are kept beside it, and the "
                "last task puts all together"
            )
        if self.trials < 1 or self.per_family < 1 or self.seed < 0:
            raise UsageError("--trials and --functions must be at least 1, --seed at least 0")
        if self.max_error is not None and not 0.0 < self.max_error < math.inf:
            raise UsageError(f"--max-error is {self.max_error}; expected a finite number above 0")


@dataclass(frozen=True, slots=True)
class BenchJob:
    """Measure times over a grid.

    Parameters
    ----------
    ms, ks, ds, targets : tuple of int
        No targets: a fraction of d, at least C(m+k, k).
    minimal : bool
        The target is C(m+k, k): the job of a single cluster.
    fraction : float, optional
        Part of the points to keep where no targets are given. Default: 0.1.
    threads : tuple of int
        Each cell is run with each number of threads.
    baselines : tuple of str
    effort : {'low', 'normal', 'high'}
    repeats : int
    seed : int
    tolerance : float
        Largest moment error of a result that counts as right.
    output, plot : str, optional
    force, restart : bool
    """

    ms: tuple[int, ...]
    ks: tuple[int, ...]
    ds: tuple[int, ...]
    targets: tuple[int, ...] = ()
    minimal: bool = False
    fraction: float | None = None
    threads: tuple[int, ...] = (1,)
    baselines: tuple[str, ...] = ()
    effort: Effort = "normal"
    repeats: int = 3
    seed: int = 0
    tolerance: float = DEFAULT_TOLERANCE
    output: str | None = None
    plot: str | None = None
    force: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        """Check that the choices fit each other."""
        if self.minimal and self.targets:
            raise UsageError("--target takes numbers, or the word min, not both")
        if self.fraction is not None and (self.minimal or self.targets):
            raise UsageError("--fraction is for a grid without --target; give one of them")
        if self.fraction is not None and not 0.0 < self.fraction < 1.0:
            raise UsageError(f"--fraction is {self.fraction}; expected a number between 0 and 1")
        if self.repeats < 1 or self.seed < 0:
            raise UsageError("--repeats must be at least 1, --seed at least 0")
