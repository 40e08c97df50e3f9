"""``momentc compress --engine dask`` as a user runs it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import LocalCluster

from momentc.errors import UsageError
from momentc.io.result_file import read_result

ROOT = Path(__file__).resolve().parents[2]
CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from momentc.cli import main; main()"
COMMAND = [sys.executable, "-W", "error::ResourceWarning", "-c", CODE, "compress"]


def momentc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_cluster_of_its_own(tmp_path: Path) -> None:
    points = np.random.default_rng(1).normal(size=(20_000, 2))
    np.save(tmp_path / "x.npy", points)
    done = momentc(tmp_path, "x.npy", "--engine", "dask", "--workers", "2", "-k", "3", "-n", "100")
    assert (done.returncode, done.stderr) == (0, "")
    kept, metadata = read_result(str(tmp_path / "x.momentc.npz"))
    assert metadata["ok"]
    assert np.array_equal(points[kept.index], kept.points)


def test_one_that_is_there_and_a_bad_row(tmp_path: Path, cluster: LocalCluster) -> None:
    points = np.random.default_rng(1).normal(size=(20_000, 2))
    points[777, 1] = np.nan
    np.save(tmp_path / "x.npy", points)
    done = momentc(tmp_path, "x.npy", "--scheduler", cluster.scheduler_address, "-k", "3")
    assert done.returncode == 3
    assert done.stderr.startswith("momentc: error: in rows 0 .. 19999: row 777, column 1 of ")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_ctrl_c_ends_all_processes_without_a_word_too_many(tmp_path: Path) -> None:
    # Five ranges of rows.
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((20_000_000, 1), dtype=np.float32))
    with subprocess.Popen(
        [*COMMAND, "x.npy", "--engine", "dask", "--workers", "2", "-k", "8"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        family = psutil.Process(process.pid)
        deadline = time.monotonic() + 50
        # At work: both have computed for a while.
        while (
            sum(child.cpu_times().user > 2.5 for child in family.children(recursive=True)) < 2
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        children = family.children(recursive=True)
        assert process.poll() is None
        # As a terminal does: to all of them.
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "momentc: interrupted\n")
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    from momentc.engine.dask_cluster import require_dask

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'momentc\[dask\]'"):
        require_dask()
