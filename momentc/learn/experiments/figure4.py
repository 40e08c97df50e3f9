"""Fig. 4: a wide network, a tenth of its neurons in the compressed dynamics, a tenth at random.

A cylindrical harmonic is learned from noisy samples by networks of two layers, with the same start
and the same mini-batches for all three (section 5). The random part is what is left when the other
neurons are taken away: no weights, as in the paper.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from momentc.learn.experiments.runs import (
    COMPRESSED,
    RANDOM,
    Rule,
    Run,
    generator,
    random_part,
    record_of,
    rule_of,
    runs_of,
    seed_of,
)
from momentc.learn.experiments.tasks import harmonic, square_points
from momentc.learn.experiments.training import (
    Batches,
    one_thread,
    test_loss,
    train,
    two_layers,
)
from momentc.learn.layers import compress_layer
from momentc.moments.discrepancy import worst_error

__all__ = ["PAPER", "SMALL", "Scale", "Task", "cost", "perform", "plan", "shuffled_batches"]

# Stages of a seed.
SAMPLES, TEST, NETWORK, BATCHES, PART = range(5)


@dataclass(frozen=True, slots=True)
class Task:
    """``J_n(q r) cos(n theta)`` from noisy samples.

    Parameters
    ----------
    order : int
        n.
    frequency : float
        q.
    noise : float
    n_train, n_test : int
    """

    order: int = 6
    frequency: float = 20.0
    noise: float = 0.2
    n_train: int = 100_000
    n_test: int = 100_000

    def train_set(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return the samples."""
        random = generator(seed, SAMPLES)
        x = square_points(self.n_train, random)
        noise = self.noise * torch.randn(self.n_train, 1, generator=random)
        return x, harmonic(x, self.order, self.frequency) + noise

    def test_set(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return other points, and the true values."""
        x = square_points(self.n_test, generator(seed, TEST))
        return x, harmonic(x, self.order, self.frequency)


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes.

    Parameters
    ----------
    rules : tuple of Rule
        A panel each.
    task : Task
    width, target, k : int
    seeds : int
    """

    rules: tuple[Rule, ...]
    task: Task
    width: int = 10_000
    target: int = 1000
    k: int = 5
    seeds: int = 1


PAPER: Final = Scale(
    rules=(
        Rule("b", "SGD", 0.001, 512, 3000, 50),
        Rule("c", "AdamW", 0.0001, 512, 3000, 50),
        Rule("d", "RMSprop", 0.00003, 512, 3000, 50),
    ),
    task=Task(),
)
SMALL: Final = Scale(
    rules=(
        Rule("b", "SGD", 0.001, 64, 8, 1),
        Rule("c", "AdamW", 0.0001, 64, 8, 1),
        Rule("d", "RMSprop", 0.00003, 64, 8, 1),
    ),
    task=Task(order=3, frequency=8.0, n_train=20_000, n_test=5000),
    seeds=2,
)


def plan(scale: Scale, seeds: range) -> tuple[Run, ...]:
    """Return the runs."""
    return runs_of(scale.rules, seeds, scale.width, scale.target)


def perform(scale: Scale, run: Run) -> dict[str, Any]:
    """Train one network."""
    rule = rule_of(scale.rules, run)
    with one_thread():
        model, seconds, error = network(run, scale.k)
        x, y = scale.task.test_set(run.seed)
        trace = train(
            model,
            shuffled_batches(*scale.task.train_set(run.seed), rule.batch, run.seed),
            rule,
            lambda: test_loss(model, x, y, run.n_objects),
        )
    return record_of(run, trace, compress_seconds=seconds, moment_error=error)


def cost(scale: Scale, run: Run) -> float:
    """Return roughly the seconds of a run."""
    rule = rule_of(scale.rules, run)
    batch = rule.batch or scale.task.n_train
    steps = rule.epochs * -(-scale.task.n_train // batch)
    records = 1 + rule.epochs // rule.every
    testing = 1e-9 * records * scale.task.n_test * run.n_objects
    return steps * (5e-4 + 7e-9 * batch * run.n_objects) + testing


def network(run: Run, k: int) -> tuple[nn.Module, float | None, float | None]:
    """Return the network of a curve; seconds and moment error of the compression."""
    wide = two_layers(run.d, seed_of(run.seed, NETWORK))
    if run.curve == COMPRESSED and run.target < run.d:
        began = time.process_time()
        found = compress_layer(
            wide, "0", k, run.target, mode="dynamic", random_state=run.seed, threads=1
        )
        return found.module, time.process_time() - began, worst_error(found.error, k)
    if run.curve == RANDOM:
        index = random_part(run.d, run.target, run.seed, PART)
        part = two_layers(run.target, 0)
        state = wide.state_dict()
        part.load_state_dict(
            {
                "0.weight": state["0.weight"][index],
                "0.bias": state["0.bias"][index],
                "2.weight": state["2.weight"][:, index],
                "2.bias": state["2.bias"],
            }
        )
        return part, None, None
    return wide, None, None


def shuffled_batches(x: Tensor, y: Tensor, batch: int | None, seed: int) -> Batches:
    """Return epochs that see each sample once, in an order of their own."""
    random = generator(seed, BATCHES)

    def epoch() -> Iterable[tuple[Tensor, ...]]:
        order = torch.randperm(len(x), generator=random)
        for index in torch.split(order, batch or len(x)):
            yield x[index], y[index]

    return epoch
