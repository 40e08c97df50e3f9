"""Files in ranges of rows: here, on a cluster, with a worker that dies, with input that is bad."""

import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import LocalCluster

import momentc
from momentc.errors import InputError, UsageError
from momentc.files.compress import compress_file
from momentc.files.jobs import CompressJob, Engine, InputChoice, JobReport
from momentc.files.plan import plan_compress
from momentc.files.ranges import MOST_RANGES, RANGE_BYTES, RANGE_ROWS, cut_ranges
from momentc.io.fingerprint import leaf_rows
from momentc.io.result_file import read_result
from momentc.map_function import MapFunction
from momentc.moments.multi_index import n_moments
from momentc.options import CompressOptions
from momentc.progress import ProgressCallback
from momentc.streaming.shape import State, StreamShape

N_ROWS = 40_000
OPTIONS = CompressOptions(k=3, target=100, effort="low", threads=1)


@pytest.mark.parametrize(
    ("rows", "n_rows", "row_bytes", "n_ranges"),
    [
        ((0, 1), 1, 8, 1),
        ((0, 1000), 1000, 8, 1),
        ((0, 10**8), 10**8, 8, 24),
        ((0, 10**8), 10**8, 80, 60),
        ((0, 10**12), 10**12, 24, 4096),
        ((0, 1000), 1000, RANGE_BYTES * 2, 16),
        ((64 * 5, 1000), 1000, RANGE_BYTES, 11),
    ],
)
def test_ranges_cover_the_rows_with_whole_leaves(
    rows: tuple[int, int], n_rows: int, row_bytes: int, n_ranges: int
) -> None:
    ranges = cut_ranges(rows, n_rows, row_bytes)
    leaf = leaf_rows(n_rows)
    assert len(ranges) == n_ranges
    assert ranges[0][0] == rows[0]
    assert ranges[-1][1] == rows[1]
    for (_, stop), (start, _) in itertools.pairwise(ranges):
        assert stop == start
        assert stop % leaf == 0
    for start, stop in ranges:
        if n_ranges < MOST_RANGES:
            most = min(RANGE_ROWS, RANGE_BYTES // row_bytes) + leaf
        else:
            most = n_rows // MOST_RANGES + leaf
        assert 0 < stop - start <= max(2 * leaf, most)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40,000 rows of three columns in an HDF5 file with weights, some of them 0."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    points = rng.normal(size=(N_ROWS, 3)).astype(np.float32)
    points[1234, 1] = points[30_000, 2] = np.nan
    weights = rng.uniform(0.0, 2.0, N_ROWS)
    weights[:5000] = 0.0
    with h5py.File("data.h5", "w") as file:
        file["x"], file["mass"] = points, weights
    np.save("mass.npy", weights)
    return tmp_path


def run(
    output: str,
    *,
    engine: Engine = "threads",
    scheduler: str | None = None,
    workers: int = 0,
    progress: ProgressCallback | None = None,
    options: CompressOptions = OPTIONS,
    range_rows: int = 4096,
    shard: tuple[int, int] | None = None,
    **choice: Any,
) -> JobReport:
    choice = {"location": "data.h5", "dataset": "x", "weights": "mass", "nan": "drop"} | choice
    job = CompressJob(
        InputChoice(**choice), options, output=output, range_rows=range_rows, engine=engine,
        scheduler=scheduler, workers=workers, shard=shard,
    )  # fmt: skip
    return compress_file(job, progress=progress)


def test_ranges_of_this_process_hold_the_moments_and_do_not_depend_on_threads(data: Path) -> None:
    one = run("one.npz")
    two = run("two.npz", options=CompressOptions(k=3, target=100, effort="low", threads=2))
    assert one.content["streamed"]["ranges"] == 10
    assert (one.content["n_dropped_nan"], two.content["n_dropped_nan"]) == (2, 2)
    assert Path("one.npz").read_bytes() == Path("two.npz").read_bytes()
    with h5py.File(data / "data.h5") as file:
        points, weights = file["x"][:], file["mass"][:]
    whole = np.isfinite(points).all(axis=1)
    kept, _ = read_result("one.npz")
    assert np.array_equal(points[kept.index], kept.points)
    assert momentc.verify_moments(points[whole], kept, k=3, weights=weights[whole]).ok


def test_ranges_and_one_pass_agree_in_counts_and_fingerprint(data: Path) -> None:
    ranges = run("ranges.npz").content
    job = CompressJob(
        InputChoice("data.h5", dataset="x", weights="mass", nan="drop"), OPTIONS,
        output="whole.npz", memory=2**29,
    )  # fmt: skip
    whole = compress_file(job).content
    for name in ("n_points", "n_dropped_nan", "n_zero_weight", "n_lossy", "ok"):
        assert ranges[name] == whole[name]
    assert ranges["input"]["fingerprint"] == whole["input"]["fingerprint"]


def test_a_cluster_gives_the_same_bytes(data: Path, cluster: LocalCluster) -> None:
    heard: list[tuple[str, int, int]] = []
    run("here.npz")
    report = run(
        "there.npz", engine="dask", scheduler=cluster.scheduler_address,
        progress=lambda *news: heard.append(news),
    )  # fmt: skip
    assert Path("here.npz").read_bytes() == Path("there.npz").read_bytes()
    assert report.notes == run("here2.npz").notes
    ranges = [(done, total) for stage, done, total in heard if "ranges" in stage]
    assert ranges == [(done, 10) for done in range(11)]


def test_weights_in_a_file_of_their_own_and_several_inputs(
    data: Path, cluster: LocalCluster
) -> None:
    """The workers run in another folder."""
    choice: dict[str, Any] = {"location": "data.h5:/x", "dataset": None, "weights": "mass.npy"}
    run("here.npz", **choice)
    run("there.npz", engine="dask", scheduler=cluster.scheduler_address, **choice)
    assert Path("here.npz").read_bytes() == Path("there.npz").read_bytes()
    points = np.random.default_rng(8).normal(size=(2, 9000, 2))
    np.save("a.npy", points[0])
    np.save("b.npy", points[1])
    choice = {"location": "a.npy", "more": ("b.npy",), "dataset": None, "weights": None}
    run("here2.npz", **choice)
    run("there2.npz", engine="dask", scheduler=cluster.scheduler_address, **choice)
    assert Path("here2.npz").read_bytes() == Path("there2.npz").read_bytes()


def test_a_shard_can_be_made_on_a_cluster(data: Path, cluster: LocalCluster) -> None:
    run("here.npz", shard=(2, 3))
    run("there.npz", engine="dask", scheduler=cluster.scheduler_address, shard=(2, 3))
    assert Path("here.npz").read_bytes() == Path("there.npz").read_bytes()


def test_a_worker_that_dies_changes_nothing(data: Path) -> None:
    """Killed, as the system does for want of memory; Dask starts another one."""
    before = set(multiprocessing.active_children())
    killed: list[int] = []

    def kill_one(stage: str, done: int, total: int) -> None:
        if "ranges" in stage and done == 2 and not killed:
            children = [child for child in multiprocessing.active_children() if child not in before]
            assert len(children) == 2
            pid = children[0].pid
            assert pid is not None
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    run("here.npz", range_rows=1024)
    run("there.npz", range_rows=1024, engine="dask", workers=2, progress=kill_one)
    assert killed
    assert Path("here.npz").read_bytes() == Path("there.npz").read_bytes()
    assert set(multiprocessing.active_children()) <= before, "processes were left behind"


def test_what_is_wrong_with_a_row_reaches_the_user(data: Path, cluster: LocalCluster) -> None:
    with pytest.raises(InputError) as caught:
        run("there.npz", engine="dask", scheduler=cluster.scheduler_address, nan="error")
    message = str(caught.value)
    assert "row 1234, column 1 of" in message or "row 30000, column 2 of" in message
    assert "is nan, not a finite float64 (1 row in all; numbered from 0)" in message
    assert "in rows " in message
    assert not Path("there.npz").exists()


def test_a_file_that_a_worker_does_not_see_as_the_client_does(
    data: Path, cluster: LocalCluster
) -> None:
    def touch(stage: str, done: int, _total: int) -> None:
        if "ranges" in stage and done == 0:
            now = time.time() - 1000
            os.utime("data.h5", (now, now))

    with pytest.raises(InputError, match="is not the file that the client has seen"):
        run("there.npz", engine="dask", scheduler=cluster.scheduler_address, progress=touch)


def test_a_worker_with_another_version(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def upgrade(stage: str, done: int, _total: int) -> None:
        if "ranges" in stage and done == 0:
            monkeypatch.setattr("momentc.files.ranges.__version__", "99.0")

    said = f"has momentc 99.0, the client {momentc.__version__}; install the same version on both"
    with pytest.raises(UsageError, match=said):
        run("x.npz", progress=upgrade)


def test_weights_that_overflow_in_the_sum_of_all_ranges(data: Path) -> None:
    """No range knows: each has a tenth of them."""
    np.save("heavy.npy", np.full(N_ROWS, 1e304))
    with pytest.raises(InputError, match=r"heavy\.npy"):
        run("x.npz", weights="heavy.npy")
    np.save("heavy.npy", np.full(N_ROWS, 1e303))
    assert run("x.npz", weights="heavy.npy").ok


def test_rows_that_float64_rounds_go_where_that_is_allowed(data: Path) -> None:
    rows = np.random.default_rng(10).integers(2**60, 2**61, (9000, 2))
    np.save("large.npy", rows)
    choice: dict[str, Any] = {"location": "large.npy", "dataset": None, "weights": None}
    with pytest.raises(InputError, match=r"in rows \d+ \.\. \d+: .*float64"):
        run("x.npz", **choice)
    content = run("x.npz", allow_lossy=True, **choice).content
    assert content["n_lossy"] > 0
    kept, _ = read_result("x.npz")
    assert np.array_equal(kept.points, rows[kept.index])


def test_what_a_range_leaves_is_reduced_before_it_is_sent(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = StreamShape.merged
    sizes: list[float] = []

    def noting(shape: StreamShape, first: State, second: State, map_function: MapFunction) -> State:
        setting = shape.setting
        most = setting.router.n_cells * n_moments(setting.frame.rank, setting.order)
        together = merged(shape, first, second, map_function)
        sizes.extend(len(state["weights"]) / most for state in (first, second, together))
        return together

    monkeypatch.setattr(StreamShape, "merged", noting)
    run("x.npz")
    assert len(sizes) == 27
    assert max(sizes) <= 1.0


def test_a_constant_column_takes_no_further_pass_over_all_rows(data: Path) -> None:
    """The workers would wait for the one process that reads them."""
    rows = np.random.default_rng(12).normal(size=(9000, 3))
    rows[:, 1] = 7.0
    np.save("flat.npy", rows)
    content = run("x.npz", location="flat.npy", dataset=None, weights=None).content
    assert (content["ok"], content["rank"], content["streamed"]["passes"]) == (True, 3, 1)


def test_all_rows_dropped_and_no_more_rows_than_the_target(
    data: Path, cluster: LocalCluster
) -> None:
    address = cluster.scheduler_address
    few = np.random.default_rng(9).normal(size=(80, 3))
    np.save("few.npy", few)
    run("few.npz", engine="dask", scheduler=address, location="few.npy", dataset=None, weights=None)
    kept, _ = read_result("few.npz")
    assert np.array_equal(kept.points, few)
    rows = np.full((5000, 2), np.nan)
    rows[::100] = 1.0
    weights = np.zeros(5000)
    weights[1] = 1.0
    np.save("bad.npy", rows)
    np.save("badw.npy", weights)
    with pytest.raises(InputError, match="none of"):
        run("b.npz", engine="dask", scheduler=address, location="bad.npy", dataset=None,
            weights="badw.npy")  # fmt: skip


def test_what_is_refused_before_any_cluster_is_asked(data: Path) -> None:
    with pytest.raises(UsageError, match="expected one of threads, dask"):
        run("x.npz", engine="slurm")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="go with --engine dask"):
        run("x.npz", workers=2)
    with pytest.raises(UsageError, match="has its own workers"):
        run("x.npz", engine="dask", workers=2, scheduler="tcp://127.0.0.1:1")
    with pytest.raises(UsageError, match="expected 0"):
        run("x.npz", engine="dask", workers=-2)
    with pytest.raises(UsageError, match="no Dask scheduler answers at 'nonsense://x'"):
        run("x.npz", engine="dask", scheduler="nonsense://x")


def test_the_plan_says_how_many_ranges_and_promises_no_checkpoint(data: Path) -> None:
    job = CompressJob(InputChoice("mass.npy"), OPTIONS, engine="dask", range_rows=1024)
    plan = plan_compress(job)
    assert plan.stream is not None
    assert not plan.checkpoints
    assert plan.as_json()["ranges"] == len(plan.ranges) == 40
