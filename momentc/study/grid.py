"""The cells of a scan: pure planning, before anything is computed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from momentc.effort import removal_seconds
from momentc.errors import RequestError, UsageError
from momentc.moments.request import MOST_MOMENTS, largest_order
from momentc.study.methods import ORDERED
from momentc.study.synthetic import polylog_setting
from momentc.text import readable

__all__ = [
    "Cell",
    "Plan",
    "cost_of",
    "cut_for_task",
    "plan_file",
    "plan_polylog",
    "plan_synthetic",
]

# Orders that --polylog tries where none are given.
POLYLOG_ORDERS: Final = {
    1: (*range(1, 13), 15, 20, 25, 30, 40, 50, 60),
    2: (*range(1, 13), 14, 16, 18, 20, 22, 25, 28),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement: a method on a dataset.

    Parameters
    ----------
    source : str
        'file', or the kind of synthetic points.
    m, d : int
        Columns and rows.
    method : str
    k : int
        0 for methods that know no order.
    target : int
    trial : int
        Chooses the synthetic points, or only the method's random choices on a file.
    """

    source: str
    m: int
    d: int
    method: str
    k: int
    target: int
    trial: int

    @property
    def key(self) -> str:
        """Name the cell in a journal."""
        return (
            f"{self.source} m={self.m} d={self.d} {self.method} k={self.k} n={self.target} "
            f"t={self.trial}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a scan, in the order in which they are computed.

    Parameters
    ----------
    cells : tuple of Cell
    skipped : tuple of str
        Sentences on what was asked for and cannot be.
    """

    cells: tuple[Cell, ...]
    skipped: tuple[str, ...]


def plan_file(
    m: int, d: int, rank: int, ks: Sequence[int], targets: Sequence[int],
    methods: Sequence[str], trials: int,
) -> Plan:  # fmt: skip
    """Plan a scan of a user's array of d rows, m columns and affine rank ``rank``.

    Cells whose target is below C(rank+k, k), or not below the number of rows, are left out.

    Raises
    ------
    RequestError
        If no cell is left.
    """
    cells: list[Cell] = []
    skipped: list[str] = []
    for target in targets:
        if target >= d:
            skipped.append(_keeps_all(target, d))
            continue
        possible = [k for k in ks if _possible(rank, k, target)]
        skipped += _too_large(set(ks) - set(possible), rank, target)
        for trial in range(trials):
            cells += _methods("file", m, d, possible, target, methods, trial)
    return _plan(cells, skipped)


def plan_synthetic(
    kind: str, ms: Sequence[int], ds: Sequence[int], ks: Sequence[int],
    targets: Sequence[int], fraction: float | None, methods: Sequence[str], trials: int,
) -> Plan:  # fmt: skip
    """Plan a scan of synthetic points.

    Parameters
    ----------
    kind : {'uniform', 'gaussian'}
    ms, ds, ks : sequence of int
    targets : sequence of int
        Where empty, the paper's rule holds: max(part_of(fraction, d), C(m+k, k)).
    fraction : float or None
        None where targets are given.
    methods : sequence of str
    trials : int

    Raises
    ------
    UsageError
        If the fraction is none.
    RequestError
        If no cell is left.
    """
    if fraction is not None and not 0.0 < fraction < 1.0:
        raise UsageError(f"--fraction is {fraction}; expected a number between 0 and 1")
    cells: list[Cell] = []
    skipped: list[str] = []
    for m in ms:
        for d in ds:
            skipped += [_keeps_all(target, d) for target in targets if target >= d]
            for trial in range(trials):
                if targets:
                    for target in targets:
                        possible = [k for k in ks if target < d and _possible(m, k, target)]
                        cells += _methods(kind, m, d, possible, target, methods, trial)
                    continue
                assert fraction is not None
                by_target: dict[int, list[int]] = {}
                for k in ks:
                    target = max(part_of(fraction, d), math.comb(m + k, k))
                    if target < d and _possible(m, k, target):
                        by_target.setdefault(target, []).append(k)
                for target, possible in by_target.items():
                    cells += _methods(kind, m, d, possible, target, methods, trial)
            for most in sorted(targets) or [d - 1]:
                skipped += _too_large({k for k in ks if not _possible(m, k, most)}, m, most)
    return _plan(cells, skipped)


def plan_polylog(
    kind: str, ms: Sequence[int], ds: Sequence[int], ks: Sequence[int],
    methods: Sequence[str], trials: int,
) -> Plan:  # fmt: skip
    """Plan Appendix G: every d to a power of its logarithm, with every order; the best counts.

    Parameters
    ----------
    ks : sequence of int
        Where empty: :data:`POLYLOG_ORDERS`.
    """
    cells: list[Cell] = []
    skipped: list[str] = []
    for m in ms:
        for d in ds:
            target, _ = polylog_setting(m, d)
            if target >= d:
                skipped.append(_keeps_all(target, d))
                continue
            skipped += _too_large({k for k in ks if not _possible(m, k, target)}, m, target)
            possible = [k for k in ks or POLYLOG_ORDERS[m] if _possible(m, k, target)]
            for trial in range(trials):
                cells += _methods(kind, m, d, possible, target, methods, trial)
    return _plan(cells, skipped)


def part_of(fraction: float, d: int) -> int:
    """Return a part of d objects, rounded down: 29 of 0.29 x 100, which is 28.999... in binary."""
    return int(round(fraction * d, 6))


def cut_for_task(cells: Sequence[Cell], task: tuple[int, int]) -> tuple[Cell, ...]:
    """Return the cells of the i-th of n tasks: every n-th, so that all take alike."""
    number, count = task
    return tuple(sorted(cells, key=lambda cell: (-cost_of(cell), cell.key))[number - 1 :: count])


def cost_of(cell: Cell) -> float:
    """Return roughly how many seconds a cell takes, in proportion; for the time left only."""
    n_moments = float(math.comb(cell.m + cell.k, cell.k))
    measuring = 5e-6 * cell.d
    if cell.method == "momentc":
        return 0.02 + measuring + removal_seconds(cell.d, n_moments)
    if cell.method == "paper":
        greedy = min(cell.d - cell.target, 2000)
        return 0.1 + measuring + greedy * (1e-3 + 2e-9 * n_moments**3) + 4e-6 * cell.d * n_moments
    if cell.method == "kmeans":
        return 0.02 + measuring + 2e-9 * cell.d * cell.target * cell.m
    return 0.01 + measuring


def _methods(
    source: str, m: int, d: int, ks: Iterable[int], target: int, methods: Sequence[str], trial: int
) -> list[Cell]:
    orders = list(ks)
    if not orders:
        return []
    return [
        Cell(source, m, d, method, k, target, trial)
        for method in methods
        for k in (orders if method in ORDERED else [0])
    ]


def _possible(rank: int, k: int, target: int) -> bool:
    return math.comb(rank + k, k) <= min(target, MOST_MOMENTS)


def _keeps_all(target: int, d: int) -> str:
    return f"target {target} keeps all {d} rows: nothing to measure"


def _too_large(ks: Iterable[int], rank: int, target: int) -> list[str]:
    """Say which orders are left out, by the lowest of them: the others have more moments still."""
    if not (orders := sorted(ks)):
        return []
    lowest = orders[0]
    which = f"k = {lowest}" if len(orders) == 1 else f"k = {lowest} .. {orders[-1]}"
    at_least = "" if len(orders) == 1 else " or more"
    columns = "1 column" if rank == 1 else f"{rank} columns"
    n_moments = math.comb(rank + lowest, lowest)
    most = min(target, MOST_MOMENTS)
    too_many = (
        f"too many for target {target}" if n_moments > target
        else f"and more than {MOST_MOMENTS} cannot be worked with"
    )  # fmt: skip
    largest = largest_order(rank, most)
    remedy = f"k = {largest} is the largest that will do" if largest else "no k will do"
    return [
        f"{which} in {columns} has {readable(n_moments)} moments{at_least}, {too_many}; {remedy}"
    ]


def _plan(cells: Sequence[Cell], skipped: Sequence[str]) -> Plan:
    unique = tuple(dict.fromkeys(cells))
    notes = tuple(dict.fromkeys(skipped))
    if not unique:
        because = f": {notes[0]}" if notes else ""
        raise RequestError(
            f"there is nothing to scan{because}; choose other --target, --k or numbers of rows"
        )
    return Plan(tuple(sorted(unique, key=lambda cell: (cell.m, cell.d, cell.trial))), notes)
