"""What faiss keeps for the whole process is as it was when a clustering ends."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import faiss
import numpy as np
import pytest

import momentc
from momentc.clustering.centroids import kmeans_labels
from momentc.clustering.faiss_settings import faiss_by_differences, faiss_by_products
from momentc.clustering.lloyd import find_centroids

POINTS = np.random.default_rng(1).normal(size=(2000, 2))


@pytest.mark.parametrize(
    "use",
    [
        lambda: find_centroids(POINTS, 8, 1),
        lambda: kmeans_labels(POINTS, None, 8, 1),
        lambda: momentc.compress(POINTS, k=2, target=50),
    ],
)
def test_the_settings_of_the_application_stay(use: Callable[[], object]) -> None:
    set_to((2, 777))
    use()
    assert settings() == (2, 777)


def settings() -> tuple[int, int]:
    return faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold


def set_to(values: tuple[int, int]) -> None:
    faiss.omp_set_num_threads(values[0])
    faiss.cvar.distance_compute_blas_threshold = values[1]


@pytest.fixture(autouse=True)
def _as_they_were() -> Iterator[None]:
    before = settings()
    yield
    set_to(before)


def test_also_after_an_error() -> None:
    set_to((2, 777))

    def fail() -> None:
        with faiss_by_products() as inside:
            assert settings() == (1, 20)
            assert inside is faiss
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert settings() == (2, 777)


def test_one_clustering_at_a_time() -> None:
    """The distances of one must not be found in the way of another."""
    seen: list[int] = []

    def other() -> None:
        with faiss_by_differences():
            seen.append(faiss.cvar.distance_compute_blas_threshold)

    with faiss_by_products():
        waiting = threading.Thread(target=other)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert faiss.cvar.distance_compute_blas_threshold == 20
    waiting.join(30)
    assert seen == [128_000]


def test_the_baseline_is_trained_on_all_points() -> None:
    """Of few clusters of many points, Lloyd's steps end where every centroid is a mean of all."""
    points = np.random.default_rng(2).uniform(size=(4000, 2))
    labels = kmeans_labels(points, None, 4, 3)
    means = np.array([points[labels == label].mean(axis=0) for label in range(4)])
    nearest = np.argmin(np.linalg.norm(points[:, None] - means, axis=2), axis=1)
    assert np.mean(nearest != labels) < 0.002


def test_a_process_that_was_forked_meanwhile() -> None:
    """The thread that clusters is not there: nobody would give the lock back."""
    with faiss_by_products():
        child = os.fork()
        if child == 0:
            with faiss_by_products():
                os._exit(7)
        deadline = time.monotonic() + 20.0
        ended, status = 0, 0
        while not ended and time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.01)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
