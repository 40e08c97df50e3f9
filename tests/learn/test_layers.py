"""Layers: the network computes the same, and trains as its original (Theorem 5)."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from momentc.errors import InputError, RequestError, UsageError
from momentc.learn import WeightedLinear, compress_layer, fold
from momentc.learn.layers import Mode

Optimizers = Callable[[nn.Module], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Optimizers] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9),
    "decay": lambda model: torch.optim.SGD(model.parameters(), lr=1e-3, weight_decay=0.1),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-3),
    "adagrad": lambda model: torch.optim.Adagrad(model.parameters(), lr=1e-2),
}


def network(width: int = 1200, *, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1)).double()


def linear(model: nn.Module, name: str) -> nn.Linear:
    found = model.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


def batch(seed: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 2.0 * torch.rand(64, 2, generator=generator, dtype=torch.float64) - 1.0
    return x, torch.sin(4.0 * x.sum(1, keepdim=True))


def train(model: nn.Module, optimizers: Optimizers, steps: int) -> list[Tensor]:
    """Outputs on one batch after each step on others."""
    optimizer = optimizers(model)
    shown, _ = batch()
    seen = []
    for step in range(steps):
        x, y = batch(100 + step)
        optimizer.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        optimizer.step()
        seen.append(model(shown).detach())
    return seen


def apart(a: Tensor, b: Tensor) -> float:
    return float((a.detach() - b.detach()).abs().max())


@pytest.mark.parametrize("mode", ["folded", "dynamic"])
def test_the_output_is_kept(mode: Mode) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    x, _ = batch()
    small = compress_layer(model, "0", k=5, target=300, mode=mode)
    assert (small.module(x) - model(x)).abs().max() < 0.02 * model(x).abs().max()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert (small.layer, small.outgoing) == ("0", "2")
    assert len(small.weights) == len(small.index) == 300
    assert float(small.weights.sum()) == pytest.approx(1200.0)
    hidden, reader = linear(small.module, "0"), linear(small.module, "2")
    assert torch.equal(hidden.weight, linear(model, "0").weight[small.index])
    assert torch.equal(hidden.bias, linear(model, "0").bias[small.index])
    kept = linear(model, "2").weight[:, small.index]
    assert torch.equal(reader.weight, kept * small.weights if mode == "folded" else kept)


def test_polynomial_networks_are_exact() -> None:
    """v (w x + b)^2 is a polynomial of degree 3 in a neuron: order 3 keeps it, order 2 not."""

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x

    model = network()
    model[1] = Square()
    x, _ = batch()
    miss = [
        apart(compress_layer(model, "0", k, 300, effort="low").module(x), model(x)) for k in (2, 3)
    ]
    assert miss[0] > 1e-5
    assert miss[1] < 1e-11


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bias", [True, False])
def test_weights_of_one_change_no_bit_of_the_training(name: str, bias: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 50, bias=bias), nn.ReLU(), nn.Linear(50, 3, bias=bias))
    small = compress_layer(model, "0", k=2, target=50, mode="dynamic")
    assert isinstance(small.module.get_submodule("0"), WeightedLinear)
    assert torch.equal(small.weights, torch.ones(50, dtype=torch.float64))

    def steps(net: nn.Module) -> list[Tensor]:
        optimizer = OPTIMIZERS[name](net)
        for step in range(20):
            x, y = batch(step)
            optimizer.zero_grad()
            ((net(x.float()) - y.float()) ** 2).mean().backward()
            optimizer.step()
        return [value.detach() for value in net.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(steps(small.module), steps(model), strict=True))


def test_a_neuron_that_stands_for_its_copies_moves_as_they_do() -> None:
    """Every neuron of the wide network three times: the narrow one is the same, exactly so."""
    narrow = network(30)
    wide = network(90)
    with torch.no_grad():
        linear(wide, "0").weight.copy_(linear(narrow, "0").weight.repeat(3, 1))
        linear(wide, "0").bias.copy_(linear(narrow, "0").bias.repeat(3))
        linear(wide, "2").weight.copy_(linear(narrow, "2").weight.repeat(1, 3))
    small = compress_layer(wide, "0", k=1, target=30, mode="dynamic")
    assert torch.allclose(small.weights, torch.tensor(3.0, dtype=torch.float64))
    for optimizers in OPTIMIZERS.values():
        followed = train(copy.deepcopy(small.module), optimizers, 30)
        original = train(copy.deepcopy(wide), optimizers, 30)
        for a, b in zip(followed, original, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_folded_weights_train_another_way() -> None:
    """So the test above sees the gradients' scale: plain SGD on folded weights goes elsewhere."""
    model = network()
    original = train(copy.deepcopy(model), OPTIMIZERS["sgd"], 3)
    gaps = {}
    modes: list[Mode] = ["dynamic", "folded"]
    for mode in modes:
        small = compress_layer(model, "0", k=5, target=300, mode=mode).module
        followed = train(small, OPTIMIZERS["sgd"], 3)
        gaps[mode] = apart(followed[-1], original[-1])
    assert gaps["dynamic"] < 0.01 * gaps["folded"]


@pytest.mark.parametrize("name", ["sgd", "decay"])
def test_training_follows_more_closely_with_k(name: str) -> None:
    """Theorem 5: the trained outputs differ by the error of order k + 1, from the first step.

    The means of eight networks: a single one is off by a factor of 1.4.
    """
    logs = np.zeros((8, 3, 5))
    for seed, of_network in enumerate(logs):
        model = network(seed=seed)
        original = train(copy.deepcopy(model), OPTIMIZERS[name], 5)
        for k, of_order in zip((1, 3, 5), of_network, strict=True):
            small = compress_layer(model, "0", k, 300, mode="dynamic", effort="low").module
            followed = train(small, OPTIMIZERS[name], 5)
            of_order[:] = [math.log(apart(a, b)) for a, b in zip(followed, original, strict=True)]
    gaps = np.exp(logs.mean(axis=0))
    for step in (0, 4):
        assert gaps[1][step] < 0.3 * gaps[0][step]
        assert gaps[2][step] < 0.65 * gaps[1][step]


def test_adam_follows_better_than_a_random_part() -> None:
    """Its first step is the sign of the gradient, which jumps: less is gained than with SGD."""
    model = network()
    part = compress_layer(model, "0", k=5, target=300, mode="dynamic")
    random = copy.deepcopy(part.module)
    chosen = torch.randperm(1200)[:300]
    with torch.no_grad():
        linear(random, "0").weight.copy_(linear(model, "0").weight[chosen])
        linear(random, "0").bias.copy_(linear(model, "0").bias[chosen])
        linear(random, "2").weight.copy_(linear(model, "2").weight[:, chosen])
        for c in random.buffers():
            c.fill_(4.0)
    original, followed, strayed = (
        train(net, OPTIMIZERS["adamw"], 20)[-1] for net in (model, part.module, random)
    )
    assert apart(followed, original) < 0.1 * apart(strayed, original)


def test_all_training_of_a_linear_network_is_exact_at_order_two() -> None:
    """v and w go through linear maps, so sum v w x stays of degree 2 in the first (w, v)."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 900, bias=False), nn.Linear(900, 1, bias=False)).double()
    original = train(copy.deepcopy(model), OPTIMIZERS["sgd"], 30)
    gaps = []
    for k in (1, 2):
        small = compress_layer(model, "0", k, 60, mode="dynamic", effort="low").module
        followed = train(small, OPTIMIZERS["sgd"], 30)
        gaps.append(max(apart(a, b) for a, b in zip(followed, original, strict=True)))
    assert gaps[0] > 1e-4
    assert gaps[1] < 1e-12


def test_copies_and_saved_states_keep_the_dynamics() -> None:
    model = network()
    small = compress_layer(model, "0", k=3, target=100, mode="dynamic").module
    copied = copy.deepcopy(small)
    again = compress_layer(model, "0", k=1, target=100, mode="dynamic").module
    again.load_state_dict(small.state_dict())
    wanted = train(small, OPTIMIZERS["sgd"], 3)
    for other in (copied, again):
        assert torch.equal(train(other, OPTIMIZERS["sgd"], 3)[-1], wanted[-1])


def test_what_stands_before_the_layer_gets_the_gradient_of_the_whole() -> None:
    """It belongs to the sum over all original neurons: no division by c there."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), *network()).double()
    small = compress_layer(model, "2", k=5, target=300, mode="dynamic").module
    x = torch.randn(16, 3, dtype=torch.float64)
    for net in (model, small):
        (net(x) ** 2).mean().backward()
    wanted, found = (linear(net, "0").weight.grad for net in (model, small))
    assert wanted is not None
    # Divided by c it would be off by a factor of 4.
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.0)


def test_a_layer_can_be_compressed_again_and_two_in_a_row() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(1, 400), nn.Tanh(), nn.Linear(400, 2), nn.Tanh(), nn.Linear(2, 1)
    ).double()
    x = torch.linspace(-1.0, 1.0, 20, dtype=torch.float64)[:, None]
    first = compress_layer(model, "0", k=4, target=200, mode="dynamic")
    again = compress_layer(first.module, "0", k=4, target=150, mode="dynamic")
    assert float(again.weights.sum()) == pytest.approx(400.0)
    both = compress_layer(again.module, "2", k=1, target=2, mode="dynamic")
    plain = fold(both.module)
    assert all(type(part) is not WeightedLinear for part in plain.modules())
    assert apart(plain(x), both.module(x)) < 1e-14
    # 0.001 to 0.006 for the first and to 0.012 for the others over twelve networks.
    for net in (first.module, again.module, both.module):
        assert apart(net(x), model(x)) < 0.015
    assert apart(first.module(x), model(x)) > 1e-9  # or nothing was compressed
    refolded = compress_layer(again.module, "0", k=2, target=90, mode="folded").module
    assert apart(refolded(x), model(x)) < 0.03
    parts = [part for part in refolded.modules() if isinstance(part, WeightedLinear)]
    assert all(part.c_in is None and part.c_out is None for part in parts)


def test_frozen_parameters_stay_frozen() -> None:
    model = network(100)
    linear(model, "0").weight.requires_grad_(False)
    model.eval()
    modes: list[Mode] = ["folded", "dynamic"]
    for mode in modes:
        small = compress_layer(model, "0", k=2, target=50, mode=mode).module
        hidden = linear(small, "0")
        assert not hidden.weight.requires_grad
        assert hidden.bias.requires_grad
        assert not any(part.training for part in small.modules())


def test_misuse_is_named() -> None:
    model = network(100)
    with pytest.raises(RequestError, match=r"2 inputs, a bias and 1 outputs, m = 4 .*= 126"):
        compress_layer(model, "0", k=5, target=90)
    wide = nn.Sequential(nn.Linear(784, 2000), nn.ReLU(), nn.Linear(2000, 10))
    with pytest.raises(RequestError, match="784 inputs, a bias and 10 outputs, m = 795"):
        compress_layer(wide, "0", k=2, target=1000)
    with pytest.raises(UsageError, match="mode must be one of folded, dynamic"):
        compress_layer(model, "0", k=2, target=50, mode="frozen")  # type: ignore[arg-type]
    with torch.no_grad():
        linear(model, "0").weight[3, 1] = float("inf")
    with pytest.raises(InputError):
        compress_layer(model, "0", k=2, target=50)


def test_folded_weights_are_rounded_once() -> None:
    """The product in float64, and not that of weights that were rounded before."""
    model = network().float()
    small = compress_layer(model, "0", k=5, target=300)
    kept = linear(model, "2").weight[:, small.index]
    wanted = (kept.double() * small.weights).float()
    assert torch.equal(linear(small.module, "2").weight, wanted)
    assert not torch.equal(kept * small.weights.float(), wanted)


def test_weights_beyond_the_range_of_the_type() -> None:
    """In float16, c_j v_j of a large c_j: no layer with infinite weights is handed over."""
    model = network(2000).half()
    with torch.no_grad():
        linear(model, "2").weight.copy_(3000.0 * torch.sign(linear(model, "2").weight))
    with pytest.raises(InputError, match=r"folded weights are beyond the range of torch.float16"):
        compress_layer(model, "0", k=2, target=30)
    kept = compress_layer(model.float(), "0", k=2, target=30)
    assert torch.isfinite(linear(kept.module, "2").weight).all()


def test_every_weight_is_a_tensor_of_its_own() -> None:
    """Also in float64, where nothing has to be converted: saved, moved and changed one by one."""
    found = compress_layer(network(), "0", k=3, target=100, mode="dynamic")
    hidden, reader = found.module.get_submodule("0"), found.module.get_submodule("2")
    assert isinstance(hidden, WeightedLinear)
    assert isinstance(reader, WeightedLinear)
    assert hidden.c_out is not None
    assert reader.c_in is not None
    places = {c.data_ptr() for c in (found.weights, hidden.c_out, reader.c_in)}
    assert len(places) == 3
    given = torch.ones(4)
    assert WeightedLinear(4, 2, c_in=given).c_in is not given


def test_a_saved_state_goes_into_layers_that_are_made_for_it() -> None:
    """As docs/learning.md says."""
    small = compress_layer(network(), "0", k=3, target=100, mode="dynamic").module
    fresh = nn.Sequential(
        WeightedLinear(2, 100, c_out=torch.ones(100)), nn.Tanh(),
        WeightedLinear(100, 1, c_in=torch.ones(100)),
    ).double()  # fmt: skip
    fresh.load_state_dict(small.state_dict())
    x, _ = batch()
    assert torch.equal(fresh(x), small(x))


@pytest.mark.parametrize("training", [True, False])
def test_fold_keeps_whether_a_model_is_in_training(training: bool) -> None:
    small = compress_layer(network(), "0", k=3, target=100, mode="dynamic").module.train(training)
    for model in (small, small.get_submodule("2")):
        assert [part.training for part in fold(model).modules()] == (
            [training] * len(list(model.modules()))
        )


def test_fold_of_a_layer_with_two_names() -> None:
    small = compress_layer(network(), "0", k=3, target=100, mode="dynamic").module
    assert isinstance(small, nn.Sequential)
    both = nn.ModuleDict({"a": small[2], "b": small[2]})
    folded = fold(both)
    assert not any(isinstance(part, WeightedLinear) for part in folded.modules())
    assert folded.get_submodule("a") is folded.get_submodule("b")


def test_a_layer_whose_forward_is_passed_over() -> None:
    """The fast path of torch reads its weights: dynamic weights c would be left out."""
    layer = nn.TransformerEncoderLayer(2, 1, dim_feedforward=400, batch_first=True).eval()
    options: dict[str, Any] = {"k": 1, "target": 60, "outgoing": "linear2"}
    with pytest.raises(UsageError, match="use mode='folded'"):
        compress_layer(layer, "linear1", mode="dynamic", **options)
    small = compress_layer(layer, "linear1", **options).module
    x = torch.ones(1, 3, 2)
    with torch.no_grad():
        fast = small(x)
    assert apart(fast, small(x)) < 1e-5


@pytest.mark.parametrize("model", [{"0.weight": torch.ones(3, 2)}, None])
def test_what_is_no_model(model: Any) -> None:
    with pytest.raises(UsageError, match=r"expected a torch.nn.Module in Python"):
        compress_layer(model, "0", k=1, target=10)


def test_a_model_without_numbers() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 1))
    with pytest.raises(UsageError, match=r"0.weight is on the meta device"):
        compress_layer(model, "0", k=1, target=10)


class Listed(nn.Module):
    """Holds its layers besides in a list and a dict, and computes by these."""

    def __init__(self, width: int = 300) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.hidden, self.out = nn.Linear(2, width), nn.Linear(width, 1)
        self.chain: list[Any] = [self.hidden, torch.tanh]
        self.last = {"out": self.out}
        self.double()

    def forward(self, x: Tensor) -> Any:
        for step in self.chain:
            x = step(x)
        return self.last["out"](x)


def test_who_holds_the_layers_besides_holds_the_weighted_ones() -> None:
    model = Listed()
    x, _ = batch()
    folded = compress_layer(model, "hidden", 2, 60).module
    moving = compress_layer(model, "hidden", 2, 60, mode="dynamic").module
    assert apart(moving(x), folded(x)) < 1e-14
    moving(x).sum().backward()
    ordinary = fold(moving)
    assert apart(ordinary(x), folded(x)) < 1e-14
    assert not any(isinstance(module, WeightedLinear) for module in ordinary.modules())
    assert isinstance(ordinary, Listed)
    assert type(ordinary.chain[0]) is nn.Linear
    assert ordinary.chain[0] is ordinary.hidden
    assert "hidden.c_out" not in ordinary.state_dict()


def test_fold_keeps_hooks() -> None:
    moving = compress_layer(network(300), "0", 2, 60, mode="dynamic").module
    x, _ = batch()
    moving.get_submodule("2").register_forward_hook(lambda module, inputs, output: 2.0 * output)
    assert apart(fold(moving)(x), moving(x)) < 1e-14


@pytest.mark.parametrize("sides", ["c_in", "c_out", "other"])
def test_weights_of_neurons_that_disagree_are_refused(sides: str) -> None:
    c = torch.linspace(0.5, 2.0, 300, dtype=torch.float64)
    model = nn.Sequential(
        WeightedLinear(2, 300, c_out=None if sides == "c_in" else c, dtype=torch.float64),
        nn.Tanh(),
        WeightedLinear(
            300, 1, c_in=None if sides == "c_out" else c.flip(0), dtype=torch.float64
        ),
    )  # fmt: skip
    with pytest.raises(UsageError, match="are not the same"):
        compress_layer(model, "0", 2, 60)


def test_weights_of_neurons_in_layers_of_two_types() -> None:
    c = torch.linspace(0.5, 2.0, 300, dtype=torch.float64)
    model = nn.Sequential(
        WeightedLinear(2, 300, c_out=c, dtype=torch.float64),
        nn.Tanh(),
        WeightedLinear(300, 1, c_in=c, dtype=torch.float32),
    )
    small = compress_layer(model, "0", 2, 100)
    assert float(small.weights.sum()) == pytest.approx(float(c.float().double().sum()), rel=1e-14)


@pytest.mark.parametrize("c", [torch.ones(5, 1), torch.ones(4), torch.tensor(1.0), torch.zeros(5)])
@pytest.mark.parametrize("side", ["c_in", "c_out"])
def test_weights_of_neurons_have_a_number_above_0_for_each(side: str, c: Tensor) -> None:
    with pytest.raises(UsageError, match=rf"{side} has shape"):
        WeightedLinear(
            5, 5, c_in=c if side == "c_in" else None, c_out=c if side == "c_out" else None
        )


def test_a_forward_that_changes_parameters_does_not_change_the_original() -> None:
    class Clamping(Listed):
        def forward(self, x: Tensor) -> Any:
            for parameter in self.parameters():
                parameter.data.clamp_(-0.01, 0.01)
            return self.out(torch.tanh(self.hidden(x)))

    model = Clamping()
    before = copy.deepcopy(model.state_dict())
    compress_layer(model, "hidden", 2, 60)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_fold_takes_parametrizations_with_it() -> None:
    c = torch.tensor([1.0, 2.0, 3.0])
    for layer in (WeightedLinear(3, 4, c_in=c), WeightedLinear(4, 3, c_out=c)):
        model = nn.Sequential(layer)
        nn.utils.parametrizations.weight_norm(layer)
        x = torch.rand(5, layer.in_features)
        plain = fold(model)
        assert type(plain[0]) is nn.Linear  # type: ignore[index]
        torch.testing.assert_close(plain(x), model(x))
        assert nn.utils.parametrize.is_parametrized(layer), "the original is not changed"
        assert not list(plain[0].children())  # type: ignore[index]


@pytest.mark.parametrize("target", [100.0, "a", None, 0, -5])
def test_a_target_that_is_no_number_of_neurons(target: Any) -> None:
    with pytest.raises(UsageError, match="target must be"):
        compress_layer(network(300), "0", 2, target)


def test_weights_of_neurons_are_tensors() -> None:
    with pytest.raises(UsageError, match="c_in is a list"):
        WeightedLinear(3, 4, c_in=[1, 2, 3])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="finite numbers"):
        WeightedLinear(3, 4, c_in=torch.tensor([1.0, torch.inf, 1.0]))
