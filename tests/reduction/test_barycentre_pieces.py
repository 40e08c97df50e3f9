"""Very many points of one group, thinned by the barycentres of pieces."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.moments.multi_index import product_plan
from momentc.reduction.barycentre_pieces import (
    MOST_FEATURES,
    PIECES_FROM,
    pieces_wanted,
    thin_by_pieces,
)
from momentc.tolerances import group_tolerance
from tests import oracle

Array = NDArray[np.float64]


def thin(
    points: Array, weights: Array, k: int, own: NDArray[np.int64] | None = None,
    group_tol: float | None = None,
) -> tuple[NDArray[np.int64], Array]:  # fmt: skip
    """Return the rows that are left of a group, of all if none is given, and all weights."""
    plan = product_plan(points.shape[1], k)
    left = weights.copy()
    tolerance = group_tolerance(plan.n_moments) if group_tol is None else group_tol
    rows = thin_by_pieces(
        points, left, np.arange(len(points)) if own is None else own, plan, tolerance
    )
    return rows, left


def draw(kind: str, n: int, m: int, rng: np.random.Generator) -> Array:
    if kind == "lattice":
        return rng.integers(-1, 2, (n, m)).astype(np.float64)
    if kind == "two scales":
        return np.asarray(rng.integers(-1, 2, (n, m)) + 1e-7 * rng.uniform(size=(n, m))) / 2.0
    if kind == "heavy":
        points = rng.standard_cauchy((n, m))
        return np.asarray(points / np.abs(points).max())
    return rng.uniform(-1.0, 1.0, (n, m))


@given(
    kind=st.sampled_from(["uniform", "heavy", "lattice", "two scales"]),
    m=st.integers(1, 3),
    k=st.integers(1, 3),
    more=st.integers(1, 3000),
    decades=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_moments_stay(kind: str, m: int, k: int, more: int, decades: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = draw(kind, PIECES_FROM * math.comb(m + k, k) + more, m, rng)
    n = len(points)
    before = 10.0 ** rng.uniform(-15.0, 0.0, n) if decades else rng.uniform(0.1, 1.0, n)
    rows, left = thin(points, before, k)
    assert np.array_equal(rows, np.flatnonzero(left))
    assert np.all(left >= 0.0)
    assert oracle.frame_gap(points, before, points[rows], left[rows], k) <= 1e-13
    if kind == "uniform":
        assert len(rows) < n / 2


@pytest.mark.parametrize(("m", "k", "n"), [(2, 3, 40_000), (3, 3, 100_000), (1, 5, 20_000)])
def test_no_more_are_left_than_would_be_thinned_again(m: int, k: int, n: int) -> None:
    rng = np.random.default_rng(0)
    points, weights = rng.uniform(-1.0, 1.0, (n, m)), rng.uniform(0.1, 1.0, n)
    rows, left = thin(points, weights, k)
    assert len(rows) <= PIECES_FROM * math.comb(m + k, k)
    assert left.sum() == pytest.approx(weights.sum(), rel=1e-13)


def test_pieces_are_compact() -> None:
    """Points that have a weight in common were in one piece, at least of the first pass."""
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (PIECES_FROM * 6 + 800, 2))
    rows, left = thin(points, np.ones(len(points)), 2)
    weights = left[rows]
    extents = [np.ptp(points[rows[weights == each]], axis=0).max() for each in np.unique(weights)]
    assert 1 < len(extents) <= 6
    # Thirty-two pieces of the square of side 2: about 0.35 wide each.
    assert np.mean(extents) < 0.7


def test_few_points_and_many_moments_are_left_alone() -> None:
    sizes = np.array([PIECES_FROM * 10, PIECES_FROM * 10 + 1, 10**9])
    assert pieces_wanted(10, sizes, np.array([10, 10, 1])).tolist() == [1, 2]
    assert pieces_wanted(10, sizes, np.array([11, 11, 11])).tolist() == []
    assert pieces_wanted(10, sizes[:1], np.array([10])).tolist() == []
    assert pieces_wanted(MOST_FEATURES + 1, sizes, np.ones(3, np.int64)).tolist() == []
    points = np.random.default_rng(2).uniform(-1.0, 1.0, (200, 2))
    rows, left = thin(points, np.ones(200), 3)
    assert np.array_equal(rows, np.arange(200))
    assert np.all(left == 1.0)


def test_equal_points_end() -> None:
    """All in one piece: nothing can go, and it says so instead of trying on."""
    rows, left = thin(np.zeros((5000, 2)), np.ones(5000), 1)
    assert left.sum() == 5000.0
    assert len(rows) == 5000


def test_rows_of_other_groups_are_left_alone() -> None:
    rng = np.random.default_rng(3)
    points, weights = rng.uniform(-1.0, 1.0, (4000, 2)), rng.uniform(0.1, 1.0, 4000)
    own = np.flatnonzero(points[:, 0] > 0.0)
    rows, left = thin(points, weights, 2, own)
    assert set(rows) < set(own)
    others = np.setdiff1d(np.arange(4000), own)
    assert np.array_equal(left[others], weights[others])
    assert oracle.frame_gap(points[own], weights[own], points[rows], left[rows], 2) <= 1e-13


def test_what_misses_the_tolerance_is_left_as_it_was() -> None:
    points = np.random.default_rng(4).uniform(-1.0, 1.0, (5000, 2))
    points[17, 1] = np.nan
    rows, left = thin(points, np.ones(5000), 2)
    assert np.array_equal(rows, np.arange(5000))
    assert np.all(left == 1.0)
    points[17, 1] = 0.0
    rows, left = thin(points, np.ones(5000), 2, group_tol=0.0)
    assert np.array_equal(rows, np.arange(5000))
    assert np.all(left == 1.0)
    assert len(thin(points, np.ones(5000), 2)[0]) < 5000


@pytest.mark.parametrize("column", [0.0, 1e8, -3.5])
def test_constant_columns(column: float) -> None:
    points = np.random.default_rng(5).uniform(-1.0, 1.0, (3000, 2))
    points[:, 1] = column
    rows, left = thin(points, np.ones(3000), 1)
    assert len(rows) < 1000
    assert left.sum() == pytest.approx(3000.0, rel=1e-13)
    assert left @ points[:, 0] == pytest.approx(points[:, 0].sum(), abs=1e-10)
