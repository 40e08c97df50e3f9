"""Attention as sums: over heads, and over the inner index of queries and keys (Appendix F).

**Heads.** Multi-head attention is ``y = sum_i U_i B(w_i, X)`` (Eq. 96), where B is one head with
its query, key and value matrices, and U_i its block of the output projection. The objects are
theta_i = (U_i, w_i) (Eq. 97), with m = (z + 3 n) h columns for inputs of n numbers, outputs of z
and heads of dimension h; m = 8 in the paper's Fig. 7 (n = z = 1, h = 2).

**Queries and keys.** The logits depend on ``W_Q W_K = sum_i w_Q^i (w_K^i)^T`` alone (Eq. 92): a
polynomial of degree 2 in the pairs (w_Q^i, w_K^i). So order k = 2 keeps it exactly, with a number
of pairs that does not depend on how many there were.
"""

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from momentc.errors import UsageError
from momentc.learn.copies import copy_of
from momentc.learn.head_sum import PARTS, HeadSum
from momentc.learn.layers import Mode, folded
from momentc.learn.objects import reduce_objects
from momentc.learn.tensors import in_type_of, require_numbers
from momentc.learn.weighted_linear import parameter_like
from momentc.learn.wiring import refuse_hooks
from momentc.options import DEFAULT_TOLERANCE, Effort

__all__ = ["CompressedHeads", "compress_heads", "compress_query_key"]


@dataclass(frozen=True, slots=True, eq=False)
class CompressedHeads:
    """Attention of fewer heads.

    Parameters
    ----------
    module : HeadSum
        A copy with the kept heads.
    weights : (d',) float64 tensor
        c > 0; their sum is the number of heads there were.
    index : (d',) int64 tensor
        Which heads are kept, ascending.
    error : tuple of float
        Largest difference of the moments in the frame, by order 0 .. k and beyond.
    """

    module: HeadSum
    weights: Tensor
    index: Tensor
    error: tuple[float, ...]


def compress_heads(
    attention: HeadSum,
    k: int = 3,
    target: int = 1000,
    *,
    mode: Mode = "folded",
    random_state: int = 0,
    effort: Effort = "normal",
    threads: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
) -> CompressedHeads:
    """Keep ``target`` heads, re-weighted, with the same moments up to order ``k``.

    Parameters
    ----------
    attention : HeadSum
        Not changed.
    k, target, random_state, effort, threads, tolerance
        As in :func:`momentc.compress`; the target must be at least C(m+k, k), m = (z + 3 n) h.
    mode : {'folded', 'dynamic'}
        As in :func:`momentc.learn.compress_layer`: c is multiplied into U_i, or stays a constant
        and divides the gradients.

    Raises
    ------
    UsageError, RequestError, InputError
        As :func:`momentc.learn.compress_layer`.
    """
    if mode not in get_args(Mode):
        raise UsageError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
    if type(attention) is not HeadSum:
        raise UsageError(
            f"attention is a {type(attention).__name__}; expected a momentc.learn.HeadSum itself: "
            "what a subclass computes is not known"
        )
    refuse_hooks(attention, "attention")
    for name in PARTS:
        require_numbers(name, getattr(attention, name))
        if name not in attention._parameters:
            raise UsageError(f"{name} is re-parametrized; remove the parametrization before")
    parts = [getattr(attention, name).detach().cpu().double() for name in PARTS]
    objects = torch.cat([part.reshape(attention.n_heads, -1) for part in parts], dim=1)
    heads, outputs, dim = attention.out.shape
    found = reduce_objects(
        objects.numpy(),
        k,
        target,
        what=f"{heads} heads of dimension {dim} with {attention.query.shape[2]} inputs and "
        f"{outputs} outputs",
        weights=None if attention.c is None else attention.c.detach().cpu().double().numpy(),
        random_state=random_state,
        effort=effort,
        threads=threads,
        tolerance=tolerance,
    )
    index = torch.from_numpy(found.support.index)
    c = torch.from_numpy(found.support.weights)
    small = copy_of(attention)
    for name in PARTS:
        old = getattr(attention, name)
        setattr(small, name, parameter_like(old[index.to(old.device)], old))
    if mode == "folded":
        small.out = folded(small.out, c[:, None, None], "folded heads")
    small.c = in_type_of(c, small.out, "weights c of the heads") if mode == "dynamic" else None
    return CompressedHeads(small, c, index, found.error)


def compress_query_key(
    query: Tensor,
    key: Tensor,
    target: int | None = None,
    *,
    random_state: int = 0,
    threads: int = 0,
) -> tuple[Tensor, Tensor]:
    """Replace ``W_Q W_K`` (Eq. 92) by a product with fewer inner indices and the same value.

    Parameters
    ----------
    query : (a, d) tensor
        W_Q; column i is w_Q^i.
    key : (d, b) tensor
        W_K; row i is w_K^i.
    target : int, optional
        Inner indices to keep. Default: C(a+b+2, 2), the number of moments up to order 2 of a + b
        columns, which is the least that serves every input.

    Returns
    -------
    query : (a, d') tensor
        The kept columns, each multiplied by its weight c.
    key : (d', b) tensor
        The kept rows, bit for bit.

    Raises
    ------
    UsageError
        The two do not belong together.
    """
    require_numbers("W_Q", query)
    require_numbers("W_K", key)
    if query.dim() != 2 or key.dim() != 2 or query.shape[1] != key.shape[0]:
        raise UsageError(
            f"W_Q has shape {tuple(query.shape)} and W_K {tuple(key.shape)}; expected (a, d) and "
            "(d, b)"
        )
    if not (query.is_floating_point() and key.is_floating_point()):
        raise UsageError(
            f"W_Q is {query.dtype} and W_K {key.dtype}; expected floating-point numbers"
        )
    pairs = torch.cat([query.detach().T.cpu().double(), key.detach().cpu().double()], dim=1)
    found = reduce_objects(
        np.ascontiguousarray(pairs.numpy()),
        2,
        math.comb(pairs.shape[1] + 2, 2) if target is None else target,
        what=f"pairs of a query column of {query.shape[0]} and a key row of {key.shape[1]} numbers",
        random_state=random_state,
        threads=threads,
    )
    index = torch.from_numpy(found.support.index)
    c = torch.from_numpy(found.support.weights).to(query.device)
    kept = query.detach()[:, index.to(query.device)].double() * c
    return in_type_of(kept, query, "folded columns of W_Q"), key.detach()[index.to(key.device)]
