"""What the terminal and a batch system may send, turned into exceptions that clean up.

A partial file is removed by the ``finally`` of whoever wrote it; that only runs if the signal
becomes an exception. SIGTERM by itself ends a Python process without running any ``finally``.
"""

import signal
from types import FrameType
from typing import NoReturn

__all__ = ["Terminated", "install_handlers"]


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no ``except Exception`` swallows it."""


def _on_terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the cleaning short
    raise Terminated


def _on_interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process at once
    raise KeyboardInterrupt


def install_handlers() -> None:
    """Install both handlers; a signal that the parent had ignored (nohup, ``&``) stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_terminate)
