"""Shards and their merge: `momentc compress --shard` and `momentc merge`."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.clustering.router import CellRouter, fit_router
from momentc.errors import PartsError
from momentc.files.jobs import MergeJob
from momentc.files.merge import merge_files
from momentc.files.part_files import SAME, Part, check_rows, joined_rows
from momentc.io.result_file import read_result, read_with_extra, write_result
from momentc.weighted import WeightedSet

from .conftest import Invoke
from .large import SMALL, above_libraries, in_hdf5, read_result_file, require

Array = NDArray[Any]

N_ROWS = 30_000
LEAF = 64
K, TARGET = 2, 80
ASKED = ("-k", "2", "-n", "120", *SMALL)  # what comes later goes before

Sharded = Callable[..., list[str]]


@pytest.fixture(scope="module")
def rows() -> Array:
    rng = np.random.default_rng(11)
    return np.concatenate([rng.normal(size=(10_000, 2)), rng.uniform(2, 5, (20_000, 2))])


@pytest.fixture
def sharded(invoke: Invoke, tmp_path: Path, rows: Array) -> Sharded:
    """Make the parts of an input; return their names in the order of their rows."""
    np.save(tmp_path / "x.npy", rows)

    def make(n: int, *options: str, folder: str = "parts/", name: str = "x.npy") -> list[str]:
        made = []
        for number in range(1, n + 1):
            outcome = invoke(
                "compress", name, *ASKED, "--shard", f"{number}/{n}", "-o", folder, "--json",
                *options,
            )  # fmt: skip
            assert outcome.code == 0, outcome.stderr
            made.append(json.loads(outcome.stdout)["output"])
        return made

    return make


def merged(invoke: Invoke, *args: str, code: int = 0) -> str:
    """Merge; return what was said."""
    outcome = invoke("merge", *args, "-n", str(TARGET))
    assert outcome.code == code, outcome.stderr
    return outcome.stderr


@pytest.mark.parametrize("n", [1, 2, 7])
def test_all_parts(invoke: Invoke, tmp_path: Path, rows: Array, sharded: Sharded, n: int) -> None:
    """A result that verify-moments passes, with the fingerprint of a plain compression."""
    parts = sharded(n)
    assert [Path(part).name for part in parts] == [
        f"x.part-{number}-of-{n}.npz" for number in range(1, n + 1)
    ]
    for part in parts:
        start, stop = read_result_file(tmp_path / part)[3]["part"]["rows"][0]
        kept = read_result_file(tmp_path / part)[2]
        assert start % LEAF == 0
        assert start <= kept[0] <= kept[-1] < stop
    merged(invoke, *parts, "-o", "all.npz")
    about = require(tmp_path / "all.npz", rows, K, TARGET)[3]
    assert about["parts"] == n
    assert about["missing_rows"] == []
    assert about["part"] is None
    checked = invoke("verify-moments", "x.npy", "all.npz", "--json")
    assert checked.code == 0, checked.stderr
    verdict = json.loads(checked.stdout)
    assert verdict["made_from_original"] is True
    assert verdict["rows_are_kept"] is True
    plain = invoke("compress", "x.npy", "-k", "2", "-n", "80", "-o", "plain.npz", "--json")
    assert json.loads(plain.stdout)["input"]["fingerprint"] == about["input"]["fingerprint"]


def test_a_part_has_the_moments_of_its_rows(
    invoke: Invoke, tmp_path: Path, rows: Array, sharded: Sharded
) -> None:
    for part in sharded(3):
        kept, weights, index, about = read_result_file(tmp_path / part)
        ((start, stop),) = about["part"]["rows"]
        assert kept.tobytes() == rows[index].tobytes()
        assert weights.sum() == pytest.approx(stop - start, rel=1e-13)
        np.save(tmp_path / "own.npy", rows[start:stop])
        # Its row numbers are those of the whole, so it is not made from these rows alone.
        assert invoke("verify-moments", "own.npy", part, "-q").code == 0
        checked = invoke("verify-moments", "x.npy", part, "--json")
        assert checked.code == 0, checked.stderr
        verdict = json.loads(checked.stdout)
        assert verdict["rows"] == [[start, stop]]
        assert verdict["n_points"] == [stop - start, len(kept)]
        assert (verdict["made_from_original"], verdict["rows_are_kept"]) == (True, True)
        text = invoke("verify-moments", "x.npy", part).text
        assert f"part          rows {start:,} to {stop - 1:,} of 30,000" in text
        # One value of its own rows, and one of the others', which are not its business.
        for at, code in ((start + 5, 5), ((stop + 7) % len(rows), 0)):
            changed = rows.copy()
            changed[at, 0] += 1.0
            np.save(tmp_path / "changed.npy", changed)
            checked = invoke("verify-moments", "changed.npy", part, "--json")
            assert checked.code == code
            assert json.loads(checked.stdout)["made_from_original"] is (code == 0)
        shown = invoke("info", part).text
        assert f"rows {start:,} to {stop - 1:,} of 30,000" in shown
        assert "fingerprint of the whole not known" in shown


@pytest.mark.parametrize("other", ["longer", "of another type"])
def test_a_part_is_not_made_from_another_array_that_begins_with_its_bytes(
    invoke: Invoke, tmp_path: Path, other: str
) -> None:
    """The digests of its leaves alone would not tell."""
    rows = np.random.default_rng(2).integers(0, 100, (3000, 2)).astype("u1")
    np.save(tmp_path / "x.npy", rows)
    shard = ("--shard", "1/2", "-o", "p1.npz")
    assert invoke("compress", "x.npy", "-k", "1", "-n", "40", *shard, "-q").code == 0
    changed = np.concatenate([rows, rows]) if other == "longer" else rows.astype("i1")
    np.save(tmp_path / "y.npy", changed)
    for name, expected in (("x.npy", True), ("y.npy", False)):
        verdict = json.loads(invoke("verify-moments", name, "p1.npz", "--json").stdout)
        assert verdict["made_from_original"] is expected


def test_any_order_gives_the_same_bytes(invoke: Invoke, tmp_path: Path, sharded: Sharded) -> None:
    parts = sharded(3)
    results = set()
    for order in itertools.permutations(parts):
        for threads in "12":
            merged(invoke, *order, "-o", "all.h5", "--force", "-T", threads)
            results.add((tmp_path / "all.h5").read_bytes())
    assert len(results) == 1


def test_parts_of_parts(invoke: Invoke, tmp_path: Path, rows: Array, sharded: Sharded) -> None:
    """What is there first, the rest later; rows that lie apart too."""
    first, second, third, fourth = sharded(4)
    said = merged(invoke, first, third, "-o", "some.h5", code=8)
    assert "15024 of 30000 rows are in no part: rows 7488 .. 14975, 22464 .. 29999" in said
    assert "--allow-missing" in said
    assert not (tmp_path / "some.h5").exists()
    said = merged(invoke, first, third, "-o", "some.h5", "--allow-missing")
    assert "15024 of 30000 rows are missing, as --allow-missing allows" in said
    about = read_result_file(tmp_path / "some.h5")[3]
    gaps = about["missing_rows"]
    held = about["part"]["rows"]
    assert gaps == [[7488, 14976], [22464, 30000]]
    assert held == [[0, 7488], [14976, 22464]]
    assert about["input"]["fingerprint"] is None
    there = np.concatenate([rows[start:stop] for start, stop in held])
    np.save(tmp_path / "there.npy", there)
    assert invoke("verify-moments", "there.npy", "some.h5", "-q").code == 0
    shown = invoke("info", "some.h5").text
    assert "rows 0 to 7,487, 14,976 to 22,463 of 30,000" in shown
    assert "rows 7,488 to 14,975, 22,464 to 29,999: no part with them was merged" in shown
    merged(invoke, "some.h5", fourth, second, "-o", "all.h5")
    about = require(tmp_path / "all.h5", rows, K, TARGET)[3]
    assert about["missing_rows"] == []
    verdict = json.loads(invoke("verify-moments", "x.npy", "all.h5", "--json").stdout)
    assert (verdict["ok"], verdict["made_from_original"]) == (True, True)
    shown = invoke("info", "all.h5").text
    assert "missing" not in shown


def test_weights_columns_and_dropped_rows(
    invoke: Invoke, tmp_path: Path, rows: Array, sharded: Sharded
) -> None:
    wide = np.column_stack([np.arange(N_ROWS), rows]).astype(np.float32)
    mass = np.random.default_rng(3).uniform(0.0, 2.0, N_ROWS)
    mass[:100] = 0.0
    wide[25_000:25_010, 1] = np.nan
    counted = np.isfinite(wide[:, 1])
    in_hdf5(tmp_path / "y.h5", wide, mass, chunks=(1000, 3), compression="gzip")
    options = ("-w", "mass", "-d", "x", "--columns", "1,2", "--nan", "drop")
    parts = sharded(3, *options, name="y.h5")
    merged(invoke, *parts, "-o", "all.h5")
    about = require(
        tmp_path / "all.h5", wide, K, TARGET, weights=mass, columns=[1, 2], counted=counted
    )[3]
    assert about["n_zero_weight"] == 100
    assert about["n_dropped_nan"] == 10
    assert invoke("verify-moments", "y.h5", "all.h5", "-q").code == 0


def test_a_lower_order_at_the_end(invoke: Invoke, rows: Array, sharded: Sharded) -> None:
    """The parts keep more than the merge asks for; never less."""
    parts = sharded(2)
    outcome = invoke("merge", *parts, "-n", "20", "-k", "1", "-o", "one.npz", "--json")
    assert outcome.code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["k"] == 1
    said = merged(invoke, *parts, "-k", "3", "-o", "three.npz", code=8)
    assert "the parts keep the moments up to k = 2, k = 3 is asked for" in said


def test_the_seed_is_that_of_the_merge(
    invoke: Invoke, sharded: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the cells too, whatever the seed of the parts was."""
    parts = sharded(2, "--seed", "3")
    seeds = []

    def noting(sample: Array, n_cells: int, seed: int) -> CellRouter:
        seeds.append(seed)
        return fit_router(sample, n_cells, seed)

    monkeypatch.setattr("momentc.streaming.stream.fit_router", noting)
    outcome = invoke("merge", *parts, "-n", "80", "--seed", "5", "-o", "all.npz", "--json")
    assert outcome.code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["seed"] == 5
    assert seeds == [5]


def test_every_part_is_progress(tmp_path: Path, sharded: Sharded) -> None:
    heard: list[tuple[str, int, int]] = []
    job = MergeJob(tuple(sharded(3)), TARGET, output="all.npz")
    merge_files(job, progress=lambda *news: heard.append(news))
    assert [news for news in heard if news[0] == "merging"] == [
        ("merging", done, 3) for done in range(4)
    ]


def test_columns_that_drop_out_are_named(
    invoke: Invoke, tmp_path: Path, rows: Array, sharded: Sharded
) -> None:
    wide = np.column_stack([rows[:, 0], np.full(N_ROWS, 3.5), rows[:, 1], 2 * rows[:, 0] - 1])
    np.save(tmp_path / "wide.npy", wide)
    said = merged(invoke, *sharded(2, name="wide.npy"), "-o", "all.npz")
    assert "constant columns drop out of the moments: 1" in said
    assert "affine combinations of others drop out of the moments: 3" in said
    require(tmp_path / "all.npz", wide, K, TARGET)


def test_the_name_of_the_result(invoke: Invoke, tmp_path: Path, sharded: Sharded) -> None:
    """x.part-1-of-2.npz gives x.momentc.npz, beside the parts; a pattern names the parts."""
    sharded(2)
    merged(invoke, "parts/x.part-*-of-2.npz", "-q")
    assert (tmp_path / "parts" / "x.momentc.npz").is_file()
    assert (tmp_path / "parts" / "x.momentc.report.json").is_file()
    (tmp_path / "parts" / "x.part-1-of-2.npz").rename(tmp_path / "first.npz")
    said = merged(invoke, "first.npz", "parts/x.part-2-of-2.npz", code=2)
    assert "cannot be named after first.npz, which is not named as a part is" in said
    assert "none.npz: no such file" in merged(invoke, "none.npz", code=3)


def test_the_folder_of_the_parts(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    """Made by whichever task comes first; numbers have as many digits as the last one."""
    np.save(tmp_path / "x.npy", rows)
    command = ("compress", "x.npy", *ASKED, "-q")
    assert invoke(*command, "--shard", "3/12", "-o", "parts/").code == 0
    assert invoke(*command, "--shard", "12/12", "-o", "parts/").code == 0
    assert invoke(*command, "--shard", "0004/0012", "-o", "parts").code == 0
    made = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert [name for name in made if name.endswith(".npz")] == [
        "x.part-03-of-12.npz", "x.part-04-of-12.npz", "x.part-12-of-12.npz",
    ]  # fmt: skip
    assert invoke(*command, "--shard", "5/12", "-o", "here.h5").code == 0
    assert (tmp_path / "here.h5").is_file()
    assert invoke(*command, "--shard", "6/12").code == 0
    assert (tmp_path / "x.part-06-of-12.npz").is_file()
    again = invoke(*command, "--shard", "3/12", "-o", "parts/")
    assert again.code == 6
    refused = invoke(*command, "--shard", "5/12", "-o", "no/such/folder/")
    assert refused.code == 6


def test_more_shards_than_leaves(invoke: Invoke, tmp_path: Path, rows: Array) -> None:
    np.save(tmp_path / "x.npy", rows[:1000])
    outcome = invoke("compress", "x.npy", "-k", "1", "-n", "5", "--shard", "2/17")
    assert outcome.code == 4
    assert "1000 rows cannot be shared by 17 shards: 16 is the most" in outcome.stderr
    assert invoke("compress", "x.npy", "-k", "1", "-n", "5", "--shard", "16/16", "-q").code == 0


# Parts that do not belong together


def other_rows(rows: Array) -> Array:
    other = rows.copy()
    other[::1000] += 1e-3
    return other


PAIRS: dict[str, tuple[dict[str, Any], str]] = {
    "k": ({"options": ("-k", "3")}, "made for different k: 2 and 3"),
    "target": ({"options": ("-n", "9")}, "made with different working orders"),
    "effort": ({"options": ("--effort", "low")}, "made with different working orders"),
    "columns": ({"options": ("--columns", "1,0")}, "made of different columns: [0, 1] and [1, 0]"),
    "nan": ({"options": ("--nan", "drop")}, "made with different --nan: error and drop"),
    "lossy": ({"options": ("--allow-lossy",)}, "made with and without --allow-lossy"),
    "weights": ({"options": ("-w", "mass.npy")}, "with and without weights"),
    "input": ({"change": other_rows}, "made from different inputs"),
    "length": ({"change": lambda rows: rows[:-1]}, "made from inputs of different shapes|inputs"),
    "type": ({"change": lambda rows: rows.astype("f4")}, "different types|different inputs"),
}


@pytest.mark.parametrize("field", PAIRS)
def test_pairs_that_do_not_belong_together(
    invoke: Invoke, tmp_path: Path, rows: Array, sharded: Sharded, field: str
) -> None:
    """Failure mode 43: exit code 8, both files and the field named."""
    case, said = PAIRS[field]
    np.save(tmp_path / "mass.npy", np.full(N_ROWS, 1.0))
    first, _ = sharded(2)
    if "change" in case:
        np.save(tmp_path / "x.npy", case["change"](rows))
    outcome = invoke(
        "compress", "x.npy", *ASKED, "--shard", "2/2", "-o", "other/", "--json",
        *case.get("options", ()),
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    second = json.loads(outcome.stdout)["output"]
    message = merged(invoke, first, second, "-o", "all.h5", code=8)
    assert f"{first} and {second} do not belong together" in message
    assert any(words in message for words in said.split("|")), message
    assert not (tmp_path / "all.h5").exists()


def test_parts_of_different_budgets(invoke: Invoke, tmp_path: Path) -> None:
    """The sample may depend on --memory; that is no reason to blame the input."""
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(150_000, 3)))
    for number, memory in ((1, SMALL[1]), (2, "2G")):
        outcome = invoke(
            "compress", "x.npy", "-k", "1", "-n", "4000", "--effort", "low", "-q", "-o", "parts/",
            "--shard", f"{number}/2", "-M", memory,
        )  # fmt: skip
        assert outcome.code == 0, outcome.stderr
    message = merged(invoke, "parts/*.npz", "-o", "all.npz", code=8)
    assert "with different --memory or from different inputs" in message
    assert "give all parts the same --memory" in message


def test_other_versions_do_not_mix(
    invoke: Invoke, sharded: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = sharded(2)
    with monkeypatch.context() as patch:
        patch.setattr("momentc.files.parts.__version__", "99.0")
        _, second = sharded(2, folder="later/")
    assert "different versions of momentc" in merged(invoke, first, second, code=8)


# What the parts of a job may say differently of themselves.
MAY_DIFFER = {"rows", "target", "seed", "effort", "stream"}


def change_head(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let a part say something else of itself, with a checksum that fits."""
    result, metadata, extra = read_with_extra(str(path))
    change(metadata["part"])
    for name in ("format_version", "checksum", "extra"):
        del metadata[name]
    write_result(path, result, metadata, force=True, inputs=[], verify=lambda *_: None, extra=extra)


def test_every_field_of_the_heads_is_compared(
    invoke: Invoke, tmp_path: Path, sharded: Sharded
) -> None:
    first, second = sharded(2)
    content = (tmp_path / second).read_bytes()
    fields = read_result_file(tmp_path / second)[3]["part"].keys() - MAY_DIFFER
    assert len(fields) == 16
    for field in sorted(fields):

        def empty(head: dict[str, Any], field: str = field) -> None:
            head[field] = None

        (tmp_path / second).write_bytes(content)
        change_head(tmp_path / second, empty)
        message = merged(invoke, first, second, "-o", "all.npz", code=8)
        assert f"{first} and {second} do not belong together" in message
        assert SAME[field] in message


@pytest.mark.parametrize("field", ["kept_order", "momentc", "stream", "rows"])
def test_parts_of_a_version_that_said_less(
    invoke: Invoke, tmp_path: Path, sharded: Sharded, field: str
) -> None:
    first, second = sharded(2)
    change_head(tmp_path / second, lambda head: head.pop(field))
    for parts in ((first, second), (second, first), (second,)):
        message = merged(invoke, *parts, "-o", "all.npz", code=8)
        assert f"{second} does not say its {field}: it was made by another version" in message


def test_parts_that_overlap(invoke: Invoke, tmp_path: Path, sharded: Sharded) -> None:
    first, second = sharded(2)
    thirds = sharded(3)
    said = merged(invoke, first, *thirds[1:], "-o", "all.h5", code=8)
    assert f"{first} and {thirds[1]} overlap: both hold row" in said
    said = merged(invoke, first, second, first, "-o", "all.h5", code=8)
    assert f"{first} is given twice" in said
    (tmp_path / "copy.npz").write_bytes((tmp_path / first).read_bytes())
    said = merged(invoke, first, second, "copy.npz", "-o", "all.h5", code=8)
    assert "overlap: both hold row 0" in said
    assert "copy.npz" in said


def test_a_part_that_is_missing(invoke: Invoke, sharded: Sharded) -> None:
    first, second, third = sharded(3)
    for some, gap in (((second, third), "0 .. 9983"), ((first, third), "9984 .. 19967")):
        said = merged(invoke, *some, "-o", "all.h5", code=8)
        assert f"are in no part: rows {gap}" in said


def test_of_many_gaps_the_first_are_named_and_all_are_counted() -> None:
    rows = [[start, start + 10] for start in range(10, 200, 20)]
    part = Part("some.npz", {"part": {"rows": rows, "shape": [200, 2]}}, {})
    with pytest.raises(PartsError, match=r"100 of 200 rows .* 80 \.\. 89 and 5 more stretches; "):
        check_rows([part], allow_missing=False)


def test_rows_of_neighbours_are_one_stretch() -> None:
    stretches = [[[20, 30], [0, 10]], [[10, 20], [40, 50]]]
    parts = [Part("part.npz", {"part": {"rows": rows}}, {}) for rows in stretches]
    assert joined_rows(parts) == [[0, 30], [40, 50]]


def test_what_is_there_of_parts_is_verified_against_its_rows(
    invoke: Invoke, sharded: Sharded
) -> None:
    first, _, third = sharded(3)
    merged(invoke, first, third, "-o", "most.npz", "--allow-missing")
    checked = invoke("verify-moments", "x.npy", "most.npz", "--json")
    assert checked.code == 0, checked.stderr
    verdict = json.loads(checked.stdout)
    assert verdict["rows"] == [[0, 9984], [19968, 30000]]
    assert verdict["made_from_original"] is True


def test_a_shard_without_a_row_that_counts(
    invoke: Invoke, tmp_path: Path, rows: Array, sharded: Sharded
) -> None:
    """As where the first steps of a chain have the weight 0: fewer shards do."""
    mass = np.ones(len(rows))
    mass[:12_000] = 0.0
    np.save(tmp_path / "mass.npy", mass)
    np.save(tmp_path / "x.npy", rows)
    weighted = ("-w", "mass.npy")
    merged(invoke, *sharded(2, *weighted), "-o", "all.npz")
    require(tmp_path / "all.npz", rows, K, TARGET, weights=mass)


@pytest.mark.parametrize("suffix", ["npz", "h5"])
@pytest.mark.parametrize("how", ["weight 0", "NaN"])
def test_a_part_in_which_no_row_counts(
    invoke: Invoke, tmp_path: Path, rows: Array, suffix: str, how: str
) -> None:
    """A masked region, or one that was never measured: the job is whole all the same."""
    mass, values = np.ones(N_ROWS), rows.copy()
    options: tuple[str, ...] = ("-w", "mass.npy")
    if how == "NaN":
        values[:12_000, 1] = np.nan
        options = ("--nan", "drop")
    else:
        mass[:12_000] = 0.0
    np.save(tmp_path / "mass.npy", mass)
    np.save(tmp_path / "x.npy", values)
    parts = []
    for number in (1, 2, 3):
        parts.append(f"part{number}.{suffix}")
        outcome = invoke(
            "compress", "x.npy", *ASKED, *options, "--shard", f"{number}/3", "-o", parts[-1]
        )
        assert outcome.code == 0, outcome.stderr
        assert ("no row of this part counts" in outcome.stderr) == (number == 1)
        assert invoke("verify-moments", "x.npy", parts[-1], *options).code == 0
        assert invoke("info", parts[-1]).code == 0
    merged(invoke, *parts, "-o", "all.npz")
    counts = mass.copy()
    counts[:12_000] = 0.0
    require(tmp_path / "all.npz", rows, K, TARGET, weights=counts)
    about = json.loads(invoke("info", "all.npz", "--json").stdout)
    assert about["n_zero_weight"] + about["n_dropped_nan"] == 12_000
    assert about["part"] is None
    assert about["missing_rows"] == []
    # Step by step it is the same, and alone such a part is nothing.
    merged(invoke, parts[2], parts[0], "--allow-missing", "-o", "some.npz")
    merged(invoke, "some.npz", parts[1], "-o", "again.npz")
    assert "no row of these parts counts" in merged(
        invoke, parts[0], "--allow-missing", "-o", "none.npz", code=3
    )
    refused = invoke("compress", parts[0], "-k", "1", "-n", "10")
    assert refused.code == 3
    assert "in which no row counts" in refused.stderr


def test_a_target_far_above_the_rows_takes_no_memory(
    invoke: Invoke, tmp_path: Path, sharded: Sharded
) -> None:
    budget = above_libraries(32_010_000)
    outcome = invoke("merge", *sharded(2), "-n", "3000000", "-o", "all.npz", "-M", budget, "--json")
    assert outcome.code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["n_kept"] == 240


def test_too_little_memory_says_what_would_do(
    invoke: Invoke, tmp_path: Path, sharded: Sharded
) -> None:
    command = ("merge", *sharded(2), "-n", "50", "-o", "all.npz", "-M")
    refused = invoke(*command, "200M")
    assert refused.code == 7
    said = re.search(r"2 parts: .* --memory (\d+MiB) would do", refused.stderr)
    assert said is not None, refused.stderr
    assert not (tmp_path / "all.npz").exists()
    assert invoke(*command, said[1]).code == 0


def test_a_narrow_part_of_wide_rows(invoke: Invoke, tmp_path: Path) -> None:
    """Its error is that in the frame of all rows, for compress, merge and verify-moments alike."""
    random = np.random.default_rng(1)
    rows = np.concatenate(
        [np.sort(random.normal(size=20_000)), 1e9 + 1e6 * random.normal(size=10_000)]
    )
    np.save(tmp_path / "x.npy", rows)
    for number in (1, 3):
        shard = ("--shard", f"{number}/3", "-o", f"p{number}.npz")
        assert invoke("compress", "x.npy", "-k", "3", "-n", "100", *shard, "-q").code == 0
        assert invoke("verify-moments", "x.npy", f"p{number}.npz", "-q").code == 0
    merged(invoke, "p1.npz", "p3.npz", "--allow-missing", "-o", "most.npz")
    assert invoke("verify-moments", "x.npy", "most.npz", "-q").code == 0


def test_a_part_with_a_row_far_outside_of_the_sample(invoke: Invoke, tmp_path: Path) -> None:
    """In the frame of the sample, its rows would seem to miss the moments that it carries."""
    rows = np.random.default_rng(1).normal(size=(100_000, 1))
    rows[70_003] = 1e7
    np.save(tmp_path / "x.npy", rows)
    for number in (1, 2):
        shard = ("--shard", f"{number}/2", "-o", f"p{number}.npz")
        assert invoke("compress", "x.npy", "-k", "4", "-n", "100", *shard, "-q").code == 0
    assert read_result_file(tmp_path / "p2.npz")[3]["part"]["frame"]["scale"][0] < 10.0
    merged(invoke, "p1.npz", "p2.npz", "-o", "all.npz")
    assert invoke("verify-moments", "x.npy", "all.npz", "-q").code == 0


def test_narrow_parts_without_the_wide_one(invoke: Invoke, tmp_path: Path) -> None:
    """As long as rows are missing, the errors are in the frame that all parts share."""
    random = np.random.default_rng(1)
    rows = np.concatenate([random.normal(size=20_000), 1e9 + 1e6 * random.normal(size=10_000)])
    np.save(tmp_path / "x.npy", rows)
    for number in (1, 2):
        shard = ("--shard", f"{number}/3", "-o", f"p{number}.npz")
        assert invoke("compress", "x.npy", "-k", "3", "-n", "100", *shard, "-q").code == 0
    merged(invoke, "p1.npz", "p2.npz", "--allow-missing", "-o", "some.npz")
    first, second, both = (
        read_result_file(tmp_path / f"{name}.npz")[3] for name in ("p1", "p2", "some")
    )
    assert both["ok"] is True
    assert both["frame"]["scale"][0] > 1e8
    assert both["frame"] == first["frame"] == second["frame"]
    assert invoke("verify-moments", "x.npy", "some.npz", "-q").code == 0


def test_why_an_order_was_chosen_is_said_of_no_other(invoke: Invoke, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(size=(2000, 2)))
    for number in "12":
        shard = ("--shard", f"{number}/2", "-o", f"p{number}.npz")
        assert invoke("compress", "x.npy", "-k", "auto", "-n", "60", *shard, "-q").code == 0
    choice = read_result_file(tmp_path / "p1.npz")[3]["k_choice"]
    assert choice["k"] > 1
    for k, expected in ((choice["k"], choice), (choice["k"] - 1, None)):
        merged(invoke, "p1.npz", "p2.npz", "-k", str(k), "-o", f"{k}.npz")
        about = read_result_file(tmp_path / f"{k}.npz")[3]
        assert (about["k"], about["k_choice"]) == (k, expected)


def test_an_array_is_no_part(invoke: Invoke, sharded: Sharded) -> None:
    sharded(2)
    said = merged(invoke, "x.npy", "-o", "all.h5", code=3)
    assert "x.npy was not written by momentc; expected parts of a job" in said


def test_a_damaged_part(invoke: Invoke, tmp_path: Path, sharded: Sharded) -> None:
    """A flipped bit anywhere: exit code 5 or 3, unless it says nothing, as a date in the zip."""
    first, second = sharded(2)
    merged(invoke, first, second, "-o", "all.h5")
    expected = (tmp_path / "all.h5").read_bytes()
    (tmp_path / "all.h5").unlink()
    path = tmp_path / second
    found = 0
    whole = path.read_bytes()
    for place in range(200, len(whole), len(whole) // 25):
        content = bytearray(whole)
        content[place] ^= 4
        path.write_bytes(content)
        outcome = invoke("merge", first, second, "-n", str(TARGET), "-o", "all.h5", "-f")
        if outcome.code == 0:
            assert (tmp_path / "all.h5").read_bytes() == expected
            (tmp_path / "all.h5").unlink()
            continue
        assert outcome.code in {3, 5}, f"{place}: {outcome.stderr}"
        assert "x.part-2-of-2.npz" in outcome.stderr
        assert not (tmp_path / "all.h5").exists()
        found += 1
    assert found > 20


def test_a_whole_result_is_no_part(invoke: Invoke, tmp_path: Path, sharded: Sharded) -> None:
    first, second = sharded(2)
    merged(invoke, first, second, "-o", "all.npz")
    said = merged(invoke, "all.npz", second, "-o", "b.npz", code=8)
    assert "all.npz is not a part of a job: it is what a merge has made of the parts" in said
    outcome = invoke("merge", first, "x.npy", "-n", "80", "-o", "b.npz")
    assert outcome.code == 3
    assert "x.npy" in outcome.stderr


def seal_anew(path: Path, change: Callable[[Array, dict[str, Array]], None]) -> None:
    """Change weights or further arrays of a part, with a checksum that fits."""
    result, metadata = read_result(str(path))
    extra = {name: array.copy() for name, array in read_with_extra(str(path))[2].items()}
    weights = result.weights.copy()
    change(weights, extra)
    for key in ("format_version", "checksum", "extra"):
        metadata.pop(key, None)
    write_result(
        path, WeightedSet(result.points, weights, result.index), metadata,
        force=True, inputs=[], verify=lambda *_: None, extra=extra,
    )  # fmt: skip


def shift_weights(weights: Array, _: dict[str, Array]) -> None:
    weights[[3, 40]] += (1e-3, -1e-3)


def shift_moments(_: Array, extra: dict[str, Array]) -> None:
    extra["moments"][0, 2] *= 1.0 + 1e-6


def shift_a_moment_of_order_k(_: Array, extra: dict[str, Array]) -> None:
    extra["moments"][0, 4] += 1e-6 * extra["mass"][0]


@pytest.mark.parametrize("change", [shift_weights, shift_moments, shift_a_moment_of_order_k])
def test_a_part_that_lies(invoke: Invoke, tmp_path: Path, sharded: Sharded, change: Any) -> None:
    """Failure mode 48: consistent with its checksum, but not with itself."""
    first, second = sharded(2)
    seal_anew(tmp_path / second, change)
    assert invoke("info", second, "-q").code == 0
    said = merged(invoke, first, second, "-o", "all.h5", code=5)
    assert f"{second}: its rows miss the moments that it carries by" in said
    assert not (tmp_path / "all.h5").exists()


def test_merge_says_what_it_needs(invoke: Invoke, sharded: Sharded) -> None:
    parts = sharded(2)
    outcome = invoke("merge", *parts, "-n", "3", "-o", "all.h5")
    assert outcome.code == 4
    outcome = invoke("merge", *parts, "-n", "80", "-o", "all.h5", "-M", "1M")
    assert outcome.code == 7
    outcome = invoke("merge", "none-*.h5", "-o", "all.h5")
    assert outcome.code == 3
    merged(invoke, *parts, "-o", "all.npz")
    outcome = invoke("merge", *parts, "-n", "80", "-o", "all.npz")
    assert outcome.code == 6
    outcome = invoke("merge", *parts, "-n", "80", "-o", parts[0], "--force")
    assert outcome.code == 6
    assert "is the input" in outcome.stderr


def test_a_merge_to_stdout(invoke: Invoke, tmp_path: Path, rows: Array, sharded: Sharded) -> None:
    outcome = invoke("merge", *sharded(2), "-n", "80", "-o", "-")
    assert outcome.code == 0, outcome.stderr
    (tmp_path / "all.npz").write_bytes(outcome.stdout)
    require(tmp_path / "all.npz", rows, K, TARGET)
