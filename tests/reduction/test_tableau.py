"""Algorithm 2 by a tableau, step by step."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.moments.features import legendre_features
from momentc.moments.multi_index import product_plan
from momentc.reduction.compiled_apart import remove_points
from momentc.reduction.tableau import LAPACK_FROM, express_in_basis, resolve_weights
from momentc.tolerances import pivot_tolerance
from tests.strategies import matrices

Array = NDArray[np.float64]


def express(
    features: Array, n_pivot_columns: int | None = None
) -> tuple[NDArray[Any], NDArray[Any], Array]:
    """Return the basis points, the others, and the coefficients of the others in the basis."""
    reduced = features.astype(np.float64, order="C", copy=True)
    n_rows, g = features.shape
    order_of = np.full(g, -1)
    allowed = g if n_pivot_columns is None else n_pivot_columns
    rank = express_in_basis(
        reduced, allowed, pivot_tolerance(n_rows), order_of, np.empty(reduced.size)
    )
    assert sorted(order_of.tolist()) == list(range(g))
    return order_of[:rank], order_of[rank:], reduced[:rank, rank:]


def exact_rank(matrix: Array) -> int:
    """Rank by fraction arithmetic."""
    rows = [[Fraction(value) for value in row] for row in matrix.tolist()]
    rank = 0
    for column in range(matrix.shape[1]):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


def scaled(matrix: Array) -> Array:
    """Bring the entries to at most 1, as features are."""
    return np.asarray(matrix / max(1.0, float(np.abs(matrix).max())))


def random_features(m: int, k: int, g: int, seed: int) -> Array:
    points = np.random.default_rng(seed).uniform(-1.0, 1.0, (g, m))
    return legendre_features(points, product_plan(m, k))


def remove(features: Array, weights: Array, n_remove: int) -> tuple[Array, int]:
    left = weights.copy()
    n_rows, g = features.shape
    removed = remove_points(
        features.copy(), left, n_remove, pivot_tolerance(n_rows),
        np.empty(g, np.int64), np.empty(features.size),
    )  # fmt: skip
    return left, removed


@given(drawn=matrices())
def test_the_rank_is_found(drawn: tuple[Array, int]) -> None:
    matrix, rank = drawn
    assert exact_rank(matrix) == rank, "the strategy promises the rank"
    assert len(express(scaled(matrix))[0]) == rank


@given(drawn=matrices())
def test_the_others_are_combinations_of_the_basis(drawn: tuple[Array, int]) -> None:
    matrix, rank = drawn
    features = scaled(matrix)
    basis, rest, coefficients = express(features)
    assert len(basis) == rank
    miss = features[:, basis] @ coefficients - features[:, rest]
    assert np.abs(miss).max(initial=0.0) <= 1e-12 * max(1.0, np.abs(coefficients).max(initial=0.0))


@given(drawn=matrices(), data=st.data())
def test_only_the_allowed_columns_become_basis(
    drawn: tuple[Array, int], data: st.DataObject
) -> None:
    matrix, _ = drawn
    allowed = data.draw(st.integers(1, matrix.shape[1]))
    basis, rest, _ = express(scaled(matrix), allowed)
    assert len(basis) == exact_rank(matrix[:, :allowed])
    assert [*basis, *rest][allowed:] == list(range(allowed, matrix.shape[1]))


@pytest.mark.parametrize(
    ("m", "k"), [(1, 31), (1, 32), (2, 9), (2, 11), (3, 5), (2, 14), (4, 5), (5, 4)]
)
@pytest.mark.parametrize("dependent", [0, 1, 9])
def test_the_coefficients_are_those_of_least_squares(m: int, k: int, dependent: int) -> None:
    """From N = 32 to 126, with rows at which LAPACK's factorisation is of no more use."""
    n_rows = math.comb(m + k, k)
    features = random_features(m, k, n_rows + 11, seed=3)
    # A row that repeats another is dependent, wherever it stands.
    where = np.linspace(1, n_rows - 1, dependent).astype(int)
    features[where] = features[where - 1]
    basis, rest, coefficients = express(features)
    assert len(basis) == np.linalg.matrix_rank(features) >= n_rows - dependent
    plain = np.linalg.lstsq(features[:, basis], features[:, rest], rcond=None)[0]
    condition = np.linalg.cond(features[:, basis])
    assert np.abs(coefficients - plain).max() <= 1e-14 * condition * max(1.0, np.abs(plain).max())


@pytest.mark.parametrize("n_rows", [5, 33, LAPACK_FROM - 1, LAPACK_FROM, 97, 130])
@pytest.mark.parametrize(
    "dependent", [(), (0,), (0.5,), (1,), (0.3, 0.31, 0.9)], ids=lambda parts: f"at{parts}"
)
def test_the_basis_is_that_of_the_plain_elimination(
    n_rows: int, dependent: tuple[float, ...]
) -> None:
    """LAPACK goes on with a pivot of rounding at a dependent row; nothing of that may be left."""
    rng = np.random.default_rng(n_rows)
    features = rng.uniform(-1.0, 1.0, (n_rows, n_rows + 6))
    rows = {round(part * (n_rows - 1)) for part in dependent}
    for row in sorted(rows):
        features[row] = (features[row - 1] - features[row - 2]) / 2 if row > 1 else 0.0
    basis, rest, coefficients = express(features)
    order, plain = plain_elimination(features, pivot_tolerance(n_rows))
    assert len(basis) == n_rows - len(rows)
    assert basis.tolist() == order[: len(basis)]
    # LAPACK may leave the others in another order.
    place = {point: column for column, point in enumerate(order[len(basis) :])}
    plain = plain[:, [place[int(point)] for point in rest]]
    assert coefficients == pytest.approx(plain, rel=1e-7, abs=1e-9)


def plain_elimination(features: Array, tolerance: float) -> tuple[list[int], Array]:
    """Gauss-Jordan with column pivoting, row after row, as one would write it on paper."""
    reduced = features.copy()
    order = list(range(features.shape[1]))
    pivots: list[int] = []
    for i in range(len(reduced)):
        rank = len(pivots)
        place = rank + int(np.argmax(np.abs(reduced[i, rank:])))
        if abs(reduced[i, place]) <= tolerance:
            continue
        reduced[:, [rank, place]] = reduced[:, [place, rank]]
        order[rank], order[place] = order[place], order[rank]
        reduced[i] /= reduced[i, rank]
        others = np.arange(len(reduced)) != i
        reduced[others] -= np.outer(reduced[others, rank], reduced[i])
        pivots.append(i)
    return order, reduced[pivots, len(pivots) :]


def test_a_matrix_of_zeros_has_rank_0() -> None:
    assert len(express(np.zeros((3, 4)))[0]) == 0


def test_noise_below_the_tolerance_is_not_a_pivot() -> None:
    features = random_features(2, 3, 25, seed=4)
    noise = 1e-17 * np.random.default_rng(5).normal(size=25)
    features[7] = features[2] + features[3] + noise
    assert len(express(features)[0]) == 9


@pytest.mark.parametrize(("m", "k"), [(1, 1), (1, 20), (2, 4), (3, 3), (3, 5), (6, 2)])
@pytest.mark.parametrize("factor", [1.1, 2.0, 3.5])
def test_points_go_until_the_rank_is_left(m: int, k: int, factor: float) -> None:
    n_rows = math.comb(m + k, k)
    g = math.ceil(factor * n_rows) + 1
    features = random_features(m, k, g, seed=6)
    weights = np.random.default_rng(7).uniform(0.1, 1.0, g)
    left, removed = remove(features, weights, g)
    assert removed == g - n_rows
    assert np.count_nonzero(left) == n_rows
    assert np.all(left >= 0.0)
    assert np.abs(features @ (left - weights)).max() <= 1e-14 * weights.sum()


@pytest.mark.parametrize("n_remove", [0, 1, 5, 20])
def test_no_more_points_go_than_asked(n_remove: int) -> None:
    features = random_features(2, 3, 30, seed=8)
    left, removed = remove(features, np.ones(30), n_remove)
    assert removed == n_remove
    assert np.count_nonzero(left == 0.0) == n_remove
    assert np.abs(features @ (left - 1.0)).max() <= 30e-15


@given(seed=st.integers(0, 10_000), rank=st.integers(1, 6), g=st.integers(1, 40))
def test_groups_of_low_rank_shrink_to_their_rank(seed: int, rank: int, g: int) -> None:
    """On a lattice of few values the features depend on each other."""
    rng = np.random.default_rng(seed)
    values = np.linspace(-1.0, 1.0, rank)
    features = legendre_features(rng.choice(values, (g, 1)), product_plan(1, 8))
    weights = rng.integers(1, 5, g).astype(np.float64)
    left, _ = remove(features, weights, g)
    assert np.count_nonzero(left) <= np.linalg.matrix_rank(features)
    assert np.all(left >= 0.0)
    assert np.abs(features @ (left - weights)).max() <= 1e-13 * weights.sum()


def test_the_nearer_end_is_taken() -> None:
    """Four points on a line, mean and mass kept: removing one moves as little mass as possible."""
    x = np.array([-1.0, -0.9, 0.9, 1.0])
    features = np.vstack([np.ones(4), x])
    weights = np.array([1.0, 1e-3, 1.0, 1.0])
    left, removed = remove(features, weights, 1)
    assert removed == 1
    assert left[1] == 0.0
    assert np.abs(left - weights).sum() <= 4e-3


def test_points_without_weight_leave_first_and_move_nothing() -> None:
    features = random_features(1, 2, 6, seed=9)
    weights = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    left, _ = remove(features, weights, 3)
    assert left == pytest.approx(weights, abs=1e-15)


@pytest.mark.parametrize(("m", "k"), [(1, 4), (2, 5), (3, 5)])
@pytest.mark.parametrize("extra", [0, 3])
def test_a_residual_is_met_on_a_basis(m: int, k: int, extra: int) -> None:
    n_rows = math.comb(m + k, k)
    g = n_rows + extra
    features = random_features(m, k, g, seed=10)
    weights = np.random.default_rng(11).uniform(0.5, 1.0, g)
    change = 1e-6 * np.random.default_rng(12).normal(size=g)
    residual = features @ change
    corrected = weights.copy()
    work = np.column_stack([features, np.zeros(n_rows)])
    assert resolve_weights(
        work, residual, corrected, pivot_tolerance(n_rows),
        np.empty(g + 1, np.int64), np.empty(work.size),
    )  # fmt: skip
    assert np.all(corrected >= 0.0)
    assert np.abs(features @ (corrected - weights) - residual).max() <= 1e-14 * weights.sum()
    assert np.count_nonzero(corrected != weights) <= n_rows


def test_weights_that_would_become_negative_are_left_alone() -> None:
    features = np.array([[1.0, 1.0], [-1.0, 1.0]])
    weights = np.array([1.0, 2.0])
    work = np.column_stack([features, np.zeros(2)])
    # Mass from the second to the first point, more than there is.
    residual = features @ np.array([3.0, -3.0])
    assert not resolve_weights(
        work, residual, weights, 1e-15, np.empty(3, np.int64), np.empty(work.size)
    )
    assert weights.tolist() == [1.0, 2.0]
