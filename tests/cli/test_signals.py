"""What SIGINT and SIGTERM become, in this process: at once, or at the end of a stretch."""

import ctypes
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from momentc.cli import signals as signals_module
from momentc.cli.signals import Terminated, arrived, install_handlers, signals_wait

BOTH = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Install what `main` installs, and put back what the tests had."""
    before = {number: signal.getsignal(number) for number, _ in BOTH}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    install_handlers()
    yield
    arrived()
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


def until_it_comes(error: type[BaseException], begin: Callable[[], None]) -> float:
    """Return the seconds until an error is raised by what follows."""

    def wait() -> None:
        begin()
        time.sleep(5.0)

    began = time.monotonic()
    with pytest.raises(error):
        wait()
    return time.monotonic() - began


@pytest.mark.parametrize(("number", "error"), BOTH)
def test_not_lost_where_c_code_calls_back(
    number: signal.Signals, error: type[BaseException]
) -> None:
    """ctypes prints the exceptions of the functions that it calls, and goes on."""
    code = "def callback(_a, _b): send()\n    \n"
    module: dict[str, Any] = {"__name__": "llvmlite.binding.made_up", "send": lambda: send(number)}
    exec(code, module)
    callback: Any = module["callback"]
    compare = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int)(callback)
    assert until_it_comes(error, lambda: compare(1, 2)) < 4.0


@pytest.mark.parametrize(("number", "error"), BOTH)
def test_not_while_a_module_is_imported(
    number: signal.Signals,
    error: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some of those are lost; and a module that is imported in part would be an odd one."""
    (tmp_path / "made_up.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\nx = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def load() -> None:
        assert importlib.import_module("made_up").x == 1

    try:
        assert until_it_comes(error, load) < 4.0
    finally:
        sys.modules.pop("made_up", None)


def test_a_termination_that_was_lost_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lost it: a batch system sends it once, and then kills."""
    monkeypatch.setattr(signals_module, "ARRIVAL", 0.3)

    def lose() -> None:
        with pytest.raises(Terminated):
            send(signal.SIGTERM)
        send(signal.SIGTERM)  # too soon: it could cut the cleaning short

    assert 0.2 < until_it_comes(Terminated, lose) < 4.0


def test_no_termination_after_it_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals_module, "ARRIVAL", 0.2)
    with pytest.raises(Terminated):
        send(signal.SIGTERM)
    arrived()
    time.sleep(0.5)


def test_a_checkpoint_that_takes_long_is_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals_module, "ARRIVAL", 0.2)

    def work() -> None:
        with signals_wait() as look:
            send(signal.SIGTERM)
            try:
                look()
            finally:
                time.sleep(0.5)

    with pytest.raises(Terminated):
        work()


def test_a_checkpoint_is_not_cut_short_by_another_termination() -> None:
    """Batch systems send it to the step and to its processes."""
    done = []

    def work() -> None:
        with signals_wait() as look:
            send(signal.SIGTERM)
            try:
                look()
            finally:
                # Else the next line would end the tests.
                assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
                send(signal.SIGTERM)
                done.append("checkpoint")

    with pytest.raises(Terminated):
        work()
    assert done == ["checkpoint"]


@pytest.mark.parametrize("other", [False, True])
def test_cleaning_that_takes_long_is_not_cut_short(
    monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    monkeypatch.setattr(signals_module, "ARRIVAL", 0.2)
    done = []

    def clean() -> None:
        try:
            if other:
                raise ValueError("of the cleaning itself")
        except ValueError:
            time.sleep(0.7)
        else:
            time.sleep(0.7)
        done.append("clean")

    def work() -> None:
        try:
            send(signal.SIGTERM)
        finally:
            clean()

    with pytest.raises(Terminated):
        work()
    assert done == ["clean"]
