"""Fig. 5: how the test loss falls with the number of samples, and with the width.

Panel (a) is the task of Fig. 3 with d samples, panel (b) that of Fig. 4 with width d. Both are
trained as they are, and compressed to d' = ceil(16 sqrt d) with order 6. If nothing is lost, a loss
that falls as d^-alpha falls as d'^-2 alpha (Eq. 17).
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from momentc.learn.experiments import figure3, figure4
from momentc.learn.experiments.figure4 import Task
from momentc.learn.experiments.runs import (
    COMPRESSED,
    FULL,
    Rule,
    Run,
    generator,
    record_of,
)
from momentc.learn.experiments.tasks import Lesson
from momentc.learn.experiments.training import one_thread, test_loss, train, two_layers

__all__ = ["PAPER", "SMALL", "Scale", "cost", "perform", "plan", "square_root_rule"]


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes.

    Parameters
    ----------
    samples : tuple of int
        d of panel (a).
    samples_rule : Rule
        An epoch is one mini-batch, so that all d have the same computing time.
    widths : tuple of int
        d of panel (b).
    widths_rule : Rule
    task : Task
        Of panel (b).
    k : int
    noise, student, n_test
        Panel (a): noise of the samples, width of teacher and student, test points.
    seeds : int
    """

    samples: tuple[int, ...]
    samples_rule: Rule
    widths: tuple[int, ...]
    widths_rule: Rule
    task: Task
    k: int = 6
    noise: float = 3.0
    student: int = 50
    n_test: int = 20_000
    seeds: int = 10


PAPER: Final = Scale(
    samples=tuple(2**power for power in range(8, 20)),
    samples_rule=Rule("a", "AdamW", 0.001, 512, 2048, 2048),
    widths=tuple(2**power for power in range(8, 15)),
    widths_rule=Rule("b", "AdamW", 0.001, 128, 2000, 2000),
    task=Task(n_train=20_000, n_test=20_000),
)
SMALL: Final = Scale(
    samples=(512, 1024, 2048, 4096, 8192, 16384),
    samples_rule=Rule("a", "AdamW", 0.002, 256, 1500, 1500),
    widths=(256, 512, 1024, 2048, 4096),
    widths_rule=Rule("b", "AdamW", 0.0005, 128, 16, 16),
    task=Task(order=3, frequency=8.0, noise=0.0, n_train=10_000, n_test=10_000),
    seeds=3,
)


def square_root_rule(d: int) -> int:
    """Return d' = ceil(16 sqrt d), or d where that is less."""
    root = math.isqrt(256 * d)
    return min(d, root + (root * root < 256 * d))


def plan(scale: Scale, seeds: range) -> tuple[Run, ...]:
    """Return the runs."""
    return tuple(
        Run(rule.panel, curve, seed, d, square_root_rule(d))
        for rule, sizes in (
            (scale.samples_rule, scale.samples),
            (scale.widths_rule, scale.widths),
        )
        for d in sizes
        for seed in seeds
        for curve in (FULL, COMPRESSED)
    )


def perform(scale: Scale, run: Run) -> dict[str, Any]:
    """Train one student of (a), or one network of (b)."""
    if run.panel == scale.widths_rule.panel:
        return figure4.perform(_widths(scale, run), run)
    rule = scale.samples_rule
    assert rule.batch is not None
    batch = min(rule.batch, run.d // 2)
    with one_thread():
        lesson = Lesson(scale.student, run.seed)
        x, y = lesson.train_set(run.d, scale.noise, shift=run.d)
        samples = figure3.choose(x, y, run, scale.k)
        x, y = lesson.test_set(scale.n_test)
        model = two_layers(scale.student, run.seed)
        drawn = generator(run.seed, figure3.BATCHES, run.d)
        trace = train(
            model,
            figure3.drawn_batches(samples, batch, batch, drawn),
            rule,
            lambda: test_loss(model, x, y, scale.student),
        )
    return record_of(
        run, trace, compress_seconds=samples.compress_seconds, moment_error=samples.moment_error
    )


def cost(scale: Scale, run: Run) -> float:
    """Return roughly the seconds of a run."""
    if run.panel == scale.widths_rule.panel:
        return figure4.cost(_widths(scale, run), run)
    rule = scale.samples_rule
    assert rule.batch is not None
    work = 1.2e-8 * rule.batch * scale.student
    return rule.epochs * (8e-4 + work) + 1e-5 * run.d * (run.curve == COMPRESSED)


def _widths(scale: Scale, run: Run) -> figure4.Scale:
    """Return one width of panel (b) in the terms of Fig. 4, where all is the same."""
    return figure4.Scale((scale.widths_rule,), scale.task, run.d, run.target, scale.k)
