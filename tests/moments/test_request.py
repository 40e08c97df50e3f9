"""What may be asked: the bound of Tchakaloff, and messages that say what would do."""

import math
import re
import time

import pytest

from momentc.errors import RequestError
from momentc.moments.request import check_countable, check_request, largest_order


@pytest.mark.parametrize(("m", "k"), [(1, 1), (1, 40), (2, 15), (3, 5), (5, 3), (64, 1)])
def test_the_bound_itself_is_met(m: int, k: int) -> None:
    check_request(k, math.comb(m + k, k), 10**9, m)


@pytest.mark.parametrize(("m", "k"), [(1, 2), (1, 40), (2, 15), (3, 5), (5, 3), (64, 2)])
def test_one_below_names_the_target_and_the_k_that_would_do(m: int, k: int) -> None:
    needed = math.comb(m + k, k)
    with pytest.raises(RequestError) as caught:
        check_request(k, needed - 1, 10**9, m)
    message = str(caught.value)
    named_target = re.search(r"a target of at least (\d+)", message)
    named_order = re.search(r"k = (\d+) is the largest that (\d+) points", message)
    assert named_target is not None
    assert named_order is not None
    check_request(k, int(named_target[1]), 10**9, m)
    check_request(int(named_order[1]), needed - 1, 10**9, m)
    with pytest.raises(RequestError):
        check_request(int(named_order[1]) + 1, needed - 1, 10**9, m)


def test_too_few_points_for_any_k() -> None:
    with pytest.raises(RequestError, match="no k will do"):
        check_request(1, 3, 10**9, 3)


@pytest.mark.parametrize("target", [100, 101])
def test_nothing_is_asked_where_nothing_must_be_reduced(target: int) -> None:
    check_request(1000, target, 100, 10**6)


@pytest.mark.parametrize("target", [1000, 10**12])
def test_absurd_requests_are_refused_at_once(target: int) -> None:
    start = time.perf_counter()
    with pytest.raises(RequestError):
        check_request(10**3, target, 10**15, 10**6)
    assert time.perf_counter() - start < 0.5


def test_more_moments_than_can_be_worked_with() -> None:
    """Even where the target would allow them."""
    with pytest.raises(RequestError, match=r"the largest k is 3\b") as caught:
        check_request(5, 10**9, 10**12, 47)
    assert str(math.comb(52, 5)) in str(caught.value)
    with pytest.raises(RequestError):
        check_countable(5, 47)
    check_countable(3, 47)


@pytest.mark.parametrize(("m", "limit"), [(1, 10), (2, 10), (3, 20), (3, 19), (7, 7), (7, 8)])
def test_the_largest_order(m: int, limit: int) -> None:
    order = largest_order(m, limit)
    assert math.comb(m + order, order) <= limit < math.comb(m + order + 1, order + 1)


def test_without_variables_no_order_is_the_largest() -> None:
    assert largest_order(0, 100) == 0
