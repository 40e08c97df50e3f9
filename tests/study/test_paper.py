"""The paper's method and Algorithm 2: exact moments, exact targets."""

import numpy as np
import pytest

from momentc.moments.accumulate import accumulate_moments
from momentc.moments.discrepancy import error_by_order
from momentc.moments.multi_index import product_plan
from momentc.study import paper
from momentc.study.baselines import BASELINES, check_baselines
from momentc.study.paper import compress_as_published, null_space, own_box_features, peel


@pytest.mark.parametrize(("m", "k", "target"), [(1, 3, 20), (2, 2, 30), (2, 3, 10), (3, 2, 40)])
@pytest.mark.parametrize("rounds", [True, False])
def test_moments_weights_and_target(
    m: int, k: int, target: int, rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rounds:  # so that few points go through the rounds as well
        monkeypatch.setattr(paper, "GREEDY_POINTS", 50)
        monkeypatch.setattr(paper, "FEWEST_CLUSTERS", 2)
    random = np.random.default_rng(1)
    points = random.uniform(-1, 1, (500, m))
    weights = random.uniform(0.5, 2.0, 500)
    before = weights.copy()
    kept, found = compress_as_published(points, weights, k, target, 0)
    assert np.array_equal(weights, before)
    assert len(kept) == target
    assert np.all(np.diff(kept) > 0)
    assert np.all(found > 0.0)
    error = error_by_order(
        accumulate_moments(points, weights, k, "monomial"),
        accumulate_moments(points[kept], found, k, "monomial"),
    )
    assert max(error) < 1e-13


def test_rounds_stop_two_thousand_points_above_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(paper, "_greedy", lambda _p, _w, alive, *_: seen.append(len(alive)))
    points = np.random.default_rng(2).uniform(-1, 1, (4000, 2))
    compress_as_published(points, np.ones(4000), 1, 300, 0)
    assert len(seen) == 1
    assert 300 < seen[0] < 2300


def test_duplicates_and_dependent_points() -> None:
    points = np.repeat(np.random.default_rng(3).uniform(-1, 1, (60, 2)), 4, axis=0)
    kept, found = compress_as_published(points, np.ones(240), 2, 30, 0)
    assert len(kept) <= 30
    assert np.sum(found) == pytest.approx(240.0)


def test_peeling_leaves_no_more_than_the_moments() -> None:
    random = np.random.default_rng(4)
    points, weights = random.uniform(-1, 1, (40, 2)), np.ones(40)
    plan = product_plan(2, 3)
    peel(points, weights, np.arange(5, 40), plan, random)
    assert np.count_nonzero(weights[5:]) == plan.n_moments
    assert np.all(weights >= 0.0)
    assert np.all(weights[:5] == 1.0)


@pytest.mark.parametrize("seed", range(6))
def test_points_that_vanish_together(seed: int) -> None:
    """The null vector of three points on a line is (1, -2, 1): either the middle goes, or both."""
    points, weights = np.array([[-1.0], [0.0], [1.0]]), np.ones(3)
    peel(points, weights, np.arange(3), product_plan(1, 1), np.random.default_rng(seed))
    assert np.count_nonzero(weights) <= 2
    assert weights[0] == pytest.approx(weights[2], abs=1e-15)
    assert weights.sum() == pytest.approx(3.0)


def test_the_null_space_is_one() -> None:
    points = np.random.default_rng(5).uniform(-1, 1, (25, 2))
    features = own_box_features(points, product_plan(2, 3))
    basis = null_space(features)
    assert basis.shape == (25, 15)
    assert np.abs(features @ basis).max() < 1e-13


@pytest.mark.parametrize("name", ["svd", "paper"])
def test_baselines_of_the_bench(name: str) -> None:
    random = np.random.default_rng(6)
    points, weights = random.uniform(-1, 1, (200, 2)), random.uniform(0.5, 2.0, 200)
    kept, found = BASELINES[name](points, weights, 2, 6)
    assert len(kept) == 6
    error = error_by_order(
        accumulate_moments(points, weights, 2, "monomial"),
        accumulate_moments(points[kept], found, 2, "monomial"),
    )
    assert max(error) < 1e-13


def test_unknown_baselines() -> None:
    with pytest.raises(ValueError, match="--baseline names nonsense"):
        check_baselines(["nonsense"])
