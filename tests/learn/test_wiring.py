"""Finding the next Linear layer, and refusing what is no sum over neurons."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
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
    found = find_wiring(model, layer, outgoing)
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
        (lambda s, x: s.out(s.hidden(x)) + s.other(s.hidden(x)), "called 2 times"),
        (lambda s, x: s.both(s.hidden(x)), "by 'out' and by 'other'"),
        (lambda s, x: s.out(s.hidden(x)) + s.out(s.gate(x)), "more than once"),
        (lambda s, x: s.with_hidden(s.hidden(x)), "returned too"),
        (lambda s, x: s.hidden(x), "outputs of the model"),
        (lambda s, x: functional.linear(x, s.hidden.weight), "called 0 times"),
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
