"""Tolerances of the reductions, set for one test: to what no arithmetic reaches, or to anything."""

import pytest

from momentc.reduction import groups, repair


def set_tolerance(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    """Let a tolerance, ``group_tolerance`` or ``pivot_tolerance``, be ``value`` for every group.

    No arithmetic in float64 holds a ``group_tolerance`` of 1e-40.
    """
    for module in (groups, repair):
        monkeypatch.setattr(module, name, lambda n_moments: value)
