"""Finding the next Linear layer, and refusing what is no sum over neurons."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from momentc.errors import UsageError
from momentc.learn.wiring import Wiring, find_wiring


class Net(nn.Module):
    """hidden -> something -> out, in a forward of one's own."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, width)
        self.norm = nn.LayerNorm(width)
        self.slopes = nn.PReLU(width)
        self.gate = nn.Linear(3, width)
        self.out = nn.Linear(width, 2)
        self.other = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Any:
        return self.out(torch.relu(self.hidden(x)))


def wired(model: nn.Module, layer: str, outgoing: str | None = None) -> tuple[str, bool]:
    found = find_wiring(model, layer, outgoing, 5)
    assert isinstance(found, Wiring)
    assert found.incoming == layer
    return found.outgoing, found.traced


def test_sequences_also_nested() -> None:
    inner = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Dropout(0.1))
    model = nn.Sequential(nn.Linear(3, 3), inner, nn.PReLU(), nn.Linear(8, 2), nn.Softmax(-1))
    assert wired(model, "1.0") == ("3", True)
    assert wired(model, "0") == ("1.0", True)
    with pytest.raises(UsageError, match="Softmax"):
        wired(model, "3")


def test_a_forward_of_ones_own() -> None:
    assert wired(Net(), "hidden") == ("out", True)
    assert wired(Net(), "hidden", "out") == ("out", True)
    with pytest.raises(UsageError, match="are read by 'out', not by 'other'"):
        wired(Net(), "hidden", "other")


def test_deep_in_a_model_that_cannot_be_traced() -> None:
    """Only the module around the two layers has to be: what the rest does is its own affair."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()
            self.layers = nn.ModuleList([Net(), nn.Linear(3, 3)])

        def forward(self, x: Tensor) -> Any:
            if float(x.sum()) > 0:
                return self.net(x)
            for layer in self.layers:
                x = layer(x)
            return x

    assert wired(Block(), "net.hidden") == ("net.out", True)
    assert wired(Block(), "layers.0.hidden") == ("layers.0.out", True)


class Branching(Net):
    def forward(self, x: Tensor) -> Any:
        if float(x.sum()) > 0:
            return self.out(torch.relu(self.hidden(x)))
        return self.out(self.hidden(x))


def test_the_caller_answers_for_what_cannot_be_traced() -> None:
    with pytest.raises(UsageError, match=r"cannot be traced.*name it with outgoing="):
        wired(Branching(), "hidden")
    assert wired(Branching(), "hidden", "out") == ("out", False)
    with pytest.raises(UsageError, match="'gate' reads 3 numbers and 'hidden' has 8 neurons"):
        wired(Branching(), "hidden", "gate")
    with pytest.raises(UsageError, match="no layer 'nope'"):
        wired(Branching(), "hidden", "nope")


def test_arguments_with_a_default_have_it() -> None:
    class Optional(Net):
        def forward(self, x: Tensor, gate: Tensor | None = None, scale: bool = False) -> Any:
            h = self.hidden(x)
            if gate is not None:
                h = h * gate
            if scale:
                h = self.norm(h)
            return self.out(h)

    assert wired(Optional(), "hidden") == ("out", True)


def test_functions_of_the_neurons_alone() -> None:
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(2.0 * x)

    class Own(Net):
        def __init__(self) -> None:
            super().__init__()
            self.act = Swish()

        def forward(self, x: Tensor) -> Any:
            h = self.hidden(x)
            h = h * torch.sigmoid(h) + functional.gelu(h) - 0.5 * h.tanh() ** 2
            return self.out(self.act(h))

    assert wired(Own(), "hidden") == ("out", True)


class Activation(Net):
    def __init__(self, function: Callable[[Tensor], Tensor], width: int = 8) -> None:
        super().__init__(width)

        class Own(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return function(x)

        self.act = Own()

    def forward(self, x: Tensor) -> Any:
        return self.out(self.act(self.hidden(x)))


@pytest.mark.parametrize("width", [5, 8, 9, 31, 64, 257])
@pytest.mark.parametrize(
    "function",
    [
        torch.exp,  # overflows
        lambda x: x * torch.sigmoid(1.7 * x),
        lambda x: 0.5 * x * (1.0 + torch.erf(x / 2**0.5)),  # what cancels is rounding
        lambda x: torch.tanh(torch.nn.functional.softplus(x.float())),
        lambda x: torch.sin(x).half(),
    ],
)
def test_rounding_is_no_dependence(function: Callable[[Tensor], Tensor], width: int) -> None:
    """Vector instructions and plain ones round differently, wherever a tensor changes between."""
    assert wired(Activation(function, width), "hidden") == ("out", True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1e-9 * x.mean(-1, keepdim=True),
        lambda x: x * (1.0 + 1e-9 * torch.arange(x.shape[-1], dtype=x.dtype)),
        lambda x: x.float() + 1e-3 * x.float().mean(-1, keepdim=True),
        lambda x: x.bfloat16() + 0.1 * x.bfloat16().mean(-1, keepdim=True),
        torch.log,  # not a number is equal to nothing
        lambda x: x[..., :1],
    ],
)
def test_a_little_of_the_others_is_one(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UsageError, match=r"stands 'act' \(Own\), which is not known"):
        wired(Activation(function), "hidden")


class Flips(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(-1)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda s, x: s.out(s.norm(s.hidden(x))), r"'norm' \(LayerNorm\)"),
        (lambda s, x: s.out(s.slopes(s.hidden(x))), r"'slopes' \(PReLU\)"),
        (lambda s, x: s.out(s.hidden(x) * s.gate(x)), "'mul' with another tensor"),
        (lambda s, x: s.out(s.hidden(x) + x.sum()), "'add' with another tensor"),
        (lambda s, x: s.out(functional.softmax(s.hidden(x), -1)), "'softmax'"),
        (lambda s, x: s.out(s.hidden(x).cumsum(-1)), "'cumsum'"),
        (lambda s, x: s.out(s.flips(s.hidden(x))), r"'flips' \(Flips\)"),
        (lambda s, x: s.out(s.hidden(x)) + s.other(s.hidden(x)), "by 'out' and by 'other'"),
        (lambda s, x: s.both(s.hidden(x)), "by 'out' and by 'other'"),
        (lambda s, x: s.out(s.hidden(x)) + s.out(s.gate(x)), "reads other numbers as well"),
        (lambda s, x: s.with_hidden(s.hidden(x)), "returned too"),
        (lambda s, x: s.hidden(x), "outputs of the model"),
        (lambda s, x: functional.linear(x, s.hidden.weight), "or does not call 'hidden'"),
    ],
)
def test_what_is_no_sum_over_neurons(forward: Any, message: str) -> None:
    class Wrong(Net):
        def __init__(self) -> None:
            super().__init__()
            self.flips = Flips()

        def both(self, h: Tensor) -> Any:
            return self.out(h) + self.other(h)

        def with_hidden(self, h: Tensor) -> Any:
            return self.out(h), h

        def forward(self, x: Tensor) -> Any:
            return forward(self, x)

    with pytest.raises(UsageError, match=message):
        wired(Wrong(), "hidden")


class Body(nn.Module):
    """Holds the two layers in a Sequential, which has a forward of its own, and may not use it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        self.inner = Net()
        self.gate = nn.Linear(3, 8)

    def forward(self, x: Tensor) -> Any:
        return self.body(x) + self.inner(x)


@pytest.mark.parametrize(
    ("layer", "forward", "message"),
    [
        ("body.0", lambda s, x: s.body[2](functional.normalize(s.body[:2](x))), "for certain"),
        ("body.0", lambda s, x: s.body[2](s.body[1](s.body[0](x)).softmax(-1)), "'softmax'"),
        ("body.0", lambda s, x: s.body[2](s.body[:2](x) * s.gate(x)), "for certain"),
        (
            "body.0",
            lambda s, x: s.body[2](s.body[1](s.body[0](x)) * s.gate(x)),
            "with another tensor",
        ),
        ("body.0", lambda s, x: s.body(x) + s.body[0](x).amax(), "'amax'"),
        ("body.0", lambda s, x: s.body(x) + s.body[0].weight.norm(), r"uses 'body.0.weight'"),
        ("body.0", lambda s, x: s.body(x) + s.body[2].weight.norm(), r"uses 'body.2.weight'"),
        ("body.0", lambda s, x: s.body(x) / s.body[0].out_features, "number of neurons"),
        ("body.0", lambda s, x: s.body(x) * s.body[2].in_features ** -0.5, "number of neurons"),
        ("body.0", lambda s, x: s.body(x) / len(s.body[0].weight), "for certain"),
        ("body.0", lambda s, x: s.body(x) / s.body[0].weight.shape[0], "uses 'body.0.weight'"),
        ("inner.hidden", lambda s, x: s.inner(x) + s.inner.hidden(x).sum(), "'sum'"),
        ("inner.hidden", lambda s, x: s.inner.out(s.inner.hidden(x).softmax(-1)), "'softmax'"),
    ],
)
def test_whoever_holds_the_layers_may_call_them_one_by_one(
    layer: str, forward: Any, message: str
) -> None:
    class Outer(Body):
        def forward(self, x: Tensor) -> Any:
            return forward(self, x)

    assert wired(Body(), layer)[1]
    with pytest.raises(UsageError, match=message):
        wired(Outer(), layer)


@pytest.mark.parametrize(
    "forward",
    [
        lambda s, x, y: s.inner(x) - s.inner(y),  # two towers of one
        lambda s, x, y: s.inner.out(torch.relu(s.inner.hidden(x)) * s.inner.hidden(y)),
        lambda s, x, y: (h := s.inner.hidden(x)) is None or s.inner.out(h) + s.inner.out(h.tanh()),
        lambda s, x, y: s.inner(s.inner(s.inner(x) @ s.back) @ s.back),  # a loop
        lambda s, x, y: s.inner(x * torch.tensor(0.5) + torch.arange(3)),
        lambda s, x, y: s.inner(x) if random.random() < 0.5 else s.inner(2 * x),
        lambda s, x, y: s.inner(x) * next(s.numbers),
    ],
)
def test_forwards_that_are_sums_over_neurons_all_the_same(forward: Any) -> None:
    class Other(Body):
        def __init__(self) -> None:
            super().__init__()
            self.back = nn.Parameter(torch.ones(2, 3))
            self.numbers = itertools.cycle([1.0, 2.0, 3.0])

        def forward(self, x: Tensor, y: Tensor) -> Any:  # type: ignore[override]
            return forward(self, x, y)

    assert wired(Other(), "inner.hidden") == ("inner.out", True)


def test_layers_that_are_not_called_by_default() -> None:
    class Auxiliary(Body):
        def forward(self, x: Tensor, with_inner: bool = False) -> Any:
            return self.body(x) + (self.inner(x) if with_inner else 0.0)

    assert wired(Auxiliary(), "inner.hidden") == ("inner.out", True)


def test_buffers_are_as_they_were() -> None:
    class Counts(Net):
        step: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("step", torch.zeros(()))

        def forward(self, x: Tensor) -> Any:
            self.step += 1
            return self.out(torch.relu(self.hidden(x)))

    net = Counts()
    state = random.getstate(), torch.get_rng_state()
    assert wired(net, "hidden") == ("out", True)
    assert float(net.step) == 0.0
    assert random.getstate() == state[0]
    assert torch.equal(torch.get_rng_state(), state[1])


def test_a_sequence_of_blocks_in_a_model_that_cannot_be_traced() -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(Net(), nn.Linear(2, 3), Net())

        def forward(self, x: Tensor) -> Any:
            return self.blocks(x) if float(x.sum()) > 0 else x

    assert wired(Blocks(), "blocks.2.hidden") == ("blocks.2.out", True)


def test_a_sequence_in_a_model_that_cannot_be_traced() -> None:
    class Branches(Body):
        def forward(self, x: Tensor) -> Any:
            return self.body(x) if float(x.sum()) > 0 else self.body[2](self.body[0](x))

    with pytest.raises(UsageError, match="not known for certain; name it with outgoing="):
        wired(Branches(), "body.0")
    assert wired(Branches(), "body.0", "body.2") == ("body.2", False)
    assert wired(Branches(), "inner.hidden") == ("inner.out", True)


def test_the_model_is_as_it_was() -> None:
    """Its forward may leave things in it, and the trace calls it with stand-ins for tensors."""

    class Remembers(Net):
        n_calls = 0

        def forward(self, x: Tensor) -> Any:
            self.n_calls += 1
            self.last = torch.relu(self.hidden(x))
            return self.out(self.last)

    net = Remembers()
    assert wired(net, "hidden") == ("out", True)
    assert net.n_calls == 0
    assert not hasattr(net, "last")
    assert net.hidden.out_features == net.out.in_features == 8


@pytest.mark.parametrize("where", ["hidden", "act", "out"])
@pytest.mark.parametrize(
    "kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_hooks_on_the_path(where: str, kind: str) -> None:
    class Own(Net):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x: Tensor) -> Any:
            return self.out(self.act(self.hidden(x)))

    net = Own()
    handle = getattr(net.get_submodule(where), kind)(lambda *_: None)
    with pytest.raises(UsageError, match=f"'{where}' has hooks"):
        wired(net, "hidden")
    handle.remove()
    assert wired(net, "hidden") == ("out", True)


class FirstTen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., :10], torch.relu(x[..., 10:])], -1)


class Clipped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.clamp(10.0 / x.norm(dim=-1, keepdim=True), max=1.0)


class Winners(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] <= 100:
            return x
        least = x.topk(100, dim=-1).values[..., -1:]
        return torch.where(x >= least, x, torch.zeros_like(x))


class Cubed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x * x + torch.where(x > 1.0, x, torch.zeros_like(x))


@pytest.mark.parametrize("module", [FirstTen(), Clipped(), Winners()])
def test_modules_that_look_elementwise_in_small(module: nn.Module) -> None:
    def model(between: nn.Module) -> nn.Sequential:
        return nn.Sequential(nn.Linear(3, 400), between, nn.Linear(400, 2))

    assert wired(model(Cubed()), "0") == ("2", True)
    with pytest.raises(UsageError, match="not known to treat each neuron alone"):
        wired(model(module), "0")


class Centred(nn.Module):
    """Takes away a mean that it has learnt: while it does not learn, it looks elementwise."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = x.mean()
        return x - self.mean


@pytest.mark.parametrize("training", [True, False])
def test_modules_with_buffers(training: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 8), Centred(), nn.Linear(8, 2)).train(training)
    with pytest.raises(UsageError, match=r"'1' \(Centred\), which is not known to treat each"):
        wired(model, "0")
    assert float(model.get_buffer("1.mean")) == 0.5


def test_layers_that_cannot_be_taken_apart() -> None:
    model = nn.Sequential(
        nn.Conv1d(1, 4, 3),
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)),
        nn.Linear(4, 2),
    )
    with pytest.raises(UsageError, match="'0' is a Conv1d; expected a plain"):
        wired(model, "0")
    with pytest.raises(UsageError, match="is a ParametrizedLinear"):
        wired(model, "1")
    for name in ("nope", ""):
        with pytest.raises(UsageError, match="its Linear layers: '1', '2'"):
            wired(model, name)


def test_tied_weights() -> None:
    net = Net(3)
    net.gate.weight = net.hidden.weight
    with pytest.raises(UsageError, match=r"weight of 'hidden' is tied to 'gate.weight'"):
        wired(net, "hidden")
    net = Net()
    net.other.weight = net.out.weight
    with pytest.raises(UsageError, match=r"weight of 'out' is tied to 'other.weight'"):
        wired(net, "hidden")


@pytest.mark.parametrize(
    "factor",
    [
        lambda s: 2.0 if s.hidden.out_features > 6 else 1.0,  # 8 now, 5 afterwards
        lambda s: min(s.hidden.out_features, 7),
        lambda s: sum(parameter.numel() for parameter in s.parameters()),
        lambda s: sum(parameter.pow(2).sum() for parameter in s.parameters()),
        lambda s: dict(s.named_parameters())["hidden.weight"].norm(),
        lambda s: sum(0.5 for _ in range(s.hidden.out_features)),
    ],
)
def test_what_a_forward_takes_from_the_neurons_besides(factor: Any) -> None:
    class Scaled(Net):
        def forward(self, x: Tensor) -> Any:
            return self.out(torch.relu(self.hidden(x))) * factor(self)

    with pytest.raises(UsageError, match="depends on the number of neurons"):
        wired(Scaled(), "hidden")


@pytest.mark.parametrize(
    "activation",
    [
        lambda h: functional.threshold(h, 0.1, 0.0),
        lambda h: h.relu_(),
        torch.relu_,
        lambda h: h.clamp_min(0.0),
        lambda h: torch.where(h > 0.0, h, torch.expm1(h)),
        lambda h: torch.maximum(h, 0.1 * h),
        lambda h: (h > 0.0) * h,
    ],
)
def test_activations_by_other_names(activation: Any) -> None:
    class Other(Net):
        def forward(self, x: Tensor) -> Any:
            return self.out(activation(self.hidden(x.to(self.hidden.weight.dtype))))

    assert wired(Other(), "hidden") == ("out", True)


def test_the_type_of_the_layer_may_be_asked_for() -> None:
    class Cast(Net):
        def forward(self, x: Tensor) -> Any:
            weight = self.hidden.weight
            return self.out(torch.relu(self.hidden(x.to(weight.device, weight.dtype))))

    assert wired(Cast(), "hidden") == ("out", True)


def relu6(h: Tensor) -> Any:
    """Be no relu6 at all."""
    return h / h.norm(dim=-1, keepdim=True)


fx.wrap("relu6")


def test_a_function_of_the_user_by_a_known_name() -> None:
    class Wrapped(Net):
        def forward(self, x: Tensor) -> Any:
            return self.out(relu6(self.hidden(x)))

    with pytest.raises(UsageError, match="'relu6', which is not known"):
        wired(Wrapped(), "hidden")


@pytest.mark.parametrize("name", ["hidden", "act", "out"])
def test_a_forward_that_was_replaced_is_refused(name: str) -> None:
    class Patched(Net):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x: Tensor) -> Any:
            return self.out(self.act(self.hidden(x)))

    model = Patched()
    assert wired(model, "hidden") == ("out", True)
    module = model.get_submodule(name)
    module.forward = lambda x, former=module.forward: former(x).cumsum(-1)
    with pytest.raises(UsageError, match=r"was replaced|for certain"):
        wired(model, "hidden")


def test_a_layer_of_two_names_is_one_layer() -> None:
    class Twice(Net):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(self.hidden, nn.Tanh(), self.out)

        def forward(self, x: Tensor) -> Any:
            return self.net(x)

    for name in ("hidden", "net.0"):
        found = find_wiring(Twice(), name, None, 5)
        assert (found.incoming, found.outgoing, found.traced) == ("hidden", "out", True)
    assert find_wiring(Twice(), "net.0", "net.2", 5).outgoing == "out"
