"""Moment-preserving compression of weighted point sets.

>>> import momentc
>>> kept = momentc.compress(points, k=5, target=1000)
>>> kept.points, kept.weights, kept.index

``kept`` stands for ``points``: every moment of order <= k is the same.
"""

from typing import TYPE_CHECKING, Any

from momentc.version import __version__

if TYPE_CHECKING:
    from momentc.api import MomentCompressor, compress, verify_moments
    from momentc.weighted import WeightedSet

__all__ = ["MomentCompressor", "WeightedSet", "__version__", "compress", "verify_moments"]

# Extras are imported by whoever wants them.
_MODULES = frozenset({"dask", "errors", "learn"})

_HOMES = {
    "MomentCompressor": "momentc.api",
    "WeightedSet": "momentc.weighted",
    "compress": "momentc.api",
    "verify_moments": "momentc.api",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use: ``momentc --help`` needs no numerical library."""
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"momentc.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'momentc' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
