"""Reading ahead: the same items in the same order, and no thread that stays."""

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from momentc.engine.prefetch import read_ahead


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_the_same_items_in_the_same_order() -> None:
    for n in (0, 1, 2, 50):
        with read_ahead(range(n)) as ahead:
            assert list(ahead) == list(range(n))


def test_an_item_may_be_anything() -> None:
    items = [None, StopIteration(), (), RuntimeError("an item, not an error")]
    with read_ahead(items) as ahead:
        assert list(ahead) == items


def test_it_reads_in_a_thread_of_its_own_and_not_far_ahead() -> None:
    """One item in the hand, one that waits, one that is being made."""
    made: list[int] = []
    threads = set()

    def items() -> Iterator[int]:
        for number in range(10):
            threads.add(threading.current_thread())
            made.append(number)
            yield number

    with read_ahead(items()) as ahead:
        for number in ahead:
            deadline = time.monotonic() + 10
            while len(made) < min(10, number + 2) and time.monotonic() < deadline:
                time.sleep(0.001)
            assert number + 2 <= len(made) + (number > 7) <= number + 4
    assert len(threads) == 1
    assert threading.current_thread() not in threads


class Unusual(BaseException):
    """No Exception at all."""


@pytest.mark.parametrize("error", [ValueError("bad row"), Unusual("odd"), KeyboardInterrupt()])
def test_an_error_comes_where_its_item_would_have_come(error: BaseException) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise error

    seen = []

    def work() -> None:
        with read_ahead(items()) as ahead:
            for item in ahead:
                seen.append(item)  # noqa: PERF402  what came before the error counts

    with pytest.raises(type(error)) as caught:
        work()
    assert seen == [1, 2]
    assert caught.value is error


def test_an_early_end_waits_for_no_further_item() -> None:

    def fail() -> None:
        with read_ahead(itertools.count()) as ahead:
            for number in ahead:
                if number == 3:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with read_ahead(itertools.count()) as ahead:
        assert next(ahead) == 0
    with read_ahead(itertools.count()):
        pass  # not even the first item is wanted


def test_an_item_that_is_being_made_is_waited_for() -> None:
    """Its source must not be closed under its hands."""
    done = []

    def slow() -> Iterator[int]:
        yield 0
        time.sleep(0.2)
        done.append(True)
        yield 1

    with read_ahead(slow()) as ahead:
        next(ahead)
        time.sleep(0.05)
    assert done == [True]
