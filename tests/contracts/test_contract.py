"""What every reduction promises, for any weighted set, against exact arithmetic."""

import math

import numpy as np
import pytest
from hypothesis import given

from tests import oracle
from tests.contracts.methods import METHODS, Method, Reduced
from tests.strategies import Case, cases

# Largest difference of a moment in the frame, per unit of mass.
MOMENT_GAP = 1e-12

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def gap(reduced: Reduced, order: int) -> float:
    return oracle.frame_gap(
        reduced.points, reduced.weights, reduced.kept, reduced.kept_weights, order
    )


@every_method
@given(case=cases())
def test_moments_up_to_k_and_the_total_weight_stay(method: Method, case: Case) -> None:
    assert gap(method.run(case), case.k) <= MOMENT_GAP


@every_method
@given(case=cases())
def test_no_weight_is_negative_or_lost_to_nan(method: Method, case: Case) -> None:
    weights = method.run(case).kept_weights
    assert np.all(np.isfinite(weights))
    assert np.all(weights > 0.0)


@every_method
@given(case=cases())
def test_kept_rows_are_rows_of_the_input(method: Method, case: Case) -> None:
    """Bit for bit, each once, in the input's order."""
    reduced = method.run(case)
    assert np.all(np.diff(reduced.index) > 0)
    assert reduced.points[reduced.index].tobytes() == reduced.kept.tobytes()


@every_method
@given(case=cases())
def test_the_support_is_at_most_the_target(method: Method, case: Case) -> None:
    reduced = method.run(case)
    n, m = case.points.shape
    if method.reaches_target:
        assert len(reduced.index) <= case.target
    else:
        n_groups = 4
        assert len(reduced.index) <= max(n, n_groups * math.comb(m + case.k, case.k))


@every_method
@given(case=cases(general=True))
def test_all_of_the_target_is_used(method: Method, case: Case) -> None:
    """In general position, where no two weights reach zero in the same step."""
    if method.sees_all_rows:
        assert len(method.run(case).index) == min(case.target, len(case.points))


@every_method
@given(case=cases())
def test_what_is_at_or_below_the_target_stays_as_it_is(method: Method, case: Case) -> None:
    few = Case(case.points[: case.target], case.weights[: case.target], case.k, case.target, 0)
    if not method.sees_all_rows:  # groups and cells keep N points, which may be fewer
        return
    reduced = method.run(few)
    assert np.array_equal(reduced.index, np.arange(len(few.points)))
    assert reduced.kept_weights.tobytes() == few.weights.tobytes()


@every_method
@given(case=cases(max_rows=250))
def test_compressing_twice_keeps_the_moments(method: Method, case: Case) -> None:
    once = method.run(case)
    least = math.comb(case.points.shape[1] + case.k, case.k)
    kept = np.ascontiguousarray(once.kept, dtype=np.float64)
    twice = method.run(Case(kept, once.kept_weights, case.k, least, case.seed))
    assert len(twice.index) <= len(once.index)
    if method.reaches_target:
        assert len(twice.index) <= least
    assert gap(twice, case.k) <= MOMENT_GAP


@every_method
@given(case=cases())
def test_the_input_is_not_touched(method: Method, case: Case) -> None:
    points, weights = case.points.copy(), case.weights.copy()
    method.run(case)
    assert points.tobytes() == case.points.tobytes()
    assert weights.tobytes() == case.weights.tobytes()


@every_method
@given(case=cases())
def test_the_same_request_gives_the_same_bytes(method: Method, case: Case) -> None:
    first, second = method.run(case), method.run(case)
    assert first.index.tobytes() == second.index.tobytes()
    assert first.kept_weights.tobytes() == second.kept_weights.tobytes()
