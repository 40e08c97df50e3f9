"""The command line: one file per command, each with its options, one library call and a table.

Nothing heavy is imported here: ``momentc --help`` must answer at once, and the number of threads
has to be in the environment before numpy, numba and faiss load.
"""

import logging
import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command in ``sys.argv`` and end the process with its exit code."""
    from momentc.cli.signals import Terminated, install_handlers
    from momentc.cli.streams import open_closed_streams

    open_closed_streams()
    install_handlers()
    try:
        from momentc.cli.app import build_command

        build_command().main(prog_name="momentc")
    except SystemExit as ending:
        _leave(ending.code if isinstance(ending.code, int) else 1)
    except (KeyboardInterrupt, Terminated) as signal:  # before the command has begun
        interrupted = isinstance(signal, KeyboardInterrupt)
        print("momentc:", "interrupted" if interrupted else "terminated", file=sys.stderr)
        _leave(130 if interrupted else 143)
    raise AssertionError("the command above always ends the process")


def _leave(status: int) -> NoReturn:
    """End at once, without taking the numerical libraries apart: that takes 0.6 s.

    Nothing is lost. Files are closed (and on the disk) before a command returns, the command has
    flushed its streams and told a broken pipe from a full disk; this flush is for stderr's sake.
    """
    # What is said and written stands: a signal now would only change the exit code.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # closed by the reader: the exit code says so already
    if "concurrent.futures.process" in sys.modules:
        sys.exit(status)  # semaphores of worker processes are to be given back
    os._exit(status)
