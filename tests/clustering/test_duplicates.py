"""Equal rows become one, and their weights add up."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from momentc.clustering import duplicates
from momentc.clustering.duplicates import merge_duplicates
from tests.strategies import weighted_sets

Array = NDArray[np.float64]


def plain(points: Array, weights: Array) -> dict[tuple[float, ...], tuple[int, Fraction]]:
    """Return {row: (first position, total weight)}; Python holds 0.0 and -0.0 for the same."""
    found: dict[tuple[float, ...], tuple[int, Fraction]] = {}
    for i, (row, weight) in enumerate(zip(points.tolist(), weights.tolist(), strict=True)):
        first, total = found.get(tuple(row), (i, Fraction(0)))
        found[tuple(row)] = (first, total + Fraction(weight))
    return found


@given(data=weighted_sets())
def test_the_first_of_each_stays_with_the_weight_of_all(data: tuple[Array, Array]) -> None:
    points, weights = data
    rows, merged = merge_duplicates(points, weights)
    expected = plain(points, weights)
    assert rows.tolist() == [first for first, _ in expected.values()]
    exact = np.array([float(total) for _, total in expected.values()])
    assert merged == pytest.approx(exact, rel=1e-13, abs=0.0)


@given(
    values=st.lists(
        st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1.7e308, 1.0 + 2.0**-52]),
        min_size=2, max_size=40,
    )
)  # fmt: skip
def test_values_that_are_almost_the_same(values: list[float]) -> None:
    points = np.array(values[: len(values) // 2 * 2]).reshape(-1, 2)
    rows, merged = merge_duplicates(points, np.ones(len(points)))
    expected = plain(points, np.ones(len(points)))
    assert rows.tolist() == [first for first, _ in expected.values()]
    assert merged.tolist() == [float(total) for _, total in expected.values()]


def test_the_signs_of_zeros_do_not_make_rows_differ() -> None:
    points = np.array([[-0.0, 1.0], [0.0, 1.0], [0.0, -1.0]])
    rows, merged = merge_duplicates(points, np.array([1.0, 2.0, 4.0]))
    assert rows.tolist() == [0, 2]
    assert merged.tolist() == [3.0, 4.0]
    assert np.signbit(points[0, 0]), "the input keeps its zeros"


def test_without_duplicates_nothing_changes() -> None:
    points = np.arange(12.0).reshape(6, 2)
    weights = np.arange(1.0, 7.0)
    rows, merged = merge_duplicates(points, weights)
    assert rows.tolist() == list(range(6))
    assert merged.tolist() == weights.tolist()


def test_any_memory_layout_will_do() -> None:
    points = np.asfortranarray(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    assert merge_duplicates(points, np.ones(3))[0].tolist() == [0, 1]
    wide = np.repeat(points, 2, axis=1)[:, ::2]
    assert merge_duplicates(wide, np.ones(3))[0].tolist() == [0, 1]


def test_rows_that_only_share_a_hash_slot() -> None:
    """Far more rows than any small table has slots, on a lattice that invites collisions."""
    x, y = np.meshgrid(np.arange(200.0), np.arange(200.0))
    points = np.column_stack([x.ravel(), y.ravel()])
    doubled = np.concatenate([points, points[::-1]])
    rows, merged = merge_duplicates(doubled, np.ones(len(doubled)))
    assert rows.tolist() == list(range(40_000))
    assert np.all(merged == 2.0)


def test_many_rows_are_the_same_on_threads() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 300, (100_000, 2)).astype(np.float64)
    weights = rng.random(len(points))
    rows, merged = merge_duplicates(points, weights)
    unique, first, inverse = np.unique(points, axis=0, return_index=True, return_inverse=True)
    assert rows.tolist() == sorted(first.tolist())
    by_row = np.bincount(inverse.ravel(), weights, minlength=len(unique))
    assert merged == pytest.approx(by_row[np.argsort(first)], rel=1e-13)
    with ThreadPoolExecutor(3) as pool:
        threaded = merge_duplicates(points, weights, pool.map)
    assert np.array_equal(threaded[0], rows)
    assert np.array_equal(threaded[1], merged)


@pytest.mark.parametrize("least_part", [64, duplicates.MARKED_ROWS])
@pytest.mark.parametrize("n_equal", [0, 1, 40, 6000])
@pytest.mark.parametrize("n", [300, 20_000])
def test_few_equal_rows_among_many(
    n: int, n_equal: int, least_part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that share a bit by chance are looked into, and differ; beyond some share all are.

    Wherever the equal ones are: in one part of those that threads take, or in two.
    """
    monkeypatch.setattr(duplicates, "MARKED_ROWS", least_part)
    rng = np.random.default_rng(n_equal)
    points = rng.normal(size=(n, 2))
    points[rng.integers(n, size=n // 100)] = 0.0
    later, earlier = rng.integers(n, size=(2, n_equal))
    points[later] = -points[earlier] + 0.0
    points[earlier] = -points[earlier]
    weights = rng.uniform(size=n)
    with ThreadPoolExecutor(2) as pool:
        rows, merged = merge_duplicates(points, weights, pool.map)
    expected = plain(points, weights)
    assert rows.tolist() == [first for first, _ in expected.values()]
    exact = np.array([float(total) for _, total in expected.values()])
    assert merged == pytest.approx(exact, rel=1e-13, abs=0.0)
    assert len(rows) < n
