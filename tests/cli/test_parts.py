"""The small parts of the command line, each by itself."""

import io
import logging
import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from momentc import cgroup, cpus, kernels
from momentc.cli import environment
from momentc.cli.console import Console
from momentc.cli.guard import BEGAN
from momentc.cli.progress import LineProgress, Pace
from momentc.cli.render_scan import scan_tables
from momentc.cli.text import format_count, format_seconds, parse_part, parse_size
from momentc.compiled_code import discard_outdated_code
from momentc.errors import UsageError
from momentc.files.bench import bench
from momentc.files.plan import count_moments
from momentc.files.scan import error_scan
from momentc.files.study_jobs import BenchJob, ScanJob
from momentc.text import format_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("10K", 10_000),
        ("10KiB", 10_240),
        ("500M", 500_000_000),
        ("500MB", 500_000_000),
        ("1.5g", 1_500_000_000),
        ("2 GiB", 2 * 2**30),
        ("1T", 10**12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-1G", "1X", "1e9", "0", "1 G B", "1,5G", "9" * 310, "0.5"]
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size such as"):
        parse_size(text)


def test_numbers_for_people() -> None:
    assert format_count(273280) == "273,280"
    assert format_count(None) == "more than 10^15"
    assert format_bytes(0) == "0 B"
    assert format_bytes(300 * 2**20) == "300 MiB"
    assert format_bytes(2**40) == "1 TiB"
    assert format_seconds(1.234) == "1.23 s"
    assert format_seconds(125) == "2 min 5 s"
    assert format_seconds(7300) == "2 h 1 min"


def test_moments_are_counted_without_huge_numbers() -> None:
    for m in range(1, 8):
        for k in range(9):
            assert count_moments(m, k) == math.comb(m + k, k)
    assert count_moments(10**6, 10**9) is None
    assert count_moments(10**14, 1) == 10**14 + 1


def test_a_line_every_half_minute() -> None:
    now = 0.0
    stream = io.StringIO()
    progress = LineProgress(stream, clock=lambda: now)
    for second in range(1, 101):
        now = float(second)
        progress("reading" if second < 50 else "reduction", second * 10, 1000)
    assert stream.getvalue().splitlines() == [
        "momentc: reading: 700 left of 1,000, 10 a second, 70 s to go",
        "momentc: reduction: 400 left of 1,000, 10 a second, 40 s to go",
        "momentc: reduction: 100 left of 1,000, 10 a second, 10 s to go",
    ]


def test_no_rate_before_anything_moved() -> None:
    pace = Pace("x", 5, 0.0)
    assert pace.describe(5, 10, 60.0) == "5 left of 10"
    assert pace.describe(9, 10, 0.01) == "1 left of 10"
    assert pace.describe(0, 0, 9.0) == "running"
    assert pace.describe(10, 10, 5.0) == "0 left of 10, 1 a second"
    assert pace.describe(6, 10, 90.0) == "4 left of 10, 6 min 0 s to go"
    said = pace.describe(2_000_000, 7_994_000, 1.25)
    assert said == "5.99M left of 7.99M, 1.60M a second, 4 s to go"


def test_threads_are_the_smallest_of_all_limits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    for name in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert cpus.available_threads() == 16
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpus.available_threads() == 16
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert cpus.available_threads() == 3
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert cpus.available_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cpus.available_threads() == 1
    assert environment.prepare_threads(5) == 5
    assert os.environ["OPENBLAS_NUM_THREADS"] == "5"


def test_the_older_cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    for name in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpus.available_threads() == 16
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000\n")
    assert cpus.available_threads() == 4


def nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Package and home on a file system that takes no files, not even from root."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setattr(environment, "PACKAGE", Path("/proc/nowhere/momentc"))


def test_a_private_cache_where_no_other_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nothing_can_be_written(monkeypatch)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    environment.prepare_compiler_cache()
    own = Path(os.environ["NUMBA_CACHE_DIR"])
    assert own.parent == tmp_path
    assert own.stat().st_mode & 0o077 == 0


def test_a_cache_that_others_can_write_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """numba runs what it finds in its cache."""
    nothing_can_be_written(monkeypatch)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    planted = tmp_path / f"momentc-numba-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    environment.prepare_compiler_cache()
    assert os.environ["NUMBA_CACHE_DIR"] != str(planted)


def test_compiled_code_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not environment.has_compiled_code()
    (tmp_path / "reduction_1").mkdir()
    (tmp_path / "reduction_1" / "kernel.nbi").touch()
    assert not environment.has_compiled_code(), "of another version, or of another package"
    discard_outdated_code(tmp_path / "reduction_1")
    (tmp_path / "reduction_1" / "kernel.nbi").touch()
    assert environment.has_compiled_code()


@pytest.mark.parametrize(
    ("options", "capable", "said"),
    [
        ({}, True, "momentc: note: compiling\n"),
        ({}, False, ""),
        ({"no_progress": True}, True, ""),
        ({"quiet": True}, True, ""),
    ],
)
def test_who_is_told_that_it_compiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: dict[str, bool], capable: bool, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("momentc.cli.console._is_capable", lambda _: capable)
    context: Any = SimpleNamespace(meta={BEGAN: 0.0})
    for _ in range(2):
        Console(context, **options).progress()
        logging.getLogger("momentc.jit").info("compiling")
        assert capsys.readouterr().err == said
    # A log of cells is told as well: times of cells stand there.
    with Console(context, **options).cells(kept=False):
        logging.getLogger("momentc.jit").info("compiling")
    told = capsys.readouterr().err.strip()
    assert told == ("" if options else "momentc: note: compiling")


@pytest.mark.parametrize(
    ("threads", "cpus_here", "compiled", "expected"),
    [(4, 2, False, 1), (1, 2, False, 0), (4, 1, False, 0), (4, 2, True, 0)],
)
def test_who_compiles_side_by_side(
    monkeypatch: pytest.MonkeyPatch, threads: int, cpus_here: int, compiled: bool, expected: int
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(kernels, "compile_side_by_side", lambda: calls.append(None))
    monkeypatch.setattr(environment, "available_cpus", lambda: cpus_here)
    monkeypatch.setattr(environment, "has_compiled_code", lambda: compiled)
    compile_now = environment.compile_on_first_run(threads)
    # What is compiled while the input is looked at changes nothing.
    monkeypatch.setattr(environment, "has_compiled_code", lambda: True)
    assert not calls
    compile_now()
    assert len(calls) == expected


def test_a_measuring_job_is_prepared_once_if_anything_is_left(tmp_path: Path) -> None:
    calls: list[None] = []

    def prepare() -> None:
        calls.append(None)

    refused = ScanJob(synthetic="uniform", ms=(1,), ds=(100,), ks=(1,), methods=("unknown",))
    with pytest.raises(UsageError):
        error_scan(refused, prepare=prepare)
    assert calls == []
    scan = ScanJob(
        synthetic="uniform", ms=(1,), ds=(100, 200), ks=(1,), methods=("random",),
        output=str(tmp_path / "s.csv"),
    )  # fmt: skip
    first = replace(scan, task=(1, 2))
    error_scan(first, prepare=prepare)
    assert len(calls) == 1
    error_scan(first, prepare=prepare)
    assert len(calls) == 1, "its cells are done"
    timed = BenchJob(ms=(1,), ks=(1,), ds=(200,), threads=(1,), repeats=1)
    bench(timed, prepare=prepare)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "a/b", "1/0", "-1/3", "1/2/3", "1/10e3", f"{'9' * 5000}/3"]
)
def test_parts_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="expected i/n"):
        parse_part("--shard", text)


def test_parts_of_a_job() -> None:
    assert parse_part("--task", "3/8") == (3, 8)
    assert parse_part("--shard", "0001/0016") == (1, 16)


def test_a_row_of_fewer_trials_says_so() -> None:
    """Where a method could not do some cells, its mean is over the others."""

    def row(method: str, trials: int) -> dict[str, Any]:
        return {
            "m": 2, "d": 100, "method": method, "k": 1, "kept_order": 1, "target": 10,
            "trials": trials, "errors": {"relu": {"rms": 1e-3}},
        }  # fmt: skip

    content: dict[str, Any] = dict.fromkeys(("exponents", "ratios", "recommended", "polylog"), ())
    for trials, shown in ((3, False), (2, True)):
        rows = [row("momentc", 3), row("paper", trials)]
        ((_, head, lines),) = scan_tables(content | {"missing": 0, "rows": rows, "rank": None})
        assert ("trials" in head) == shown
        assert [len(line) for line in lines] == [len(head)] * 2
