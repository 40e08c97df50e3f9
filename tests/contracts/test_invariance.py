"""What must not change the result: zero weights, places and units, threads, a second run."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import momentc
from momentc.clustering.duplicates import merge_duplicates
from momentc.compression import Compression, certify
from momentc.moments.accumulate import accumulate_moments
from momentc.options import CompressOptions, Effort
from momentc.pipeline import to_target as to_target_module
from momentc.pipeline.points import compress_points
from momentc.weighted import WeightedSet
from tests import oracle
from tests.strategies import Case, cases

Array = NDArray[np.float64]


def run(case: Case, **changes: Any) -> WeightedSet:
    arguments: dict[str, Any] = {
        "points": case.points, "weights": case.weights, "k": case.k, "target": case.target,
        "random_state": case.seed, "threads": 1,
    }  # fmt: skip
    return momentc.compress(**(arguments | changes))


def as_bytes(kept: WeightedSet) -> tuple[bytes, bytes, bytes]:
    return kept.points.tobytes(), kept.weights.tobytes(), kept.index.tobytes()


@given(case=cases(max_rows=250), data=st.data())
def test_rows_of_weight_zero_do_not_count(case: Case, data: st.DataObject) -> None:
    """Not even where they lie far outside of all others."""
    n, m = case.points.shape
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    n_more = data.draw(st.integers(1, 50))
    places = np.sort(rng.choice(n + n_more, n, replace=False))
    points = rng.normal(size=(n + n_more, m)) * 1e3
    weights = np.zeros(n + n_more)
    points[places], weights[places] = case.points, case.weights
    plain, padded = run(case), run(case, points=points, weights=weights)
    assert np.array_equal(padded.index, places[plain.index])
    assert padded.weights.tobytes() == plain.weights.tobytes()
    assert padded.points.tobytes() == plain.points.tobytes()


@given(case=cases(max_rows=250), power=st.integers(-20, 20))
def test_a_power_of_two_as_unit_changes_nothing(case: Case, power: int) -> None:
    """Every digit stays, so the same rows are kept with the same weights."""
    scaled = case.points * 2.0**power
    if not (np.all(np.isfinite(scaled)) and np.array_equal(scaled * 2.0**-power, case.points)):
        return
    plain, other = run(case), run(case, points=scaled)
    assert np.array_equal(plain.index, other.index)
    assert plain.weights.tobytes() == other.weights.tobytes()


@given(case=cases(max_rows=250), power=st.integers(-200, 20))
def test_a_power_of_two_as_unit_of_the_weights_changes_only_them(case: Case, power: int) -> None:
    unit = 2.0**power
    if case.weights.min() * unit < 1e-300 or case.weights.max() * unit > 1e300:
        return
    plain, other = run(case), run(case, weights=case.weights * unit)
    assert np.array_equal(plain.index, other.index)
    assert np.array_equal(plain.weights * unit, other.weights)


@pytest.mark.parametrize("shift", [1.0, -64.0, 2.0**20])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_shift_on_a_binary_grid_keeps_the_bound_and_the_moments(m: int, shift: float) -> None:
    """On multiples of 2^-10 no digit is lost; only the mean rounds differently."""
    points = np.round(np.random.default_rng(m).normal(size=(1500, m)) * 1024.0) / 1024.0
    options = CompressOptions(4, 80, 0, threads=1)
    plain = compress_points(points, np.ones(1500), options)
    moved = compress_points(points + shift, np.ones(1500), options)
    for result, rows in ((plain, points), (moved, points + shift)):
        assert len(result.support) == 80
        kept = result.support
        assert oracle.frame_gap(rows, np.ones(1500), kept.points, kept.weights, 4) <= 1e-13
    assert moved.rank == plain.rank
    assert moved.n_moments == plain.n_moments


@pytest.mark.parametrize(
    ("n", "m", "k", "target"), [(40_000, 3, 4, 300), (20_000, 1, 8, 400), (9000, 5, 3, 200)]
)
def test_threads_and_runs_give_the_same_bytes(n: int, m: int, k: int, target: int) -> None:
    points = np.random.default_rng(1).normal(size=(n, m))
    weights = np.random.default_rng(2).uniform(0.1, 1.0, n)
    results = [
        as_bytes(momentc.compress(points, k, target, weights, threads=threads))
        for threads in (1, 2, 4, 1)
    ]
    assert len(set(results)) == 1


@given(case=cases(max_rows=300))
def test_threads_give_the_same_bytes_on_any_data(case: Case) -> None:
    assert as_bytes(run(case)) == as_bytes(run(case, threads=2)) == as_bytes(run(case, threads=4))


EFFORTS: tuple[Effort, ...] = ("low", "normal", "high")


@pytest.mark.parametrize("effort", EFFORTS)
def test_threads_give_the_same_bytes_at_any_effort(effort: Effort) -> None:
    points = np.random.default_rng(11).normal(size=(20_000, 3))
    results = [
        as_bytes(momentc.compress(points, 3, 400, threads=threads, effort=effort))
        for threads in (1, 2, 4)
    ]
    assert len(set(results)) == 1


@pytest.mark.parametrize("shape", ["smooth", "clustered", "lattice"])
@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("effort", EFFORTS)
def test_the_order_that_is_said_to_match_does(effort: Effort, m: int, shape: str) -> None:
    rng = np.random.default_rng(12)
    points = {
        "smooth": rng.uniform(-1.0, 1.0, (2500, m)),
        "clustered": rng.normal(size=(25, m))[rng.integers(0, 25, 2500)]
        + 0.01 * rng.normal(size=(2500, m)),
        "lattice": rng.integers(0, 30, (2500, m)).astype(np.float64),
    }[shape]
    result = compress_points(
        points, np.ones(2500), CompressOptions(2, 120, 0, threads=1, effort=effort)
    )
    kept = result.support
    assert result.ok
    assert 2 <= result.matched_order < len(result.error)
    matched = oracle.frame_gap(
        points, np.ones(2500), kept.points, kept.weights, result.matched_order
    )
    assert matched <= 1.01 * result.tolerance
    assert oracle.frame_gap(points, np.ones(2500), kept.points, kept.weights, 2) <= 1e-12


def test_more_effort_lowers_the_error_of_a_smooth_function() -> None:
    points = np.random.default_rng(13).uniform(-1.0, 1.0, (20_000, 2))
    values = np.exp(points[:, 0] - 0.5 * points[:, 1])
    errors = []
    for effort in EFFORTS:
        kept = momentc.compress(points, 2, 300, effort=effort)
        errors.append(abs(kept.weights @ values[kept.index] / len(points) - values.mean()))
    assert errors[1] < 0.3 * errors[0]
    assert errors[2] < 0.3 * errors[0]


def test_another_seed_keeps_other_rows() -> None:
    points = np.random.default_rng(3).normal(size=(3000, 2))
    first, second = (momentc.compress(points, 3, 100, random_state=seed) for seed in (0, 1))
    assert not np.array_equal(first.index, second.index)


def test_the_global_generator_is_neither_used_nor_changed() -> None:
    points = np.random.default_rng(4).normal(size=(3000, 2))
    np.random.seed(1)  # noqa: NPY002 - the global generator is what this is about
    first = momentc.compress(points, 3, 100)
    after = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert as_bytes(momentc.compress(points, 3, 100)) == as_bytes(first)


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u1", "?", "f2", "i8"])
def test_the_type_of_the_input_is_kept_and_does_not_matter(dtype: str) -> None:
    points = np.random.default_rng(5).integers(0, 100, (900, 2)).astype(dtype)
    kept = momentc.compress(points, 2, 20)
    plain = momentc.compress(points.astype(np.float64), 2, 20)
    assert kept.points.dtype == np.dtype(dtype)
    assert kept.points.tobytes() == points[kept.index].tobytes()
    assert kept.index.tobytes() == plain.index.tobytes()
    assert kept.weights.tobytes() == plain.weights.tobytes()


def test_the_memory_layout_does_not_matter() -> None:
    points = np.random.default_rng(6).normal(size=(900, 3))
    plain = as_bytes(momentc.compress(points, 2, 20))
    assert as_bytes(momentc.compress(np.asfortranarray(points), 2, 20)) == plain
    assert as_bytes(momentc.compress(np.repeat(points, 2, axis=0)[::2], 2, 20)) == plain
    assert as_bytes(momentc.compress(points.tolist(), 2, 20)) == plain


def test_the_order_of_equal_rows_does_not_matter_to_the_moments() -> None:
    points = np.random.default_rng(7).integers(0, 9, (2000, 2)).astype(np.float64)
    order = np.random.default_rng(8).permutation(2000)
    for rows in (points, points[order]):
        kept = momentc.compress(rows, 4, 30)
        assert oracle.frame_gap(points, np.ones(2000), kept.points, kept.weights, 4) <= 1e-13


@pytest.fixture(scope="module")
def result() -> Compression:
    points = np.random.default_rng(9).normal(size=(4000, 3)) + 3.0
    return compress_points(points, np.ones(4000), CompressOptions(4, 150, 0, threads=1))


def test_the_reported_errors_are_the_true_ones(result: Compression) -> None:
    """Above rounding: of the orders that nobody matched."""
    points = np.random.default_rng(9).normal(size=(4000, 3)) + 3.0
    kept = result.support
    frame = oracle.exact_frame(points, np.ones(4000))
    n_orders = len(result.error)
    assert n_orders >= result.k + 3
    first = oracle.moments(points, np.ones(4000), n_orders - 1, frame)
    second = oracle.moments(kept.points, kept.weights, n_orders - 1, frame)
    exact = oracle.normalised_error_by_order(first, second, n_orders - 1)
    assert result.error == pytest.approx(exact, rel=1e-9, abs=1e-15)
    raw = (
        oracle.moments(points, np.ones(4000), n_orders - 1),
        oracle.moments(kept.points, kept.weights, n_orders - 1),
    )
    exact = oracle.tensor_error_by_order(raw[0], raw[1], n_orders - 1)
    assert result.relative_error == pytest.approx(exact, rel=1e-6, abs=1e-14)
    assert result.matched_order >= 4
    assert max(result.error[: result.matched_order + 1]) <= result.tolerance


def test_the_certificate_repeats_what_was_found(result: Compression) -> None:
    kept = result.support
    error, relative = certify(result, np.asarray(kept.points, dtype=np.float64), kept.weights)
    assert error == result.error
    assert relative == result.relative_error


@pytest.mark.parametrize("change", [1e-9, 1e-6, 1e-2])
def test_the_certificate_sees_a_changed_weight(result: Compression, change: float) -> None:
    kept = result.support
    weights = kept.weights.copy()
    weights[7] *= 1.0 + change
    error, _ = certify(result, np.asarray(kept.points, dtype=np.float64), weights)
    assert max(error[:5]) > 0.1 * change * kept.weights[7] / weights.sum()


def test_the_certificate_sees_a_weight_that_was_lost_among_duplicates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is of the rows as they came, not of what was reduced."""
    points = np.random.default_rng(9).normal(size=(3000, 2))

    def losing(*arguments: Any) -> tuple[NDArray[np.int64], Array]:
        rows, merged = merge_duplicates(*arguments)
        return rows, np.where(rows == 7, 0.5 * merged, merged)

    monkeypatch.setattr("momentc.pipeline.points.merge_duplicates", losing)
    result = compress_points(points, np.ones(3000), CompressOptions(3, 100, 0, threads=1))
    assert not result.ok
    assert result.error[0] == pytest.approx(0.5 / 3000, rel=1e-6)


@pytest.mark.parametrize("change", [-2.0, 1e-3])
def test_a_correction_that_does_not_help_is_not_made(
    change: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = np.random.default_rng(9).normal(size=(3000, 2))

    def wrong(features: Array, weights: Array, missing: Array) -> Array:
        del features, missing
        return np.where(np.arange(len(weights)) % 2, change, 0.0)

    monkeypatch.setattr("momentc.pipeline.to_target.least_change", wrong)
    result = compress_points(points, np.ones(3000), CompressOptions(3, 100, threads=1))
    assert result.ok
    assert np.all(result.support.weights > 0.0)


def test_a_correction_that_asks_for_less_than_no_weight_is_not_made() -> None:
    line = np.array([[-0.5], [0.1], [0.7]])
    weights = np.array([1.0, 0.1, 1.0])
    for middle, taken in ((0.2, True), (-0.5, False)):
        wanted = accumulate_moments(line, np.array([1.0, middle, 1.0]), 2, "legendre")
        corrected, miss = to_target_module._correct(line, weights, wanted)
        assert corrected[1] == pytest.approx(middle if taken else 0.1, rel=1e-12)
        assert (miss < 1e-12) == taken


def test_the_seed_of_the_request_is_told() -> None:
    points = np.random.default_rng(9).normal(size=(300, 2))
    assert compress_points(points, np.ones(300), CompressOptions(2, 30, 5, threads=1)).seed == 5


def test_the_stages_have_times_and_the_counts_are_right(result: Compression) -> None:
    assert (result.n_points, result.n_distinct, result.n_columns) == (4000, 4000, 3)
    assert (result.rank, result.n_moments, result.target, result.seed) == (3, 35, 150, 0)
    assert result.notes == ()
    assert all(seconds >= 0.0 for _, seconds in result.stages)
    assert len(dict(result.stages)) == len(result.stages) >= 3


def test_progress_of_the_whole_rises_to_its_end() -> None:
    calls: list[tuple[str, int, int]] = []
    points = np.random.default_rng(10).normal(size=(5000, 2))
    compress_points(
        points, np.ones(5000), CompressOptions(3, 100, 0, threads=2),
        progress=lambda *call: calls.append(call),
    )  # fmt: skip
    done = [removed for _, removed, _ in calls]
    assert done == sorted(done)
    assert done[-1] == 4900
    assert {total for _, _, total in calls} == {4900}
