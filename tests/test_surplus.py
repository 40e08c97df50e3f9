"""Surplus matching: more orders, smaller errors of other functions, and a choice that is free."""

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import momentc
from momentc import surplus
from momentc.effort import (
    SurplusMeans,
    highest_order,
    surplus_bytes,
    surplus_means,
    surplus_orders,
    working_order,
)
from momentc.hybrid import CELLS_UNTIL, reduce_support
from momentc.moments.accumulate import accumulate_moments
from momentc.options import CompressOptions, Effort
from momentc.panel import draw_panel
from momentc.pipeline import to_target
from momentc.pipeline.points import compress_points
from momentc.surplus import (
    SPLINE_CELLS_UNTIL,
    Candidate,
    Judge,
    best_first,
    match_surplus,
    preference,
)

Array = NDArray[np.float64]


def mixture(n: int, m: int, width: float, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    centres = random.uniform(-0.8, 0.8, (20, m))
    return np.asarray(centres[random.integers(0, 20, n)] + width * random.normal(size=(n, m)))


@pytest.mark.parametrize(
    ("means", "order", "rank", "n_points", "expected"),
    [
        ("spline", 3, 2, 400, [3, 7, 11, 15]),  # 36, 78 and 136 moments, of 40, 80 and 140
        ("spline", 5, 3, 400, [5, 7]),  # 56 are more than 40, 84 more than 80
        ("spline", 5, 3, 200, [5, 6]),  # 84 are more than 70, but no more than 120
        ("spline", 5, 3, 139, [5]),  # 84 are more than MOST_CONDITIONS of them
        ("spline", 2, 13, 1000, [2]),  # 560 would be allowed, but are five times 105
        ("spline", 5, 5, 500, [5]),  # 252 are half of the points already
        ("spline", 5, 5, 400, []),  # more than MOST_CONDITIONS of them
        ("spline", 1, 2, 5, [1]),
        ("calibration", 2, 5, 2000, [4, 5]),  # 126 and 252 moments
        ("calibration", 2, 5, 1001, [4]),  # 252 are more than CALIBRATED_PART of the points
        ("calibration", 4, 3, 2000, [7]),  # CALIBRATED_ORDERS more
        ("calibration", 4, 5, 2000, [5]),  # 252; more than 130 would be needed for the first
        ("calibration", 5, 3, 2000, []),  # CALIBRATED_UP_TO
        ("calibration", 2, 5, 50_000, [3]),  # CALIBRATED_FEATURES: 83 moments at most
        ("calibration", 2, 5, 1_000_000, []),
        (None, 2, 5, 2000, []),
    ],
)
def test_orders_that_are_tried(
    means: SurplusMeans | None, order: int, rank: int, n_points: int, expected: list[int]
) -> None:
    assert surplus_orders(order, rank, n_points, means) == expected


@pytest.mark.parametrize("effort", ["normal", "high"])
def test_when_it_is_done(effort: Effort) -> None:
    assert surplus_means(2, 100, effort) == "spline"
    assert surplus_means(2, 1_000_000, effort) == "calibration"
    assert surplus_means(1, 100, effort) is None
    assert surplus_means(2, 100, "low") is None


def test_the_memory_does_not_grow_without_bound() -> None:
    assert surplus_bytes(3, 3, 100, "low") == surplus_bytes(3, 1, 100, "normal") == 0
    assert surplus_bytes(3, 3, 2000, "normal") < surplus_bytes(3, 3, 10_000, "normal")
    for k in (1, 3):
        assert max(surplus_bytes(k, 3, 2**n, "normal") for n in range(10, 40)) <= 2**27


@pytest.mark.parametrize(
    ("k", "rank", "target", "expected"),
    [(1, 4, 1200, 6), (1, 3, 1200, 7), (3, 2, 400, 15), (3, 1, 400, 7)],
)
def test_the_moments_are_known_up_to_the_highest_order_that_is_tried(
    k: int, rank: int, target: int, expected: int
) -> None:
    """Beyond the order of the reductions, which is not k."""
    assert highest_order(k, rank, target, "normal") == expected
    assert working_order(k, rank, target, "normal") <= expected


@pytest.mark.parametrize(("m", "k", "target"), [(3, 3, 600), (5, 2, 2000)])
def test_it_takes_no_more_memory_than_was_planned(m: int, k: int, target: int) -> None:
    points, ones = np.random.default_rng(0).uniform(-1.0, 1.0, (4000, m)), np.ones(4000)
    kept = momentc.compress(points, k, target, effort="low", threads=1)
    reduced = Candidate(kept.index, kept.weights, k, reduced=True)
    wanted = accumulate_moments(points, ones, highest_order(k, m, target, "normal"), "legendre")
    means = surplus_means(m, target, "normal")
    assert means is not None
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        match_surplus(points, ones, points, reduced, wanted, means)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak <= surplus_bytes(k, m, target, "normal") <= 4 * peak


def matchings(
    points: Array, k: int, target: int, known: int, means: SurplusMeans = "spline"
) -> tuple[Candidate, list[Candidate]]:
    """Return points in a frame as reduced at order k, and what their weights can be besides.

    The moments up to the order ``known`` are there.
    """
    kept = momentc.compress(points, k, target, effort="low", threads=1)
    reduced = Candidate(kept.index, kept.weights, k, reduced=True)
    ones = np.ones(len(points))
    wanted = accumulate_moments(points, ones, known, "legendre")
    return reduced, match_surplus(points, ones, points, reduced, wanted, means)


@pytest.mark.parametrize(("means", "m"), [("spline", 2), ("spline", 3), ("calibration", 5)])
def test_every_answer_matches_its_order(means: SurplusMeans, m: int) -> None:
    points = np.random.default_rng(m).uniform(-1.0, 1.0, (3000, m))
    k, target, known = (3, 300, 12) if means == "spline" else (2, 1100, 5)
    reduced, found = matchings(points, k, target, known, means)
    orders = [candidate.order for candidate in found]
    assert orders
    assert set(orders) <= set(surplus_orders(k, m, target, means))
    assert max(orders) > k
    everything = accumulate_moments(points, np.ones(3000), known, "legendre")
    for candidate in found:
        assert candidate.kept is reduced.kept
        have = accumulate_moments(
            points[candidate.kept], candidate.weights, candidate.order, "legendre"
        )
        miss = everything.up_to(candidate.order).missing_in(have)
        assert np.abs(miss).max() <= 1e-10 * len(points)
        assert np.all(candidate.weights >= surplus.LEAST_RATIO * reduced.weights)


def test_no_order_beyond_the_moments_that_are_known() -> None:
    points = np.random.default_rng(2).uniform(-1.0, 1.0, (3000, 2))
    assert surplus_orders(3, 2, 300, "spline")[1] == 6
    _, found = matchings(points, 3, 300, known=5)
    assert {candidate.order for candidate in found} == {3}


def test_calibration_goes_as_far_as_the_moments_are_known() -> None:
    points = np.random.default_rng(2).uniform(-1.0, 1.0, (3000, 3))
    assert surplus_orders(4, 3, 1100, "calibration") == [7]
    _, found = matchings(points, 4, 1100, known=6, means="calibration")
    assert {candidate.order for candidate in found} == {6}
    assert matchings(points, 4, 1100, known=4, means="calibration")[1] == []


def test_no_room_leaves_the_weights() -> None:
    points = np.random.default_rng(2).uniform(-1.0, 1.0, (1000, 3))
    assert matchings(points, 3, 25, known=3)[1] == []


def errors(points: Array, k: int, target: int, effort: Effort) -> dict[str, float]:
    """Return the error of each family, over eight seeds."""
    panel = draw_panel(points, np.ones(len(points)), 7, "report", per_family=64)
    expected = panel.means(points, np.ones(len(points)))
    found: dict[str, list[float]] = {}
    for seed in range(8):
        kept = momentc.compress(points, k, target, random_state=seed, effort=effort)
        measured = panel.compare(expected, panel.means(points[kept.index], kept.weights))
        for name, error in measured.items():
            found.setdefault(name, []).append(np.log(error.rms + 1e-16))
    return {name: float(np.exp(np.mean(values))) for name, values in found.items()}


@pytest.mark.parametrize(
    ("points", "k"),
    [
        (np.random.default_rng(0).uniform(-1.0, 1.0, (3000, 3)), 3),
        (mixture(3000, 2, 0.1), 5),
        (mixture(3000, 3, 0.3), 4),
    ],
    ids=["uniform", "narrow clusters", "wide clusters"],
)
def test_it_lowers_the_errors(points: Array, k: int) -> None:
    """Of smooth functions by a lot, of others by a little.

    Of rational functions, which the point next to the pole decides, one seed scatters by a factor
    of two.
    """
    plain, matched = errors(points, k, 300, "low"), errors(points, k, 300, "normal")
    ratios = {name: matched[name] / plain[name] for name in plain}
    assert max(ratios.values()) < 1.25, ratios
    assert np.exp(np.mean(np.log([*ratios.values()]))) < 0.65, ratios


@pytest.mark.parametrize(
    "points",
    [np.random.default_rng(0).uniform(-1.0, 1.0, (8000, 5)), mixture(8000, 5, 0.3)],
    ids=["uniform", "clusters"],
)
def test_calibration_lowers_the_errors_of_smooth_functions(points: Array) -> None:
    """More points than a spline can take, of a low order: two orders or three more."""
    plain, matched = errors(points, 2, 1300, "low"), errors(points, 2, 1300, "normal")
    ratios = {name: matched[name] / plain[name] for name in plain}
    assert ratios["sigmoid"] < 0.6, ratios
    assert ratios["rational"] < 0.5, ratios
    assert max(ratios.values()) < 1.25, ratios


def test_calibration_that_costs_a_weight_too_much_is_not_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = np.random.default_rng(5).uniform(-1.0, 1.0, (3000, 5))
    reduced, found = matchings(points, 2, 1100, known=5, means="calibration")
    least = min(float(np.min(it.weights / reduced.weights)) for it in found)
    assert surplus.LEAST_RATIO < least < 1.0
    monkeypatch.setattr(surplus, "LEAST_RATIO", 0.5 * (least + 1.0))
    assert matchings(points, 2, 1100, known=5, means="calibration")[1] == []


@pytest.mark.parametrize(("m", "k", "target"), [(2, 3, 400), (4, 1, 1200)])
def test_the_order_that_is_named_is_matched(m: int, k: int, target: int) -> None:
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (4000, m))
    done = compress_points(points, np.ones(4000), CompressOptions(k, target))
    assert done.kept_order > k
    assert done.matched_order >= done.kept_order
    assert max(done.error[: done.kept_order + 1]) <= 1e-13
    assert len(done.support) == target


def spoil(candidates: list[Candidate], size: float) -> list[Candidate]:
    """Put a wrong answer first."""
    right = candidates[0]
    wrong = right.weights * (1.0 + size * np.arange(len(right.weights)) / len(right.weights))
    # The final solve would mend a small error: no weights > 0 do what this one asks for.
    wrong[::2] *= 1e-9
    return [replace(right, weights=wrong), *candidates]


@pytest.mark.parametrize("size", [1e-3, 1.0, np.nan])
def test_an_answer_that_misses_its_moments_is_not_taken(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (2000, 3))
    options = CompressOptions(3, 100)
    expected = compress_points(points, np.ones(2000), options)
    asked: list[int] = []

    def wrong(*arguments: Any, **options: Any) -> list[Candidate]:
        asked.append(1)
        return spoil(match_surplus(*arguments, **options), size)

    monkeypatch.setattr("momentc.pipeline.to_target.match_surplus", wrong)
    done = compress_points(points, np.ones(2000), options)
    assert asked
    assert done.ok
    assert done.support.weights.tobytes() == expected.support.weights.tobytes()


def test_a_matrix_that_cannot_be_factored_leaves_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise np.linalg.LinAlgError

    monkeypatch.setattr(surplus, "KernelWeights", fail)
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (2000, 3))
    done = compress_points(points, np.ones(2000), CompressOptions(3, 100))
    assert done.ok
    assert done.kept_order == 3


@pytest.mark.parametrize("n", [1000, 40_000])
def test_from_a_part_of_the_points_as_from_all(n: int) -> None:
    """Above 36 times the target what the cells left stands for all points."""
    points = np.random.default_rng(n).uniform(-1.0, 1.0, (n, 3))
    plain, matched = errors(points, 3, 300, "low"), errors(points, 3, 300, "normal")
    assert matched["bumps"] < 0.6 * plain["bumps"]
    assert matched["relu"] < plain["relu"]


@pytest.mark.parametrize(
    ("k", "target", "effort", "expected"),
    [
        (3, 100, "normal", SPLINE_CELLS_UNTIL),
        (3, 100, "low", CELLS_UNTIL),
        (3, 20, "normal", CELLS_UNTIL),  # as many as moments: no weight is free
        (3, 1100, "normal", CELLS_UNTIL),  # too many for a spline
    ],
)
def test_where_a_spline_follows_the_cells_leave_more(
    monkeypatch: pytest.MonkeyPatch, k: int, target: int, effort: Effort, expected: int
) -> None:
    asked: list[int] = []

    def reduce(*arguments: Any, cells_until: int, **options: Any) -> NDArray[np.int64]:
        asked.append(cells_until)
        return reduce_support(*arguments, cells_until=cells_until, **options)

    monkeypatch.setattr(to_target, "reduce_support", reduce)
    points = np.random.default_rng(k).uniform(-1.0, 1.0, (3000, 3))
    compress_points(points, np.ones(3000), CompressOptions(k, target, effort=effort))
    assert asked == [expected]


def test_what_stands_for_all_errs_less_than_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as few points as the reductions alone need, its error would be that of the result."""
    points = np.random.default_rng(3).uniform(-1.0, 1.0, (40_000, 3))
    near = errors(points, 3, 500, "normal")
    monkeypatch.setattr(to_target, "SPLINE_CELLS_UNTIL", CELLS_UNTIL)
    far = errors(points, 3, 500, "normal")
    assert near["sigmoid"] < 0.7 * far["sigmoid"]
    assert near["bumps"] < 0.9 * far["bumps"]


def test_columns_with_two_values() -> None:
    random = np.random.default_rng(4)
    points = np.column_stack([random.normal(size=(3000, 2)), random.integers(0, 2, (3000, 2))])
    done = compress_points(points, np.ones(3000), CompressOptions(3, 300))
    assert done.ok
    assert len(done.support) == 300
    assert np.all(done.support.weights > 0.0)


def test_a_set_has_no_error_beside_itself() -> None:
    random = np.random.default_rng(6)
    points, weights = random.uniform(-1.0, 1.0, (300, 2)), random.uniform(0.1, 9.0, 300)
    found = Judge(points, weights, 0).errors(points, np.array([weights, np.ones(300)]))
    assert np.exp(found[0]).max() < 1e-12
    assert np.exp(found[1]).min() > 1e-3


def test_each_candidate_is_judged_on_its_own_points() -> None:
    """Two reductions may keep as many points."""
    random = np.random.default_rng(7)
    points, weights = random.uniform(-1.0, 1.0, (20, 2)), 10.0 ** random.uniform(-3.0, 0.0, 20)
    judge = Judge(points, weights, 0)
    both = np.vstack([points[::-1] + 1e-3, points])
    near = Candidate(np.arange(20), weights[::-1].copy(), 1, reduced=True)
    same = Candidate(np.arange(20, 40), weights, 1, reduced=True)
    assert [it is same for it in best_first([near, same], both, judge)] == [True, False]


def test_weights_are_not_chosen_by_the_functions_that_errors_are_reported_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    purposes: list[str] = []

    def drawn(*arguments: Any, **options: Any) -> Any:
        purposes.append(arguments[3])
        return draw_panel(*arguments, **options)

    monkeypatch.setattr(surplus, "draw_panel", drawn)
    Judge(np.zeros((3, 1)), np.ones(3), 0)
    assert purposes == ["select"]


@pytest.mark.parametrize(
    ("errors", "reduced", "expected"),
    [
        # The mean decides,
        ([[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0, 0.0]], [True, False], [1, 0]),
        # bumps count twice as much as sigmoids,
        ([[-1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -0.6, 0.0, 0.0]], [False, True], [1, 0]),
        # but nothing may grow much,
        ([[0.0, 0.0, 0.0, 0.0, 0.0], [1.7, 0.0, -9.0, 0.0, 0.0]], [True, False], [0, 1]),
        # not even where another reduction is as bad:
        (
            [[0.0, 0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0, 0.0], [1.7, 0.0, -9.0, 0.0, 0.0]],
            [True, True, False],
            [0, 2, 1],
        ),
        # unless it does so everywhere.
        ([[0.0, 0.0, 5.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0, 0.0]], [True, True], [1, 0]),
    ],
)
def test_which_is_preferred(
    errors: list[list[float]], reduced: list[bool], expected: list[int]
) -> None:
    assert preference(np.array(errors), reduced) == expected
