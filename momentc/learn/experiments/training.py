"""The loop that all experiments share: train, and record losses on the way.

Runs use one thread: sums have one order then, and a curve is the same, bit for bit, whatever else
the machine does.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from momentc.learn.experiments.runs import Rule

__all__ = ["Batches", "mean_square", "one_thread", "test_loss", "train", "two_layers"]

Batches = Callable[[], Iterable[tuple[Tensor, ...]]]
"""Makes the steps of one epoch: inputs, targets, and weights where the loss is a weighted mean."""

# Numbers of a hidden layer at a time while a test loss is computed: 80 MB of float32.
EVALUATED: Final = 20_000_000


def two_layers(width: int, seed: int, n_inputs: int = 2) -> nn.Sequential:
    """Return Linear, ReLU, Linear at torch's own initialisation, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(n_inputs, width), nn.ReLU(), nn.Linear(width, 1))


def mean_square(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error over a batch."""
    loss: Tensor = (model(inputs) - targets).square().mean()
    return loss


def test_loss(model: nn.Module, inputs: Tensor, targets: Tensor, width: int) -> float:
    """Return the mean squared error over a test set, some of it at a time.

    Parameters
    ----------
    width : int
        Numbers that the model keeps of one sample.
    """
    rows = max(1, EVALUATED // width)
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(inputs), rows):
            part = slice(start, start + rows)
            total += float((model(inputs[part]) - targets[part]).square().double().sum())
    return total / targets.numel()


def train(
    model: nn.Module,
    batches: Batches,
    rule: Rule,
    measure: Callable[[], float],
    loss: Callable[..., Tensor] = mean_square,
) -> dict[str, Any]:
    """Train and record.

    Parameters
    ----------
    model : torch.nn.Module
        Is trained.
    batches : callable
        Called once an epoch.
    rule : Rule
    measure : callable
        Test loss of the model as it is.
    loss : callable
        Of (model, *batch).

    Returns
    -------
    dict
        ``epochs``; ``test``, the test losses after them; ``train``, the means of the losses of
        their batches (null at epoch 0); ``train_seconds`` of the processor, without those of the
        measuring; ``steps``. Plain JSON values.
    """
    optimizer = getattr(torch.optim, rule.algorithm)(model.parameters(), lr=rule.rate)
    schedule = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rule.epochs) if rule.cosine else None
    )
    epochs: list[int] = [0]
    test: list[float] = [measure()]
    seen: list[float | None] = [None]
    steps, seconds = 0, 0.0
    for epoch in range(1, rule.epochs + 1):
        began = time.process_time()
        losses = []
        for batch in batches():
            optimizer.zero_grad()
            value = loss(model, *batch)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(value.detach())
        if schedule is not None:
            schedule.step()
        steps += len(losses)
        seconds += time.process_time() - began
        if epoch % rule.every == 0 or epoch == rule.epochs:
            epochs.append(epoch)
            test.append(measure())
            seen.append(float(torch.stack(losses).double().mean()))
    return {"epochs": epochs, "test": test, "train": seen, "train_seconds": seconds, "steps": steps}


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
