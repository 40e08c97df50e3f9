"""Attention as sums: over heads, and over the inner index of queries and keys (Appendix F).

**Heads.** Multi-head attention is ``y = sum_i U_i B(w_i, X)`` (Eq. 96), where B is one head with
its query, key and value matrices, and U_i its block of the output projection. The objects are
theta_i = (U_i, w_i) (Eq. 97), with m = (z + 3 n) h columns for inputs of n numbers, outputs of z
and heads of dimension h; m = 8 in the paper's Fig. 7 (n = z = 1, h = 2).

**Queries and keys.** The logits depend on ``W_Q W_K = sum_i w_Q^i (w_K^i)^T`` alone (Eq. 92): a
polynomial of degree 2 in the pairs (w_Q^i, w_K^i). So order k = 2 keeps it exactly, with a number
of pairs that does not depend on how many there were.
"""

import copy
import math
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from momentc.errors import UsageError
from momentc.learn.layers import Mode
from momentc.learn.objects import reduce_objects
from momentc.learn.tensors import in_type_of, require_numbers
from momentc.learn.weighted_linear import scale_gradient
from momentc.options import DEFAULT_TOLERANCE, Effort

__all__ = ["CompressedHeads", "HeadSum", "compress_heads", "compress_query_key"]

PARTS = ("out", "query", "key", "value")
"""The parameters of a head, in the order in which they stand in its object."""


class HeadSum(nn.Module):
    """Multi-head attention, written as the sum over its heads of Eq. (96).

    Parameters
    ----------
    n_inputs : int
        Numbers in a token, n.
    n_outputs : int
        Numbers in an output, z.
    n_heads : int
    head_dim : int
        h.
    causal : bool
        A token sees itself and what stands before it.
    generator : torch.Generator, optional
        Of the initial parameters, which are uniform as those of Linear layers of the same
        matrices would be: in +-1/sqrt(n), for U in +-1/sqrt(n_heads h).

    Attributes
    ----------
    query, key, value : (n_heads, h, n) parameters
    out : (n_heads, z, h) parameter
        U_i.
    c : (n_heads,) buffer or None
        Weights of the heads in the compressed dynamics (Definition 5).
    """

    c: Tensor | None

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        n_heads: int,
        head_dim: int,
        *,
        causal: bool = True,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("n_inputs", n_inputs), ("n_outputs", n_outputs)):
            if value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        if n_heads < 1 or head_dim < 1:
            raise UsageError(f"expected at least one head of one number, got {n_heads, head_dim}")
        self.causal = causal

        def uniform(shape: tuple[int, ...], bound: float) -> nn.Parameter:
            drawn = torch.rand(shape, generator=generator, dtype=dtype)
            return nn.Parameter((2.0 * drawn - 1.0) * bound)

        inner = 1.0 / math.sqrt(n_inputs)
        self.query = uniform((n_heads, head_dim, n_inputs), inner)
        self.key = uniform((n_heads, head_dim, n_inputs), inner)
        self.value = uniform((n_heads, head_dim, n_inputs), inner)
        outer = 1.0 / math.sqrt(n_heads * head_dim)
        self.out = uniform((n_heads, n_outputs, head_dim), outer)
        self.register_buffer("c", None)

    @property
    def n_heads(self) -> int:
        """Number of heads."""
        return len(self.out)

    def forward(self, tokens: Tensor, *, last: bool = False) -> Tensor:
        """Return ``sum_i c_i U_i B(w_i, X)``.

        Parameters
        ----------
        tokens : (batch, T, n) tensor
            X.
        last : bool
            Only the output at the last token is wanted, which costs T times less.

        Returns
        -------
        (batch, T, z) tensor, or (batch, z) with `last`
        """
        query, key, value, out = cast(
            "tuple[Tensor, ...]", (self.query, self.key, self.value, self.out)
        )
        if self.c is not None:
            inverse = (1.0 / self.c)[:, None, None]
            query, key, value, out = (
                scale_gradient(part, inverse) for part in (query, key, value, out)
            )
            # Not in place: c multiplies the head's output, the gradient of U_i is divided by it.
            out = out * self.c[:, None, None]
        asking = tokens[:, -1:] if last else tokens
        heads = functional.scaled_dot_product_attention(
            torch.einsum("btn,ihn->biht", asking, query).transpose(2, 3),
            torch.einsum("btn,ihn->biht", tokens, key).transpose(2, 3),
            torch.einsum("btn,ihn->biht", tokens, value).transpose(2, 3),
            is_causal=self.causal and not last,
        )
        total = torch.einsum("bith,izh->btz", heads, out)
        return total[:, 0] if last else total

    def extra_repr(self) -> str:
        """Say the sizes."""
        heads, outputs, dim = self.out.shape
        weighted = ", weighted" if self.c is not None else ""
        return f"{self.query.shape[2]}, {outputs}, n_heads={heads}, head_dim={dim}{weighted}"


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
    if not isinstance(attention, HeadSum):
        raise UsageError(
            f"attention is a {type(attention).__name__}; expected a momentc.learn.HeadSum"
        )
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
    small = copy.deepcopy(attention)
    for name in PARTS:
        old = getattr(attention, name)
        kept = old.detach()[index.to(old.device)]
        if name == "out" and mode == "folded":
            kept = in_type_of(kept.double() * c.to(old.device)[:, None, None], old, "folded heads")
        setattr(small, name, nn.Parameter(kept.clone(), requires_grad=old.requires_grad))
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
