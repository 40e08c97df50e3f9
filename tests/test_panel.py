"""The function panel: its formulas against plain sums, its seeds, its families."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from momentc.panel import (
    BLOCK_ROWS,
    FAMILIES,
    FREQUENCIES,
    Family,
    Panel,
    draw_panel,
    published_rational,
    published_sigmoid,
)

Array = NDArray[np.float64]


@pytest.fixture
def cloud() -> tuple[Array, Array]:
    """More rows than a block has, in the frame, with weights."""
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (BLOCK_ROWS + 700, 3)), random.uniform(0.5, 2.0, BLOCK_ROWS + 700)


def slow_mean(kind: str, points: Array, weights: Array, vector: Array, scalar: float) -> float:
    """One function by a plain loop, summed exactly."""

    def g(y: Array) -> float:
        inner = math.fsum(y * vector)
        if kind == "sigmoid":
            return 1.0 / (1.0 + math.exp(-inner))
        if kind == "rational":
            return 1.0 / (scalar + inner)
        if kind == "bumps":
            return math.exp(-math.fsum((y - vector) ** 2) / (2.0 * scalar**2))
        if kind == "cosines":
            return math.cos(inner + scalar)
        if kind == "relu":
            return max(0.0, inner - scalar)
        return float(inner > scalar)

    terms = [c * g(y) for y, c in zip(points, weights, strict=True)]
    return math.fsum(terms) / math.fsum(weights)


@pytest.mark.parametrize("kind", FAMILIES)
def test_means_are_those_of_the_formula(kind: str, cloud: tuple[Array, Array]) -> None:
    points, weights = cloud
    panel = draw_panel(points, weights, 3, "report", families=[kind], per_family=5)
    (family,) = panel.families
    expected = [
        slow_mean(kind, points, weights, family.vectors[:, i], float(family.scalars[i]))
        for i in range(5)
    ]
    # A jump may fall between two roundings of one row; anything else agrees to the last digits.
    tolerance = 2e-3 if kind == "steps" else 1e-14
    assert panel.means(points, weights) == pytest.approx(expected, abs=tolerance)


def test_same_seed_same_functions_other_purpose_other_functions(
    cloud: tuple[Array, Array],
) -> None:
    points, weights = cloud

    def vectors(seed: int, purpose: Any) -> Array:
        # Bumps sit on rows, which may be drawn twice; directions may not.
        families = ["sigmoid", "rational", "cosines", "relu"]
        panel = draw_panel(points, weights, seed, purpose, families=families)
        return np.hstack([family.vectors for family in panel.families])

    assert np.array_equal(vectors(1, "report"), vectors(1, "report"))
    for one, other in (("select", "report"), ("order", "report"), ("select", "order")):
        assert not np.isin(vectors(1, one), vectors(1, other)).any(), (one, other)
    assert not np.isin(vectors(2, "report"), vectors(1, "report")).any()


def test_a_family_does_not_depend_on_the_others(cloud: tuple[Array, Array]) -> None:
    points, weights = cloud
    alone = draw_panel(points, weights, 0, "report", families=["relu"])
    among = draw_panel(points, weights, 0, "report", families=["cosines", "bumps", "relu"])
    assert np.array_equal(alone.families[0].vectors, among.families[2].vectors)
    assert np.array_equal(alone.families[0].scalars, among.families[2].scalars)


def test_kinks_and_bumps_sit_in_the_data() -> None:
    """Two far clusters, one of weight nearly nothing: no bump is centred there."""
    points = np.array([[0.5, 0.5]] * 50 + [[-0.5, -0.5]] * 50)
    points += np.random.default_rng(0).normal(size=points.shape) * 1e-3
    weights = np.where(np.arange(100) < 50, 1.0, 1e-12)
    panel = draw_panel(points, weights, 0, "report", families=["bumps"])
    assert np.all(panel.families[0].vectors > 0.4)
    assert np.all(panel.families[0].scalars < 0.1)


@pytest.mark.parametrize(("kind", "beside"), [("relu", 1e-15), ("steps", 2e-6)])
def test_every_kink_goes_through_a_row(
    kind: str, beside: float, cloud: tuple[Array, Array]
) -> None:
    points, weights = cloud
    (family,) = draw_panel(points, weights, 0, "report", families=[kind]).families
    distances = np.abs(points @ family.vectors - family.scalars)
    assert distances.min(axis=0).max() < beside
    assert np.linalg.norm(family.vectors, axis=0) == pytest.approx(np.ones(32), rel=1e-15)


def test_cosines_have_the_frequencies_in_turn_and_phases_all_round(
    cloud: tuple[Array, Array],
) -> None:
    (family,) = draw_panel(*cloud, 0, "report", families=["cosines"], per_family=400).families
    expected = np.resize(FREQUENCIES, 400)
    assert np.linalg.norm(family.vectors, axis=0) == pytest.approx(expected, rel=1e-14)
    assert np.histogram(family.scalars, 4, (0.0, 2.0 * np.pi))[0].min() > 60


def test_sums_over_many_blocks_lose_nothing() -> None:
    """Each block but the first adds less than half of the last digit."""
    weights = np.full(200 * BLOCK_ROWS, 1e-16 / BLOCK_ROWS)
    weights[0] = 1.0
    panel = published_sigmoid(np.ones((1, 1)))
    (found,) = panel.means(np.zeros((len(weights), 1)), weights)
    assert abs(found - 0.5) < 1e-15


def test_duplicates_and_one_point_leave_a_width() -> None:
    points = np.zeros((10, 2))
    panel = draw_panel(points, np.ones(10), 0, "report")
    assert np.all(np.isfinite(panel.means(points, np.ones(10))))


def test_no_error_between_a_set_and_itself_reordered(cloud: tuple[Array, Array]) -> None:
    points, weights = cloud
    panel = draw_panel(points, weights, 0, "report", families=FAMILIES)
    order = np.random.default_rng(1).permutation(len(points))
    errors = panel.compare(
        panel.means(points, weights), panel.means(points[order], 7.0 * weights[order])
    )
    assert list(errors) == list(FAMILIES)
    assert max(error.worst for error in errors.values()) < 2e-15


def test_errors_are_rms_mean_and_worst() -> None:
    panel = published_sigmoid(np.ones((1, 1)))
    both = Panel((panel.families[0], published_rational(np.ones((1, 1)), 2.0).families[0]))
    errors = both.compare(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    assert (errors["eq13"].rms, errors["eq98"].rms) == (0.0, 0.5)
    assert (errors["eq98"].mean_abs, errors["eq98"].worst) == (0.5, 0.5)


def test_errors_over_the_functions_of_a_family() -> None:
    panel = Panel((Family("two", "sigmoid", np.ones((1, 2)), np.zeros(2)),))
    error = panel.compare(np.array([1.0, 5.0]), np.array([1.6, 4.2]))["two"]
    assert (error.rms, error.mean_abs, error.worst) == pytest.approx((0.5**0.5, 0.7, 0.8))


def test_the_published_functions_are_one_mean_of_ten() -> None:
    random = np.random.default_rng(8)
    x, data = 2 * random.random((2, 10)) - 1, 2 * random.random((300, 2)) - 1
    sigmoid = (1.0 / (1.0 + np.exp(-data @ x))).mean()
    rational = (1.0 / (2.05 + data @ x)).mean()
    ones = np.ones(300)
    assert published_sigmoid(x).means(data, ones) == pytest.approx([sigmoid], rel=1e-14)
    assert published_rational(x, 2.05).means(data, ones) == pytest.approx([rational], rel=1e-14)


def test_jumps_are_beside_the_rows_and_not_upon_them() -> None:
    """Rounding in the last digit of equal rows must not move all of them to the other side."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 4)] * 3), axis=-1).reshape(-1, 3)
    ones = np.ones(len(grid))
    panel = draw_panel(grid, ones, 0, "report", families=("steps",), per_family=200)
    exact = panel.means(grid, ones)
    for moved in (np.nextafter(grid, 2.0), np.nextafter(grid, -2.0)):
        assert np.array_equal(panel.means(moved, ones), exact)
    values = panel.families[0].values(grid)
    assert np.all((values.mean(axis=0) > 0.0).sum() > 150), "and yet they go through the data"
