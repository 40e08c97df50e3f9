"""One real cluster of processes for all tests of this folder."""

from collections.abc import Iterator

import pytest
from distributed import LocalCluster

from momentc.engine.dask_cluster import local_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """Two processes of this machine, one thread each."""
    with local_cluster(2) as cluster:
        yield cluster
