"""Work on a Dask cluster: one of processes of this machine, or one that is there already.

The tree is that of :mod:`momentc.engine.tree`, as a graph: the workers make the leaves and put them
together, only the last result comes back. Dask decides where what runs, and makes again what a
worker that died had; what each piece of work gives does not depend on that.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from momentc.engine.processes import interrupts_held_back, thread_environment
from momentc.engine.tree import merge_in_tree
from momentc.errors import MemoryBudgetError, UsageError
from momentc.map_function import TreeFunction

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

__all__ = ["current_client", "dask_tree", "local_cluster", "require_dask", "tree_on"]

# How often a piece of work that failed is tried again, in case the file system had a bad moment.
RETRIES: Final = 2
PAUSE: Final = 1.0

# Seconds to wait for the scheduler to answer.
PATIENCE: Final = 20


def require_dask() -> None:
    """Say what to install where Dask is missing.

    Raises
    ------
    UsageError
    """
    try:
        import dask  # noqa: F401
        import distributed  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"Dask cannot be used here, there is no {error.name}: pip install 'momentc[dask]'"
        ) from error


def local_cluster(n_workers: int) -> "LocalCluster":
    """Start a cluster of processes of this machine, each with one thread."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        env=thread_environment(1),
    )


@contextmanager
def dask_tree(scheduler: str | None, n_workers: int) -> Iterator[TreeFunction]:
    """Yield a tree function that runs on a cluster.

    Parameters
    ----------
    scheduler : str or None
        Address of a cluster that is there, as ``tcp://host:8786``. None: one of this machine, for
        the time of the block.
    n_workers : int
        Processes of the cluster of this machine, each with one thread.

    Raises
    ------
    UsageError
        Dask is missing, or nobody answers at the address.
    """
    require_dask()
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        # What goes wrong is raised here, where it has a message for the user.
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        if scheduler is None:
            with interrupts_held_back():
                cluster = stack.enter_context(local_cluster(n_workers))
            client = Client(cluster, set_as_default=False)
        else:
            try:
                client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"no Dask scheduler answers at {scheduler!r}: {error}; expected an address "
                    "such as tcp://host:8786"
                ) from error
        yield tree_on(stack.enter_context(client))


def current_client() -> "Client":
    """Return the client of the cluster that the caller works with.

    Raises
    ------
    UsageError
        Dask is missing, or there is none.
    """
    require_dask()
    from distributed import get_client

    try:
        return get_client()
    except ValueError as error:
        raise UsageError(
            "there is no Dask client; start one: dask.distributed.Client() for this machine, or "
            "Client('tcp://host:8786')"
        ) from error


def tree_on(client: "Client") -> TreeFunction:
    """Return a tree function that runs on the cluster of a client."""
    return partial(_run, client)


def _run(
    client: "Client",
    leaf: Callable[[Any], Any],
    items: Sequence[Any],
    merge: Callable[[Any, Any], Any],
    on_leaves: Callable[[int], None],
) -> Any:
    """Run a tree; see :data:`momentc.map_function.TreeFunction`.

    Errors of the functions are raised as they are.

    Raises
    ------
    MemoryBudgetError
        Several workers died of the same piece of work.
    UsageError
        The workers cannot import momentc, or the cluster went away.
    """
    from dask.delayed import delayed
    from distributed import as_completed

    # The functions carry what all leaves share: they are a piece of work of their own, so that each
    # worker gets them once, and again if they are lost.
    functions = delayed(_pair, pure=False)(leaf, merge)
    on_worker, merge_on_worker = delayed(_leaf, pure=False), delayed(_merge, pure=False)
    leaves = [on_worker(functions, item) for item in items]
    root = merge_in_tree(
        lambda node: node, leaves, lambda first, second: merge_on_worker(functions, first, second)
    )
    *waiting, result = client.compute([*leaves, root], optimize_graph=False)
    finished = as_completed(waiting, loop=client.loop)
    # Who holds a future keeps its result on the cluster: from here on only what is still to be
    # merged is kept.
    del waiting
    with _named_errors():
        for n_done, future in enumerate(finished, start=1):
            if future.status != "finished":
                future.result()  # raises
            on_leaves(n_done)
            del future
        return result.result()


@contextmanager
def _named_errors() -> Iterator[None]:
    """Turn what Dask raises of itself into errors for the user."""
    from distributed import CancelledError, KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise MemoryBudgetError(
            "workers of the cluster died one after the other of the same piece of work, most "
            "likely for want of memory; use fewer --workers, or less --memory for each"
        ) from error
    except CancelledError as error:
        raise UsageError(f"the Dask cluster went away: {error}") from error
    except ImportError as error:
        raise UsageError(
            f"the workers of the Dask cluster lack what momentc needs ({error}); install the same "
            "version of momentc[dask] on the scheduler and on all workers"
        ) from error


def _pair(first: Any, second: Any) -> tuple[Any, Any]:
    return first, second


def _leaf(functions: tuple[Any, Any], item: Any) -> Any:
    return _tried(functions[0], item)


def _merge(functions: tuple[Any, Any], first: Any, second: Any) -> Any:
    return _tried(functions[1], first, second)


def _tried(function: Callable[..., Any], *arguments: Any) -> Any:
    """Do a piece of work; again where it was the system that failed, not what is asked or read.

    Dask's own retries know no difference, and would read a range with a NaN three times.
    """
    for _ in range(RETRIES):
        try:
            return function(*arguments)
        except Exception as error:
            if not _of_the_system(error):
                raise
        time.sleep(PAUSE)
    return function(*arguments)


def _of_the_system(error: BaseException) -> bool:
    """Whether an error is, or comes from, one of reading or writing."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    return cause is not None
