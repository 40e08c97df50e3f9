"""Run the cells of a scan, here or over processes, and say how long it will still take."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.engine.processes import run_in_processes
from momentc.engine.threads import thread_map
from momentc.study.evaluate import Evaluator, Setting, evaluate_in_process, prepare_process
from momentc.study.grid import Cell, cost_of

__all__ = ["Standing", "TimeLeft", "run_cells"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a long job of cells is.

    Parameters
    ----------
    done, total : int
        Cells.
    seconds_left : float or None
        None while nothing is known.
    last : str
        The cell that has just been finished.
    unit : str
        What the cells are called.
    """

    done: int
    total: int
    seconds_left: float | None
    last: str
    unit: str = "cells"


class TimeLeft:
    """Guesses the time left from the cells that are done, method by method.

    The planned costs are right within a method, up to a factor that is measured as cells finish;
    a method of which nothing is done takes the factor of the others.

    Parameters
    ----------
    planned : iterable of (str, float)
        Method and cost of every cell that must still be done.
    n_workers : int
    """

    def __init__(self, planned: Iterable[tuple[str, float]], n_workers: int) -> None:
        self._left: dict[str, float] = defaultdict(float)
        for method, cost in planned:
            self._left[method] += cost
        self._done: dict[str, float] = defaultdict(float)
        self._seconds: dict[str, float] = defaultdict(float)
        self._n_workers = n_workers

    def finish(self, method: str, cost: float, seconds: float) -> None:
        """Book a cell that took ``seconds`` in its process."""
        self._left[method] -= cost
        self._done[method] += cost
        self._seconds[method] += seconds

    def seconds(self) -> float | None:
        """Return the seconds left."""
        cost = sum(self._done.values())
        if cost == 0.0:
            return None
        overall = sum(self._seconds.values()) / cost
        left = sum(
            max(0.0, left)
            * (self._seconds[method] / self._done[method] if self._done[method] else overall)
            for method, left in self._left.items()
        )
        return left / self._n_workers


def run_cells(
    cells: Sequence[Cell],
    setting: Setting,
    *,
    points: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
    n_processes: int = 1,
    on_standing: Callable[[Standing], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the records of the cells (see :class:`Evaluator`) as they are finished.

    Parameters
    ----------
    cells : sequence of Cell
    setting : Setting
    points, weights : ndarray, optional
        The user's, for cells of the source 'file'.
    n_processes : int
        1: in this process. The records do not depend on it, but for the seconds.
    on_standing : callable, optional
        Told after every cell, and once at the beginning.
    """
    say = on_standing or (lambda _: None)
    workers = max(1, min(n_processes, len(cells)))
    left = TimeLeft(((cell.method, cost_of(cell)) for cell in cells), workers)
    say(Standing(0, len(cells), None, ""))
    results = _results(cells, setting, points, weights, workers)
    with closing(results):
        for done, (cell, seconds, record) in enumerate(results, start=1):
            left.finish(cell.method, cost_of(cell), seconds)
            yield record
            say(Standing(done, len(cells), left.seconds(), cell.key))


def _results(
    cells: Sequence[Cell],
    setting: Setting,
    points: NDArray[np.float64] | None,
    weights: NDArray[np.float64] | None,
    workers: int,
) -> Any:
    """Yield (cell, seconds, record)."""
    if workers == 1:
        with thread_map(1):  # one BLAS thread, as in the processes
            evaluate = Evaluator(setting, points, weights)
            for cell in cells:
                began = time.perf_counter()
                record = evaluate(cell)
                yield cell, time.perf_counter() - began, record
        return
    found = run_in_processes(
        _timed, cells, workers, prepare=prepare_process, arguments=(setting, points, weights)
    )
    with closing(found):
        for position, (seconds, record) in found:
            yield cells[position], seconds, record


def _timed(cell: Cell) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    record = evaluate_in_process(cell)
    return time.perf_counter() - began, record
