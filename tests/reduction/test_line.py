"""Points on a line: null vectors in closed form, windows in sweeps, against exact arithmetic."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import momentc
from momentc.options import Effort
from momentc.reduction import line
from momentc.reduction.line import reduce_line
from tests import oracle

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)

Draw = Callable[[int, np.random.Generator], Array]

LINES: dict[str, Draw] = {
    "uniform": lambda n, rng: rng.uniform(-1.0, 1.0, n),
    "normal": lambda n, rng: rng.normal(size=n),
    "heavy": lambda n, rng: rng.standard_cauchy(n),
    "two scales": lambda n, rng: rng.integers(0, 3, n) + 1e-9 * rng.normal(size=n),
    "many scales": lambda n, rng: 10.0 ** rng.uniform(-323.0, 0.0, n),
    "subnormal": lambda n, rng: np.where(
        rng.random(n) < 0.1, rng.uniform(-1.0, 1.0, n), rng.integers(1, 1000, n) * 5e-324
    ),
    "lattice": lambda n, rng: rng.permutation(n).astype(np.float64),
    "few values": lambda n, rng: rng.integers(0, 9, n).astype(np.float64),
}
WEIGHTS: dict[str, Draw] = {
    "ones": lambda n, rng: np.ones(n),
    "decades": lambda n, rng: 10.0 ** rng.uniform(-15.0, 0.0, n),
    "dominant": lambda n, rng: np.where(np.arange(n) == n // 2, 1.0, 1e-15),
}


@given(
    kind=st.sampled_from(sorted(LINES)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    n_moments=st.sampled_from([1, 2, 3, 6, 7, 10, 41]),
    n=st.integers(1, 250),
    extra=st.integers(0, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_moments_stay_and_the_target_is_met(
    kind: str, weighting: str, n_moments: int, n: int, extra: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values, before = LINES[kind](n, rng), WEIGHTS[weighting](n, rng)
    values /= np.abs(values).max(initial=1.0)
    weights = before.copy()
    kept = reduce_line(values, weights, n_moments + extra, n_moments)
    assert np.array_equal(kept, np.flatnonzero(weights))
    assert np.all(weights >= 0.0)
    # Lattices, and points that are equal, may lose two weights in one step.
    assert len(kept) <= min(n, n_moments + extra)
    if kind in ("uniform", "normal", "heavy"):
        assert len(kept) == min(n, n_moments + extra)
    points = values[:, None]
    gap = oracle.frame_gap(points, before, points[kept], weights[kept], n_moments - 1)
    assert gap <= 1e-13


@given(data=st.data(), n=st.integers(2, 64), seed=st.integers(0, 2**32 - 1))
def test_products_of_distances_are_right_to_the_last_digits(
    data: st.DataObject, n: int, seed: int
) -> None:
    """In one pass, or with exponents apart where float64 has no room for them."""
    rng = np.random.default_rng(seed)
    kind = data.draw(st.sampled_from(["uniform", "two scales", "many scales", "subnormal"]))
    values = np.unique(LINES[kind](n, rng))
    n = len(values)
    exact = [
        math.prod(
            (abs(Fraction(a) - Fraction(b)) for b in values.tolist() if a != b), start=Fraction(1)
        )
        for a in values.tolist()
    ]
    extent = values[-1] - values[0]
    unit = 2.0 ** min(1023, 3 - math.frexp(extent)[1]) if n > 1 else 1.0
    plain, apart = np.empty(n), np.empty(n)
    if line._distance_products(values * unit, plain):
        scaled = [value * Fraction(unit) ** (n - 1) for value in exact]
        for found, value in zip(plain.tolist(), scaled, strict=True):
            assert abs(Fraction(found) / value - 1) <= 2 * n * EPS
    line._distance_products_apart(values, apart)
    # Up to a power of 2, the same for all, which is told from the least.
    least = int(np.argmin(apart))
    power = Fraction(2) ** round(math.log2(Fraction(apart[least])) - log2(exact[least]))
    for found, value in zip(apart.tolist(), exact, strict=True):
        if math.isinf(found):
            assert value * power > Fraction(2) ** 1023
        else:
            assert abs(Fraction(found) / (value * power) - 1) <= 2 * n * EPS


def log2(value: Fraction) -> float:
    """Return the logarithm of a fraction outside of the range of float64."""
    shift = value.numerator.bit_length() - value.denominator.bit_length()
    return math.log2(value / Fraction(2) ** shift) + shift


def test_what_float64_has_no_room_for_is_told() -> None:
    """Forty points within 1e-12, and one far away: their products span 480 decades."""
    values = np.append(1e-12 * np.arange(1.0, 41.0), 6.0)
    assert not line._distance_products(values, np.empty(41))
    assert line._distance_products(np.linspace(0.0, 6.0, 41), np.empty(41))
    weights = np.random.default_rng(0).uniform(0.5, 1.0, 41)
    before = weights.copy()
    kept = reduce_line(values, weights, 40, 40)
    assert len(kept) == 40
    assert oracle.frame_gap(values[:, None], before, values[kept, None], weights[kept], 39) <= 1e-13


def test_crowded_windows_go_first() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.uniform(0.0, 1.0, 200), 5.0 + 1e-3 * rng.uniform(size=200)])
    weights = np.ones(400)
    kept = reduce_line(values, weights, 260, 6)
    assert np.array_equal(kept[:200], np.arange(200)), "the sparse half is as it was"
    assert np.all(weights[:200] == 1.0)


def test_between_equal_extents_light_windows_go_first() -> None:
    values = np.linspace(-1.0, 1.0, 401)
    weights = np.where(values < 0.0, 1.0, 100.0) * np.random.default_rng(2).uniform(0.9, 1.1, 401)
    kept = reduce_line(values, weights, 300, 6)
    n_heavy = np.count_nonzero(values[kept] >= 0.0)
    assert n_heavy > 1.5 * (len(kept) - n_heavy)


@pytest.mark.parametrize(("n", "target", "n_moments"), [(50_000, 300, 6), (40_000, 9000, 10)])
def test_pieces_on_threads_change_nothing(n: int, target: int, n_moments: int) -> None:
    values = np.random.default_rng(3).normal(size=n)
    alone, shared = np.ones(n), np.ones(n)
    calls: list[tuple[str, int, int]] = []
    kept = reduce_line(values, alone, target, n_moments, progress=lambda *call: calls.append(call))
    with ThreadPoolExecutor(2) as pool:
        reduce_line(values, shared, target, n_moments, map_function=pool.map)
    assert alone.tobytes() == shared.tobytes()
    assert len(kept) == target
    assert len(calls) > 2
    assert oracle.frame_gap(
        values[:, None], np.ones(n), values[kept, None], alone[kept], n_moments - 1
    ) <= 1e-13  # fmt: skip


def test_points_without_a_weight_have_no_part() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=300)
    weights = np.where(rng.random(300) < 0.5, 0.0, 1.0)
    alive = np.flatnonzero(weights)
    kept = reduce_line(values, weights, 30, 5)
    assert set(kept.tolist()) <= set(alive.tolist())
    assert len(kept) == 30


def test_a_kink_is_seen_as_well_as_by_the_nearest_points() -> None:
    """The error of |x - a| is that of a window, not that of the line."""
    rng = np.random.default_rng(5)
    values = np.sort(rng.normal(size=4000))
    weights = np.ones(4000)
    kept = reduce_line(values, weights, 400, 6)
    places = rng.choice(values, 50)
    exact = np.abs(values - places[:, None]).mean(axis=1)
    found = np.abs(values[kept] - places[:, None]) @ weights[kept] / 4000
    spacing = np.ptp(np.quantile(values, [0.25, 0.75])) / 200
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.3 * spacing * 6 / 400


@pytest.mark.parametrize("effort", ["low", "normal"])
def test_subnormal_distances_from_end_to_end(effort: Effort) -> None:
    """Extents whose reciprocal is no float64: no unit of a power of 2 makes them 4 wide."""
    rng = np.random.default_rng(0)
    values = np.concatenate([[-1.0, 1.0], rng.uniform(0.0, 1e-308, 100)])
    kept = momentc.compress(values[:, None], 4, 30, effort=effort)
    assert kept.weights.sum() == pytest.approx(102.0, rel=1e-13)
    assert len(kept.weights) <= 30
