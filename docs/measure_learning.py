"""The figures of learning.md.

    python docs/measure_learning.py times      seconds of the compression alone
    python docs/measure_learning.py layers     difference of the output, by activation and columns
    python docs/measure_learning.py training   differences after training

With momentc[learn] installed. torch has one thread, the compression all of them.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from scipy.special import jv
from torch import Tensor, nn

from momentc.errors import RequestError
from momentc.learn import (
    HeadSum,
    compress_dataset,
    compress_heads,
    compress_layer,
    weighted_mean,
)

WIDTH = 10_000


def say(*cells: Any) -> None:
    """Write one line as soon as it is known."""
    texts = [f"{cell:.2g}" if isinstance(cell, float) else str(cell) for cell in cells]
    sys.stdout.write("  ".join(texts) + "\n")
    sys.stdout.flush()


def inputs(count: int, n_inputs: int = 2, seed: int = 0) -> Tensor:
    """Return points of the cube [-1, 1]^n."""
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.rand(count, n_inputs, generator=generator) - 1.0


def network(activation: nn.Module, n_inputs: int = 2) -> nn.Sequential:
    """Return a wide network at torch's own initialisation."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n_inputs, WIDTH), activation, nn.Linear(WIDTH, 1))


def rms(value: Tensor) -> float:
    """Return the root mean square."""
    return float(value.detach().double().square().mean().sqrt())


def random_part(model: nn.Sequential, target: int) -> nn.Module:
    """Return neurons at random, each standing for as many, with the gradients of the dynamics."""
    part = compress_layer(model, "0", 1, target, mode="dynamic").module
    chosen = torch.randperm(WIDTH, generator=torch.Generator().manual_seed(5))[:target]
    state = model.state_dict()
    state["0.weight"], state["0.bias"] = state["0.weight"][chosen], state["0.bias"][chosen]
    state["2.weight"] = state["2.weight"][:, chosen]
    state["0.c_out"] = state["2.c_in"] = torch.full((target,), WIDTH / target)
    part.load_state_dict(state)
    return part


def times() -> None:
    """Seconds, median of three calls after a first one."""

    def median(call: Callable[[], Any]) -> float:
        call()
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)

    for count in (10_000, 100_000):
        x, y = inputs(count), torch.randn(count, 1)
        say("samples", 3, 5, count, 1000, median(lambda x=x, y=y: compress_dataset(x, y, 5, 1000)))
    model = network(nn.ReLU())
    for k in (3, 5):
        seconds = median(lambda k=k: compress_layer(model, "0", k, 1000))
        say("neurons", 4, k, WIDTH, 1000, seconds)
    for heads, k in ((8000, 2), (4000, 3), (8000, 3)):
        attention = HeadSum(1, 1, heads, 2)
        seconds = median(lambda a=attention, k=k: compress_heads(a, k, 800))
        say("heads", 8, k, heads, 800, seconds)


def layers() -> None:
    """Difference of the output from the wide network's, and that of neurons at random."""
    x = inputs(4000).double()
    for activation in (nn.GELU(), nn.Tanh(), nn.ReLU()):
        model = network(activation).double()
        whole = model(x)
        say(type(activation).__name__, "rms", rms(whole))
        for target, k in ((150, 5), (300, 5), (1000, 1), (1000, 3), (1000, 5)):
            small = compress_layer(model, "0", k, target).module
            random = random_part(model, target)
            say("", target, k, rms(small(x) - whole), "random", rms(random(x) - whole))
    for n_inputs in (2, 4, 8, 16):
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(1000, n_inputs, generator=generator).double()
        model = network(nn.Tanh(), n_inputs).double()
        whole = model(x)
        for k in (5, 4, 3, 2, 1):
            try:
                small = compress_layer(model, "0", k, 1000).module
            except RequestError:
                continue
            miss = rms(small(x) - whole), rms(random_part(model, 1000)(x) - whole)
            say(n_inputs, "inputs, largest k", k, miss[0], "random", miss[1])
            break


def training() -> None:
    """Test error with fewer samples; distance from the wide network's training."""
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(2, 50), nn.ReLU(), nn.Linear(50, 1)).requires_grad_(False)
    x, test = inputs(10_000, seed=1), inputs(20_000, seed=2)
    y = teacher(x) + 3.0 * torch.randn(10_000, 1)
    kept, chosen = compress_dataset(x, y, 5, 1000), torch.randperm(10_000)[:1000]
    sets = {
        "all": (x, y, torch.ones(10_000)),
        "compressed": (kept.x, kept.y, kept.weights),
        "random": (x[chosen], y[chosen], torch.ones(1000)),
    }
    for rate in (0.01, 0.001):
        for name, (some, targets, weights) in sets.items():
            torch.manual_seed(7)
            student = nn.Sequential(nn.Linear(2, 50), nn.ReLU(), nn.Linear(50, 1))
            optimizer = torch.optim.AdamW(student.parameters(), lr=rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
            for _ in range(400):
                optimizer.zero_grad()
                weighted_mean((student(some) - targets) ** 2, weights).backward()
                optimizer.step()
                schedule.step()
            say(rate, name, float(((student(test) - teacher(test)) ** 2).mean().detach()))

    x = inputs(20_000, seed=1)
    angle = torch.atan2(x[:, 1], x[:, 0])
    bessel = torch.from_numpy(jv(6, 20.0 * x.norm(dim=1).numpy()))
    y = (bessel * torch.cos(6.0 * angle))[:, None].float()

    def trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        for step in range(200):
            batch = torch.arange(step * 64, (step + 1) * 64) % len(x)
            optimizer.zero_grad()
            (model(x[batch]) - y[batch]).square().mean().backward()
            optimizer.step()
        return model(x[:4000]).detach()

    def sgd(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)

    def adamw(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=1e-4)

    for activation in (nn.Tanh(), nn.ReLU()):
        wide = network(activation)
        models = {
            "dynamic": compress_layer(wide, "0", 5, 1000, mode="dynamic").module,
            "folded": compress_layer(wide, "0", 5, 1000).module,
            "random": random_part(wide, 1000),
        }
        for name, optimizer in (("SGD", sgd), ("AdamW", adamw)):
            copied = copy.deepcopy(wide)
            whole = trained(copied, optimizer(copied))
            say(type(activation).__name__, name, "moved", rms(whole - wide(x[:4000])))
            for way, model in models.items():
                copied = copy.deepcopy(model)
                say("", way, rms(trained(copied, optimizer(copied)) - whole))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"times": times, "layers": layers, "training": training}[sys.argv[1]]()
