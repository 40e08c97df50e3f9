"""Linear layers of a network whose neurons have weights: the compressed dynamics of Appendix C.

A weighted hidden layer computes ``y = sum_j c_j g(w_j, x)``, where w_j is all that belongs to
neuron j: its incoming weights and bias and its outgoing weights v_j. Its gradient with respect to
w_j has a factor c_j (Eq. 86) that the original neuron's has not. The compressed dynamics of
Definition 5 replaces ``dL/dw_j`` by ``dL/dw_j / c_j``, so that each kept neuron moves as its
original would (Eq. 85).

The division stands in the graph, at the parameter, and not in a hook of the parameter: `.grad` is
right for every optimizer, and copies of the module (``deepcopy``, ``torch.save``, functional calls)
cannot lose it. Gradients that pass *through* the layer, to what is before it, keep the factor c_j,
since they belong to the sum over all original neurons.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from momentc.errors import UsageError

__all__ = ["WeightedLinear", "leave_neurons", "parameter_like", "scale_gradient"]


class _ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a constant."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, scale: Tensor) -> Tensor:
        """Return the same numbers."""
        del scale
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the constant for the way back."""
        del output
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        """Multiply; the constant itself is not trained."""
        (scale,) = ctx.saved_tensors
        return gradients[0] * scale, None


def scale_gradient(value: Tensor, scale: Tensor) -> Tensor:
    """Return `value` unchanged; gradients that come back to it are multiplied by `scale`.

    Parameters
    ----------
    value : tensor
        A parameter.
    scale : tensor
        Broadcasts to the shape of `value`.
    """
    apply: Callable[[Tensor, Tensor], Tensor] = _ScaleGradient.apply
    return apply(value, scale)


class WeightedLinear(nn.Linear):
    """A Linear layer on one side, or both, of a layer of weighted neurons.

    Parameters
    ----------
    in_features, out_features, bias, device, dtype
        As in :class:`torch.nn.Linear`.
    c_in : (in_features,) tensor, optional
        Weights of the neurons that it reads: they multiply its input (Eq. 15), and its weights'
        gradients are divided by them.
    c_out : (out_features,) tensor, optional
        Weights of the neurons that it computes: they divide the gradients of its weights and
        biases, and are applied by the next layer, as its `c_in`.

    Raises
    ------
    UsageError
        Weights of another shape, or not all > 0.

    Notes
    -----
    Both are buffers: no optimizer changes them, and ``state_dict`` has them. With weights of 1 the
    layer computes, bit for bit, what an ordinary one does.
    """

    c_in: Tensor | None
    c_out: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        c_in: Tensor | None = None,
        c_out: Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        for name, c, size in (("c_in", c_in, in_features), ("c_out", c_out, out_features)):
            # Other shapes would be broadcast, over samples for instance. (Meta tensors have none.)
            if c is None:
                continue
            if not isinstance(c, Tensor):
                raise UsageError(f"{name} is a {type(c).__name__}; expected a torch.Tensor")
            usable = c.is_meta or bool(((c > 0) & torch.isfinite(c)).all())
            if tuple(c.shape) != (size,) or not usable:
                raise UsageError(
                    f"{name} has shape {tuple(c.shape)}; expected ({size},) finite numbers > 0"
                )
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.register_buffer("c_in", None if c_in is None else c_in.to(self.weight, copy=True))
        self.register_buffer("c_out", None if c_out is None else c_out.to(self.weight, copy=True))

    def forward(self, input: Tensor) -> Tensor:
        """Return ``(c_in * input) weight^T + bias``."""
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if self.c_out is not None:
            inverse = 1.0 / self.c_out
            weight = scale_gradient(weight, inverse[:, None])
            bias = None if bias is None else scale_gradient(bias, inverse)
        if self.c_in is not None:
            weight = scale_gradient(weight, 1.0 / self.c_in)
            input = input * self.c_in
        return functional.linear(input, weight, bias)

    def extra_repr(self) -> str:
        """Say which sides are weighted."""
        sides = [name for name in ("c_in", "c_out") if getattr(self, name) is not None]
        return f"{super().extra_repr()}, weighted={'+'.join(sides) or 'no'}"


def leave_neurons(hidden: nn.Linear, reader: nn.Linear, index: Tensor) -> None:
    """Leave only some neurons in the two layers around them, without their weights c."""
    rows, columns = index.to(hidden.weight.device), index.to(reader.weight.device)
    hidden.weight = parameter_like(hidden.weight[rows], hidden.weight)
    if hidden.bias is not None:
        hidden.bias = parameter_like(hidden.bias[rows], hidden.bias)
    reader.weight = parameter_like(reader.weight[:, columns], reader.weight)
    hidden.out_features = reader.in_features = len(index)
    if isinstance(hidden, WeightedLinear):
        hidden.c_out = None
    if isinstance(reader, WeightedLinear):
        reader.c_in = None


def parameter_like(value: Tensor, like: Tensor) -> nn.Parameter:
    """Return a copy of numbers as a parameter that is trained if another is."""
    return nn.Parameter(value.detach().clone(), requires_grad=like.requires_grad)
