"""Fig. 7: attention with 4,000 heads, 800 of them in the compressed dynamics, 800 at random.

Regression in context on random piecewise linear functions, with Adam at a constant rate; each epoch
has new episodes, the same for all three (Appendix F).
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from momentc.learn.attention import compress_heads
from momentc.learn.experiments.runs import (
    COMPRESSED,
    RANDOM,
    Rule,
    Run,
    generator,
    random_part,
    record_of,
    runs_of,
)
from momentc.learn.experiments.tasks import Lines
from momentc.learn.experiments.training import Batches, one_thread, train
from momentc.learn.head_sum import PARTS, HeadSum
from momentc.moments.discrepancy import worst_error

__all__ = ["PAPER", "SMALL", "Scale", "cost", "perform", "plan"]

# Stages of a seed.
MODEL, EPISODES, TEST, PART = range(4)


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes.

    Parameters
    ----------
    rule : Rule
    heads, target, k, head_dim : int
    steps : int
        Gradient steps of an epoch.
    test_batches : int
    lines : Lines
    seeds : int
    """

    rule: Rule
    heads: int = 4000
    target: int = 800
    k: int = 3
    head_dim: int = 2
    steps: int = 5
    test_batches: int = 10
    lines: Lines = field(default_factory=Lines)
    seeds: int = 1


PAPER: Final = Scale(rule=Rule("a", "Adam", 0.0001, 256, 50, 1, cosine=False))
SMALL: Final = Scale(
    rule=Rule("a", "Adam", 0.0002, 64, 30, 1, cosine=False),
    heads=2000,
    target=500,
    test_batches=8,
    seeds=2,
)


def plan(scale: Scale, seeds: range) -> tuple[Run, ...]:
    """Return the runs."""
    return runs_of((scale.rule,), seeds, scale.heads, scale.target)


def perform(scale: Scale, run: Run) -> dict[str, Any]:
    """Train one attention."""
    rule = scale.rule
    assert rule.batch is not None
    with one_thread():
        model, seconds, error = _attention(scale, run)
        test = generator(run.seed, TEST)
        shown = [scale.lines.draw(rule.batch, test) for _ in range(scale.test_batches)]

        def measure() -> float:
            with torch.no_grad():
                losses = [_loss(model, *batch) for batch in shown]
            return float(torch.stack(losses).double().mean())

        trace = train(model, _episodes(scale, run), rule, measure, _loss)
    return record_of(run, trace, compress_seconds=seconds, moment_error=error)


def cost(scale: Scale, run: Run) -> float:
    """Return roughly the seconds of a run."""
    assert scale.rule.batch is not None
    batch = (2 * scale.lines.context + 1) * scale.rule.batch * run.n_objects * scale.head_dim
    records = scale.rule.epochs // scale.rule.every + 1
    return 1.5e-8 * batch * (3 * scale.rule.epochs * scale.steps + records * scale.test_batches)


def _attention(scale: Scale, run: Run) -> tuple[HeadSum, float | None, float | None]:
    """Return the attention of a curve; seconds and moment error of the compression."""
    random = generator(run.seed, MODEL)
    whole = HeadSum(1, 1, scale.heads, scale.head_dim, generator=random)
    if run.curve == COMPRESSED:
        began = time.process_time()
        found = compress_heads(
            whole, scale.k, run.target, mode="dynamic", random_state=run.seed, threads=1
        )
        return found.module, time.process_time() - began, worst_error(found.error, scale.k)
    if run.curve == RANDOM:
        index = random_part(run.d, run.target, run.seed, PART)
        for name in PARTS:
            setattr(whole, name, nn.Parameter(getattr(whole, name).detach()[index]))
    return whole, None, None


def _episodes(scale: Scale, run: Run) -> Batches:
    random = generator(run.seed, EPISODES)
    batch = scale.rule.batch
    assert batch is not None

    def epoch() -> Iterable[tuple[Tensor, ...]]:
        for _ in range(scale.steps):
            yield scale.lines.draw(batch, random)

    return epoch


def _loss(model: HeadSum, tokens: Tensor, answers: Tensor) -> Tensor:
    loss: Tensor = (model(tokens, last=True) - answers).square().mean()
    return loss
