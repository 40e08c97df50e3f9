"""One real cluster of processes for all tests of this folder."""

import logging
from collections.abc import Iterator

import pytest
from distributed import LocalCluster

from momentc.engine.processes import thread_environment


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """Two processes of this machine, one thread each."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        env=thread_environment(1),
    ) as cluster:
        yield cluster
