"""What the tests of files share: an empty folder to stand in, and small arrays."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.errors import MomentcError
from momentc.weighted import WeightedSet


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, so that messages hold short names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _warnings_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Also where a command of an earlier test was told to be quiet."""
    caplog.set_level(logging.WARNING, logger="momentc")


@pytest.fixture
def points() -> NDArray[np.float64]:
    return np.random.default_rng(5).normal(size=(1000, 3))


@pytest.fixture
def result() -> WeightedSet:
    return WeightedSet(
        np.arange(6, dtype="<f4").reshape(3, 2), np.array([1.0, 2.5, 3.0]), np.array([0, 4, 7])
    )


@pytest.fixture
def message_of() -> Callable[[type[MomentcError], Callable[[], object]], str]:
    """Call something that must fail in exactly one way, and give back what it says."""

    def message_of(kind: type[MomentcError], action: Callable[[], object]) -> str:
        with pytest.raises(MomentcError) as caught:
            action()
        assert isinstance(caught.value, kind), f"{type(caught.value).__name__}: {caught.value}"
        return str(caught.value)

    return message_of
