"""Networks and training sets as weighted objects (the extra ``momentc[learn]``).

A training set is a set of rows (x, y), a hidden layer is a set of neurons, multi-head attention is
a set of heads: loss and output are sums over them, in any order (sections 2, 4 and 5 of the paper,
arXiv:2510.00504). So each of them can be compressed as points are.

Nothing is imported before it is used: checkpoints need no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from momentc.learn.attention import CompressedHeads, compress_heads, compress_query_key
    from momentc.learn.checkpoint import compress_safetensors
    from momentc.learn.datasets import (
        CompressedDataset,
        WeightedSampler,
        compress_dataset,
        weighted_mean,
    )
    from momentc.learn.head_sum import HeadSum
    from momentc.learn.layers import CompressedLayer, compress_layer, fold
    from momentc.learn.weighted_linear import WeightedLinear

__all__ = [
    "CompressedDataset",
    "CompressedHeads",
    "CompressedLayer",
    "HeadSum",
    "WeightedLinear",
    "WeightedSampler",
    "compress_dataset",
    "compress_heads",
    "compress_layer",
    "compress_query_key",
    "compress_safetensors",
    "fold",
    "weighted_mean",
]

_HOMES = {
    "CompressedDataset": "datasets",
    "CompressedHeads": "attention",
    "CompressedLayer": "layers",
    "HeadSum": "head_sum",
    "WeightedLinear": "weighted_linear",
    "WeightedSampler": "datasets",
    "compress_dataset": "datasets",
    "compress_heads": "attention",
    "compress_layer": "layers",
    "compress_query_key": "attention",
    "compress_safetensors": "checkpoint",
    "fold": "layers",
    "weighted_mean": "datasets",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use, and say what is missing if the extra is."""
    if name not in _HOMES:
        raise AttributeError(f"module 'momentc.learn' has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(f"momentc.learn.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"momentc.learn.{name} needs torch, which is not installed: "
            "pip install 'momentc[learn]'",
            name="torch",
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
