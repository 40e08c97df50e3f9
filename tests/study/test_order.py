"""The choice of the order for a target."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.compression import Compression
from momentc.errors import RequestError
from momentc.options import CompressOptions
from momentc.panel import Panel, draw_panel
from momentc.pipeline.points import compress_points
from momentc.study import order
from momentc.study.order import OrderTrial, candidate_orders, choose_order, pick

Array = NDArray[np.float64]


def trial(k: int, kept: int, smooth: float, rough: float) -> OrderTrial:
    return OrderTrial(k, kept, {"sigmoid": smooth, "relu": rough})


def test_smaller_errors_win() -> None:
    trials = [trial(1, 1, 1e-4, 1e-3), trial(2, 2, 1e-6, 1e-3), trial(3, 3, 1e-8, 1.1e-3)]
    assert pick(trials).k == 3


def test_the_largest_error_is_not_traded_for_digits_of_another() -> None:
    assert pick([trial(3, 3, 1e-8, 1e-3), trial(9, 9, 1e-12, 1e-2)]).k == 3


def test_negligible_errors_count_as_equal_and_the_cheaper_order_is_taken() -> None:
    assert pick([trial(4, 4, 1e-14, 1e-3), trial(9, 9, 1e-16, 1e-3)]).k == 4


def test_a_choice_that_is_not_the_least_says_why() -> None:
    cheap, better = trial(1, 1, 1.1e-3, 1.1e-3), trial(2, 2, 1e-3, 1e-3)
    assert pick([cheap, better]) == cheap
    assert "up to 15% counts as equal" in order._reason(cheap, [cheap, better], 20, 20, "all rows")
    assert "counts as equal" not in order._reason(better, [cheap, better], 20, 20, "all rows")


def test_the_largest_errors_are_equal_too_where_they_are_rounding() -> None:
    assert pick([trial(3, 3, 1.7e-14, 1.7e-14), trial(4, 4, 1.3e-15, 1.3e-15)]).k == 3


def test_a_better_mean_that_was_not_chosen_is_explained() -> None:
    """The one that decides may be neither the chosen one nor its neighbour."""
    trials = [trial(1, 1, 1e-3, 3.0e-5), trial(7, 12, 1e-11, 3.4e-5), trial(8, 11, 1e-13, 4.6e-4)]
    best = pick(trials)
    assert best.k == 7
    said = order._reason(best, trials, 500, 500, "all rows")
    assert "k = 8, better in the mean, is more than 1.5 times as far off" in said
    assert "as k = 7 (3.4e-05)" in said
    assert "better in the mean" not in order._reason(best, trials[:2], 500, 500, "all rows")


def test_many_equal_rows_are_measured_by_their_distinct_ones() -> None:
    """Six times the target of the rows may hold less than the target of distinct ones."""
    points = np.random.default_rng(0).geometric(0.3, size=(50_000, 2)).astype(float)
    distinct, counts = np.unique(points, axis=0, return_counts=True)
    options = CompressOptions(target=150, effort="low")
    assert len(np.unique(points[: 6 * 150], axis=0)) < 150 < len(distinct)
    choice = choose_order(points, np.ones(len(points)), options)
    assert choice.k == choose_order(distinct, counts.astype(float), options).k
    assert max(choice.trials[0].rms.values()) > 1e-6
    assert "on all rows held-out functions" in choice.reason
    assert choice.n_rows == len(distinct)


def test_a_part_of_the_distinct_rows_is_said_to_be_one() -> None:
    points = np.random.default_rng(0).geometric(0.2, size=(20_000, 3)).astype(float)
    n_distinct = len(np.unique(points, axis=0))
    options = CompressOptions(target=20, effort="low")
    choice = choose_order(points, np.ones(len(points)), options)
    assert choice.n_rows == 1020
    assert f"on 1020 of {n_distinct} distinct rows of 20000 held-out" in choice.reason


def test_a_sample_of_many_equal_rows_is_reduced_to_as_small_a_part() -> None:
    sample = np.random.default_rng(0).geometric(0.3, size=(2000, 2)).astype(float)
    n_distinct = len(np.unique(sample, axis=0))
    options = CompressOptions(target=150, effort="low")
    choice = choose_order(sample, np.ones(2000), options, n_rows=10**7)
    assert (
        f"on {n_distinct} distinct rows of 10000000, reduced to {n_distinct // 6}," in choice.reason
    )
    assert max(choice.trials[0].rms.values()) > 1e-6


def test_parts_carry_the_weights_of_their_rows() -> None:
    points = np.arange(40_000.0)[:, None]
    parts = order._parts(points, 3.0 * points[:, 0] + 1.0, 50, 0)
    assert len(parts) == 2
    for rows, weights in parts:
        assert len(rows) < len(points)
        assert np.array_equal(weights, 3.0 * rows[:, 0] + 1.0)


def test_parts_are_distinct_rows_and_differ() -> None:
    points = np.arange(40_000.0)[:, None]
    parts = [rows[:, 0] for rows, _ in order._parts(points, np.ones(40_000), 50, 0)]
    assert all(len(np.unique(rows)) == len(rows) for rows in parts)
    assert not np.array_equal(parts[0], parts[1])


def test_the_trial_is_the_compression_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its effort and tolerance, and functions that nobody else chooses or reports by."""
    asked: list[CompressOptions] = []
    purposes: list[str] = []

    def compressed(points: Array, weights: Array, options: CompressOptions) -> Compression:
        asked.append(options)
        found = compress_points(points, weights, options)
        return replace(found, kept_order=found.kept_order + len(asked))

    def drawn(*arguments: Any) -> Panel:
        purposes.append(arguments[3])
        return draw_panel(*arguments)

    monkeypatch.setattr(order, "compress_points", compressed)
    monkeypatch.setattr(order, "draw_panel", drawn)
    random = np.random.default_rng(0)
    part = random.uniform(-1, 1, (300, 2)), random.uniform(0.5, 2.0, 300)
    options = CompressOptions(9, 40, seed=3, threads=1, tolerance=1e-9, effort="low")
    trial = order._try(2, [part, part], options)
    assert trial is not None
    assert (trial.k, trial.kept_order) == (2, 3), "the lowest of the parts"
    assert asked == [replace(options, k=2), replace(options, k=2, seed=4)]
    assert purposes == ["order", "order"]


def test_errors_are_means_over_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    part = random.uniform(-1, 1, (300, 2)), random.uniform(0.5, 2.0, 300)
    options = CompressOptions(1, 40, threads=1, effort="low")
    everything = order._try(1, [part], replace(options, target=300))
    assert everything is not None
    assert max(everything.rms.values()) < 1e-14, "a set has no error beside itself"
    monkeypatch.setattr(
        order, "draw_panel", lambda points, weights, *_: draw_panel(points, weights, 0, "order")
    )
    monkeypatch.setattr(
        order, "compress_points", lambda rows, weights, _: compress_points(rows, weights, options)
    )
    once, twice = order._try(1, [part], options), order._try(1, [part] * 2, options)
    assert once is not None
    assert twice is not None
    assert twice.rms == pytest.approx(once.rms, rel=1e-12)


def test_an_order_that_misses_its_moments_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(points: Array, weights: Array, options: CompressOptions) -> Compression:
        found = compress_points(points, weights, options)
        return found if options.k < 3 else replace(found, error=(1.0,) * len(found.error))

    monkeypatch.setattr(order, "compress_points", missing)
    points = np.random.default_rng(0).uniform(-1, 1, (800, 2))
    choice = choose_order(points, np.ones(800), CompressOptions(k=1, target=60, threads=1))
    assert [trial.k for trial in choice.trials] == [1, 2]


def test_of_equal_results_the_one_that_promises_most() -> None:
    assert pick([trial(k, 4, 1e-6, 1e-3) for k in (1, 2, 3, 4)]).k == 4


def test_candidates_leave_room_for_groups() -> None:
    assert candidate_orders(3, 100) == (1, 2, 3, 4)
    assert candidate_orders(1, 1000)[-1] == 60
    assert candidate_orders(5, 5) == (1,)


@pytest.mark.parametrize("m", [1, 2])
def test_the_choice_is_measured_and_reproducible(m: int) -> None:
    points = np.random.default_rng(m).uniform(-1, 1, (6000, m))
    options = CompressOptions(k=1, target=100 * m**2, seed=3, threads=1, effort="low")
    told: list[tuple[int, int]] = []
    choice = choose_order(
        points, np.ones(6000), options, on_trial=lambda done, total: told.append((done, total))
    )
    assert choice == choose_order(points, np.ones(6000), options)
    assert choice.k >= 3  # uniform points in few columns: a high order pays
    assert choice.n_rows < choice.n_points == 6000
    assert f"k = {choice.k}" in choice.reason
    assert len(told) == len(choice.trials)
    assert choice.as_json()["trials"][0]["k"] == 1


def test_clusters_may_ask_for_a_lower_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points at few places: the groups of high orders span the gaps, in most such data."""
    monkeypatch.setattr(order, "PARTS", 1)
    lower = 0
    for seed in range(3):
        random = np.random.default_rng(seed)
        points = random.normal(size=(40, 3))[random.integers(40, size=3000)]
        points += 1e-3 * random.normal(size=points.shape)
        options = CompressOptions(target=150, threads=1, effort="low")
        choice = choose_order(points, np.ones(3000), options)
        lower += choice.k < max(trial.k for trial in choice.trials)
    assert lower > 0


def test_a_sample_is_not_taken_for_the_input() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 2))
    options = CompressOptions(target=200, threads=1, effort="low")
    choice = choose_order(points, np.ones(2000), options, n_rows=50_000)
    assert "of 50000 rows" in choice.reason
    assert choice.n_points == 50_000
    assert "reduced to" not in choice.reason
    # Fewer rows than are to be kept, or than a part has: a smaller target shows which order.
    for target in (1500, 3000):
        options = CompressOptions(target=target, threads=1, effort="low")
        choice = choose_order(points, np.ones(2000), options, n_rows=50_000)
        assert choice.target == target
        assert len(choice.trials) > 1
        assert "of 50000 rows, reduced to 333, held-out" in choice.reason
    few = choose_order(points[:14], np.ones(14), options, n_rows=50_000)
    assert (few.k, few.trials) == (1, ())
    assert "only 14 count" in few.reason


def test_errors_at_rounding_are_not_given_as_figures() -> None:
    points = np.random.default_rng(0).integers(4, size=(600, 1)).astype(np.float64)
    points[0] = 0.5
    options = CompressOptions(target=4, threads=1, effort="low")
    choice = choose_order(points, np.ones(600), options)
    assert choice.reason.count("e-1") == 0 or "less than 1e-13" in choice.reason


def test_nothing_to_choose() -> None:
    options = CompressOptions(target=100, threads=1)
    few = np.random.default_rng(0).normal(size=(50, 2))
    assert "all distinct rows are kept" in choose_order(few, np.ones(50), options).reason
    many = np.repeat(few, 20, axis=0)
    assert "all distinct rows are kept" in choose_order(many, np.ones(1000), options).reason
    flat = np.full((500, 2), 3.0)
    assert "constant" in choose_order(flat, np.ones(500), options).reason
    with pytest.raises(RequestError, match="no k will do"):
        choose_order(
            np.random.default_rng(0).normal(size=(500, 6)), np.ones(500), CompressOptions(target=4)
        )
