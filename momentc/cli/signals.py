"""What the terminal and a batch system may send, turned into exceptions that clean up.

A partial file is removed by the ``finally`` of whoever wrote it; that only runs if the signal
becomes an exception. SIGTERM by itself ends a Python process without running any ``finally``.

An exception can be lost: Python prints and drops those of finalizers and of functions that C calls,
and some of those that come while a module is compiled. A signal that arrives there is sent again
soon after; and where SIGTERM has raised one that has not arrived after a while, it raises another.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "arrived", "install_handlers", "signals_wait"]


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no ``except Exception`` swallows it."""


# Seconds after which a signal is sent again that came where its exception would be lost.
AGAIN = 0.02

# Seconds in which an exception of SIGTERM arrives where it is handled, all cleaning done.
ARRIVAL = 15.0

# Modules whose functions are called by C code, or run while others are compiled.
CALLED_BACK = ("llvmlite.", "importlib.")

_sent_again: list[threading.Timer] = []


def _put_off(number: int, frame: FrameType | None) -> bool:
    """Tell whether an exception would be lost, and have the signal sent again soon if so."""
    while frame is not None and not _loses_exceptions(frame):
        frame = frame.f_back
    if frame is None:
        return False
    _send_again(number, AGAIN)
    return True


def _loses_exceptions(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return frame.f_code.co_name == "__del__" or module.startswith(CALLED_BACK)


def _send_again(number: int, seconds: float) -> None:
    again = threading.Timer(seconds, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
    _sent_again[:] = [timer for timer in _sent_again if timer.is_alive()] + [again]


def arrived() -> None:
    """Say that the exception of a signal is where it is handled: none has to be sent again."""
    while _sent_again:
        _sent_again.pop().cancel()


def _on_terminate(number: int, frame: FrameType | None) -> None:
    if not _put_off(number, frame):
        raised_at = time.monotonic()

        def on_another(number: int, frame: FrameType | None) -> None:
            # It must not cut the cleaning short, but should the first be lost, it counts.
            if time.monotonic() - raised_at < 0.9 * ARRIVAL:
                return
            if _is_under_way():
                _send_again(number, ARRIVAL)
            else:
                _on_terminate(number, frame)

        signal.signal(signal.SIGTERM, on_another)
        _send_again(number, ARRIVAL)
        raise Terminated


def _is_under_way() -> bool:
    """Whether somebody cleans up because of a termination: it, or what came of it, is handled."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, Terminated):
        error = error.__context__
    return error is not None


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    if not _put_off(number, frame):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process at once
        raise KeyboardInterrupt


def install_handlers() -> None:
    """Install both handlers; a signal that the parent had ignored (nohup, ``&``) stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_terminate)


@contextmanager
def signals_wait() -> Iterator[Callable[[], None]]:
    """Hold signals back; yield a function that raises what has come.

    So that a checkpoint is written of a whole state, never of one that a signal cut in two. Those
    that came after the last look are raised at the end. A second one ends the process at once.
    """
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        came.append(number)

    def look() -> None:
        if not came:
            return
        if came.pop(0) == signal.SIGINT:
            raise KeyboardInterrupt
        # Raised here, it is not lost; whoever writes a checkpoint now may take his time.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    held = [
        (number, own)
        for number, own in ((signal.SIGINT, _on_interrupt), (signal.SIGTERM, _on_terminate))
        if signal.getsignal(number) is own
    ]
    for number, _ in held:
        signal.signal(number, note)
    try:
        yield look
    finally:
        for number, own in held:
            if signal.getsignal(number) is note:
                signal.signal(number, own)
    look()
