"""Surplus matching: more orders, smaller errors of other functions, and a choice that is free."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import momentc
from momentc import surplus
from momentc.effort import matches_surplus, surplus_orders
from momentc.moments.accumulate import accumulate_moments
from momentc.options import CompressOptions, Effort
from momentc.panel import draw_panel
from momentc.pipeline import compress_points
from momentc.surplus import Candidate, match_surplus, preference

Array = NDArray[np.float64]


def mixture(n: int, m: int, width: float, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    centres = random.uniform(-0.8, 0.8, (20, m))
    return np.asarray(centres[random.integers(0, 20, n)] + width * random.normal(size=(n, m)))


@pytest.mark.parametrize(
    ("order", "rank", "n_points", "expected"),
    [
        (3, 2, 400, [3, 7, 11, 15]),  # 36, 78 and 136 moments, of 40, 80 and 140
        (5, 3, 400, [5, 7]),  # 56 are more than 40, 84 more than 80
        (5, 5, 500, [5]),  # 252 are half of the points already
        (5, 5, 400, []),  # more than MOST_CONDITIONS of them
        (1, 2, 5, [1]),
    ],
)
def test_orders_that_are_tried(order: int, rank: int, n_points: int, expected: list[int]) -> None:
    assert surplus_orders(order, rank, n_points) == expected


@pytest.mark.parametrize("effort", ["normal", "high"])
def test_when_it_is_done(effort: Effort) -> None:
    assert matches_surplus(2, 100, effort)
    assert not matches_surplus(1, 100, effort)
    assert not matches_surplus(2, 1_000_000, effort)
    assert not matches_surplus(2, 100, "low")


def matchings(points: Array, k: int, target: int, known: int) -> tuple[Candidate, list[Candidate]]:
    """Return points in a frame as reduced at order k, and what their weights can be besides.

    The moments up to the order ``known`` are there.
    """
    kept = momentc.compress(points, k, target, effort="low", threads=1)
    reduced = Candidate(kept.index, kept.weights, k, reduced=True)
    ones = np.ones(len(points))
    wanted = accumulate_moments(points, ones, known, "legendre")
    return reduced, match_surplus(points, ones, points, reduced, wanted)


@pytest.mark.parametrize("m", [2, 3])
def test_every_answer_matches_its_order(m: int) -> None:
    points = np.random.default_rng(m).uniform(-1.0, 1.0, (3000, m))
    reduced, found = matchings(points, 3, 300, known=12)
    orders = [candidate.order for candidate in found]
    assert len(orders) >= 2
    assert set(orders) <= set(surplus_orders(3, m, 300))
    everything = accumulate_moments(points, np.ones(3000), 12, "legendre")
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
    assert surplus_orders(3, 2, 300)[1] == 6
    _, found = matchings(points, 3, 300, known=5)
    assert {candidate.order for candidate in found} == {3}


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


def test_the_order_that_is_named_is_matched() -> None:
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (4000, 2))
    done = compress_points(points, np.ones(4000), CompressOptions(3, 400))
    assert done.kept_order > 3
    assert done.matched_order >= done.kept_order
    assert max(done.error[: done.kept_order + 1]) <= 1e-13
    assert len(done.support) == 400


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

    monkeypatch.setattr("momentc.pipeline.match_surplus", wrong)
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
    """Above 12 times the target what the cells left stands for all points."""
    points = np.random.default_rng(n).uniform(-1.0, 1.0, (n, 3))
    plain, matched = errors(points, 3, 300, "low"), errors(points, 3, 300, "normal")
    assert matched["bumps"] < 0.6 * plain["bumps"]
    assert matched["relu"] < plain["relu"]


def test_columns_with_two_values() -> None:
    random = np.random.default_rng(4)
    points = np.column_stack([random.normal(size=(3000, 2)), random.integers(0, 2, (3000, 2))])
    done = compress_points(points, np.ones(3000), CompressOptions(3, 300))
    assert done.ok
    assert len(done.support) == 300
    assert np.all(done.support.weights > 0.0)


@pytest.mark.parametrize(
    ("errors", "reduced", "expected"),
    [
        # The mean decides,
        ([[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0, 0.0]], [True, False], [1, 0]),
        # bumps count twice as much as sigmoids,
        ([[-1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -0.6, 0.0, 0.0]], [False, True], [1, 0]),
        # but nothing may grow much,
        ([[0.0, 0.0, 0.0, 0.0, 0.0], [1.7, 0.0, -9.0, 0.0, 0.0]], [True, False], [0, 1]),
        # unless it does so everywhere.
        ([[0.0, 0.0, 5.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0, 0.0]], [True, True], [1, 0]),
    ],
)
def test_which_is_preferred(
    errors: list[list[float]], reduced: list[bool], expected: list[int]
) -> None:
    assert preference(np.array(errors), reduced) == expected
