"""How the kernels are compiled.

The code is kept on disk, so each is compiled once for an installation. They run without Python's
global lock, so threads can share the work. A division by zero gives an infinity or NaN, as in numpy
(every result is checked): the branches that would raise instead keep the compiler from vector
instructions, and take a tenth of the first run. No reordering of sums ("fastmath"): the same input
gives the same bytes.
"""

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba as nb
from numba.core import event

from momentc.compiled_code import discard_outdated_code

__all__ = ["Announcement", "CollectorPause", "kernel"]

_compile = nb.njit(cache=True, nogil=True, error_model="numpy")


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that works on arrays."""
    compiled: Any = _compile(function)
    discard_outdated_code(Path(compiled.stats.cache_path))
    return compiled


class Announcement(event.Listener):
    """Logs once in a process that it compiles: nothing else would explain the wait."""

    def __init__(self) -> None:
        self._is_made = False

    def on_start(self, event: Any) -> None:
        """Say it, unless another package compiles."""
        if not self._is_made and event.data["dispatcher"].__module__.startswith("momentc."):
            self._is_made = True
            logging.getLogger(__name__).info(
                "compiling for this machine: seconds to half a minute, once"
            )

    def on_end(self, event: Any) -> None:
        """Nothing is to be said at the end."""


class CollectorPause(event.Listener):
    """Keeps Python's garbage collector from running while a kernel is compiled.

    It would go through some millions of objects again and again, find next to nothing, and take a
    tenth of the time. (numba compiles one kernel at a time, whatever the number of threads.)
    """

    def __init__(self) -> None:
        self._depth = 0
        self._was_on = False

    def on_start(self, event: Any) -> None:
        """Pause it, unless this is a kernel within a kernel."""
        self._depth += 1
        if self._depth == 1:
            self._was_on = gc.isenabled()
            gc.disable()

    def on_end(self, event: Any) -> None:
        """Let it go on, if it was on before."""
        self._depth = max(0, self._depth - 1)  # another listener's start may have failed before
        if self._depth == 0 and self._was_on:
            gc.enable()


event.register("numba:compile", Announcement())
event.register("numba:compile", CollectorPause())
