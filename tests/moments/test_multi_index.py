"""Multi-indices against plain enumeration."""

import itertools
import math

import pytest

from momentc.moments.multi_index import n_moments, product_plan
from tests import oracle

SIZES = [(m, k) for m in range(1, 7) for k in range(7) if math.comb(m + k, k) <= 1000]


@pytest.mark.parametrize(("m", "k"), SIZES)
def test_every_multi_index_stands_once_and_by_degree(m: int, k: int) -> None:
    plan = product_plan(m, k)
    listed = [tuple(row) for row in plan.exponents.tolist()]
    assert sorted(listed) == sorted(oracle.monomials(m, k))
    assert plan.degree().tolist() == [sum(row) for row in listed]
    assert plan.n_moments == len(listed) == n_moments(m, k)
    for below, above in itertools.pairwise(listed):
        assert sum(below) < sum(above) or (sum(below) == sum(above) and below > above)


@pytest.mark.parametrize(("m", "k"), SIZES)
def test_the_first_of_every_degree(m: int, k: int) -> None:
    """The lower orders of a plan are the plan of the lower order."""
    plan = product_plan(m, k)
    assert plan.first.tolist() == [0, *(n_moments(m, degree) for degree in range(k + 1))]
    if k:
        lower = product_plan(m, k - 1)
        assert plan.exponents[: lower.n_moments].tolist() == lower.exponents.tolist()


@pytest.mark.parametrize(("m", "k"), SIZES)
def test_each_product_is_its_parent_times_a_power_of_the_last_variable(m: int, k: int) -> None:
    plan = product_plan(m, k)
    assert plan.parent[0] == plan.axis[0] == plan.power[0] == 0
    for i in range(1, plan.n_moments):
        built = plan.exponents[plan.parent[i]].copy()
        assert plan.parent[i] < i
        assert not built[plan.axis[i] :].any()
        built[plan.axis[i]] += plan.power[i]
        assert built.tolist() == plan.exponents[i].tolist()


@pytest.mark.parametrize("order", [0, 1, 4])
def test_without_variables_only_the_constant_is_left(order: int) -> None:
    plan = product_plan(0, order)
    assert plan.n_moments == n_moments(0, order) == 1
    assert plan.exponents.shape == (1, 0)
    assert plan.first.tolist() == [0, *[1] * (order + 1)]
    assert plan.degree().tolist() == [0]


def test_plans_are_shared_and_cannot_be_changed() -> None:
    assert product_plan(3, 2) is product_plan(3, 2)
    with pytest.raises(ValueError, match="read-only"):
        product_plan(3, 2).exponents[0, 0] = 1


def test_counts_beyond_64_bits() -> None:
    assert n_moments(10**6, 1000) == math.comb(10**6 + 1000, 1000)
    assert n_moments(64, 5) == 11_238_513
