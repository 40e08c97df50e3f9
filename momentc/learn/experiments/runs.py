"""One training run: what it is called, and what is recorded of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch

__all__ = [
    "COMPRESSED",
    "CURVES",
    "FULL",
    "RANDOM",
    "Rule",
    "Run",
    "generator",
    "random_part",
    "record_of",
    "rule_of",
    "runs_of",
    "seed_of",
]

FULL: Final = "full"
COMPRESSED: Final = "compressed"
RANDOM: Final = "random"
CURVES: Final = (FULL, COMPRESSED, RANDOM)


@dataclass(frozen=True, slots=True)
class Rule:
    """How one panel of a figure trains.

    Parameters
    ----------
    panel : str
        Its letter.
    algorithm : str
        A class of ``torch.optim``, with its defaults.
    rate : float
        Learning rate.
    batch : int or None
        Samples of a step; None is all of them.
    epochs : int
    every : int
        Epochs from one recorded loss to the next.
    cosine : bool
        The rate falls to 0 along a cosine, an epoch at a time; else it stays.
    """

    panel: str
    algorithm: str
    rate: float
    batch: int | None
    epochs: int
    every: int
    cosine: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """One curve of one panel.

    Parameters
    ----------
    panel : str
    curve : {'full', 'compressed', 'random'}
    seed : int
        Of data, initial network and mini-batches; the same for all curves.
    d, target : int
        Objects there are, and objects of the two smaller curves.
    """

    panel: str
    curve: str
    seed: int
    d: int
    target: int

    @property
    def key(self) -> str:
        """Name the run in a journal."""
        return f"{self.panel} seed={self.seed} d={self.d} {self.curve}"

    @property
    def n_objects(self) -> int:
        """Objects that this curve trains with."""
        return self.d if self.curve == FULL else self.target

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


def runs_of(rules: Sequence[Rule], seeds: range, d: int, target: int) -> tuple[Run, ...]:
    """Return all curves of all panels, seed by seed."""
    return tuple(
        Run(rule.panel, curve, seed, d, target)
        for rule in rules
        for seed in seeds
        for curve in CURVES
    )


def rule_of(rules: Sequence[Rule], run: Run) -> Rule:
    """Return the rule of a run's panel."""
    return next(rule for rule in rules if rule.panel == run.panel)


def record_of(
    run: Run,
    trace: dict[str, Any],
    *,
    compress_seconds: float | None,
    moment_error: float | None,
) -> dict[str, Any]:
    """Return what is kept of a run.

    Parameters
    ----------
    run : Run
    trace : dict
        What :func:`momentc.learn.experiments.training.train` returns.
    compress_seconds : float or None
        Of the processor and the compression alone, in the curve 'compressed'.
    moment_error : float or None
        Largest difference of a moment that was asked for.
    """
    return {
        **run.as_json(),
        **trace,
        "compress_seconds": compress_seconds,
        "moment_error": moment_error,
    }


def seed_of(seed: int, *stage: int) -> int:
    """Return the seed of one stage of a run; stages of one seed are independent."""
    state = np.random.SeedSequence([seed, *stage]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))  # torch takes what an int64 holds


def generator(seed: int, *stage: int) -> torch.Generator:
    """Return torch's generator for one stage of a run."""
    return torch.Generator().manual_seed(seed_of(seed, *stage))


def random_part(d: int, target: int, seed: int, stage: int) -> torch.Tensor:
    """Return `target` of `d` numbers, drawn without replacement, ascending."""
    drawn = torch.randperm(d, generator=generator(seed, stage))[:target]
    return drawn.sort().values
