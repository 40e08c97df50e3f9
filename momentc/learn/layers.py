"""Narrower layers that compute, and train, as the wide ones did (section 5 and Appendix C).

A hidden layer between two Linear layers computes ``sum_i v_i sigma(w_i . x + b_i)`` (Eq. 3): a
symmetric function of its neurons (w_i, b_i, v_i). Of d neurons, d' are kept with weights c_j and
the same moments up to order k (Eq. 90), so the network computes nearly the same (Theorem 4), and
trains nearly the same if each kept neuron moves as its original (Theorem 5). There are two ways to
hold the weights:

``folded``
    v_j <- c_j v_j (Eq. 15). An ordinary, narrower network that computes the same. It trains in a
    way of its own: its gradients have the factors c_j, and its outgoing weights are larger.
``dynamic``
    c_j stays a constant beside the neuron, and gradients are divided by it (Definition 5):
    :class:`momentc.learn.weighted_linear.WeightedLinear`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from momentc.errors import UsageError
from momentc.learn.copies import copy_of
from momentc.learn.head_sum import HeadSum
from momentc.learn.objects import neuron_objects, reduce_objects
from momentc.learn.tensors import exact_float64, in_type_of, require_numbers
from momentc.learn.weighted_linear import WeightedLinear, leave_neurons, parameter_like
from momentc.learn.wiring import find_wiring, linear_of
from momentc.options import DEFAULT_TOLERANCE, Effort, require_integer

__all__ = ["CompressedLayer", "Mode", "compress_layer", "fold", "folded"]

Mode = Literal["folded", "dynamic"]


@dataclass(frozen=True, slots=True, eq=False)
class CompressedLayer:
    """A model with one narrower layer.

    Parameters
    ----------
    module : torch.nn.Module
        The model; a copy, nothing is shared with the original.
    layer, outgoing : str
        Names of the Linear layers before and after the neurons.
    weights : (d',) float64 tensor
        c > 0 of the neurons that are kept; their sum is d.
    index : (d',) int64 tensor
        Which neurons those are, ascending.
    error : tuple of float
        Largest difference of the moments in the frame, by order 0 .. k and beyond, before
        ``folded`` weights are rounded to the type of the model.
    """

    module: nn.Module
    layer: str
    outgoing: str
    weights: Tensor
    index: Tensor
    error: tuple[float, ...]


def compress_layer(
    model: nn.Module,
    layer: str,
    k: int = 5,
    target: int = 1000,
    *,
    outgoing: str | None = None,
    mode: Mode = "folded",
    random_state: int = 0,
    effort: Effort = "normal",
    threads: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
) -> CompressedLayer:
    """Keep ``target`` neurons of a hidden layer, re-weighted, in a copy of the model.

    Parameters
    ----------
    model : torch.nn.Module
        Not changed.
    layer : str
        Name of the Linear layer that computes the neurons, as ``named_modules`` gives it.
    k, target, random_state, effort, threads, tolerance
        As in :func:`momentc.compress`. The target must be at least C(m+k, k), where m is inputs
        + 1 (with a bias) + outputs of a neuron; 1,000 neurons reach k = 5 up to m = 6.
    outgoing : str, optional
        Name of the Linear layer that reads the neurons. Needed only where ``forward`` cannot be
        traced; the caller then answers for what stands in between.
    mode : {'folded', 'dynamic'}
        See the module's docstring.

    Returns
    -------
    CompressedLayer

    Raises
    ------
    UsageError
        No such layer, or no sum over its neurons: convolutions, tied weights, normalisation or
        gates between the two layers.
    RequestError
        The target is below the number of moments.
    InputError
        A parameter is NaN or infinite, or a folded one beyond the range of its type.
    """
    if mode not in get_args(Mode):
        raise UsageError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise UsageError(
            f"model is a {type(model).__name__}; expected a torch.nn.Module in Python (for a "
            "checkpoint: compress_safetensors)"
        )
    target = require_integer("target", target, 1)
    wiring = find_wiring(model, layer, outgoing, target)
    hidden, reader = linear_of(model, layer), linear_of(model, wiring.outgoing)
    has_bias = hidden.bias is not None
    require_numbers(f"{layer}.weight", hidden.weight)
    require_numbers(f"{wiring.outgoing}.weight", reader.weight)
    objects = neuron_objects(
        exact_float64("weight", hidden.weight),
        exact_float64("bias", hidden.bias) if has_bias else None,
        exact_float64("weight", reader.weight),
    )
    weights = _weights_of(hidden, reader)
    found = reduce_objects(
        objects,
        k,
        target,
        what=f"neurons of {layer!r} with {hidden.in_features} inputs, "
        f"{'a bias' if has_bias else 'no bias'} and {reader.out_features} outputs",
        weights=None if weights is None else exact_float64("c_in", weights),
        random_state=random_state,
        effort=effort,
        threads=threads,
        tolerance=tolerance,
    )
    index = torch.from_numpy(found.support.index)
    c = torch.from_numpy(found.support.weights)
    small = copy_of(model)
    _narrow(small, wiring.incoming, wiring.outgoing, index, c, mode)
    return CompressedLayer(small, wiring.incoming, wiring.outgoing, c, index, found.error)


def fold(model: nn.Module) -> nn.Module:
    """Return a copy of a model in which all weights c are folded into outgoing weights (Eq. 15).

    For a network that was trained in dynamic mode: the copy computes the same with ordinary Linear
    layers. Its training would go another way.

    Parameters
    ----------
    model : torch.nn.Module
        Not changed.

    Raises
    ------
    UsageError
        It cannot be copied, or a weighted layer has its parameters from elsewhere (weight_norm in
        its old form).
    """
    plain = copy_of(model)
    for module in list(plain.modules()):
        if isinstance(module, WeightedLinear):
            _settle(module)
            if module.c_in is not None:
                module.weight = folded(module.weight, module.c_in)
            del module.c_in, module.c_out
            # In place: whoever else holds the layer, a list of layers say, holds the same.
            module.__class__ = nn.Linear  # type: ignore[assignment]
        elif isinstance(module, HeadSum) and module.c is not None:
            module.out = folded(module.out, module.c[:, None, None])
            module.c = None
    return plain


def _settle(module: WeightedLinear) -> None:
    """Put parameters that are computed from others in their place.

    Raises
    ------
    UsageError
        They are, but in no way that torch tells.
    """
    computed = [
        (name, getattr(module, name), module.get_submodule(f"parametrizations.{name}"))
        for name in ("weight", "bias")
        if parametrize.is_parametrized(module, name)
    ]
    if computed:
        # By hand: what torch offers for it would change the class, which the original shares.
        module.__class__ = WeightedLinear
        del module.parametrizations
    for name, value, sources in computed:
        trained = any(source.requires_grad for source in sources.parameters())
        setattr(module, name, nn.Parameter(value.detach().clone(), requires_grad=trained))
    for name in ("weight", "bias"):
        if name not in module._parameters:
            raise UsageError(f"the {name} of a weighted layer is re-parametrized; undo that before")


def _narrow(
    model: nn.Module, layer: str, outgoing: str, index: Tensor, c: Tensor, mode: Mode
) -> None:
    """Leave the kept neurons in both layers around them."""
    hidden, reader = linear_of(model, layer), linear_of(model, outgoing)
    leave_neurons(hidden, reader, index)
    if mode == "folded":
        reader.weight = folded(reader.weight, c)
        return
    if isinstance(model.get_submodule(layer.rpartition(".")[0]), nn.TransformerEncoderLayer):
        raise UsageError(
            "a TransformerEncoderLayer computes with the weights of its layers directly, without "
            "their forward, where no gradients are wanted; use mode='folded'"
        )
    # Each a tensor of its own, whatever the types: saved and moved one by one.
    _weighted(hidden).c_out = in_type_of(c, hidden.weight, "weights c of the neurons")
    _weighted(reader).c_in = in_type_of(c, reader.weight, "weights c of the neurons")


def _weights_of(hidden: nn.Linear, reader: nn.Linear) -> Tensor | None:
    """Return the weights that the neurons have already, from an earlier compression.

    Raises
    ------
    UsageError
        The two layers do not say the same.
    """
    c_out = hidden.c_out if isinstance(hidden, WeightedLinear) else None
    c_in = reader.c_in if isinstance(reader, WeightedLinear) else None
    if c_out is None and c_in is None:
        return None
    # The types of the two layers may differ: then one is the other, rounded.
    if c_out is None or c_in is None or not any(
        torch.equal(c_out.cpu().to(kind), c_in.cpu().to(kind)) for kind in (c_out.dtype, c_in.dtype)
    ):  # fmt: skip
        raise UsageError(
            "the weights of the neurons, c_out of the layer and c_in of the next one, are not the "
            "same; give both layers the same weights, or none"
        )
    return c_in


def _weighted(linear: nn.Linear) -> WeightedLinear:
    """Make a layer a weighted one.

    In place: whoever else holds it, a list of layers say, holds the same.
    """
    if not isinstance(linear, WeightedLinear):
        linear.__class__ = WeightedLinear
        assert isinstance(linear, WeightedLinear)
        linear.register_buffer("c_in", None)
        linear.register_buffer("c_out", None)
    return linear


def folded(weight: Tensor, c: Tensor, what: str = "folded weights") -> nn.Parameter:
    """Return ``c_j v_j``, the product rounded once, to the type of the weights."""
    product = weight.detach().double() * c.to(weight.device).double()
    return parameter_like(in_type_of(product, weight, what), weight)
