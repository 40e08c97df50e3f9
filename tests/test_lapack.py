"""LAPACK's and BLAS's routines as the kernels call them."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.engine.threads import thread_map
from momentc.lapack import (
    add_weighted_sums,
    factorise_lu,
    solve_lower,
    solve_unit_lower,
    subtract_product,
)
from momentc.map_function import run_in_parts

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


@given(n=st.integers(1, 40), first=st.integers(0, 3), seed=st.integers(0, 2**32 - 1))
def test_weighted_sums_are_added(n: int, first: int, seed: int) -> None:
    """Of integers, so exactly: no entry is left out or counted twice."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-9, 10, (3, n + 2)).astype(np.float64)
    weights = rng.integers(0, 10, first + n + 1).astype(np.float64)
    before = rng.integers(-9, 10, 3).astype(np.float64)
    sums = before.copy()
    add_weighted_sums(rows, weights, first, first + n, sums)
    assert np.array_equal(sums, before + rows[:, :n] @ weights[first : first + n])


@pytest.mark.parametrize(("n", "p"), [(1, 1), (5, 0), (40, 3), (200, 130)])
def test_right_sides_are_solved_in_place(n: int, p: int) -> None:
    # What is above the diagonal is not looked at.
    factor = np.asfortranarray(matrix(n, n) + 2.0 * n * np.eye(n))
    right = np.asfortranarray(matrix(n, p))
    found = right.copy(order="F")
    solve_lower(factor, found)
    assert np.abs(np.tril(factor) @ found - right).max(initial=0.0) <= 1e-13


def test_columns_solved_on_threads() -> None:
    factor = np.asfortranarray(matrix(150, 150) + 300.0 * np.eye(150))
    alone = np.asfortranarray(matrix(150, 400))
    shared = alone.copy(order="F")

    def solve(first: int, last: int) -> None:
        solve_lower(factor, shared[:, first:last])

    run_in_parts(lambda first, last: solve_lower(factor, alone[:, first:last]), 400, 64, map)
    with thread_map(3) as map_function:
        run_in_parts(solve, 400, 64, map_function)
    assert shared.tobytes() == alone.tobytes()


def test_arrays_that_blas_would_misread_are_refused() -> None:
    factor, right = np.eye(3, order="F"), np.ones((3, 2), order="F")
    for wrong in (
        (factor, np.ones((3, 2))),
        (factor, np.ones((3, 4), order="F")[:, ::2]),
        (factor.astype(np.float32), right),
        (factor[:2], right),
        (factor, right.astype(np.float32)),
    ):
        with pytest.raises(ValueError, match="Fortran"):
            solve_lower(*wrong)
