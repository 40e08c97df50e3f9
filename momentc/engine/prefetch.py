"""Reading ahead: an iterator that works on its next item while the last one is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["read_ahead"]

Item = TypeVar("Item")

# How often a thread that waits looks whether it is still wanted, in seconds.
PATIENCE = 0.1


@dataclass(frozen=True, slots=True)
class _Failure:
    error: BaseException


class _End:
    pass


@contextmanager
def read_ahead(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """Yield an iterator over ``items`` that a thread of its own keeps one item ahead.

    The thread is gone when the block ends, however it ends. Errors of ``items`` are raised where
    their item would have come.
    """
    ahead: queue.Queue[Item | _Failure | _End] = queue.Queue(maxsize=1)
    unwanted = threading.Event()

    def put(item: Item | _Failure | _End) -> bool:
        while not unwanted.is_set():
            try:
                ahead.put(item, timeout=PATIENCE)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # handed over, whatever it is
            put(_Failure(error))
            return
        put(_End())

    def taken() -> Iterator[Item]:
        while True:
            item = ahead.get()
            if isinstance(item, _End):
                return
            if isinstance(item, _Failure):
                raise item.error
            yield item

    reader = threading.Thread(target=work, name="momentc-reader", daemon=True)
    reader.start()
    try:
        yield taken()
    finally:
        unwanted.set()
        reader.join()
