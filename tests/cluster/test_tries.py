"""What is tried again on a worker, and what is not."""

import errno

import pytest

from momentc.engine import dask_cluster
from momentc.errors import InputError


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "PAUSE", 0.0)


class Work:
    """Fails so many times."""

    def __init__(self, n_failures: int, error: Exception) -> None:
        self.n_failures = n_failures
        self.error = error
        self.n_calls = 0

    def __call__(self, item: int) -> int:
        self.n_calls += 1
        if self.n_calls <= self.n_failures:
            raise self.error
        return 2 * item


def unreadable() -> InputError:
    error = InputError("x.npy cannot be read: Input/output error")
    error.__cause__ = OSError(errno.EIO, "Input/output error")
    return error


@pytest.mark.parametrize("error", [OSError("a bad moment"), unreadable()])
def test_twice_more_where_the_system_may_have_failed(error: Exception) -> None:
    work = Work(2, error)
    assert dask_cluster._leaf((work, None), 21) == 42
    assert work.n_calls == 3
    work = Work(3, error)
    with pytest.raises(type(error)):
        dask_cluster._leaf((work, None), 21)
    assert work.n_calls == 3


@pytest.mark.parametrize(
    "error", [InputError("row 7 holds NaN"), MemoryError(), ValueError("a mistake of ours")]
)
def test_not_where_it_would_fail_again(error: Exception) -> None:
    """A range of 128 MiB with a NaN in it has one after it is read again, too."""
    work = Work(1, error)
    with pytest.raises(type(error)):
        dask_cluster._leaf((work, None), 21)
    assert work.n_calls == 1
