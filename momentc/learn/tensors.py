"""Tensors to the float64 numbers that momentc works with, and back, without a silent loss."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from momentc.errors import InputError, UsageError

__all__ = ["exact_float64", "in_type_of", "require_numbers"]


def require_numbers(name: str, value: Any) -> None:
    """Refuse what is no tensor of real numbers that are in memory.

    Raises
    ------
    UsageError
    """
    if not isinstance(value, Tensor):
        raise UsageError(f"{name} is a {type(value).__name__}; expected a torch.Tensor")
    if value.is_complex():
        raise UsageError(f"{name} has type {value.dtype}; expected real numbers")
    if value.layout is not torch.strided or value.is_meta or value.is_quantized:
        kind = "on the meta device" if value.is_meta else f"of layout {value.layout}"
        if value.is_quantized:
            kind = "quantized"
        raise UsageError(f"{name} is {kind}; expected a dense tensor with its numbers")


def exact_float64(name: str, tensor: Tensor) -> NDArray[np.float64]:
    """Return the numbers of a tensor of any real type.

    Raises
    ------
    InputError
        An integer that float64 does not hold.
    """
    held = tensor.detach().cpu()
    numbers = held.double()
    # Back again, 2^63 would overflow: that far, no integer but powers of two is sure to be exact.
    if not held.is_floating_point() and held.dtype.itemsize == 8:
        lost = (numbers.abs() >= 2.0**62) | (numbers.to(held.dtype) != held)
        if lost.any():
            raise InputError(
                f"{name} holds integers that float64 cannot hold exactly ({int(lost.sum())} of "
                "them); subtract what they have in common"
            )
    array: NDArray[np.float64] = numbers.numpy()
    return array


def in_type_of(values: Tensor, like: Tensor, what: str) -> Tensor:
    """Return a copy of numbers, each rounded once, in the type and on the device of others.

    Raises
    ------
    InputError
        They are beyond the range of the type.
    """
    copied = values.detach().to(like.device, like.dtype, copy=True)
    if not torch.isfinite(copied).all():
        raise InputError(
            f"the {what} are beyond the range of {like.dtype}; convert the model to a larger type "
            "before, as model.float() does"
        )
    return copied
