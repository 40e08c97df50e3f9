"""Limits of groups of processes, as the kernel tells them in either of its two ways."""

from pathlib import Path

import pytest

from momentc import cgroup
from momentc.files.plan import default_memory


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of those of the kernel."""
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    monkeypatch.setattr(cgroup, "OWN_GROUPS", tmp_path / "own")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_no_groups(kernel: Path) -> None:
    assert cgroup.memory_limit() is None
    assert cgroup.cpu_quota() is None


def test_the_least_of_all_groups_around(kernel: Path) -> None:
    """As under Slurm: a job in a user's slice, with the limit of the job and not of the step."""
    put(kernel / "own", "0::/system.slice/job_7/step_0")
    put(kernel / "system.slice" / "memory.max", "max")
    put(kernel / "system.slice" / "job_7" / "memory.max", "4000000000")
    put(kernel / "system.slice" / "job_7" / "step_0" / "memory.max", "max")
    put(kernel / "system.slice" / "job_8" / "memory.max", "1000")
    put(kernel / "system.slice" / "cpu.max", "800000 100000")
    put(kernel / "system.slice" / "job_7" / "cpu.max", "250000 100000")
    put(kernel / "system.slice" / "job_7" / "step_0" / "cpu.max", "max 100000")
    assert cgroup.memory_limit() == 4_000_000_000
    assert cgroup.cpu_quota() == 3
    put(kernel / "system.slice" / "memory.max", "50000")
    assert cgroup.memory_limit() == 50_000


def test_version_1(kernel: Path) -> None:
    put(kernel / "own", "9:name=systemd:/x\n4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/")
    put(kernel / "memory" / "memory.limit_in_bytes", "9223372036854771712")
    put(kernel / "memory" / "a" / "b" / "memory.limit_in_bytes", "3000000")
    put(kernel / "memory" / "x" / "memory.limit_in_bytes", "1")
    put(kernel / "cpu" / "cpu.cfs_quota_us", "-1")
    put(kernel / "cpu" / "cpu.cfs_period_us", "100000")
    put(kernel / "cpu" / "c" / "cpu.cfs_quota_us", "50000")
    put(kernel / "cpu" / "c" / "cpu.cfs_period_us", "100000")
    assert cgroup.memory_limit() == 3_000_000
    assert cgroup.cpu_quota() == 1


@pytest.mark.parametrize("own", ["0::/docker/4711", "0::/../other", "0:://x", "rubbish", "0::"])
def test_in_a_container_the_root_is_its_own(kernel: Path, own: str) -> None:
    """Where the path is that of the machine outside, or none."""
    put(kernel / "own", own)
    put(kernel / "memory.max", "7000000")
    put(kernel.parent / "other" / "memory.max", "5")
    assert cgroup.memory_limit() == 7_000_000


@pytest.mark.parametrize("text", ["", "max", "1 2 3", "1.5 2", "5 0", "x y", "-1 5"])
def test_what_is_no_quota(kernel: Path, text: str) -> None:
    put(kernel / "cpu.max", text)
    assert cgroup.cpu_quota() is None


def test_the_budget_follows(kernel: Path) -> None:
    put(kernel / "own", "0::/job")
    put(kernel / "job" / "memory.max", "600000000")
    assert default_memory() == 300_000_000
