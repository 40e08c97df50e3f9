"""Weights of least kernel discrepancy: exact moments, bounds, and no better ones."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from momentc.moments.features import legendre_features
from momentc.moments.multi_index import ProductPlan, product_plan
from momentc.reduction import kernel_weights
from momentc.reduction.kernel_weights import KernelWeights, kernel_matrix, kernel_sums

Array = NDArray[np.float64]


def spline(a: Array, b: Array, p: int) -> Array:
    """Return the kernel by its formula."""
    return np.asarray((-1.0) ** (p + 1) * cdist(a, b) ** (2 * p + 1))


def symmetric(lower: Array) -> Array:
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T)


class Problem:
    """Some points of a larger set, with weights that match nothing in particular."""

    def __init__(self, n: int, s: int, m: int, order: int, p: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.source = random.uniform(-1.0, 1.0, (n, m))
        self.source_weights = random.uniform(0.5, 2.0, n)
        self.support = self.source[:s].copy()
        self.weights = np.full(s, self.source_weights.sum() / s)
        self.plan: ProductPlan = product_plan(m, order)
        self.p = p

    @property
    def features(self) -> Array:
        return legendre_features(self.support, self.plan)

    @property
    def wanted(self) -> Array:
        return np.asarray(legendre_features(self.source, self.plan) @ self.source_weights)

    def kernel(self, least_ratio: float, **options: Any) -> KernelWeights:
        return KernelWeights(
            self.support, self.weights,
            kernel_sums(self.support, self.source, self.source_weights, self.p),
            self.features, self.wanted - self.features @ self.weights, self.plan, self.p,
            least_ratio, **options,
        )  # fmt: skip

    def solve(self, order: int, least_ratio: float, **options: Any) -> Array | None:
        return self.kernel(least_ratio, **options).matching(order)

    def miss(self, weights: Array, order: int) -> float:
        """Return the largest error of the moments up to an order, of the mass."""
        count = int(self.plan.first[order + 1])
        error = (self.wanted - self.features @ weights)[:count]
        return float(np.abs(error).max() / self.source_weights.sum())

    def discrepancy(self, weights: Array) -> float:
        """Return the quadratic form in the differences of the weights, by its definition."""
        points = np.vstack([self.support, self.source])
        difference = np.concatenate([weights, -self.source_weights])
        return float(difference @ spline(points, points, self.p) @ difference)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (70, 2), (300, 3)])
def test_matrix_and_sums(p: int, n: int, m: int) -> None:
    random = np.random.default_rng(n)
    points, others = random.normal(size=(n, m)), random.normal(size=(2 * n + 1, m))
    weights = random.uniform(size=2 * n + 1)
    expected = spline(points, others, p) @ weights
    with ThreadPoolExecutor(2) as pool:
        for run in (map, pool.map):
            found = kernel_sums(points, others, weights, p, run)
            assert found == pytest.approx(expected, rel=1e-12, abs=0.0)
            lower = kernel_matrix(points, p, 2.0, run)
            assert symmetric(lower) == pytest.approx(spline(points, points, p) / 2.0, rel=1e-12)


def test_other_powers_are_refused() -> None:
    with pytest.raises(ValueError, match="p is 4"):
        kernel_matrix(np.zeros((2, 1)), 4)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_form_is_the_square_of_a_norm(p: int) -> None:
    """For differences without moments up to degree p, as Micchelli's theorem has it."""
    random = np.random.default_rng(p)
    points = random.uniform(-1.0, 1.0, (60, 2))
    low = legendre_features(points, product_plan(2, p))
    for _ in range(20):
        difference = random.normal(size=60)
        difference -= np.linalg.pinv(low) @ (low @ difference)
        assert difference @ spline(points, points, p) @ difference > 0.0


def test_with_p_1_it_is_the_mean_square_error_over_kinks() -> None:
    """On a line: the integral over t of the squared error of max(0, x - t), times 12."""
    problem = Problem(20, 8, 1, 1, 1)
    weights = problem.solve(1, -np.inf)
    assert weights is not None
    t = np.linspace(-1.0, 1.0, 200_001)
    error = np.zeros_like(t)
    for points, signed in (
        (problem.support, weights),
        (problem.source, -problem.source_weights),
    ):
        for x, weight in zip(points[:, 0], signed, strict=True):
            error += weight * np.maximum(0.0, x - t)
    squared = np.trapezoid(error**2, t)
    assert problem.discrepancy(weights) == pytest.approx(12.0 * squared, rel=1e-6, abs=0.0)


@pytest.mark.parametrize(("order", "p"), [(1, 1), (3, 1), (3, 3), (5, 2)])
def test_without_bounds_it_solves_the_saddle_point_system(order: int, p: int) -> None:
    problem = Problem(200, 60, 2, 5, p)
    found = problem.solve(order, -np.inf)
    assert found is not None
    count = int(problem.plan.first[order + 1])
    features = problem.features[:count]
    kernel = spline(problem.support, problem.support, p)
    system = np.block([[kernel, features.T], [features, np.zeros((count, count))]])
    sums = spline(problem.support, problem.source, p) @ problem.source_weights
    plain = np.linalg.solve(system, np.concatenate([sums, problem.wanted[:count]]))[:60]
    # The ridge shifts what the spline hardly feels.
    assert found == pytest.approx(plain, rel=1e-4, abs=1e-4)
    assert problem.miss(found, order) < 1e-12


@given(
    seed=st.integers(0, 10_000),
    m=st.integers(1, 4),
    s=st.integers(20, 90),
    order=st.integers(1, 3),
    least_ratio=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_bounds_and_moments(seed: int, m: int, s: int, order: int, least_ratio: float) -> None:
    problem = Problem(4 * s, s, m, order, min(order, 3), seed)
    found = problem.solve(order, least_ratio)
    if found is None:
        return
    assert np.all(found >= least_ratio * problem.weights)
    assert problem.miss(found, order) < 1e-10


@pytest.mark.parametrize("seed", range(5))
def test_near_the_best_within_the_bounds(seed: int) -> None:
    """Weights are held one after the other and never let go: close to the true minimum."""
    problem = Problem(60, 16, 2, 1, 1, seed)
    found = problem.solve(1, 0.2)
    assert found is not None
    lowest = 0.2 * problem.weights
    best = minimize(
        problem.discrepancy, found, method="SLSQP",
        bounds=[(bound, None) for bound in lowest],
        constraints={
            "type": "eq", "fun": lambda c: problem.features @ c - problem.wanted,
        },
        options={"maxiter": 500, "ftol": 1e-14},
    )  # fmt: skip
    assert best.success
    assert problem.discrepancy(found) <= 1.05 * best.fun


def test_some_bound_is_met() -> None:
    """Else the tests above say nothing of bounds."""
    problem = Problem(240, 60, 2, 3, 3)
    free, found = problem.solve(3, -np.inf), problem.solve(3, 0.5)
    assert free is not None
    assert found is not None
    assert np.any(free < 0.5 * problem.weights)
    assert np.any(found == 0.5 * problem.weights)


def test_an_order_does_not_depend_on_those_before() -> None:
    """What was held for one of them is not solved for again."""
    problem = Problem(600, 150, 2, 5, 1)
    kernel = problem.kernel(0.5)
    n_held = set()
    for order in (4, 1, 2, 3):
        found, alone = kernel.matching(order), problem.solve(order, 0.5)
        assert found is not None
        assert alone is not None
        assert found == pytest.approx(alone, rel=1e-9)
        assert problem.miss(found, order) < 1e-12
        n_held.add(int(np.count_nonzero(found == 0.5 * problem.weights)))
    assert len(n_held) > 1


def test_bounds_that_leave_nothing() -> None:
    """Equal weights cannot match these moments, and no weight may shrink."""
    assert Problem(240, 30, 2, 4, 3).solve(4, 1.0) is None


@pytest.mark.parametrize("columns", ["binary", "equal", "lattice"])
def test_features_that_depend_on_each_other(columns: str) -> None:
    problem = Problem(800, 200, 3, 4, 3)
    if columns == "binary":
        problem.source[:, 1] = np.sign(problem.source[:, 1])
    elif columns == "equal":
        problem.source[:, 2] = problem.source[:, 1]
    else:
        problem.source[:, 1:] = np.round(1.4 * problem.source[:, 1:])
    problem.support = problem.source[:200].copy()
    found = problem.solve(4, -0.5)
    assert found is not None
    assert np.all(found >= -0.5 * problem.weights)
    assert problem.miss(found, 4) < 1e-10


@pytest.mark.parametrize("kind", ["dependent", "near a line", "clustered"])
@pytest.mark.parametrize("seed", range(16))
def test_images_of_a_high_condition(kind: str, seed: int) -> None:
    """Their Gram matrix has too few digits: what it gives must not be taken."""
    random = np.random.default_rng(seed)
    m, s = int(random.integers(2, 6)), int(random.integers(60, 300))
    order = max(order for order in range(1, 12) if math.comb(m + order, order) <= 0.6 * s)
    problem = Problem(4 * s, s, m, order, min(order, int(random.integers(1, 4))), seed)
    small = 10.0 ** -random.uniform(3.0, 8.0)
    source = problem.source
    if kind == "dependent":
        source[:, 1] = 0.5 * source[:, 0] + small * source[:, 1]
    elif kind == "near a line":
        source[:] = source[:, :1] * np.linspace(0.2, 1.0, m) + small * source
    else:
        centres = random.uniform(-1.0, 1.0, (6, m))
        source[:] = centres[random.integers(6, size=len(source))] + small * source
    problem.support = source[:s].copy()
    found = problem.solve(order, -np.inf)
    assert found is not None
    assert problem.miss(found, order) < 1e-9


@pytest.mark.parametrize(("m", "order"), [(2, 5), (4, 3)])
def test_one_factorisation_gives_what_degree_by_degree_gives(
    m: int, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem(800, 200, m, order, 3)
    at_once = [problem.solve(each, 0.1) for each in range(3, order + 1)]
    monkeypatch.setattr(kernel_weights, "CLEARLY_INDEPENDENT", 2.0)
    monkeypatch.setattr(kernel_weights, "LEAST_CONDITION", 2.0)
    for found, by_degree in zip(
        at_once, (problem.solve(each, 0.1) for each in range(3, order + 1)), strict=True
    ):
        assert found is not None
        assert found == pytest.approx(by_degree, rel=1e-6, abs=0.0)


def test_a_column_of_another_size() -> None:
    """The basis of the lowest degree alone may have more columns than that of all has for it."""
    problem = Problem(600, 150, 2, 3, 1)
    problem.source[:, 1] *= 5e-12
    problem.support[:, 1] *= 5e-12
    found = problem.solve(3, 0.0)
    assert found is None or problem.miss(found, 3) < 1e-8


def test_many_points_on_a_line_are_no_trouble() -> None:
    """The spline's matrix has eigenvalues over twenty decades there."""
    problem = Problem(2000, 500, 1, 6, 3)
    found = problem.solve(6, 0.0)
    assert found is not None
    assert problem.miss(found, 6) < 1e-10


def test_weights_of_many_sizes() -> None:
    problem = Problem(300, 60, 2, 3, 3)
    problem.weights = 10.0 ** np.random.default_rng(1).uniform(-15.0, 0.0, 60)
    found = problem.solve(3, 0.1)
    assert found is not None
    assert np.all(found >= 0.1 * problem.weights)
    assert problem.miss(found, 3) < 1e-10


def test_threads_change_nothing() -> None:
    problem = Problem(600, 150, 3, 4, 3)
    with ThreadPoolExecutor(2) as pool:
        parallel = problem.solve(4, 0.1, map_function=pool.map)
    alone = problem.solve(4, 0.1)
    assert parallel is not None
    assert alone is not None
    assert parallel.tobytes() == alone.tobytes()


def test_points_that_are_not_finite_are_an_error() -> None:
    problem = Problem(40, 20, 2, 1, 1)
    problem.support[3] = np.nan
    with pytest.raises((np.linalg.LinAlgError, ValueError)):
        problem.solve(1, 0.0)
