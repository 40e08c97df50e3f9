"""What SIGINT and SIGTERM become, in this process: at once, or at the end of a stretch."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from momentc.cli.signals import Terminated, install_handlers, signals_wait

BOTH = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Install what `main` installs, and put back what the tests had."""
    before = {number: signal.getsignal(number) for number, _ in BOTH}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    install_handlers()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "error"), BOTH)
def test_at_once(number: signal.Signals, error: type[BaseException]) -> None:
    with pytest.raises(error):
        send(number)


@pytest.mark.parametrize(("number", "error"), BOTH)
def test_held_back_until_somebody_looks(number: signal.Signals, error: type[BaseException]) -> None:
    done = []

    def work() -> None:
        with signals_wait() as look:
            look()
            done.append("before")
            send(number)
            done.append("whole")
            look()
            done.append("never")

    with pytest.raises(error):
        work()
    assert done == ["before", "whole"]


@pytest.mark.parametrize(("number", "error"), BOTH)
def test_what_came_after_the_last_look_is_raised_at_the_end(
    number: signal.Signals, error: type[BaseException]
) -> None:
    done = []

    def work() -> None:
        with signals_wait() as look:
            look()
            send(number)
            done.append("whole")

    with pytest.raises(error):
        work()
    assert done == ["whole"]


@pytest.mark.parametrize("number", [number for number, _ in BOTH])
def test_the_second_one_ends_the_process_at_once(number: signal.Signals) -> None:
    """The handler of the system itself is in place as soon as the first has come."""

    def work() -> None:
        with signals_wait():
            send(number)
            assert signal.getsignal(number) is signal.SIG_DFL

    with pytest.raises((KeyboardInterrupt, Terminated)):
        work()


@pytest.mark.parametrize("number", [number for number, _ in BOTH])
def test_everything_is_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with signals_wait():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
    with pytest.raises(ValueError, match="of its own"), signals_wait():
        raise ValueError("of its own")
    assert signal.getsignal(number) is before


def test_an_error_that_is_under_way_is_not_lost_by_a_signal() -> None:
    """What cannot be read is worth more than that somebody pressed Ctrl-C meanwhile."""

    def work() -> None:
        with signals_wait():
            send(signal.SIGINT)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()


def test_an_ignored_signal_stays_ignored() -> None:
    """As under nohup."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    install_handlers()
    with signals_wait() as look:
        send(signal.SIGTERM)
        look()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@pytest.mark.parametrize(("number", "error"), BOTH)
def test_not_lost_in_a_finalizer(number: signal.Signals, error: type[BaseException]) -> None:
    """Python drops the exceptions of ``__del__``."""

    class Finalized:
        def __del__(self) -> None:
            send(number)

    def let_go() -> None:
        Finalized()
        time.sleep(5.0)

    began = time.monotonic()
    with pytest.raises(error):
        let_go()
    assert time.monotonic() - began < 4.0
