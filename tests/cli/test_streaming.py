"""Inputs that do not fit into the memory budget: one pass, the same promises."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.cli.text import parse_size
from momentc.files.compress import compress_file
from momentc.files.jobs import CompressJob, InputChoice
from momentc.files.plan import plan_compress
from momentc.io.source import open_source
from momentc.options import CompressOptions

from .conftest import Invoke, Outcome, run_in_shell
from .large import SMALL, TINY, above_libraries, in_hdf5, npy_bytes, read_result_file, require

Shell = Callable[..., Outcome]
Array = NDArray[Any]

N_ROWS = 60_000
ASKED = ("-k", "3", "-n", "300", *SMALL)


@pytest.fixture(scope="module")
def rows() -> Array:
    """Rows in clusters, in no order, on which a stream does not fit into SMALL."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(12, 3)) * 3.0
    return centres[rng.integers(0, 12, N_ROWS)] + 0.3 * rng.normal(size=(N_ROWS, 3))


@pytest.fixture(scope="module")
def mass() -> Array:
    """Weights, some of them 0."""
    rng = np.random.default_rng(8)
    return np.where(rng.random(N_ROWS) < 0.01, 0.0, rng.uniform(0.5, 2.0, N_ROWS))


def report_of(outcome: Outcome) -> dict[str, Any]:
    """Return the report of a stream that went well."""
    assert outcome.code == 0, outcome.stderr
    report: dict[str, Any] = json.loads(outcome.stdout)
    assert report["streamed"] is not None
    return report


def make_npy(folder: Path, rows: Array) -> list[str]:
    np.save(folder / "x.npy", rows)
    return ["x.npy"]


def make_fortran(folder: Path, rows: Array) -> list[str]:
    np.save(folder / "x.npy", np.asfortranarray(rows))
    return ["x.npy"]


def make_contiguous(folder: Path, rows: Array) -> list[str]:
    in_hdf5(folder / "x.h5", rows)
    return ["x.h5"]


def make_gzip(folder: Path, rows: Array) -> list[str]:
    in_hdf5(folder / "x.h5", rows, chunks=(5000, 3), compression="gzip", shuffle=True)
    return ["x.h5:/x"]


def make_npz(folder: Path, rows: Array) -> list[str]:
    np.savez_compressed(folder / "x.npz", x=rows)
    return ["x.npz"]


def make_files(folder: Path, rows: Array) -> list[str]:
    np.save(folder / "a.npy", rows[:7])
    in_hdf5(folder / "b.h5", rows[7:30_001], chunks=(4000, 3), compression="gzip")
    np.savez(folder / "c.npz", x=rows[30_001:])
    return ["a.npy", "b.h5", "c.npz"]


def make_pattern(folder: Path, rows: Array) -> list[str]:
    for number, piece in enumerate(np.array_split(rows, 11)):
        np.save(folder / f"run-{number:02}.npy", piece)
    return ["run-*.npy"]


def make_pipe(folder: Path, rows: Array) -> list[str]:
    (folder / "stdin").write_bytes(npy_bytes(rows))
    return ["-"]


INPUTS = [
    make_npy, make_fortran, make_contiguous, make_gzip, make_npz, make_files, make_pattern,
    make_pipe,
]  # fmt: skip


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__.removeprefix("make_"))
def test_every_kind_of_input(invoke: Invoke, tmp_path: Path, rows: Array, make: Any) -> None:
    """The same moments, rows bit for bit, and the same bytes for 1 and 2 threads."""
    inputs = make(tmp_path, rows)
    stdin = (tmp_path / "stdin").read_bytes() if inputs == ["-"] else b""
    command = ("compress", *inputs, *ASKED, "-o", "out.npz", "--json")
    report = report_of(invoke(*command, "-T", "1", stdin=stdin))
    assert report["streamed"]["passes"] == 1
    assert report["n_points"] == N_ROWS
    require(tmp_path / "out.npz", rows, 3, 300)
    first = (tmp_path / "out.npz").read_bytes()
    report_of(invoke(*command, "-T", "2", "--force", stdin=stdin))
    assert (tmp_path / "out.npz").read_bytes() == first
    checked = invoke("verify-moments", *inputs, "out.npz", "--json", stdin=stdin)
    assert checked.code == 0, checked.stderr
    verdict = json.loads(checked.stdout)
    assert verdict["made_from_original"] is True
    assert verdict["rows_are_kept"] is True
    np.save(tmp_path / "whole.npy", rows)
    with open_source(str(tmp_path / "whole.npy")) as whole:
        assert report["input"]["fingerprint"] == whole.fingerprint()


def test_weights_columns_and_rows_that_do_not_count(
    invoke: Invoke, tmp_path: Path, rows: Array, mass: Array
) -> None:
    """float32 rows of five columns, two of them counted, with NaN in all kinds of places."""
    wide = np.empty((N_ROWS, 5), dtype=np.float32)
    wide[:, [4, 0, 2]] = rows
    wide[:, [1, 3]] = np.arange(2 * N_ROWS).reshape(-1, 2)
    bad = np.random.default_rng(9).random(N_ROWS) < 0.002
    wide[bad, 4] = np.nan
    wide[::17, 1] = np.inf  # carried along, not counted
    wide[0, 2] = -np.inf
    bad[0] = True
    in_hdf5(tmp_path / "x.h5", wide, mass)
    command = ("compress", "x.h5:/x", "--columns", "4,2", "-w", "mass", *ASKED, "--json")
    refused = invoke(*command)
    assert refused.code == 3
    assert "row 0, column 2 of x.h5:/x is -inf" in refused.stderr
    assert f"{bad.sum()} rows" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.h5"]
    outcome = invoke(*command, "--nan", "drop")
    report = report_of(outcome)
    assert report["n_dropped_nan"] == bad.sum()
    assert report["n_zero_weight"] == np.count_nonzero((mass == 0) & ~bad)
    assert f"{bad.sum()} rows with NaN or infinity were dropped" in outcome.stderr
    require(tmp_path / "x.momentc.h5", wide, 3, 300, weights=mass, columns=[4, 2], counted=~bad)
    assert invoke("verify-moments", "x.h5", "x.momentc.h5", "-q").code == 0


def test_wide_rows_are_read_again_at_the_end(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    """Rows of which one column in fifty counts are not carried along."""
    wide = np.arange(50.0 * N_ROWS).reshape(N_ROWS, 50)
    wide[:, 30] = rows[:, 0]
    np.save(tmp_path / "x.npy", wide)
    options = ("-k", "3", "-n", "100", *SMALL, "--columns", "30", "--effort", "low")
    report = report_of(invoke("compress", "x.npy", *options, "--json"))
    assert report["streamed"]["carried_bytes"] == 0
    require(tmp_path / "x.momentc.npz", wide, 3, 100, columns=[30])


PEAK_BUDGET = above_libraries(16_560_000)
PEAK = ("-k", "3", "-n", "1000", "-M", PEAK_BUDGET, "--json")


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Array:
    """Rows of 17 MB. A process has streamed the first of them: it compiled what that takes.

    Compiling takes memory of its own, once on every machine.
    """
    folder = tmp_path_factory.mktemp("big")
    big = np.random.default_rng(3).normal(size=(700_000, 3))
    np.save(folder / "few.npy", big[:50_000])
    warm = run_in_shell(folder, "compress", "few.npy", *PEAK)
    assert warm.code == 0, warm.stderr
    return big


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_peak_memory(shell: Shell, tmp_path: Path, big: Array, kind: str) -> None:
    """Failure mode 39: a process of its own, rows of 17 MB that in memory would need 400 MB."""
    np.save(tmp_path / "x.npy", big)
    name, stdin = ("x.npy", b"") if kind == "file" else ("-", (tmp_path / "x.npy").read_bytes())
    report = report_of(shell("compress", name, *PEAK, "-o", "out.npz", stdin=stdin))
    assert 0 < report["peak_memory"] <= int(PEAK_BUDGET)
    require(tmp_path / "out.npz", big, 2, 1000)


def test_a_pipe_that_is_small_but_too_large_to_be_copied(invoke: Invoke, tmp_path: Path) -> None:
    """No more rows than the target: they pass by like all others."""
    rows = np.random.default_rng(4).normal(size=(70_000, 3))
    outcome = invoke(
        "compress", "-", "-k", "2", "-n", "80000", "-M", "400M", "--effort", "low",
        "-o", "out.npz", "--json", stdin=npy_bytes(rows),
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    require(tmp_path / "out.npz", rows, 2, 80_000)


def test_the_plan(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    make_npy(tmp_path, rows)
    outcome = invoke("compress", "x.npy", *ASKED, "--dry-run")
    assert (outcome.code, outcome.stderr) == (0, "")
    facts = dict(line.split("  ", maxsplit=1) for line in outcome.text.splitlines())
    assert "cells of" in facts["stream"]
    assert "points left for the last stages" in facts["stream"]
    assert facts["passes"].strip() == "1 over the input"
    assert facts["checkpoints"].strip().startswith("beside the output")
    plan = json.loads(invoke("compress", "x.npy", *ASKED, "--dry-run", "--json").stdout)
    assert plan["memory_needed"] <= plan["memory_budget"] == int(SMALL[1])
    assert plan["stream"]["block_rows"] > 0
    assert plan["rows"] == [0, N_ROWS]
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]
    ample = json.loads(
        invoke("compress", "x.npy", "-n", "300", "-M", "4G", "--dry-run", "--json").stdout
    )
    assert ample["stream"] is None
    part = invoke("compress", "x.npy", *ASKED, "--dry-run", "--shard", "2/3")
    facts = dict(line.split("  ", maxsplit=1) for line in part.text.splitlines())
    assert facts["rows"].strip() == "19,968 to 39,999 of all"
    assert facts["objects"].strip() == "20,032 -> 300"
    assert facts["output"].strip() == "x.part-2-of-3.npz"


def test_the_plan_of_a_pipe_reads_its_header_only(invoke: Invoke, rows: Array) -> None:
    """Half of the rows never come, and nobody notices."""
    outcome = invoke(
        "compress", "-", *ASKED, "-o", "out.npz", "--dry-run", "--json",
        stdin=npy_bytes(rows)[: N_ROWS * 12],
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    plan = json.loads(outcome.stdout)
    assert plan["n_rows"] == N_ROWS
    assert plan["checkpoints"] is False


def test_a_value_too_far_away_is_named(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    values = rows.astype(np.float64)
    values[41_234, 1] = -1e300  # no row of the sample
    np.save(tmp_path / "x.npy", values)
    outcome = invoke("compress", "x.npy", *ASKED)
    assert outcome.code == 3, outcome.stderr
    assert "column 1 reaches -1e+300, so far outside" in outcome.stderr


@pytest.mark.parametrize("size", ["1K", above_libraries(0), TINY[1]])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_too_little_memory(
    invoke: Invoke, tmp_path: Path, rows: Array, size: str, dry: list[str]
) -> None:
    """Exit code 7 before a row is read, with what is needed and what would help."""
    make_npy(tmp_path, rows)
    outcome = invoke("compress", "x.npy", "-k", "5", "-n", "4000", "-M", size, *dry)
    assert (outcome.code, outcome.stdout) == (7, b"")
    assert outcome.stderr.startswith("momentc: error: x.npy: ")
    assert "MiB" in outcome.stderr
    assert "allow more with --memory, or give a smaller target or k" in outcome.stderr
    assert "288 MiB of --memory are for the interpreter" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_the_memory_that_is_asked_for_is_enough(
    invoke: Invoke, tmp_path: Path, rows: Array
) -> None:
    """What the message of a refusal says would do does, and not much less."""
    make_npy(tmp_path, rows)
    command = ("compress", "x.npy", "-k", "4", "-n", "3000", "--dry-run", "-M")
    said = re.search(r"--memory (\d+)MiB would do", invoke(*command, "257MiB").stderr)
    assert said is not None
    enough = int(said[1])
    assert enough > 257
    assert invoke(*command, f"{enough}MiB").code == 0
    assert invoke(*command, f"{enough - 2}MiB").code == 7


def test_constant_and_dependent_columns(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    """Found on the sample, settled in further passes over all rows."""
    wide = np.column_stack([rows[:, 0], np.full(N_ROWS, 3.5), rows[:, 1], 2 * rows[:, 0] - 1])
    np.save(tmp_path / "x.npy", wide)
    outcome = invoke("compress", "x.npy", *ASKED, "--json")
    report = report_of(outcome)
    assert report["rank"] == 2
    assert report["streamed"]["passes"] > 1
    require(tmp_path / "x.momentc.npz", wide, 3, 300)
    assert "constant columns drop out of the moments: 1" in outcome.stderr
    assert "affine combinations of others drop out of the moments: 3" in outcome.stderr
    assert invoke("verify-moments", "x.npy", "x.momentc.npz", "-q").code == 0


def test_rows_are_dropped_in_every_pass(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    wide = np.column_stack([rows, np.full(N_ROWS, 3.5)])
    wide[12_345, 1] = np.nan
    np.save(tmp_path / "x.npy", wide)
    report = report_of(invoke("compress", "x.npy", *ASKED, "--nan", "drop", "--json"))
    assert report["streamed"]["passes"] > 1
    assert (report["rank"], report["n_dropped_nan"]) == (3, 1)
    counted = np.arange(N_ROWS) != 12_345
    require(tmp_path / "x.momentc.npz", wide, 3, 300, columns=[0, 1, 2], counted=counted)


def test_a_target_below_the_bound_is_refused_before_the_pass(
    invoke: Invoke, tmp_path: Path, rows: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the bound is that of fewer columns than there are."""
    monkeypatch.setattr("momentc.files.streamed.take_in", lambda *_: pytest.fail("too late"))
    wide = np.column_stack([rows, np.full(N_ROWS, 3.5)])
    np.save(tmp_path / "x.npy", wide)
    outcome = invoke("compress", "x.npy", "-k", "3", "-n", "19", *SMALL)
    assert outcome.code == 4
    assert "k = 3 needs a target of at least 20" in outcome.stderr


def test_the_progress_of_a_shard_is_that_of_its_rows(
    invoke: Invoke, tmp_path: Path, rows: Array
) -> None:
    make_npy(tmp_path, rows)
    heard: list[tuple[str, int, int]] = []
    job = CompressJob(
        InputChoice("x.npy"), CompressOptions(3, 300), output="part.npz", shard=(2, 2)
    )
    compress_file(job, progress=lambda *news: heard.append(news))
    streamed = [(done, total) for stage, done, total in heard if stage == "streaming"]
    assert streamed[-1][0] == streamed[-1][1]
    assert all(0 < done <= total for done, total in streamed)


def sampled(path: Path) -> Array:
    """Return the rows on which a stream finds its frame."""
    options = CompressOptions(3, 300)
    plan = plan_compress(CompressJob(InputChoice(str(path)), options, memory=parse_size(SMALL[1])))
    assert plan.stream is not None
    with open_source(str(path)) as source:
        index, _ = source.sample(plan.stream.sample_rows)
    return index


def test_a_column_that_is_constant_in_the_sample_only(
    invoke: Invoke, tmp_path: Path, rows: Array
) -> None:
    """Its moments count like all others, though only one row in 60,000 differs."""
    path = tmp_path / "x.npy"
    np.save(path, rows)
    odd = np.setdiff1d(np.arange(N_ROWS), sampled(path))
    assert len(odd) > 0
    rare = rows.copy()
    rare[:, 2] = 1.0
    rare[odd[len(odd) // 2], 2] = 1.25
    np.save(path, rare)
    report = report_of(invoke("compress", "x.npy", *ASKED, "--json"))
    assert report["rank"] == 3
    assert report["streamed"]["passes"] > 1
    _, _, index, _ = require(tmp_path / "x.momentc.npz", rare, 3, 300)
    assert odd[len(odd) // 2] in index, "the only row of its kind cannot be left out"
    assert invoke("verify-moments", "x.npy", "x.momentc.npz", "-q").code == 0


def test_a_column_that_is_constant_in_the_first_rows_of_a_pipe(
    invoke: Invoke, tmp_path: Path, rows: Array
) -> None:
    """A pipe passes once: every column is kept, whatever the first rows look like."""
    late = rows.copy()
    late[:50_000, 2] = 0.0
    outcome = invoke("compress", "-", *ASKED, "-o", "out.npz", "--json", stdin=npy_bytes(late))
    report = report_of(outcome)
    assert report["rank"] == 3
    assert report["streamed"]["passes"] == 1
    require(tmp_path / "out.npz", late, 3, 300)


@pytest.mark.parametrize("reason", ["nan", "weight"])
def test_no_sampled_row_counts(
    invoke: Invoke, tmp_path: Path, rows: Array, mass: Array, reason: str
) -> None:
    """The first rows that do take its place."""
    path = tmp_path / "x.npy"
    np.save(path, rows)
    index = sampled(path)
    holes, weights = rows.copy(), np.ones(N_ROWS)
    if reason == "nan":
        holes[index, 1] = np.nan
    else:
        weights[index] = 0.0
    np.save(path, holes)
    np.save(tmp_path / "mass.npy", weights)
    command = ("compress", "x.npy", *ASKED, "--nan", "drop", "-w", "mass.npy", "--json")
    report = report_of(invoke(*command))
    assert report["streamed"]["passes"] == 2
    counted = ~np.isin(np.arange(N_ROWS), index)
    require(tmp_path / "x.momentc.npz", holes, 3, 300, weights=weights, counted=counted)
    # A few rows that count, and then none.
    for n_left in (20, 0):
        if reason == "nan":
            holes[np.flatnonzero(counted)[n_left:], 1] = np.nan
            np.save(path, holes)
        else:
            weights[np.flatnonzero(counted)[n_left:]] = 0.0
            np.save(tmp_path / "mass.npy", weights)
        outcome = invoke(*command, "-n", "30", "-f")
        assert outcome.code == (0 if n_left else 3), outcome.stderr
    said = "all 60000 are 0" if reason == "weight" else f"none of its {N_ROWS} rows counts"
    assert said in outcome.stderr


def test_no_first_row_of_a_pipe_counts(invoke: Invoke, rows: Array) -> None:
    holes = rows.copy()
    holes[: N_ROWS - 1] = np.nan
    command = ("compress", "-", *ASKED, "-o", "out.npz", "--nan", "drop")
    outcome = invoke(*command, stdin=npy_bytes(holes))
    assert outcome.code == 3
    assert "none of the first rows counts, and frame and cells are found on them" in outcome.stderr


def test_auto_order(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    """The order is chosen on the sample."""
    make_npy(tmp_path, rows)
    report = report_of(
        invoke("compress", "x.npy", "-k", "auto", "-n", "300", *SMALL, "--json", "--effort", "low")
    )
    assert report["k_choice"]["k"] == report["k"] >= 1
    require(tmp_path / "x.momentc.npz", rows, min(report["k"], 4), 300)


@pytest.mark.parametrize("value", ["-1", "nan"])
def test_times_that_are_none(invoke: Invoke, tmp_path: Path, rows: Array, value: str) -> None:
    make_npy(tmp_path, rows)
    outcome = invoke("compress", "x.npy", "--checkpoint-every", value)
    assert outcome.code == 2
    assert "--checkpoint-every is" in outcome.stderr


def test_a_pattern_that_matches_nothing(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke("compress", "run-*.npy", "-o", "o.npz")
    assert outcome.code == 3
    assert "run-*.npy: no file matches" in outcome.stderr


def test_a_pattern_with_a_dataset(invoke: Invoke, tmp_path: Path) -> None:
    rows = np.random.default_rng(8).normal(size=(900, 2))
    for number, part in enumerate(np.array_split(rows, 3)):
        in_hdf5(tmp_path / f"run-{number}.h5", part, np.ones(len(part)))
    outcome = invoke("compress", "run-*.h5:/x", "-k", "2", "-n", "40", "-o", "all.npz", "-q")
    assert outcome.code == 0, outcome.stderr
    require(tmp_path / "all.npz", rows, 2, 40)


def test_a_name_that_looks_like_a_pattern_is_a_name(invoke: Invoke, tmp_path: Path) -> None:
    """Whatever else would match it."""
    random = np.random.default_rng(9)
    rows = random.normal(size=(400, 3))
    np.savez(tmp_path / "a1.npz", a=random.normal(size=(300, 2)))
    np.savez(tmp_path / "a[1].npz", a=rows)
    for name in ("a[1].npz:a", "a[1].npz"):
        outcome = invoke("compress", name, "-k", "2", "-n", "40", "-o", "out.npz", "-q", "-f")
        assert outcome.code == 0, outcome.stderr
        require(tmp_path / "out.npz", rows, 2, 40)
    with h5py.File(tmp_path / "r1.h5", "w") as file:
        file["g:x"] = rows
        file["g"] = rows[:, :2]
    outcome = invoke("compress", "r?.h5:/g:x", "-k", "2", "-n", "40", "-o", "o.npz", "-q")
    assert outcome.code == 0, outcome.stderr
    require(tmp_path / "o.npz", rows, 2, 40)


# verify-moments of several originals


def test_originals_in_several_files(invoke: Invoke, tmp_path: Path, points: Array) -> None:
    """In the order that is given, and as patterns."""
    for number, piece in enumerate(np.array_split(points, 3)):
        np.save(tmp_path / f"run-{number}.npy", piece)
    names = [f"run-{number}.npy" for number in range(3)]
    assert invoke("compress", *names, "-n", "60", "-q", "-o", "small.npz").code == 0
    for originals in (names, ["run-*.npy"], [names[0], "run-[12].npy"]):
        outcome = invoke("verify-moments", *originals, "small.npz", "--json")
        assert outcome.code == 0, outcome.stderr
        verdict = json.loads(outcome.stdout)
        assert verdict["made_from_original"] is True
        assert verdict["original"] == "3 files, run-0.npy .. run-2.npy"
    turned = json.loads(invoke("verify-moments", *reversed(names), "small.npz", "--json").stdout)
    assert turned["ok"] is True, "the same moments"
    assert turned["made_from_original"] is False, "in another order"
    assert invoke("verify-moments", *names[:2], "small.npz", "-q").code == 5
    np.save(tmp_path / "all.npy", points)
    whole = invoke("verify-moments", "all.npy", "small.npz", "--json")
    assert json.loads(whole.stdout)["made_from_original"] is True


def test_one_file_is_not_enough_to_verify(invoke: Invoke, data: Path) -> None:
    outcome = invoke("verify-moments", "data.h5")
    assert outcome.code == 2
    assert "ORIGINAL" in outcome.stderr


def test_weights_of_several_originals(invoke: Invoke, tmp_path: Path, points: Array) -> None:
    """Recorded weights are looked for inside each original, and nowhere else."""
    heavy = np.linspace(1.0, 2.0, len(points))
    in_hdf5(tmp_path / "a.h5", points[:150], heavy[:150])
    in_hdf5(tmp_path / "b.h5", points[150:], heavy[150:])
    command = ("compress", "a.h5", "b.h5", "-d", "x", "-n", "60", "-q", "-o", "small.h5")
    assert invoke(*command, "-w", "mass").code == 0
    outcome = invoke("verify-moments", "a.h5", "b.h5", "small.h5", "--json")
    assert outcome.code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["made_from_original"] is True
    in_hdf5(tmp_path / "b.h5", points[150:])
    np.save(tmp_path / "mass", heavy)  # mass.npy; and then a file of the very name
    (tmp_path / "mass.npy").rename(tmp_path / "mass")
    for originals in (("a.h5", "b.h5"), ("b.h5", "b.h5")):
        outcome = invoke("verify-moments", *originals, "small.h5")
        assert outcome.code == 3
        assert "which are not in b.h5 itself; name them with --weights" in outcome.stderr


def test_results_are_read_back(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    """HDF5 results of a stream are as good as .npz ones."""
    make_npy(tmp_path, rows)
    assert invoke("compress", "x.npy", *ASKED, "-q", "-o", "a.h5").code == 0
    assert invoke("compress", "x.npy", *ASKED, "-q", "-o", "b.npz").code == 0
    first, second = (read_result_file(tmp_path / name) for name in ("a.h5", "b.npz"))
    for one, other in zip(first[:3], second[:3], strict=True):
        assert one.tobytes() == other.tobytes()
    assert first[3] == second[3]


def test_rows_that_are_all_equal(invoke: Invoke, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((40_000, 2), 7.25))
    np.save(tmp_path / "w.npy", np.random.default_rng(7).uniform(0.1, 1.0, 40_000))
    budget = above_libraries(2_010_000)
    command = ("compress", "x.npy", "-w", "w.npy", "-k", "3", "-n", "4", "-M", budget, "-q", "-f")
    found = set()
    for threads in ("1", "2", "1"):
        assert invoke(*command, "-T", threads, "-o", "out.npz").code == 0
        found.add((tmp_path / "out.npz").read_bytes())
    assert len(found) == 1
    assert invoke("verify-moments", "x.npy", "out.npz", "-w", "w.npy").code == 0
