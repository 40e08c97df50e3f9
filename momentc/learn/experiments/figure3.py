"""Fig. 3: a training set of 10,000 noisy samples, a tenth of it with weights, a tenth at random.

A teacher of two layers is learned by a student of the same form. Full batches take the weighted
mean of the losses; mini-batches are drawn by weight (Appendix E), from the same stream of random
numbers for all three sets. Panels (a) and (b) are full batches at two learning rates, (c) and (d)
mini-batches with two rules. Seed 42 is the teacher and the training set of the published figure.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from momentc.learn.datasets import WeightedSampler, compress_dataset, weighted_mean
from momentc.learn.experiments.runs import (
    COMPRESSED,
    RANDOM,
    Rule,
    Run,
    generator,
    record_of,
    rule_of,
    runs_of,
)
from momentc.learn.experiments.tasks import Lesson
from momentc.learn.experiments.training import (
    Batches,
    mean_square,
    one_thread,
    test_loss,
    train,
    two_layers,
)
from momentc.moments.discrepancy import worst_error

__all__ = ["PAPER", "SMALL", "Samples", "Scale", "cost", "drawn_batches", "perform", "plan"]

# Stage of a seed.
BATCHES: Final = 1


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes.

    Parameters
    ----------
    rules : tuple of Rule
        A panel each.
    d, target, k : int
    noise : float
        Standard deviation of what is added to the teacher's answers.
    width : int
        Of teacher and student.
    n_test : int
    seeds : int
    """

    rules: tuple[Rule, ...]
    d: int = 10_000
    target: int = 1000
    k: int = 5
    noise: float = 3.0
    width: int = 50
    n_test: int = 100_000
    seeds: int = 3


PAPER: Final = Scale(
    rules=(
        Rule("a", "AdamW", 0.01, None, 400, 10),
        Rule("b", "AdamW", 0.001, None, 400, 10),
        Rule("c", "AdamW", 0.001, 256, 400, 10),
        Rule("d", "SGD", 0.01, 256, 400, 10),
    )
)
SMALL: Final = Scale(
    rules=(
        Rule("a", "AdamW", 0.01, None, 400, 10),
        Rule("b", "AdamW", 0.001, None, 400, 10),
        Rule("c", "AdamW", 0.001, 256, 100, 2),
        Rule("d", "SGD", 0.01, 256, 100, 2),
    ),
    n_test=20_000,
)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A training set, with the weights of its samples."""

    x: Tensor
    y: Tensor
    weights: Tensor
    compress_seconds: float | None = None
    moment_error: float | None = None


def plan(scale: Scale, seeds: range) -> tuple[Run, ...]:
    """Return the runs."""
    return runs_of(scale.rules, seeds, scale.d, scale.target)


def perform(scale: Scale, run: Run) -> dict[str, Any]:
    """Train one student."""
    rule = rule_of(scale.rules, run)
    with one_thread():
        lesson = Lesson(scale.width, run.seed)
        samples = choose(*lesson.train_set(scale.d, scale.noise), run, scale.k)
        x, y = lesson.test_set(scale.n_test)
        model = two_layers(scale.width, run.seed)
        trace = train(
            model,
            _whole(samples) if rule.batch is None else drawn_batches(
                samples, rule.batch, scale.d, generator(run.seed, BATCHES)
            ),
            rule,
            lambda: test_loss(model, x, y, scale.width),
            _weighted_loss if rule.batch is None else mean_square,
        )  # fmt: skip
    return record_of(
        run, trace, compress_seconds=samples.compress_seconds, moment_error=samples.moment_error
    )


def cost(scale: Scale, run: Run) -> float:
    """Return roughly the seconds of a run."""
    rule = rule_of(scale.rules, run)
    batch = rule.batch or run.n_objects
    steps = rule.epochs * (1 if rule.batch is None else -(-scale.d // batch))
    return steps * (6e-4 + 1.2e-8 * batch * scale.width) + 0.2 * (run.curve == COMPRESSED)


def choose(x: Tensor, y: Tensor, run: Run, k: int) -> Samples:
    """Return the training set of a curve; samples have no order, so a random part is the first."""
    if run.curve == COMPRESSED and run.target < run.d:
        began = time.process_time()
        kept = compress_dataset(x, y, k, run.target, random_state=run.seed, threads=1)
        seconds = time.process_time() - began
        return Samples(kept.x, kept.y, kept.weights, seconds, worst_error(kept.error, k))
    if run.curve == RANDOM:
        x, y = x[: run.target], y[: run.target]
    return Samples(x, y, torch.ones(len(x), dtype=torch.float64))


def drawn_batches(samples: Samples, batch: int, count: int, random: torch.Generator) -> Batches:
    """Return epochs of `count` samples, drawn by weight.

    torch draws by turning uniform numbers into positions among the weights added up, so sets of
    any size that get generators in the same state see the same stream of numbers.
    """
    sampler = WeightedSampler(samples.weights, count, random)

    def epoch() -> Iterable[tuple[Tensor, ...]]:
        for index in torch.split(torch.tensor(list(sampler)), batch):
            yield samples.x[index], samples.y[index]

    return epoch


def _whole(samples: Samples) -> Batches:
    def epoch() -> Iterable[tuple[Tensor, ...]]:
        yield samples.x, samples.y, samples.weights

    return epoch


def _weighted_loss(model: nn.Module, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    return weighted_mean((model(x) - y).square(), weights)
