"""The experiments by the name of their figure, and one function that performs any of their runs."""

import importlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from momentc.learn.experiments.runs import Run
from momentc.learn.objects import reduce_objects

__all__ = ["Experiment", "find_experiment", "perform_run", "settings_of"]


@dataclass(frozen=True, slots=True)
class Experiment:
    """What the module of a figure offers; ``Any`` stands for its own ``Scale``."""

    small: Any
    paper: Any
    plan: Callable[[Any, range], tuple[Run, ...]]
    perform: Callable[[Any, Run], dict[str, Any]]
    cost: Callable[[Any, Run], float]


def find_experiment(figure: str) -> Experiment:
    """Return the experiment of one of :data:`FIGURES`."""
    module: Any = importlib.import_module(
        f"momentc.learn.experiments.{figure.replace('fig', 'figure')}"
    )
    return Experiment(module.SMALL, module.PAPER, module.plan, module.perform, module.cost)


def settings_of(scale: Any) -> dict[str, Any]:
    """Return a scale as plain JSON values, without the number of seeds: runs do not depend on it.

    Tuples become lists, as they come back from a file.
    """
    plain: dict[str, Any] = _plain(asdict(scale))
    del plain["seeds"]
    return plain


def perform_run(item: tuple[str, Any, Run]) -> dict[str, Any]:
    """Perform (figure, scale, run), here or in another process; add the ``seconds`` of a clock."""
    figure, scale, run = item
    _warm_up()
    began = time.perf_counter()
    record = find_experiment(figure).perform(scale, run)
    return record | {"seconds": time.perf_counter() - began}


@cache
def _warm_up() -> None:
    """Load what compressing needs, once in a process, so that no run is timed with it."""
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (400, 2))
    reduce_objects(points, 3, 40, what="points", threads=1)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
