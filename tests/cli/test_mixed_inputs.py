"""What looks like one job and is not: nothing of it may end as a result that says ok.

The sample of an input does not see every row. Files, datasets, weights and times of change must
tell what it cannot.
"""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from momentc.errors import PartsError
from momentc.files.compress import compress_file
from momentc.files.jobs import CompressJob, InputChoice, MergeJob
from momentc.files.merge import merge_files
from momentc.options import CompressOptions

ROWS = 200_000


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """A file with two arrays and two sets of weights that differ where no sample looks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 2))
    w = rng.uniform(0.5, 1.5, ROWS)
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file["X"], file["w1"] = x, w
        x, w = x.copy(), w.copy()
        x[1000:1100] += 3.0
        w[1000:1100] *= 2.0
        file["Y"], file["w2"] = x, w
    return path


def part(path: Path, output: Path, dataset: str, weights: str, shard: tuple[int, int]) -> str:
    compress_file(
        CompressJob(
            InputChoice(f"{path}:/{dataset}", weights=weights),
            CompressOptions(2, 50),
            output=str(output),
            shard=shard,
        )
    )
    return str(output)


@pytest.mark.parametrize("other", [("X", "w2"), ("Y", "w1")])
def test_parts_of_other_datasets_do_not_merge(twins: Path, other: tuple[str, str]) -> None:
    first = part(twins, twins.with_name("p1.h5"), "X", "w1", (1, 2))
    second = part(twins, twins.with_name("p2.h5"), *other, (2, 2))
    with pytest.raises(PartsError, match=r"different (datasets|inputs)"):
        merge_files(MergeJob((first, second), 20, output=str(twins.with_name("m.h5"))))
    assert not twins.with_name("m.h5").exists()


def test_parts_of_a_file_that_was_written_to_do_not_merge(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    x = np.random.default_rng(0).normal(size=(ROWS, 2))
    np.save(path, x)
    jobs = [
        CompressJob(
            InputChoice(str(path)),
            CompressOptions(2, 50),
            output=str(tmp_path / f"p{i}.npz"),
            shard=(i, 2),
        )
        for i in (1, 2)
    ]
    compress_file(jobs[0])
    x[150_001] += 1.0
    np.save(path, x)
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    compress_file(jobs[1])
    out = str(tmp_path / "m.npz")
    with pytest.raises(PartsError, match=r"written to in between|different inputs"):
        merge_files(MergeJob(tuple(str(job.output) for job in jobs), 20, output=out))


def test_shards_of_sorted_rows_hold_and_merge(tmp_path: Path) -> None:
    """The rows of a shard are a sliver of the frame that all shards share."""
    x = np.random.default_rng(0).normal(size=(ROWS, 2))
    x[:, 0] = np.linspace(0.0, 1.0, ROWS)
    path = tmp_path / "x.npy"
    np.save(path, x)
    names = []
    for i in range(1, 9):
        names.append(str(tmp_path / f"p{i}.npz"))
        report = compress_file(
            CompressJob(
                InputChoice(str(path)), CompressOptions(5, 100), output=names[-1], shard=(i, 8)
            )
        )
        assert report.ok
        assert max(report.content["error"][:6]) < 1e-14
    merged = merge_files(MergeJob(tuple(names), 60, output=str(tmp_path / "m.npz")))
    assert merged.ok
    assert max(merged.content["error"][:6]) < 1e-14
    assert merged.content["input"]["fingerprint"] is not None


def test_a_part_of_parts_keeps_their_order(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(ROWS, 2)))
    names = [str(tmp_path / f"p{i}.npz") for i in (1, 2)]
    for i, name in enumerate(names, start=1):
        compress_file(
            CompressJob(InputChoice(str(path)), CompressOptions(3, 50), output=name, shard=(i, 3))
        )
    job = MergeJob(tuple(names), 40, k=2, output=str(tmp_path / "m.npz"), allow_missing=True)
    with pytest.raises(PartsError, match="leave --k 2 to the last merge"):
        merge_files(job)
    job = MergeJob(
        tuple(names), 40, output=str(tmp_path / "m.npz"), allow_missing=True, effort="high"
    )
    content = merge_files(job).content
    assert content["effort"] == "high"
    assert content["input"]["fingerprint"] is None
    assert content["missing_rows"] == [[content["part"]["rows"][0][1], ROWS]]
