"""`momentc verify-moments` and `momentc info`."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from .conftest import Invoke

FACTS = """\
original      data.h5:/x
compressed    data.momentc.h5
objects       400 -> 60  (1 in 6.7)
moments       21 of order 0 to 5 (rank 2)
kept rows     rows of the original, bit for bit: ok
"""


@pytest.fixture
def small(invoke: Invoke, data: Path, tmp_path: Path) -> Path:
    """data.momentc.h5: 60 of the 400 rows, weighted by /mass."""
    outcome = invoke("compress", "data.h5", "-n", "60", "-w", "mass", "-q")
    assert outcome.code == 0, outcome.stderr
    return tmp_path / "data.momentc.h5"


def test_verbose_tells_the_stages(invoke: Invoke, small: Path) -> None:
    outcome = invoke("verify-moments", "data.h5", str(small), "-v")
    stages = [line.split()[-1] for line in outcome.stderr.splitlines() if " s  " in line]
    assert stages == ["start", "moments", "rows"]
    content = json.loads(invoke("verify-moments", "data.h5", str(small), "--json").stdout)
    assert 0.0 < sum(content["stages"].values()) <= content["seconds"]


def test_what_is_said_of_nan_holds_and_what_is_left_out_is_filled_in(
    invoke: Invoke, tmp_path: Path, points: Any
) -> None:
    rows = points.astype(np.float64)
    rows[7, 0] = np.nan
    np.save(tmp_path / "x.npy", rows)
    assert invoke("compress", "x.npy", "-n", "60", "--nan", "drop", "-q").code == 0
    assert invoke("verify-moments", "x.npy", "x.momentc.npz").code == 0
    assert invoke("verify-moments", "x.npy", "x.momentc.npz", "--nan", "drop").code == 0
    assert invoke("verify-moments", "x.npy", "x.momentc.npz", "--nan", "error").code == 3
    assert invoke("verify-moments", "x.npy", "x.momentc.npz", "--nan", "never").code == 2


def test_rows_that_were_left_out_stay_out_whatever_is_compared(
    invoke: Invoke, tmp_path: Path
) -> None:
    """For what they have in the columns of the compression."""
    points = np.random.default_rng(3).normal(size=(3000, 3))
    points[::100, 1] = np.nan
    np.save(tmp_path / "x.npy", points)
    assert invoke("compress", "x.npy", "--nan", "drop", "-k", "2", "-n", "50", "-q").code == 0
    for columns in ("0", "2,0", "1"):
        checked = invoke("verify-moments", "x.npy", "x.momentc.npz", "--columns", columns, "--json")
        assert checked.code == 0, checked.stderr
        assert json.loads(checked.stdout)["n_points"] == [2970, 50]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="no 80-bit numbers here")
@pytest.mark.parametrize("swapped", [False, True])
def test_long_doubles_with_rubbish_in_their_unused_bytes(
    invoke: Invoke, tmp_path: Path, points: Any, swapped: bool
) -> None:
    """The bytes differ from those of the result, which has zeros there; the numbers do not."""
    long = points.astype(np.longdouble) / 3
    long.view(np.uint8).reshape(-1, 16)[:, 10:] = 7
    if swapped:
        long = long.astype(long.dtype.newbyteorder())
        long.view(np.uint8).reshape(-1, 16)[:, :6] = 7
    np.save(tmp_path / "x.npy", long)
    assert invoke("compress", "x.npy", "-k", "2", "-n", "60", "-q", "--allow-lossy").code == 0
    with np.load(tmp_path / "x.momentc.npz") as kept:
        assert np.array_equal(kept["w"], long[kept["index"]])
    outcome = invoke("verify-moments", "x.npy", "x.momentc.npz")
    assert outcome.code == 0
    assert "bit for bit: ok" in outcome.text


def edit(path: Path, name: str, change: Any) -> None:
    """Change a dataset of a result and seal it again, as a wrong program could."""
    from momentc.io.result_file import read_result, write_result
    from momentc.weighted import WeightedSet

    result, metadata = read_result(str(path))
    arrays: dict[str, Any] = {
        "c": result.weights.copy(),
        "w": result.points.copy(),
        "index": result.index.copy(),
    }
    change(arrays[name])
    del metadata["format_version"], metadata["checksum"]
    write_result(
        path,
        WeightedSet(arrays["w"], arrays["c"], arrays["index"]),
        metadata,
        force=True,
        inputs=[],
        verify=lambda *_: None,
    )


def test_the_table(invoke: Invoke, small: Path) -> None:
    outcome = invoke("verify-moments", "data.h5", "data.momentc.h5")
    assert (outcome.code, outcome.stderr) == (0, "")
    facts, _, table = outcome.steady.partition("\n\n")
    lines = facts.splitlines()
    unsteady = ("total weight", "moment error", "time")
    assert "\n".join(line for line in lines if not line.startswith(unsteady)) + "\n" == FACTS
    assert [line.split("  ")[0] for line in lines if line.startswith(unsteady)] == list(unsteady)
    assert [row.split()[0] for row in table.splitlines()[2:]] == [str(n) for n in range(8)]


def test_recorded_dataset_and_weights_are_used(
    invoke: Invoke, small: Path, points: Any, data: Path, tmp_path: Path
) -> None:
    """With a second array in the file, only the record says which one was compressed."""
    other = tmp_path / "copy.h5"
    other.write_bytes(data.read_bytes())
    with h5py.File(other, "r+") as file:
        file["y"] = points[:50]
    assert invoke("verify-moments", "copy.h5", "data.momentc.h5", "-q").code == 0


def test_recorded_weights_are_never_opened_outside_the_original(
    invoke: Invoke, data: Path, points: Any, tmp_path: Path
) -> None:
    """A compressed file must not make momentc open what the user did not name."""
    np.save(tmp_path / "x.npy", points)
    np.save(tmp_path / "mass.npy", np.full(len(points), 2.0))
    assert invoke("compress", "x.npy", "-w", "mass.npy", "-n", "60", "-q").code == 0
    refused = invoke("verify-moments", "x.npy", "x.momentc.npz")
    assert refused.code == 3
    assert "name them with --weights" in refused.stderr
    assert invoke("verify-moments", "x.npy", "x.momentc.npz", "-w", "mass.npy", "-q").code == 0


def test_the_same_array_in_another_container(invoke: Invoke, tmp_path: Path, points: Any) -> None:
    """A .npy file has no datasets: the recorded name does not matter there, nor on a pipe."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["grp/x"], file["grp/y"] = points, points
    np.save(tmp_path / "x.npy", points)
    np.savez(tmp_path / "x.npz", x=points)
    assert invoke("compress", "x.h5:/grp/x", "-k", "2", "-n", "60", "-o", "o.npz").code == 0
    for original in ("x.npy", "x.h5", "x.npz:x"):
        outcome = invoke("verify-moments", original, "o.npz")
        assert outcome.code == 0, outcome.stderr
        assert "bit for bit: ok" in outcome.text
    data = (tmp_path / "x.npy").read_bytes()
    assert invoke("verify-moments", "-", "o.npz", stdin=data).code == 0
    assert invoke("verify-moments", "x.h5:/grp/y", "o.npz").code == 0
    assert invoke("verify-moments", "x.npz", "o.npz").code == 3
    assert invoke("verify-moments", "x.npy", "o.npz", "-d", "/grp/x").code == 3


def test_recorded_weights_in_another_file(invoke: Invoke, tmp_path: Path, points: Any) -> None:
    """Allowed for the compression, and so for its check, if it is allowed there as well."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["w"] = np.arange(1.0, len(points) + 1)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = points
        file["far"] = h5py.ExternalLink("w.h5", "/w")
    command = ("compress", "x.h5:/x", "-w", "far", "-k", "2", "-n", "60", "-o", "o.npz")
    assert invoke(*command).code == 3
    assert invoke(*command, "--allow-external").code == 0
    assert invoke("verify-moments", "x.h5", "o.npz").code == 3
    outcome = invoke("verify-moments", "x.h5", "o.npz", "--allow-external")
    assert outcome.code == 0, outcome.stderr


def test_rows_that_do_not_count_are_counted(invoke: Invoke, tmp_path: Path, points: Any) -> None:
    rows = points.astype(np.float64)
    rows[[7, 9], 0] = np.nan
    weights = np.ones(len(rows))
    weights[3] = 0.0
    np.savez(tmp_path / "x.npz", x=rows, weights=weights)
    command = ("compress", "x.npz", "-w", "weights", "-n", "60", "--nan", "drop", "-o", "o.npz")
    said = invoke(*command).stderr
    assert "2 rows with NaN or infinity were dropped" in said
    assert "1 rows have the weight 0" in said
    assert invoke("verify-moments", "x.npz", "o.npz").stderr == said


def test_threads_change_nothing(invoke: Invoke, tmp_path: Path) -> None:
    rows = np.random.default_rng(4).normal(size=(100_000, 3))
    np.save(tmp_path / "x.npy", rows)
    assert invoke("compress", "x.npy", "-k", "4", "-n", "100", "-o", "o.npz").code == 0
    found = [
        json.loads(invoke("verify-moments", "x.npy", "o.npz", "-T", number, "--json").stdout)
        for number in ("1", "3")
    ]
    for content in found:
        del content["seconds"], content["stages"], content["peak_memory"]
    assert found[0] == found[1]


def test_a_shifted_weight_is_found(invoke: Invoke, small: Path) -> None:
    def shift(weights: Any) -> None:
        weights[[3, 40]] += (1e-5, -1e-5)

    edit(small, "c", shift)
    outcome = invoke("verify-moments", "data.h5", "data.momentc.h5")
    assert outcome.code == 5
    assert "does not have the moments of" in outcome.stderr
    assert "FAILED" in outcome.text
    lenient = invoke("verify-moments", "data.h5", "data.momentc.h5", "--tol", "1e-3", "-q")
    assert (lenient.code, lenient.stdout, lenient.stderr) == (0, b"", "")


def test_a_row_of_another_number_is_found(invoke: Invoke, small: Path) -> None:
    def rename(index: Any) -> None:
        index[:] = np.arange(len(index))

    edit(small, "index", rename)
    outcome = invoke("verify-moments", "data.h5", "data.momentc.h5")
    assert outcome.code == 5
    assert "not the rows of" in outcome.stderr


def test_a_row_number_that_the_original_does_not_have_is_found(invoke: Invoke, small: Path) -> None:
    def beyond(index: Any) -> None:
        index[-1] = 400

    edit(small, "index", beyond)
    outcome = invoke("verify-moments", "data.h5", "data.momentc.h5")
    assert outcome.code == 5
    assert "not the rows of" in outcome.stderr


def test_a_flipped_byte_is_found(invoke: Invoke, small: Path) -> None:
    with h5py.File(small, "r") as file:
        place = file["c"].id.get_offset()
    content = bytearray(small.read_bytes())
    content[place + 8] ^= 1
    small.write_bytes(content)
    for command in (("verify-moments", "data.h5"), ("info",)):
        outcome = invoke(*command, "data.momentc.h5")
        assert (outcome.code, outcome.stdout) == (5, b"")


def test_a_higher_order_than_was_asked_for_fails(invoke: Invoke, small: Path) -> None:
    outcome = invoke("verify-moments", "data.h5", "data.momentc.h5", "-k", "30", "--tol", "1e-12")
    assert outcome.code == 5


def test_json(invoke: Invoke, small: Path) -> None:
    outcome = invoke("verify-moments", "data.h5", "data.momentc.h5", "--json")
    assert (outcome.code, outcome.stderr) == (0, "")
    report = json.loads(outcome.stdout)
    assert report["ok"] is True
    assert report["rows_are_kept"] is True
    assert report["n_points"] == [400, 60]
    assert len(report["error"]) == len(report["relative_error"]) == 8


@pytest.mark.parametrize("option", [("--tol", "nan"), ("--tol", "0"), ("-k", "-1")])
def test_wrong_options(invoke: Invoke, small: Path, option: tuple[str, str]) -> None:
    outcome = invoke("verify-moments", "data.h5", "data.momentc.h5", *option)
    assert (outcome.code, outcome.stdout) == (2, b"")


def test_swapped_files(invoke: Invoke, small: Path) -> None:
    outcome = invoke("verify-moments", "data.momentc.h5", "data.h5:/x")
    assert outcome.code == 3
    assert "was not written by momentc" in outcome.stderr


def test_files_that_do_not_belong_together(invoke: Invoke, small: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "three.npy", np.zeros((5, 3)))
    outcome = invoke("verify-moments", "three.npy", "data.momentc.h5", "-w", "three.npy")
    assert outcome.code == 3


def test_info_of_a_result(invoke: Invoke, small: Path) -> None:
    outcome = invoke("info", "data.momentc.h5")
    assert (outcome.code, outcome.stderr) == (0, "")
    facts = dict(
        line.split("  ", maxsplit=1) for line in outcome.text.split("\n\n")[0].splitlines()
    )
    assert facts["objects"].strip() == "400 -> 60  (1 in 6.7)"
    assert facts["made from"].strip().startswith("data.h5:/x, <f4, blake2b-128:")
    assert facts["checksum"].strip().endswith(" ok")
    content = json.loads(invoke("info", "data.momentc.h5", "--json").stdout)
    assert content["kind"] == "compressed"
    assert content["n_rows"] == 60


def test_info_of_an_array(invoke: Invoke, data: Path) -> None:
    outcome = invoke("info", "data.h5")
    assert outcome.text == (
        "file     data.h5:/x\n"
        "holds    an array\n"
        "rows     400\n"
        "columns  2\n"
        "dtype    <f4\n"
        "weights  no\n"
    )
    assert invoke("info", "data.h5", "-q").stdout == b""


@pytest.mark.parametrize(
    "command",
    [
        ("compress", "x.npz", "-k", "1", "-n", "10"),
        ("compress", "x.npz", "-k", "1", "-n", "10", "--dry-run"),
        ("info", "x.npz"),
        ("error-scan", "x.npz", "-k", "1", "-n", "10", "--trials", "1"),
    ],
)
def test_what_looks_like_weights_is_not_missed_in_silence(
    invoke: Invoke, points: Any, command: tuple[str, ...]
) -> None:
    np.savez("x.npz", x=points, weights=np.ones(len(points)))
    outcome = invoke(*command)
    assert outcome.code == 0, outcome.stderr
    assert "x.npz:x: x.npz holds weights as well" in " ".join(outcome.stderr.split())


def test_info_of_nothing(invoke: Invoke) -> None:
    outcome = invoke("info", "nothing.h5")
    assert outcome.code == 3
    assert outcome.stderr.startswith("momentc: error: nothing.h5: no such file")
