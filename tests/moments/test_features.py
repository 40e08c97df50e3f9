"""Features against numpy's own polynomials."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import legendre

from momentc.moments.features import (
    fill_products,
    legendre_features,
    legendre_tables,
    power_tables,
)
from momentc.moments.multi_index import product_plan
from tests import oracle

EPS = float(np.finfo(np.float64).eps)


@pytest.mark.parametrize("order", [0, 1, 2, 7, 40])
def test_legendre_tables_are_numpys(order: int) -> None:
    values = np.concatenate([np.linspace(-1.0, 1.0, 41), [1e-300, -0.0]])
    tables = np.full((1, order + 1, len(values)), np.nan)
    legendre_tables(values[None, :], 0, len(values), tables)
    rows = tables[0]
    assert np.abs(rows - legendre.legvander(values, order).T).max() <= 8 * EPS * (order + 1)
    assert rows[:, 40] == pytest.approx(1.0, abs=EPS * (order + 1)), "P_l(1) = 1"


def test_legendre_tables_of_high_degree_against_exact_values() -> None:
    values = np.array([-0.875, -0.3, 0.1, 0.999])
    tables = np.empty((1, 41, 4))
    legendre_tables(values[None, :], 0, 4, tables)
    rows = tables[0]
    exact = [oracle.legendre_values(Fraction(value), 40) for value in values.tolist()]
    assert np.abs(rows.T - np.array(exact, dtype=np.float64)).max() <= 1e-14


@given(order=st.integers(0, 12), value=st.floats(-1.0, 1.0))
def test_power_tables_are_powers(order: int, value: float) -> None:
    tables = np.empty((1, order + 1, 1))
    power_tables(np.array([[value]]), 0, 1, tables)
    exact = [float(Fraction(value) ** degree) for degree in range(order + 1)]
    assert tables[0, :, 0] == pytest.approx(np.array(exact), rel=order * EPS, abs=5e-324)


@pytest.mark.parametrize("fill", [legendre_tables, power_tables])
def test_tables_of_a_part_of_the_columns(fill: Any) -> None:
    columns = np.random.default_rng(0).uniform(-1.0, 1.0, (3, 20))
    whole = np.empty((3, 5, 20))
    fill(columns, 0, 20, whole)
    part = np.full((3, 5, 9), np.nan)
    fill(columns, 4, 11, part)
    assert np.array_equal(part[:, :, :7], whole[:, :, 4:11])
    assert np.all(np.isnan(part[:, :, 7:]))


@pytest.mark.parametrize(("m", "k"), [(1, 1), (1, 9), (2, 5), (3, 4), (6, 2)])
def test_features_are_products_of_legendre_polynomials(m: int, k: int) -> None:
    points = np.random.default_rng(m + k).uniform(-1.0, 1.0, (37, m))
    plan = product_plan(m, k)
    features = legendre_features(points, plan)
    expected = np.array(
        [
            math.prod(
                legendre.legval(points[:, j], np.eye(k + 1)[power])
                for j, power in enumerate(exponents)
            )
            for exponents in plan.exponents.tolist()
        ]
    )
    assert features.shape == (plan.n_moments, 37)
    assert np.abs(features - expected).max() <= 32 * EPS
    assert np.abs(features).max() <= 1.0 + 8 * EPS


def test_features_do_not_depend_on_the_memory_layout() -> None:
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (50, 3))
    plan = product_plan(3, 4)
    plain = legendre_features(points, plan)
    assert np.array_equal(plain, legendre_features(np.asfortranarray(points), plan))
    assert np.array_equal(plain, legendre_features(np.repeat(points, 2, axis=0)[::2], plan))


def test_without_variables_there_is_one_feature() -> None:
    assert legendre_features(np.zeros((4, 0)), product_plan(0, 3)).tolist() == [[1.0] * 4]


def test_products_of_any_tables() -> None:
    """Numbers with distinct prime factors show which entries were multiplied."""
    tables = np.array([[[1.0], [2.0], [3.0]], [[1.0], [5.0], [7.0]]])
    plan = product_plan(2, 2)
    out = np.empty((6, 1))
    fill_products(tables, plan.parent, plan.axis, plan.power, out.shape[1], out)
    by_index = dict(zip(map(tuple, plan.exponents.tolist()), out[:, 0].tolist(), strict=True))
    assert by_index == {(0, 0): 1, (1, 0): 2, (0, 1): 5, (2, 0): 3, (1, 1): 10, (0, 2): 7}
