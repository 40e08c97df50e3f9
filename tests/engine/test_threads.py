"""A map over threads: the order, the errors, and who does the work."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from momentc.engine.threads import thread_map
from momentc.map_function import run_in_parts


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_items", [0, 1, 2, 3, 100])
def test_results_in_the_order_of_the_items(n_threads: int, n_items: int) -> None:
    def square(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number**2

    with thread_map(n_threads) as map_function:
        assert list(map_function(square, range(n_items))) == [i**2 for i in range(n_items)]
        # A generator is taken as it is, and the map can be used again.
        assert list(map_function(str, (i for i in range(n_items)))) == [*map(str, range(n_items))]


def test_the_calling_thread_works_too_and_all_of_them_at_once() -> None:
    together = threading.Barrier(3, timeout=30)

    def who(_: int) -> int:
        together.wait()
        return threading.get_ident()

    with thread_map(3) as map_function:
        found = list(map_function(who, range(3)))
    assert len(set(found)) == 3
    assert threading.get_ident() in found


def test_no_number_of_threads_is_all_that_there_are() -> None:
    with thread_map(0) as map_function:
        assert list(map_function(str, [1, 2, 3])) == ["1", "2", "3"]


def test_one_item_starts_no_thread() -> None:
    with thread_map(4) as map_function:
        assert list(map_function(lambda _: threading.get_ident(), [0])) == [threading.get_ident()]


def test_helpers_that_are_busy_are_not_waited_for() -> None:
    """A map within a map: the only helper is taken, so the caller does all of it."""
    busy, done = threading.Event(), threading.Event()

    with thread_map(2) as map_function:

        def outer(which: int) -> list[int]:
            if which == 1:
                busy.set()
                assert done.wait(timeout=30)
                return []
            assert busy.wait(timeout=30)
            found = list(map_function(abs, [-1, -2, -3]))
            done.set()
            return found

        assert list(map_function(outer, [0, 1])) == [[1, 2, 3], []]


@pytest.mark.parametrize("n_threads", [2, 4])
def test_the_first_error_is_raised_whichever_came_first(n_threads: int) -> None:
    started: list[int] = []

    def fail(number: int) -> int:
        started.append(number)
        if number == 0:
            time.sleep(0.05)  # the others have failed by then
        raise ValueError(f"item {number}")

    with thread_map(n_threads) as map_function:
        with pytest.raises(ValueError, match="item 0"):
            map_function(fail, range(1000))
        # What was not begun is not begun any more.
        assert len(started) <= n_threads
        assert list(map_function(abs, [-1, -2])) == [1, 2]


@pytest.fixture
def alarm() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


def test_nobody_works_on_after_an_interruption(alarm: None) -> None:
    finished: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.1)
        finished.append(number)

    with thread_map(2) as map_function:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        with pytest.raises(KeyboardInterrupt):
            map_function(work, range(200))
        n_finished = len(finished)
        assert n_finished < 10
        time.sleep(0.3)
        assert len(finished) == n_finished


def test_parts_cover_all_once() -> None:
    seen = np.zeros(1001, dtype=np.int64)

    def mark(first: int, last: int) -> None:
        seen[first:last] += 1

    with thread_map(3) as map_function:
        run_in_parts(mark, 1001, 7, map_function)
    assert np.all(seen == 1)


ONE_THREAD_EACH = """
import faiss  # brings OpenMP
import scipy.linalg  # brings its BLAS
from threadpoolctl import threadpool_info
from momentc.engine.threads import thread_map

assert {pool["user_api"] for pool in threadpool_info()} >= {"blas", "openmp"}
before = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
with thread_map(2):
    assert {pool["num_threads"] for pool in threadpool_info()} == {1}
assert {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()} == before
"""


def test_numerical_libraries_have_one_thread_each_inside() -> None:
    # In a process of its own: the baselines of bench, which other tests load into theirs, bring
    # libraries that momentc does not compute with, and which keep their threads.
    subprocess.run([sys.executable, "-c", ONE_THREAD_EACH], check=True, timeout=60)


@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_overlapping_calls_leave_the_libraries_as_they_were(first_to_leave: int) -> None:
    """As two notebooks' threads do: one thread inside until both have ended, and then no more."""
    import scipy.linalg  # noqa: F401  # brings its BLAS

    def blas() -> list[int]:
        """Of the process: libraries built with OpenMP have numbers for each thread."""
        return [
            pool["num_threads"]
            for pool in threadpool_info()
            if pool["user_api"] == "blas" and pool["threading_layer"] != "openmp"
        ]

    def call(own: int) -> None:
        with thread_map(1):
            inside[own].set()
            assert leave[own].wait(timeout=30)
        left[own].set()

    inside, leave, left = ([threading.Event() for _ in range(2)] for _ in range(3))
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas()
        assert 2 in before
        callers = [threading.Thread(target=call, args=(own,)) for own in range(2)]
        for own, caller in enumerate(callers):
            caller.start()
            assert inside[own].wait(timeout=30)
        for own in (first_to_leave, 1 - first_to_leave):
            assert set(blas()) == {1}
            leave[own].set()
            assert left[own].wait(timeout=30)
        assert blas() == before
