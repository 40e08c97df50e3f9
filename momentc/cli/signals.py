"""What the terminal and a batch system may send, turned into exceptions that clean up.

A partial file is removed by the ``finally`` of whoever wrote it; that only runs if the signal
becomes an exception. SIGTERM by itself ends a Python process without running any ``finally``.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "install_handlers", "signals_wait"]


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no ``except Exception`` swallows it."""


# Seconds after which a signal is sent again that came where its exception would be lost.
AGAIN = 0.02


def _put_off(number: int, frame: FrameType | None) -> bool:
    """Tell whether the signal came in a finalizer, and have it sent again soon if so.

    Python prints the exceptions of ``__del__`` and drops them: the signal would be lost.
    """
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    if frame is None:
        return False
    again = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
    return True


def _on_terminate(number: int, frame: FrameType | None) -> None:
    if not _put_off(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the cleaning
        raise Terminated


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
        if came:
            (_on_interrupt if came[0] == signal.SIGINT else _on_terminate)(came.pop(0), None)

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
