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

import inspect
import random
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from momentc.errors import UsageError
from momentc.learn.copies import copy_of
from momentc.learn.weighted_linear import WeightedLinear, leave_neurons

__all__ = ["Wiring", "find_wiring", "linear_of", "refuse_hooks"]

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
    "abs", "add", "arctan", "atan", "bfloat16", "celu", "clamp", "clamp_max", "clamp_min", "clip",
    "clone", "contiguous", "cos", "cosh", "div", "double", "dropout", "elu", "erf", "exp", "expm1",
    "float", "ge", "gelu", "gt", "half", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "le",
    "leaky_relu", "log", "log1p", "logsigmoid", "lt", "maximum", "minimum", "mish", "mul", "neg",
    "pow", "reciprocal", "relu", "relu6", "rsqrt", "selu", "sigmoid", "sign", "silu", "sin",
    "sinh", "softplus", "softshrink", "softsign", "sqrt", "square", "sub", "tanh", "tanhshrink",
    "threshold", "to", "truediv", "where",
))  # fmt: skip

# Whose functions those names are; a user's own may do anything.
KNOWN_MODULES = ("torch", "_operator", "operator")

# What forward may ask a parameter for besides: it has nothing to do with the number of neurons.
HARMLESS_ATTRIBUTES = frozenset(("dtype", "device"))

# Units of rounding by which a function may differ from itself, elsewhere in a tensor. Of shorter
# floats, which are rounded from longer ones, none: 64 of bfloat16 are half of a number.
MOST_ROUNDING = {torch.float64: 64 * 2.0**-52, torch.float32: 64 * 2.0**-23}

# The name under which a trace keeps a tensor that forward has made.
CONSTANT = "_tensor_constant"


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


@dataclass(frozen=True, slots=True, eq=False)
class _Trace:
    """What a forward does.

    Parameters
    ----------
    graph : torch.fx.Graph
    constants : tuple of tensor
        Those that it makes.
    """

    graph: fx.Graph
    constants: tuple[torch.Tensor, ...]

    def steps(self) -> list[tuple[str, ...]]:
        """Return the steps in words, the tensors that are made without their numbers."""
        return [
            tuple(
                re.sub(rf"{CONSTANT}\d+", CONSTANT, str(part))
                for part in (node.op, node.target, node.args, node.kwargs)
            )
            for node in self.graph.nodes
        ]

    def makes_the_same(self, other: "_Trace") -> bool:
        """Tell whether the tensors that are made are the same."""
        return len(self.constants) == len(other.constants) and all(
            mine.dtype == theirs.dtype and torch.equal(mine, theirs)
            for mine, theirs in zip(self.constants, other.constants, strict=True)
        )


def find_wiring(model: nn.Module, layer: str, outgoing: str | None, target: int) -> Wiring:
    """Find the Linear layer that reads the neurons of `layer`.

    Parameters
    ----------
    model : torch.nn.Module
    layer : str
        Name of the hidden Linear layer, as ``named_modules`` gives it.
    outgoing : str or None
        Name of the next Linear layer; needed only if ``forward`` cannot be traced.
    target : int
        Neurons that will be left: forward must do the same with them.

    Raises
    ------
    UsageError
        There is no such layer, its neurons are not simply summed up by one next Linear layer, or
        none was named and ``forward`` cannot be traced.
    """
    hidden = linear_of(model, layer)
    # A module may have several names; a trace knows it by the first.
    layer = _first_name(model, hidden)
    if outgoing is not None:
        outgoing = _first_name(model, linear_of(model, outgoing))
    found = _trace_inwards(model, layer, outgoing, target)
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
        refuse_hooks(linear_of(model, end), repr(end))
    return Wiring(layer, name, traced=found is not None)


def linear_of(model: nn.Module, name: str) -> nn.Linear:
    """Return the Linear layer of that name.

    Raises
    ------
    UsageError
        There is none, or it is something else; the message lists those that are.
    """
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


def _first_name(model: nn.Module, module: nn.Module) -> str:
    return next(str(name) for name, each in model.named_modules() if each is module)


def refuse_hooks(module: nn.Module, name: str) -> None:
    """Refuse a module whose computation was changed from outside: no trace shows that.

    Raises
    ------
    UsageError
    """
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, kind) for kind in kinds):
        raise UsageError(f"{name} has hooks, which may change what it computes; remove them before")
    if "forward" in vars(module):
        raise UsageError(f"the forward of {name} was replaced by another; undo that before")


def _refuse_ties(model: nn.Module, layer: str) -> None:
    """A parameter that another layer uses too cannot lose rows."""
    linear = linear_of(model, layer)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        for end, mine in linear.named_parameters():
            if parameter is mine and model.get_submodule(name.rpartition(".")[0]) is not linear:
                raise UsageError(
                    f"the {end} of {layer!r} is tied to {name!r}; its neurons are not its own"
                )


def _trace_inwards(model: nn.Module, layer: str, outgoing: str | None, target: int) -> str | None:
    """Return the name of the reader; None if no forward that can be traced tells it for certain."""
    for outer in _holders(layer):
        prefix = f"{outer}." if outer else ""
        inner, named = layer.removeprefix(prefix), (outgoing or "").removeprefix(prefix)
        first = _trace_copy(model, outer, (inner, named))
        if first is None or not _calls(first.graph, inner):
            continue  # not told by this one
        root = model.get_submodule(outer)
        found = _follow(first.graph, root, prefix, inner)
        if found is None:
            if outer:
                return None  # read outside, where it cannot be traced
            raise UsageError(
                f"the outputs of {layer!r} are outputs of the model; its neurons are not summed up "
                "by a next Linear layer"
            )
        if outer and type(root).forward is nn.Sequential.forward:
            continue  # who holds it may call its modules one by one
        _refuse_direct_use(first.graph, prefix, (inner, found))
        again = _trace_copy(model, outer, (inner, named))
        narrow = _trace_copy(model, outer, (inner, named), (inner, found, target))
        if again is not None and _differs(first, again, narrow):
            raise UsageError(
                f"forward depends on the number of neurons between {layer!r} and "
                f"{prefix + found!r} (by out_features, in_features or the size of a parameter), or "
                "uses their parameters besides; with fewer of them it would compute something "
                "else. Keep such a number as an attribute of its own"
            )
        return prefix + found
    return None


def _differs(first: _Trace, again: _Trace, narrow: _Trace | None) -> bool:
    """Tell whether a forward does something else with fewer neurons.

    What it does otherwise each time says nothing about them.
    """
    if narrow is None:
        return True
    if first.steps() == again.steps() != narrow.steps():
        return True
    return first.makes_the_same(again) and not first.makes_the_same(narrow)


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
        if node.op == "get_attr" and name in layers and not all(map(_is_harmless, node.users)):
            raise UsageError(
                f"forward uses {prefix + str(node.target)!r} besides; with fewer neurons it would "
                "compute something else"
            )


def _is_harmless(node: fx.Node) -> bool:
    return node.target is getattr and node.args[1] in HARMLESS_ATTRIBUTES


def _calls(graph: fx.Graph, target: str) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "call_module" and node.target == target]


def _trace_copy(
    model: nn.Module, outer: str, names: tuple[str, str],
    narrowed: tuple[str, str, int] | None = None,
) -> _Trace | None:  # fmt: skip
    """Trace the forward of a part of a copy of the model, always with the same random numbers.

    The trace runs the user's code, which may leave things in the model, and change its parameters
    and buffers.

    Parameters
    ----------
    model : torch.nn.Module
    outer : str
        The part.
    names : (str, str)
        Layers in it that are steps of their own; the second may be empty.
    narrowed : (str, str, int), optional
        The two layers, and the number of neurons, the first ones, that are left to them.

    Returns
    -------
    _Trace or None
        None if it cannot be traced.
    """
    root = copy_of(model).get_submodule(outer)
    if narrowed is not None:
        hidden, reader = (linear_of(root, name) for name in narrowed[:2])
        leave_neurons(hidden, reader, torch.arange(min(narrowed[2], hidden.out_features)))
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            random.seed(0)
            graph = _trace(root, *names)
    finally:
        random.setstate(state)
    if graph is None:
        return None
    made = [
        getattr(root, str(node.target))
        for node in graph.nodes
        if node.op == "get_attr" and str(node.target).startswith(CONSTANT)
    ]
    return _Trace(graph, tuple(made))


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
            refuse_hooks(module, repr(prefix + target))
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
            if not others and _is_known(node.target) and _plain(name) in ELEMENTWISE_NAMES:
                neurons.add(node)
                continue
            what = f"{name!r}" + (" with another tensor" if others else "")
        raise UsageError(
            f"between {shown!r} and the next Linear layer stands {what}, which is not known to "
            "treat each neuron alone and all alike. Only an activation may stand there (Linear, "
            "activation, Linear): normalise before or after instead; put an activation of your own "
            "into a module without parameters, which is tried out"
        )
    if found is None:
        raise UsageError(f"nothing in forward reads the outputs of {shown!r}")
    if n_read != len(_calls(graph, found)):
        raise UsageError(
            f"{prefix + found!r} reads other numbers as well, beside those of {shown!r}"
        )
    return found


def _is_known(function: Any) -> bool:
    """Whether a function is one of torch, or of Python's operators, or a method of a tensor."""
    home = getattr(function, "__module__", None) or "torch"  # most of torch's say none
    return isinstance(function, str) or home.partition(".")[0] in KNOWN_MODULES


def _plain(name: str) -> str:
    """Return the name of a function without what says that it works in place, or is private."""
    return name.strip("_")


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
    But for rounding: the vector instructions by which torch takes most numbers, and the plain ones
    by which it takes the last few, may round an exponential each in its own way.
    """
    generator = torch.Generator().manual_seed(width)
    values = torch.randn(8, max(7, width), generator=generator, dtype=torch.float64)
    values *= torch.tensor([1e-3, 0.1, 1.0, 1.0, 3.0, 10.0, 100.0, 1e4])[:, None]
    order = torch.randperm(values.shape[1], generator=generator)
    try:
        with torch.no_grad():
            whole = module(values)
            if whole.shape != values.shape:
                return False
            bound = MOST_ROUNDING.get(whole.dtype, 0.0) * (1.0 + values.abs() + whole.abs())
            for some in (order, order[1:], order[: len(order) // 2], order[:1]):
                expected, found = whole[:, some], module(values[:, some])
                # Equal as well: what has overflowed has no difference.
                near = (found == expected) | ((found - expected).abs() <= bound[:, some])
                if found.shape != expected.shape or not near.all():
                    return False
            return True
    except Exception:  # it wants other shapes: not a function of single numbers
        return False
