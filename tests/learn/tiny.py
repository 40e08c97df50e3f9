"""Scales of the experiments that take a moment."""

from typing import Any

from momentc.learn.experiments import figure3, figure4, figure5, figure7
from momentc.learn.experiments.runs import Rule
from momentc.learn.experiments.tasks import Lines

TASK = figure4.Task(order=2, frequency=5.0, n_train=256, n_test=200)
TINY: dict[str, Any] = {
    "fig3": figure3.Scale(
        (Rule("a", "AdamW", 0.01, None, 4, 2), Rule("c", "SGD", 0.01, 50, 3, 1)),
        d=400, target=60, k=3, width=8, n_test=300, seeds=2,
    ),
    "fig4": figure4.Scale(
        (Rule("b", "SGD", 0.01, 64, 3, 1), Rule("c", "AdamW", 0.001, 64, 3, 1)), TASK,
        width=300, target=60, k=2, seeds=2,
    ),
    "fig5": figure5.Scale(
        (512, 1024, 2048), Rule("a", "AdamW", 0.01, 64, 20, 20), (300, 600, 1200),
        Rule("b", "AdamW", 0.001, 64, 2, 2), TASK, k=2, student=8, n_test=200, seeds=2,
    ),
    "fig7": figure7.Scale(
        Rule("a", "Adam", 0.001, 16, 3, 1, cosine=False), heads=120, target=60, k=2,
        steps=2, test_batches=2, lines=Lines(segments=4, context=3), seeds=2,
    ),
}  # fmt: skip
