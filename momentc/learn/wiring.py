"""Which layer reads the neurons of a Linear layer, and whether their sum is all that it sees.

Eq. (3) of the paper, ``f(x) = sum_i v_i sigma(w_i . x + b_i)``, needs three modules in a row: a
Linear, a function that treats each neuron alone and all neurons alike, and a Linear. Whether that
is so, only ``forward`` knows. So it is traced (``torch.fx``), that of the whole model: whoever
holds the layers may call them one by one. Modules beside the path are not looked into; arguments
with a default have their default.

Where the forward of the model cannot be traced (branches that depend on the data), that of the
largest module around the layer which can be is. If it holds both layers and has a forward of its
own, it is taken to be called as a whole; otherwise the caller names the next layer and answers for
what stands in between.
"""

import copy
import inspect
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from momentc.errors import UsageError

__all__ = ["Wiring", "find_wiring"]

# Modules without parameters that apply one function to each number alone. Dropout is one on
# average: it treats all neurons alike.
ELEMENTWISE_MODULES = (
    nn.CELU, nn.Dropout, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish,
    nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU,
    nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink,
    nn.Threshold,
)  # fmt: skip

# Names of functions and methods of tensors with the same property, whatever their number
# arguments; with two tensors, where both are computed from the neurons.
ELEMENTWISE_NAMES = frozenset((
    "abs", "add", "arctan", "atan", "celu", "clamp", "clone", "contiguous", "cos", "cosh", "div",
    "dropout", "elu", "erf", "exp", "float", "gelu", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "leaky_relu", "log1p", "logsigmoid", "mish", "mul", "neg", "pow", "relu", "relu6",
    "selu", "sigmoid", "silu", "sin", "sinh", "softplus", "softshrink", "softsign", "square",
    "sub", "tanh", "tanhshrink", "to", "truediv",
))  # fmt: skip


# A number that stands nowhere else, in place of the number of neurons.
UNUSUAL_WIDTH = 1_000_003

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Wiring:
    """The two layers around the neurons.

    Parameters
    ----------
    incoming, outgoing : str
        Names of the Linear layers in the model.
    traced : bool
        Whether a forward was read; if not, the caller answers for it.
    """

    incoming: str
    outgoing: str
    traced: bool


def find_wiring(model: nn.Module, layer: str, outgoing: str | None) -> Wiring:
    """Find the Linear layer that reads the neurons of `layer`.

    Parameters
    ----------
    model : torch.nn.Module
    layer : str
        Name of the hidden Linear layer, as ``named_modules`` gives it.
    outgoing : str or None
        Name of the next Linear layer; needed only if ``forward`` cannot be traced.

    Raises
    ------
    UsageError
        There is no such layer, its neurons are not simply summed up by one next Linear layer, or
        none was named and ``forward`` cannot be traced.
    """
    hidden = linear_of(model, layer)
    found = _trace_inwards(model, layer, outgoing)
    if found is not None and outgoing is not None and found != outgoing:
        raise UsageError(
            f"the outputs of {layer!r} are read by {found!r}, not by {outgoing!r}; leave outgoing "
            "out or name that one"
        )
    name = found or outgoing
    if name is None:
        raise UsageError(
            f"the forward of this {type(model).__name__} cannot be traced, or does not call "
            f"{layer!r}, so the layer that reads it is not known for certain; name it with "
            "outgoing="
        )
    reader = linear_of(model, name)
    if name == layer or reader.in_features != hidden.out_features:
        raise UsageError(
            f"{name!r} reads {reader.in_features} numbers and {layer!r} has {hidden.out_features} "
            "neurons; expected a Linear layer that reads the neurons one by one"
        )
    for end in (layer, name):
        _refuse_ties(model, end)
        _refuse_hooks(linear_of(model, end), end)
    return Wiring(layer, name, traced=found is not None)


def linear_of(model: nn.Module, name: str) -> nn.Linear:
    """Return the Linear layer of that name.

    Raises
    ------
    UsageError
        There is none, or it is something else; the message lists those that are.
    """
    from momentc.learn.weighted_linear import WeightedLinear

    try:
        module = model.get_submodule(name) if name else None
    except AttributeError:
        module = None
    if module is None:
        names = [key for key, part in model.named_modules() if isinstance(part, nn.Linear) and key]
        listed = ", ".join(repr(key) for key in names[:20]) or "none"
        raise UsageError(f"the model has no layer {name!r}; its Linear layers: {listed}")
    if type(module) not in {nn.Linear, WeightedLinear} or "weight" not in module._parameters:
        raise UsageError(
            f"{name!r} is a {type(module).__name__}; expected a plain torch.nn.Linear. Neurons of "
            "convolutions, attention, recurrent, quantized or re-parametrized layers are no "
            "objects that momentc can take apart"
        )
    assert isinstance(module, nn.Linear)
    return module


def _refuse_hooks(module: nn.Module, name: str) -> None:
    """A hook may change what a module computes, and no trace shows it."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, kind) for kind in kinds):
        raise UsageError(
            f"{name!r} has hooks, which may change what it computes; remove them before"
        )


def _refuse_ties(model: nn.Module, layer: str) -> None:
    """A parameter that another layer uses too cannot lose rows."""
    own = dict(linear_of(model, layer).named_parameters())
    for name, parameter in model.named_parameters(remove_duplicate=False):
        for end, mine in own.items():
            if parameter is mine and name != f"{layer}.{end}":
                raise UsageError(
                    f"the {end} of {layer!r} is tied to {name!r}; its neurons are not its own"
                )


def _trace_inwards(model: nn.Module, layer: str, outgoing: str | None) -> str | None:
    """Return the name of the reader; None if no forward that can be traced tells it for certain."""
    for outer in _holders(layer):
        prefix = f"{outer}." if outer else ""
        inner, named = layer.removeprefix(prefix), (outgoing or "").removeprefix(prefix)
        graph = _trace_copy(model, outer, (inner, named))
        if graph is None or not _calls(graph, inner):
            continue  # not told by this one
        root = model.get_submodule(outer)
        found = _follow(graph, root, prefix, inner)
        if found is None:
            if outer:
                return None  # read outside, where it cannot be traced
            raise UsageError(
                f"the outputs of {layer!r} are outputs of the model; its neurons are not summed up "
                "by a next Linear layer"
            )
        if outer and type(root).forward is nn.Sequential.forward:
            continue  # who holds it may call its modules one by one
        _refuse_direct_use(graph, prefix, (inner, found))
        # A forward that does other things each time says nothing about the number of neurons.
        again = _trace_copy(model, outer, (inner, named))
        other = _trace_copy(model, outer, (inner, named), {inner: "out", found: "in"})
        if _steps(again) == _steps(graph) != _steps(other):
            raise UsageError(
                f"forward depends on the number of neurons (out_features of {layer!r} or "
                f"in_features of {prefix + found!r}); with fewer of them it would compute "
                "something else. Keep that number as an attribute of its own"
            )
        return prefix + found
    return None


def _holders(layer: str) -> list[str]:
    """Return the names of the modules that hold a layer, from the model itself inwards."""
    parts = layer.split(".")
    return [".".join(parts[:depth]) for depth in range(len(parts))]


def _refuse_direct_use(graph: fx.Graph, prefix: str, layers: tuple[str, str]) -> None:
    """Refuse a forward that reads the parameters of the two layers besides.

    Raises
    ------
    UsageError
    """
    for node in graph.nodes:
        name, _, _ = str(node.target).rpartition(".")
        if node.op == "get_attr" and name in layers:
            raise UsageError(
                f"forward uses {prefix + str(node.target)!r} besides; with fewer neurons it would "
                "compute something else"
            )


def _calls(graph: fx.Graph, target: str) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "call_module" and node.target == target]


def _steps(graph: fx.Graph | None) -> list[tuple[str, ...]] | None:
    """Return what a forward does, in words; tensors that it makes have numbers of no meaning."""
    if graph is None:
        return None
    return [
        tuple(
            re.sub(r"_tensor_constant\d+", "_tensor_constant", str(part))
            for part in (node.op, node.target, node.args, node.kwargs)
        )
        for node in graph.nodes
    ]


def _trace_copy(
    model: nn.Module, outer: str, names: tuple[str, str], widened: Mapping[str, str] = NOTHING
) -> fx.Graph | None:
    """Trace the forward of a part of a copy of the model, always with the same random numbers.

    The trace runs the user's code, which may leave things in the model and change its buffers. Only
    the parameters are shared.

    Parameters
    ----------
    model : torch.nn.Module
    outer : str
        The part.
    names : (str, str)
        Layers in it that are steps of their own; the second may be empty.
    widened : mapping of str to str
        Layers that say of their 'in' or 'out' features another number than they have.
    """
    shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    try:
        root = copy.deepcopy(model, shared).get_submodule(outer)
    except Exception as error:  # what the user's attributes have against it
        raise UsageError(f"the model cannot be copied: {error}") from error
    for name, side in widened.items():
        setattr(root.get_submodule(name), f"{side}_features", UNUSUAL_WIDTH)
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            random.seed(0)
            return _trace(root, *names)
    finally:
        random.setstate(state)


class _PathTracer(fx.Tracer):
    """Looks only into the modules that hold one of the two layers, and into nn.Sequential."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self._names = names

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a module counts as one step."""
        holds = any(name.startswith(f"{module_qualified_name}.") for name in self._names)
        return not (holds or isinstance(m, nn.Sequential))


def _trace(root: nn.Module, layer: str, outgoing: str) -> fx.Graph | None:
    """Return what forward does; None if it cannot be traced, or there is none, as in a list."""
    try:
        return _PathTracer((layer, outgoing)).trace(root, concrete_args=_defaults(root))
    except Exception:  # whatever the user's code does with a stand-in for a tensor
        return None


def _defaults(root: nn.Module) -> dict[str, Any]:
    """Arguments of forward with a default: a stand-in would take the branch of "is not None"."""
    parameters = inspect.signature(root.forward).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not inspect.Parameter.empty
    }


def _follow(graph: fx.Graph, root: nn.Module, prefix: str, layer: str) -> str | None:
    """Follow the outputs of `layer` through the graph to the one Linear layer that reads them.

    Returns
    -------
    str or None
        Its name within `root`; None if they leave `root`.
    """
    shown = prefix + layer
    width = linear_of(root, layer).out_features
    # Of every call, if there are several: each is such a sum, or their sum is.
    neurons = set(_calls(graph, layer))
    found: str | None = None
    n_read = 0
    for node in graph.nodes:
        from_neurons = [value for value in node.all_input_nodes if value in neurons]
        if not from_neurons or node in neurons:
            continue
        if node.op == "output":
            if found is not None:
                raise UsageError(
                    f"the outputs of {shown!r} are read by {prefix + found!r} and returned too"
                )
            return None
        others = [value for value in node.all_input_nodes if value not in neurons]
        if node.op == "call_module" and not others:
            target = str(node.target)
            module = root.get_submodule(target)
            _refuse_hooks(module, prefix + target)
            if isinstance(module, nn.Linear):
                if found not in {None, target}:
                    raise UsageError(
                        f"the outputs of {shown!r} are read by {prefix + found!r} and by "
                        f"{prefix + target!r}; expected one next Linear layer"
                    )
                found = target
                n_read += 1
                continue
            if _is_elementwise(module, width):
                neurons.add(node)
                continue
            what = f"{prefix + target!r} ({type(module).__name__})"
        else:
            name = str(getattr(node.target, "__name__", node.target))
            if not others and name in ELEMENTWISE_NAMES:
                neurons.add(node)
                continue
            what = f"{name!r}" + (" with another tensor" if others else "")
        raise UsageError(
            f"between {shown!r} and the next Linear layer stands {what}, which does not treat "
            "each neuron alone and all alike. Only an activation may stand there (Linear, "
            "activation, Linear); normalise before or after instead"
        )
    if found is None:
        raise UsageError(f"nothing in forward reads the outputs of {shown!r}")
    if n_read != len(_calls(graph, found)):
        raise UsageError(
            f"{prefix + found!r} reads other numbers as well, beside those of {shown!r}"
        )
    return found


def _is_elementwise(module: nn.Module, width: int) -> bool:
    """Whether a module treats each of so many numbers alone and all alike."""
    if type(module) in ELEMENTWISE_MODULES:
        return True
    if type(module) is nn.PReLU:
        return module.num_parameters == 1  # else each neuron has a slope of its own
    if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
        return False
    return _acts_elementwise(module, width)


def _acts_elementwise(module: nn.Module, width: int) -> bool:
    """Try an unknown module without parameters on numbers, small and large.

    Each column of its output must depend on the same column of the input alone, and all columns by
    the same function: a permutation of the columns commutes with it, and so does leaving out some.
    """
    generator = torch.Generator().manual_seed(width)
    values = torch.randn(8, max(7, width), generator=generator)
    values *= torch.tensor([1e-3, 0.1, 1.0, 1.0, 3.0, 10.0, 100.0, 1e4])[:, None]
    order = torch.randperm(values.shape[1], generator=generator)
    try:
        with torch.no_grad():
            whole = module(values)
            return whole.shape == values.shape and all(
                torch.equal(whole[:, some], module(values[:, some]))
                for some in (order, order[1:], order[: len(order) // 2], order[:1])
            )
    except Exception:  # it wants other shapes: not a function of single numbers
        return False
