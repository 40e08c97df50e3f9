"""Cells: computed here or by processes, the same; every method on every kind of points."""

import multiprocessing
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.clustering.centroids import kmeans_labels
from momentc.panel import draw_panel
from momentc.study import evaluate as evaluate_module
from momentc.study import methods
from momentc.study.evaluate import Evaluator, Setting
from momentc.study.grid import Cell, plan_synthetic
from momentc.study.methods import METHODS, Dataset, Reduced, Task
from momentc.study.run import Standing, run_cells
from momentc.study.synthetic import draw_trial

SMALL = Setting(per_family=4)


def without_seconds(records: Any) -> list[dict[str, Any]]:
    return sorted(
        ({k: v for k, v in record.items() if k != "seconds"} for record in records),
        key=lambda record: (record["m"], record["method"], record["k"], record["trial"]),
    )


def all_ended(before: set[Any]) -> bool:
    """Whether all processes but those of before are gone, now or within seconds."""
    deadline = time.monotonic() + 20.0
    while set(multiprocessing.active_children()) - before:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_processes_give_what_one_gives_and_end() -> None:
    cells = plan_synthetic("uniform", [2], [300], [2], [], 0.1, list(METHODS), 2).cells
    told: list[Standing] = []
    before = set(multiprocessing.active_children())  # a cluster of other tests may be there
    alone = without_seconds(run_cells(cells, SMALL))
    shared = without_seconds(run_cells(cells, SMALL, n_processes=2, on_standing=told.append))
    assert shared == alone
    assert [standing.done for standing in told] == list(range(len(cells) + 1))
    assert told[0].seconds_left is None
    assert told[-1].seconds_left == pytest.approx(0.0, abs=1e-6)
    assert all_ended(before)


def test_leaving_early_ends_the_processes() -> None:
    cells = plan_synthetic("uniform", [1], [400], [1], [], 0.1, ["random"], 8).cells
    before = set(multiprocessing.active_children())
    results = run_cells(cells, SMALL, n_processes=2)
    assert "errors" in next(iter(results))
    results.close()  # type: ignore[attr-defined]
    assert all_ended(before)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", ["plain", "weighted", "constant column", "dependent", "offset"])
def test_every_method_on_every_kind_of_points(method: str, kind: str) -> None:
    random = np.random.default_rng(0)
    points, weights = random.normal(size=(300, 2)), np.ones(300)
    if kind == "weighted":
        weights = random.uniform(0.1, 10.0, 300)
    elif kind == "constant column":
        points = np.column_stack([points, np.full(300, 7.0)])
    elif kind == "dependent":
        points = np.column_stack([points, points[:, 0] + points[:, 1]])
    elif kind == "offset":
        points = points * 1e-3 + 1e6
    data = Dataset(points, weights)
    reduced = METHODS[method](data, Task(2, 30, 1, "normal"))
    assert 0 < len(reduced.weights) <= 30
    assert np.all(reduced.weights > 0.0)
    assert reduced.weights.sum() == pytest.approx(weights.sum())
    assert reduced.local.shape == (len(reduced.weights), 2)
    if method != "kmeans":
        assert all(any(np.array_equal(row, other) for other in points) for row in reduced.points)
    back = data.frame.apply(reduced.points)
    assert back == pytest.approx(reduced.local, abs=1e-6)


def test_a_record_says_what_was_measured() -> None:
    evaluate = Evaluator(SMALL)
    record = evaluate(Cell("uniform", 2, 500, "momentc", 3, 50, 0))
    k, kept = record["k"], record["kept_order"]
    assert kept >= k
    assert len(record["moment_error"]) == kept + 3
    assert max(record["moment_error"][: kept + 1]) < 1e-13
    assert list(record["errors"]) == ["sigmoid", "rational", "bumps", "cosines", "relu", "eq13"]
    assert 0.0 < record["errors"]["sigmoid"]["rms"] < 1e-4
    assert record["seconds"] > 0.0
    failed = evaluate(Cell("uniform", 2, 500, "momentc", 9, 50, 0))
    assert "target 50 is below C(2+9,9) = 55" in failed["failed"]
    assert "errors" not in failed


def test_the_published_trial_is_drawn_as_published() -> None:
    directions, points = draw_trial("uniform", 3, 100, 7)
    random = np.random.default_rng(3 + 100 + 7)
    assert np.array_equal(directions, 2 * random.random((3, 10)) - 1)
    assert np.array_equal(points, 2 * random.random((100, 3)) - 1)
    assert draw_trial("gaussian", 3, 100, 7)[1].max() > 1.0


def test_momentc_beats_a_random_subset_on_a_file() -> None:
    points = np.random.default_rng(2).normal(size=(2000, 2))
    evaluate = Evaluator(SMALL, points, np.ones(2000))
    # Over some seeds: a narrow bump in a corner of the data is off by as much as a random subset's.
    ours, theirs = (
        [evaluate(Cell("file", 2, 2000, method, k, 100, seed))["errors"] for seed in range(4)]
        for method, k in (("momentc", 3), ("random", 0))
    )
    for family in ours[0]:
        ratios = [a[family]["rms"] / b[family]["rms"] for a, b in zip(ours, theirs, strict=True)]
        assert np.exp(np.mean(np.log(ratios))) < 0.5, family
    assert "eq13" not in ours[0]


@pytest.mark.parametrize(("method", "k"), [("momentc", 2), ("random", 0)])
def test_a_trial_on_a_file_is_another_seed(method: str, k: int) -> None:
    """The points are the same: only what the method draws can differ."""
    points = np.random.default_rng(2).normal(size=(500, 2))

    def record(seed: int, trial: int) -> dict[str, Any]:
        evaluate = Evaluator(replace(SMALL, seed=seed), points, np.ones(500))
        return evaluate(Cell("file", 2, 500, method, k, 40, trial))

    first, second, other = record(0, 0), record(0, 1), record(1, 0)
    for family, errors in first["errors"].items():
        assert errors["rms"] != second["errors"][family]["rms"], family
    # The functions are drawn by the seed as well, the moments are not.
    assert second["moment_error"] == other["moment_error"]


@pytest.mark.parametrize(
    ("source", "polylog", "published"),
    [("file", False, []), ("uniform", False, ["eq13"]), ("uniform", True, ["eq98"])],
)
def test_what_keeps_everything_has_no_error(
    source: str, polylog: bool, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Dataset] = []

    def all_of_it(data: Dataset, _: Task) -> Reduced:
        seen.append(data)
        return Reduced(data.local, data.weights, data.points)

    monkeypatch.setattr(evaluate_module, "METHODS", {**METHODS, "random": all_of_it})
    random = np.random.default_rng(0)
    points, weights = random.uniform(3.0, 9.0, (300, 2)), random.uniform(0.1, 9.0, 300)
    setting = Setting(families=("relu", "steps"), per_family=3, polylog=polylog)
    record = Evaluator(setting, points, weights)(Cell(source, 2, 300, "random", 0, 30, 0))
    assert np.array_equal(seen[-1].weights, weights if source == "file" else np.ones(300))
    assert list(record["errors"]) == ["relu", "steps", *published]
    assert max(error["worst"] for error in record["errors"].values()) < 1e-14
    assert max(record["moment_error"]) < 1e-14
    random_set = Evaluator(setting, points, weights)(Cell(source, 2, 300, "kmeans", 0, 30, 0))
    assert min(error["worst"] for error in random_set["errors"].values()) > 1e-10


def test_errors_are_reported_by_functions_that_nothing_was_chosen_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Any, ...]] = []

    def drawn(*arguments: Any, **options: Any) -> Any:
        asked.append((*arguments[2:], options))
        return draw_panel(*arguments, **options)

    monkeypatch.setattr(evaluate_module, "draw_panel", drawn)
    setting = Setting(seed=7, families=("relu",), per_family=3)
    Evaluator(setting, np.random.default_rng(0).normal(size=(9, 2)), np.ones(9))
    assert asked == [(7, "report", {"families": ("relu",), "per_family": 3})]


def test_methods_do_what_the_task_says() -> None:
    random = np.random.default_rng(0)
    points, weights = random.normal(size=(600, 2)), random.uniform(0.1, 9.0, 600)
    data = Dataset(points, weights)
    low, normal = (METHODS["momentc"](data, Task(2, 60, 0, effort)) for effort in ("low", "normal"))
    assert low.kept_order == 2
    assert normal.kept_order is not None
    assert normal.kept_order > 2
    subset = METHODS["random"](data, Task(0, 400, 0, "low"))
    assert len(np.unique(subset.points, axis=0)) == 400
    clusters = METHODS["kmeans"](data, Task(0, 60, 0, "low"))
    assert clusters.weights @ clusters.points == pytest.approx(weights @ points), "centres of mass"


@pytest.mark.parametrize("m", [1, 2])
def test_heavy_points_pull_at_the_centroids(m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    points = random.uniform(-1.0, 1.0, (2000, m))
    weights = np.exp(6.0 * points[:, 0])

    def scatter(labels: NDArray[np.int64]) -> float:
        mass = np.maximum(np.bincount(labels, weights, 40), 1e-300)
        sums = [np.bincount(labels, weights * column, 40) / mass for column in points.T]
        return float(weights @ np.sum((points - np.stack(sums, axis=1)[labels]) ** 2, axis=1))

    pulled, plain = (
        np.mean([scatter(kmeans_labels(points, given, 40, seed)) for seed in (0, 2**40)])
        for given in (weights, None)
    )
    assert pulled < 0.8 * plain
    asked: list[Any] = []

    def labelled(*given: Any) -> NDArray[np.int64]:
        asked.append(given)
        return kmeans_labels(*given)

    monkeypatch.setattr(methods, "kmeans_labels", labelled)
    data = Dataset(points, weights)
    METHODS["kmeans"](data, Task(0, 40, 5, "low"))
    assert asked[0][0] is data.local
    assert asked[0][1] is data.weights


@pytest.mark.parametrize(
    ("factor", "said"),
    [(1.0 + 1e-6, "momentc: moments up to order 2 are off by"), (np.nan, "off by nan")],
)
def test_momentc_is_held_to_its_moments(
    monkeypatch: pytest.MonkeyPatch, factor: float, said: str
) -> None:
    """Whatever it says of itself: the moments of its result are computed anew."""

    def spoilt(data: Dataset, task: Task) -> Reduced:
        result = METHODS["momentc"](data, task)
        weights = result.weights.copy()
        weights[0] *= factor
        return replace(result, weights=weights)

    cell = Cell("uniform", 2, 300, "momentc", 2, 30, 0)
    assert "failed" not in Evaluator(SMALL)(cell)
    monkeypatch.setattr(evaluate_module, "METHODS", {**METHODS, "momentc": spoilt})
    assert said in Evaluator(SMALL)(cell)["failed"]


def test_a_baseline_that_is_not_finite_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(data: Dataset, task: Task) -> Reduced:
        result = METHODS["random"](data, task)
        return replace(result, weights=result.weights * np.inf)

    monkeypatch.setattr(evaluate_module, "METHODS", {**METHODS, "random": spoilt})
    record = Evaluator(SMALL)(Cell("uniform", 2, 300, "random", 0, 30, 0))
    assert record["failed"] == "random: the result is not finite"
