"""Multi-head attention as a sum over heads, which may have weights (Appendix F)."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from momentc.learn.weighted_linear import scale_gradient
from momentc.options import require_integer

__all__ = ["PARTS", "HeadSum"]

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
        n_inputs = require_integer("n_inputs", n_inputs, 1)
        n_outputs = require_integer("n_outputs", n_outputs, 1)
        n_heads = require_integer("n_heads", n_heads, 1)
        head_dim = require_integer("head_dim", head_dim, 1)
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
