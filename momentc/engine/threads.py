"""Work on threads of this process.

The kernels release the interpreter lock, so threads share the cores without copies. While they
run, the BLAS libraries and faiss are held to one thread each: the parallelism is over groups and
blocks, whose results do not depend on who computes them.

The calling thread works as well, and takes the first piece at once; the others take pieces when
they have woken up, which takes them a fifth of a millisecond or more. So little is lost where
there is little to do, and a thread that the machine holds up leaves its pieces to the rest.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

from momentc.cpus import available_threads
from momentc.map_function import MapFunction

__all__ = ["thread_map"]


@lru_cache(maxsize=1)
def _controllers(_n_modules: int) -> tuple[ThreadpoolController, ThreadpoolController]:
    """Return what controls BLAS, and what OpenMP."""
    every = ThreadpoolController()
    return every.select(user_api="blas"), every.select(user_api="openmp")


class _BlasLimit:
    """Holds the BLAS libraries to one thread while any call needs it.

    The number belongs to the process. If two calls overlap, in two threads, and each put back what
    it found, the first to end would lift the limit from the other, and the last could leave it
    behind.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_calls = 0
        self._limited: ThreadpoolController | None = None
        self._limits: list[Any] = []

    @contextmanager
    def held(self, blas: ThreadpoolController) -> Iterator[None]:
        """Hold the libraries that the controller knows, until the last call has ended."""
        with self._lock:
            # Within another call only if there are more libraries by now.
            if self._limited is not blas:
                _take_control(blas)
                self._limits.append(blas.limit(limits=1))
                self._limited = blas
            self._n_calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_calls -= 1
                if self._n_calls == 0:
                    self._limited = None
                    _take_control(blas)
                    while self._limits:
                        self._limits.pop().restore_original_limits()
                    _take_control(blas)


def _take_control(blas: ThreadpoolController) -> None:
    """Let any thread set the number: threadpoolctl 3.8 takes it from the first alone, in silence.

    Here the calls are counted instead.
    """
    for library in blas.lib_controllers:
        clear = getattr(library, "clear_controlling_thread", None)
        if clear is not None:
            clear(force=True)


# One for each process: in one that was forked, the calls of its parent do not end.
_blas_limits: dict[int, _BlasLimit] = {}


@lru_cache(maxsize=1)
def _pool(_process: int, n_helpers: int) -> ThreadPoolExecutor:
    # Kept: to start a thread and to wait for its end takes as long as a small compression. A
    # process that was forked has none of the threads of its parent, so it makes its own.
    return ThreadPoolExecutor(n_helpers, thread_name_prefix="momentc")


@contextmanager
def thread_map(n_threads: int) -> Iterator[MapFunction]:
    """Yield a map function over ``n_threads`` threads (0: all available), in order of the items.

    It returns when all is done, and raises the error of the first item that has one. With one
    thread it is the builtin ``map``, run in the calling thread.
    """
    if n_threads <= 0:
        n_threads = available_threads()
    # The libraries that are loaded decide which pools there are: look again when there are more.
    loaded = sum(name in sys.modules for name in ("scipy.linalg", "faiss", "torch"))
    blas, openmp = _controllers(loaded)
    # The number of OpenMP belongs to the calling thread.
    with openmp.limit(limits=1), _blas_limits.setdefault(os.getpid(), _BlasLimit()).held(blas):
        if n_threads == 1:
            yield map
            return
        helpers = _pool(os.getpid(), n_threads - 1)

        def on_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            return iter(_shared(function, list(items), helpers, n_threads - 1))

        yield on_threads


def _shared(
    function: Callable[[Any], Any], items: list[Any], helpers: ThreadPoolExecutor, n_helpers: int
) -> list[Any]:
    """Return ``function`` of every item, computed by this thread and helpers."""
    waiting = deque(range(len(items)))
    results: list[Any] = [None] * len(items)
    errors: dict[int, Exception] = {}

    def work() -> None:
        while True:
            try:
                place = waiting.popleft()
            except IndexError:
                return
            try:
                results[place] = function(items[place])
            except Exception as error:
                # Items are taken in their order: those before this one are done or under way, so
                # the first error does not depend on the threads.
                waiting.clear()
                errors[place] = error
                return

    hired: list[Future[None]] = []
    try:
        hired.extend(helpers.submit(work) for _ in range(min(n_helpers, len(items) - 1)))
        work()
    finally:
        # Also where a signal was raised: nobody may write to the arrays any more.
        waiting.clear()
        for helper in hired:
            if not helper.cancel():
                helper.result()
    if errors:
        raise errors[min(errors)]
    return results
