"""Work on processes of this machine, for jobs of many independent, seeded pieces.

Processes are started anew (spawned): faiss does not survive a copied process. Each holds its
numerical libraries to one thread, ends with its parent, and leaves Ctrl-C to the parent.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from momentc.cpus import THREAD_VARIABLES
from momentc.errors import MemoryBudgetError

__all__ = ["interrupts_held_back", "run_in_processes", "thread_environment"]


def thread_environment(n_threads: int) -> dict[str, str]:
    """Return the environment variables that hold numerical libraries to ``n_threads`` threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(n_threads))


def run_in_processes(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    n_processes: int,
    *,
    prepare: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """Yield (position, ``function(item)``) as the results come in, in any order.

    Closing the generator ends the processes, whatever they are doing.

    Parameters
    ----------
    function : callable
        Of a module, so that the processes find it.
    items : sequence
        Started in their order.
    n_processes : int
    prepare : callable, optional
        Called once in every process, with ``arguments``, before its first item.
    arguments : tuple
    environment : mapping, optional
        Variables of the processes. Default: one thread each.

    Raises
    ------
    MemoryBudgetError
        A process ended by itself; the usual reason is the system's out-of-memory killer.
    Exception
        What ``function`` or ``prepare`` raised.
    """
    variables = thread_environment(1) if environment is None else dict(environment)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(n_processes, max(1, len(items))),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(prepare, arguments),
    )
    futures: dict[Future[Any], int] = {}
    waiting = iter(enumerate(items))

    def submit_next() -> None:
        for position, item in waiting:
            # A process starts when there is work for it, and reads its environment then.
            with _environment(variables), interrupts_held_back():
                futures[pool.submit(_do, function, item)] = position
            return

    try:
        for _ in range(n_processes + 1):  # one more than can run: none idles
            submit_next()
        while futures:
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                position = futures.pop(future)
                submit_next()
                yield position, future.result()
    except BrokenProcessPool as error:
        raise MemoryBudgetError(
            "a worker process was ended from outside, most likely for want of memory; ask for "
            "smaller cells, or, where --threads are processes, for fewer"
        ) from error
    finally:
        _end(pool, others)


def _end(pool: ProcessPoolExecutor, others: set[BaseProcess]) -> None:
    """End the processes of a pool, busy or not, and wait until they are gone."""
    pool.shutdown(wait=False, cancel_futures=True)
    mine = [child for child in multiprocessing.active_children() if child not in others]
    for child in mine:
        child.terminate()
    for child in mine:
        child.join()
    pool.shutdown(wait=True)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Keep Ctrl-C, which a terminal sends to all processes, from those that are started inside.

    They, and the threads that start others later, inherit the mask of this thread. What comes
    meanwhile arrives at the end.
    """
    # The first process that multiprocessing starts is this one, and it takes the mask away.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(prepare: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """Settle a process that has just started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        try:
            prepare(*arguments)
        except Exception as error:
            # Told by the first item: of an initializer that fails, a pool says nothing.
            _failed.append(error)


_failed: list[Exception] = []


def _do(function: Callable[[Any], Any], item: Any) -> Any:
    """Work on an item in a process that is prepared for it."""
    if _failed:
        raise _failed[0]
    return function(item)


def _end_with_parent() -> None:
    """Leave when the parent is gone, even killed: nobody would ever read what comes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
