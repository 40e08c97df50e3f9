"""LAPACK's routines as the kernels call them, and the tableau behind its address."""

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from momentc.reduction.compiled_apart import call_remove_points, remove_points_address
from momentc.reduction.lapack import factorise_lu, solve_unit_lower, subtract_product
from momentc.reduction.tableau import remove_points

Array = NDArray[np.float64]

SHAPES = [(1, 1), (1, 5), (3, 3), (24, 27), (84, 94), (130, 400)]


def matrix(n_rows: int, g: int) -> Array:
    return np.random.default_rng(n_rows + g).uniform(-1.0, 1.0, (n_rows, g))


@pytest.mark.parametrize(("n_rows", "g"), SHAPES)
def test_the_factors_multiply_to_the_matrix(n_rows: int, g: int) -> None:
    rows = matrix(n_rows, g)
    factors, order_of = rows.copy(), np.full(g, -1)
    factorise_lu(factors, order_of)
    assert sorted(order_of.tolist()) == list(range(g))
    lower = np.tril(factors.T, -1)[:, :n_rows] + np.eye(g, n_rows)
    upper = np.triu(factors.T)[:n_rows]
    assert np.abs(lower @ upper - rows[:, order_of].T).max() <= 1e-13
    assert np.abs(lower).max() <= 1.0


@pytest.mark.parametrize(("n_rows", "g"), [shape for shape in SHAPES if shape[0] < shape[1]])
def test_the_triangle_is_solved(n_rows: int, g: int) -> None:
    factors, order_of = matrix(n_rows, g), np.empty(g, np.int64)
    factorise_lu(factors, order_of)
    lower = np.tril(factors.T, -1) + np.eye(g, n_rows)
    plain = scipy.linalg.solve_triangular(lower[:n_rows].T, lower[n_rows:].T, unit_diagonal=True)
    triangle = factors[:, :n_rows].copy()
    solve_unit_lower(factors, n_rows)
    assert factors[:, n_rows:] == pytest.approx(plain, rel=1e-10, abs=1e-10)
    assert np.array_equal(factors[:, :n_rows], triangle)


def test_a_product_is_subtracted_from_some_columns() -> None:
    rows, left, right = matrix(9, 14), matrix(4, 9), matrix(4, 6)
    expected = rows.copy()
    expected[:, 5:11] -= left.T @ right
    subtract_product(rows, 5, 11, left, right)
    assert rows == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(("n_rows", "g"), [(10, 25), (40, 90)])
def test_by_its_address_the_tableau_does_the_same(n_rows: int, g: int) -> None:
    features = matrix(n_rows, g)
    features[0] = 1.0
    outcomes = []
    for call in (remove_points, lambda *rest: call_remove_points(remove_points_address(), *rest)):
        weights = np.linspace(0.5, 1.0, g)
        removed = call(
            features.copy(), weights, g, 1e-13, np.empty(g, np.int64), np.empty(features.size)
        )
        outcomes.append((removed, weights.tobytes()))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == g - n_rows
