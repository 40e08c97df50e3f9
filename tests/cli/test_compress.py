"""`momentc compress`: what it prints, writes and answers."""

import io
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from momentc.errors import OutputError
from momentc.files import delivery
from momentc.files.delivery import describe
from momentc.files.work import Counts, Work
from momentc.options import CompressOptions
from momentc.pipeline.points import compress_points
from momentc.weighted import WeightedSet

from .conftest import Invoke

FACTS = """\
input         data.h5:/x
output        data.momentc.h5
objects       400 -> 60  (1 in 6.7)
moments       21 of order 0 to 5 (rank 2)
moment error  TINY at order N, tolerance 1.0e-10: ok
time          TIME  (RATE objects a second)
peak memory   SIZE
report        data.momentc.report.json
"""


def member(path: Path, name: str) -> Any:
    with h5py.File(path, "r") as file:
        return file[name][()]


def metadata(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        content = json.loads(file.attrs["momentc"])
    assert isinstance(content, dict)
    return content


def test_the_table(invoke: Invoke, data: Path) -> None:
    outcome = invoke("compress", "data.h5", "-k", "5", "-n", "60")
    assert outcome.code == 0, outcome.stderr
    facts, _, table = outcome.steady.partition("\n\n")
    lines = [
        line[: line.index("order ") + 6] + "N" + line[line.index(", tol") :]
        if line.startswith("moment error")
        else line
        for line in facts.splitlines()
    ]
    assert "\n".join(lines) + "\n" == FACTS
    title, head, *rows = table.splitlines()
    assert title == "Error by order"
    assert head.split() == ["order", "in", "the", "frame", "relative"]
    # Two beyond the highest that is matched: 5, or 6 if surplus matching chose that.
    assert len(rows) in {8, 9}
    assert [row.split()[0] for row in rows] == [str(order) for order in range(len(rows))]
    assert all(row.endswith("ok") for row in rows[:6])
    assert all(row.endswith(("not matched", "matched too")) for row in rows[6:])


def test_what_is_written(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    outcome = invoke("compress", "data.h5", "-n", "60", "-q", "--weights", "mass")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, b"", "")
    out = tmp_path / "data.momentc.h5"
    index, kept, weights = (member(out, name) for name in ("index", "w", "c"))
    assert kept.dtype == np.float32
    assert weights.dtype == np.float64
    assert index.dtype == np.int64
    np.testing.assert_array_equal(kept, member(data, "x")[index])
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(member(data, "mass").sum(), rel=1e-14)
    report = json.loads((tmp_path / "data.momentc.report.json").read_text())
    written = metadata(out)
    assert written.items() <= report.items()
    assert report.keys() - written.keys() == {
        "finished", "objects_per_second", "output", "peak_memory", "resumed_after", "seconds",
        "stages",
    }  # fmt: skip
    assert written["ok"] is True
    assert written["input"]["dataset"] in {"x", "/x"}


def test_the_first_moments_are_those_of_the_input(
    invoke: Invoke, data: Path, tmp_path: Path
) -> None:
    """Checked here with plain sums, without any code of the package."""
    assert invoke("compress", "data.h5", "-n", "60", "-w", "mass", "-o", "o.h5").code == 0
    points, mass = member(data, "x").astype(float), member(data, "mass")
    kept, weights = member(tmp_path / "o.h5", "w").astype(float), member(tmp_path / "o.h5", "c")
    for p in range(6):
        for q in range(6 - p):
            whole = np.sum(mass * points[:, 0] ** p * points[:, 1] ** q)
            size = np.sum(mass * np.abs(points[:, 0] ** p * points[:, 1] ** q))
            few = np.sum(weights * kept[:, 0] ** p * kept[:, 1] ** q)
            assert abs(few - whole) <= 1e-12 * size


def test_json_is_the_report(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    outcome = invoke("compress", "data.h5", "-n", "60", "--json", "-q")
    assert (outcome.code, outcome.stderr) == (0, "")
    printed = json.loads(outcome.stdout)
    assert printed == json.loads((tmp_path / "data.momentc.report.json").read_text())


def test_stdin_to_stdout(invoke: Invoke, points: Any, tmp_path: Path) -> None:
    """`cat x.npy | momentc compress - -o - > small.npz`: nothing but the result on stdout."""
    stream = io.BytesIO()
    np.save(stream, points)
    outcome = invoke(
        "compress", "-", "-n", "60", "-o", "-", "--report", "r.json", stdin=stream.getvalue()
    )
    assert (outcome.code, outcome.stderr) == (0, "")
    with np.load(io.BytesIO(outcome.stdout), allow_pickle=False) as small:
        np.testing.assert_array_equal(small["w"], points[small["index"]])
        assert small["c"].sum() == pytest.approx(len(points))
    assert json.loads((tmp_path / "r.json").read_text())["ok"] is True


def test_stdin_needs_an_output(invoke: Invoke) -> None:
    outcome = invoke("compress", "-")
    assert outcome.code == 2
    assert "standard input has no name" in outcome.stderr


def test_identical_runs_identical_bytes(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz", "a.he5", "b.he5"):
        assert invoke("compress", "data.h5", "-n", "60", "-q", "-f", "-o", name).code == 0
    for suffix in (".npz", ".he5"):
        a, b = (tmp_path / f"{stem}{suffix}" for stem in "ab")
        assert a.read_bytes() == b.read_bytes()


def test_an_existing_output_is_kept(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.npz"
    out.write_bytes(b"precious")
    refused = invoke("compress", "data.h5", "-n", "60", "-o", "o.npz")
    assert (refused.code, refused.stdout, out.read_bytes()) == (6, b"", b"precious")
    assert "exists" in refused.stderr
    assert "--force" in refused.stderr
    assert invoke("compress", "data.h5", "-n", "60", "-o", "o.npz", "-f", "-q").code == 0
    assert out.read_bytes() != b"precious"


def test_an_existing_report_is_kept(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    report = tmp_path / "data.momentc.report.json"
    report.write_text("precious")
    refused = invoke("compress", "data.h5", "-n", "60")
    assert (refused.code, report.read_text()) == (6, "precious")
    assert "This is the report: --report gives it another name" in refused.stderr
    assert not (tmp_path / "data.momentc.h5").exists()


def test_a_result_without_its_report(
    invoke: Invoke, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the report comes: exit code 6, and what stands is named."""

    def full(path: str, *_: Any, **__: Any) -> None:
        raise OutputError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(delivery, "write_bytes_atomic", full)
    outcome = invoke("compress", "data.h5", "-n", "60", "-o", "o.npz")
    assert outcome.code == 6
    assert "The result itself is written and verified: o.npz" in outcome.stderr
    assert invoke("verify-moments", "data.h5", "o.npz").code == 0


def test_report_and_output_are_two_files(invoke: Invoke, data: Path) -> None:
    refused = invoke("compress", "data.h5", "-n", "60", "-o", "o.npz", "--report", "./o.npz")
    assert refused.code == 2
    assert "same file" in refused.stderr
    refused = invoke("compress", "data.h5", "-n", "60", "--report", "-")
    assert refused.code == 2
    assert "--json prints the report" in refused.stderr


def test_dry_run_reads_headers_only(invoke: Invoke, tmp_path: Path) -> None:
    """Three thousand million rows that take no place on the disk: planned at once."""
    path = tmp_path / "huge.npy"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (3000000000, 2), }"
    with path.open("wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n")
        os.truncate(file.fileno(), 128 + 6_000_000_000)
    outcome = invoke("compress", "huge.npy", "-n", "1000", "--dry-run", "-M", "100T", "--json")
    assert outcome.code == 0, outcome.stderr
    plan = json.loads(outcome.stdout)
    assert (plan["n_rows"], plan["n_columns"], plan["n_moments"]) == (3_000_000_000, 2, 21)
    assert plan["memory_needed"] > 3e9 * 2 * 8
    assert plan["output"] == "huge.momentc.npz"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["huge.npy"]


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        ("nosuffix", 2, "expected .npz, .h5 or .hdf5"),
        ("a.csv", 2, "expected .npz, .h5 or .hdf5"),
        ("nofolder/a.h5", 6, "there is no folder"),
        (".", 2, "is a folder, expected the name of a file in it"),
    ],
)
def test_dry_run_refuses_an_output_that_the_run_would(
    invoke: Invoke, data: Path, output: str, code: int, said: str
) -> None:
    for dry in ([], ["--dry-run"]):
        outcome = invoke("compress", "data.h5", "-n", "60", "-o", output, *dry)
        assert outcome.code == code
        assert said in outcome.stderr


def test_dry_run_refuses_what_stands_in_the_way(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    dry = ("compress", "data.h5", "-n", "60", "--dry-run")
    assert invoke(*dry).code == 0
    for name in ("data.momentc.report.json", "data.momentc.h5"):
        (tmp_path / name).write_text("precious")
        refused = invoke(*dry)
        assert (refused.code, invoke(*dry, "--force").code) == (6, 0)
        assert f"{name} exists" in refused.stderr
        assert (tmp_path / name).read_text() == "precious"
    refused = invoke(*dry, "-o", "data.h5", "--force")
    assert refused.code == 6
    assert "is the input" in refused.stderr


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (("--shard", "1/4", "-o", "new/"), 0), (("--shard", "1/1", "-o", "new/"), 0),
        (("--shard", "1/4", "-o", "new/p.npz"), 6), (("--shard", "1/4", "-o", "new/er/"), 6),
        (("--shard", "1/4", "-o", "new/", "--report", "-"), 2),
        (("--columns", ":4900"), 4),
    ],
)  # fmt: skip
def test_dry_run_and_run_agree(
    invoke: Invoke, tmp_path: Path, asked: tuple[str, ...], code: int
) -> None:
    shape = (300, 4900) if "--columns" in asked else (2048, 5)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=shape))
    command = ("compress", "x.npy", "-k", "2", "-n", "100", *asked, "-q")
    dry = invoke(*command, "--dry-run")
    assert dry.code == code, dry.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy"]
    run = invoke(*command)
    assert run.code == code, run.stderr


def test_the_plan_of_a_shard_that_has_fewer_rows_than_the_target(
    invoke: Invoke, tmp_path: Path
) -> None:
    """They are not copied through: other parts may have more."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2048, 5)))
    command = ("compress", "x.npy", "-k", "5", "-n", "200", "--shard", "1/16")
    said = invoke(*command, "--dry-run").text
    assert "the target is below the number of moments" in said
    assert "would be kept" not in said
    assert invoke(*command).code == 4


def test_dry_run_table(invoke: Invoke, data: Path) -> None:
    outcome = invoke("compress", "data.h5", "-k", "4", "-n", "12", "--dry-run", "-w", "mass")
    assert outcome.code == 0
    lines = dict(line.split("  ", maxsplit=1) for line in outcome.text.splitlines())
    assert lines["input"].strip() == "data.h5:/x, float32, with weights"
    assert lines["objects"].strip() == "400 -> 12"
    assert lines["moments"].strip().startswith("15 of order 0 to 4")
    assert "below the number of moments" in lines["note"]


def test_over_the_budget_does_not_start(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    outcome = invoke("compress", "data.h5", "-n", "60", "-M", "10M")
    assert outcome.code == 7
    assert "--memory" in outcome.stderr
    assert not (tmp_path / "data.momentc.h5").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--memory", "lots"), "--memory is 'lots'"),
        (("--memory", "0"), "--memory is '0'"),
        (("--nan", "maybe"), "--nan is 'maybe'"),
        (("--threads", "-1"), "--threads is -1"),
        (("-k", "0"), "k must be at least 1, got 0"),
        (("-n", "0"), "target must be at least 1, got 0"),
        (("--seed", "-1"), "seed must be at least 0, got -1"),
        (("--tol", "0"), "tolerance must be between 0 and 1"),
        (("--columns", "7"), "columns '7'"),
        (("-o", "o.txt"), "expected .npz"),
        (("-o", ""), "--output is empty"),
        (("-o", "-", "--json"), "both want the standard output"),
    ],
)
def test_wrong_options(invoke: Invoke, data: Path, option: tuple[str, ...], said: str) -> None:
    outcome = invoke("compress", "data.h5", *option)
    assert (outcome.code, outcome.stdout) == (2, b"")
    assert said in outcome.stderr


def test_a_missed_tolerance_leaves_nothing(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    """No arithmetic on doubles reaches 1e-25."""
    outcome = invoke("compress", "data.h5", "-n", "60", "--tol", "1e-25")
    assert (outcome.code, outcome.stdout) == (5, b"")
    assert "--keep-going" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data.h5"]


def test_the_verdict_is_that_of_the_rows_that_are_written() -> None:
    """What was found of the compression says nothing of them."""
    points = np.random.default_rng(3).normal(size=(300, 2))
    found = compress_points(points, np.ones(300), CompressOptions(2, 40, threads=1))
    kept = found.support
    weights = kept.weights.copy()
    weights[7] *= 1.001
    for written, ok in ((kept, True), (WeightedSet(kept.points, weights, kept.index), False)):
        content = describe(Work(found, written, np.arange(2), Counts(), ()))
        assert found.ok
        assert content["ok"] is ok
        assert (max(content["error"][:3]) < 1e-14) == ok


def test_keep_going_writes_and_says_so(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    outcome = invoke("compress", "data.h5", "-n", "60", "--tol", "1e-25", "--keep-going")
    assert outcome.code == 5
    assert "FAILED" in outcome.text
    assert metadata(tmp_path / "data.momentc.h5")["ok"] is False
    assert "FAILED" in invoke("info", "data.momentc.h5").text
    assert invoke("verify-moments", "data.h5", "data.momentc.h5", "-q").code == 0


def test_verbose_tells_the_stages(invoke: Invoke, data: Path) -> None:
    outcome = invoke("compress", "data.h5", "-n", "60", "-v")
    assert outcome.code == 0
    stages = [line.split()[-1] for line in outcome.stderr.splitlines() if " s  " in line]
    assert stages[:2] == ["start", "reading"]
    assert stages[-1] == "writing"


def test_columns_are_matched_or_carried(invoke: Invoke, tmp_path: Path) -> None:
    table = np.random.default_rng(2).normal(size=(300, 3))
    table[:, 1] = np.arange(300)
    table[7, 1] = np.nan  # a carried column may hold anything
    np.save(tmp_path / "t.npy", table)
    outcome = invoke("compress", "t.npy", "--columns", "0,2", "-n", "40", "-q")
    assert outcome.code == 0, outcome.stderr
    with np.load(tmp_path / "t.momentc.npz", allow_pickle=False) as small:
        np.testing.assert_array_equal(small["w"], table[small["index"]])
    checked = invoke("verify-moments", "t.npy", "t.momentc.npz")
    assert checked.code == 0, checked.stderr


def test_dropped_rows_are_counted(invoke: Invoke, tmp_path: Path) -> None:
    table = np.random.default_rng(2).normal(size=(300, 2))
    table[[3, 200], 1] = np.nan, np.inf
    np.save(tmp_path / "t.npy", table)
    refused = invoke("compress", "t.npy", "-n", "40")
    assert refused.code == 3
    assert "row 3, column 1 of t.npy is nan" in refused.stderr
    assert "2 rows in all" in refused.stderr
    outcome = invoke("compress", "t.npy", "-n", "40", "--nan", "drop", "--json")
    assert json.loads(outcome.stdout)["n_dropped_nan"] == 2
    assert "note: 2 rows with NaN or infinity were dropped" in outcome.stderr
    assert invoke("verify-moments", "t.npy", "t.momentc.npz").code == 0


def test_rows_without_weight_are_counted(invoke: Invoke, tmp_path: Path) -> None:
    weights = np.ones(300)
    weights[[3, 200]] = 0.0, -0.0
    np.savez(tmp_path / "t.npz", x=np.random.default_rng(2).normal(size=(300, 2)), m=weights)
    outcome = invoke("compress", "t.npz", "-w", "m", "-n", "40", "--json")
    assert json.loads(outcome.stdout)["n_zero_weight"] == 2
    assert "note: 2 rows have the weight 0" in outcome.stderr
    assert invoke("verify-moments", "t.npz", "t.momentc.npz").code == 0


def test_few_rows_are_copied_through(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    outcome = invoke("compress", "data.h5", "-n", "1000", "-w", "mass")
    assert outcome.code == 0, outcome.stderr
    assert "momentc: note: " in outcome.stderr
    np.testing.assert_array_equal(member(tmp_path / "data.momentc.h5", "w"), member(data, "x"))
    np.testing.assert_array_equal(member(tmp_path / "data.momentc.h5", "c"), member(data, "mass"))


def test_a_result_can_be_compressed_again(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    """Moments are those of the first input all the way."""
    assert invoke("compress", "data.h5", "-n", "120", "-o", "a.npz", "-q").code == 0
    assert invoke("compress", "a.npz", "-n", "40", "-o", "b.npz", "-q").code == 0
    outcome = invoke("verify-moments", "data.h5:/x", "b.npz")
    assert outcome.code == 0, outcome.stderr
    assert "made from another array" in outcome.text


def test_a_bound_is_called_one(invoke: Invoke, tmp_path: Path) -> None:
    """Of one-hot columns the last is one less the others: its powers take their rounding along."""
    kinds = np.random.default_rng(1).integers(0, 5, 3000)
    np.save(tmp_path / "x.npy", np.column_stack([np.eye(5)[kinds], np.arange(3000.0)]))
    outcome = invoke("compress", "x.npy", "-k", "3", "-n", "100", "-q", "--tol", "1e-17")
    assert outcome.code == 5
    assert "(a bound, as columns depend on others), more than the tolerance" in outcome.stderr
    plain = invoke("compress", "x.npy", "-k", "3", "-n", "100", "--json")
    assert plain.code == 0, plain.stderr
    assert any("errors are bounds" in note for note in json.loads(plain.stdout)["notes"])
