"""Time ``--engine dask`` on a file, with one worker and with two.

The clusters are started before the clock, as one that is there would be. Every result is checked
by the compression itself, and the files must be equal byte for byte. Leave the machine alone
meanwhile: both cores are needed. Where that cannot be, the processor time of the workers tells at
least whether two of them do more work than one.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from distributed import Client

from momentc.engine.dask_cluster import local_cluster
from momentc.files.compress import compress_file
from momentc.files.jobs import CompressJob, InputChoice
from momentc.options import CompressOptions


def processor_time() -> float:
    return time.process_time()


def run(points: Path, output: Path, address: str) -> float:
    job = CompressJob(
        InputChoice(str(points)), CompressOptions(k=5, target=1000, threads=1),
        output=str(output), force=True, engine="dask", scheduler=address, range_rows=1 << 20,
    )  # fmt: skip
    began = time.perf_counter()
    report = compress_file(job)
    assert report.ok
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1 << 24)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    counts = [int(word) for word in options.workers.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        points = Path(folder, "points.npy")
        np.save(points, np.random.default_rng(0).normal(size=(options.rows, 3)))
        small = Path(folder, "small.npy")
        np.save(small, np.random.default_rng(0).normal(size=(1 << 18, 3)))
        best: dict[int, float] = {}
        for n_workers in counts:
            output = Path(folder, f"{n_workers}.npz")
            with local_cluster(n_workers) as cluster, Client(cluster) as client:
                address = cluster.scheduler_address
                run(small, output, address)  # imports and compiled code
                run(points, output, address)
                before = sum(client.run(processor_time).values())
                best[n_workers] = min(run(points, output, address) for _ in range(options.repeats))
                computed = sum(client.run(processor_time).values()) - before
            assert output.read_bytes() == Path(folder, f"{counts[0]}.npz").read_bytes()
            print(
                f"{n_workers} workers: {best[n_workers]:7.2f} s, "
                f"{options.rows / best[n_workers]:12,.0f} rows/s, "
                f"{best[counts[0]] / best[n_workers]:.2f} times as fast, "
                f"{computed / options.repeats:.2f} s of processor time in the workers, "
                f"load {os.getloadavg()[0]:.1f}"
            )


if __name__ == "__main__":
    main()
