"""The one place where random inputs of the tests come from.

A point set is a shape (normal, clustered, lattice, a curve), bent by what real data do to it:
duplicates, constant and dependent columns, large offsets, tiny and huge units, weights over fifteen
decades. Everything derives from drawn integers, so a failing example can be repeated and shrunk.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

__all__ = [
    "Case",
    "StreamCase",
    "cases",
    "divisions",
    "groupings",
    "matrices",
    "stream_cases",
    "weighted_sets",
]

GENERAL_SHAPES = ("normal", "clustered", "curve", "heavy")
SHAPES = (*GENERAL_SHAPES, "lattice", "binary")
WEIGHTS = ("ones", "uniform", "counts", "decades", "dominant")
UNITS = (1.0, 1.0, 1e-300, 1e39, 1e150, 2.0**-40)
OFFSETS = (0.0, 0.0, 1e8, -3.0)


@dataclass(frozen=True)
class Case:
    """A request that can be met: points, weights, order and target."""

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    k: int
    target: int
    seed: int

    @property
    def n_distinct(self) -> int:
        """Distinct rows; adding 0.0 makes -0.0 and 0.0 the same."""
        return len({row.tobytes() for row in self.points + 0.0})


def _shape(kind: str, n: int, m: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if kind == "clustered":
        centres = rng.uniform(-1.0, 1.0, (max(1, n // 40), m))
        return np.asarray(
            centres[rng.integers(len(centres), size=n)] + 1e-3 * rng.normal(size=(n, m))
        )
    if kind == "lattice":
        return rng.integers(0, 7, (n, m)).astype(np.float64)
    if kind == "binary":
        return rng.integers(0, 2, (n, m)).astype(np.float64)
    if kind == "curve":
        angle = rng.uniform(0.0, 6.0, n)
        return np.asarray(np.cos(np.outer(angle, np.arange(1, m + 1)) + np.arange(m)))
    if kind == "heavy":
        return np.asarray(np.clip(rng.standard_cauchy((n, m)), -1e9, 1e9))
    return rng.normal(size=(n, m))


def _weights(kind: str, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if kind == "uniform":
        return rng.uniform(0.1, 1.0, n)
    if kind == "counts":
        return rng.integers(1, 20, n).astype(np.float64)
    if kind == "decades":
        return np.asarray(10.0 ** rng.uniform(-15.0, 0.0, n))
    if kind == "dominant":
        weights = np.full(n, 1e-15 / n)
        weights[rng.integers(n)] = 1.0
        return weights
    return np.ones(n)


@st.composite
def weighted_sets(
    draw: st.DrawFn, *, max_rows: int = 400, max_columns: int = 6, general: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw points (n, m) and weights (n,) > 0, as unpleasant as real ones.

    In general position there are no duplicates, no lattices and no dependent columns.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed of the points"))
    n = draw(st.integers(1, max_rows), label="rows")
    m = draw(st.integers(1, max_columns), label="columns")
    points = _shape(
        draw(st.sampled_from(GENERAL_SHAPES if general else SHAPES), label="shape"), n, m, rng
    )
    n_bent = 0 if general else draw(st.integers(0, 2), label="bent columns")
    for _ in range(n_bent):
        column = draw(st.integers(0, m - 1))
        bend = draw(st.sampled_from(("constant", "copy", "combination", "digits")))
        others = [j for j in range(m) if j != column]
        if bend == "constant" or not others:
            points[:, column] = points[0, column]
        elif bend == "copy":
            points[:, column] = points[:, others[0]]
        elif bend == "digits":
            # Of a large number and a small one beside it, as hours, minutes and both in minutes.
            points[:, column] = 1024.0 * points[:, others[0]] + points[:, others[-1]]
        else:
            # Halves of numbers of few bits, so the combination is one up to rounding.
            points[:, column] = 0.5 * points[:, others[0]] - 2.0 * points[:, others[-1]] + 1.0
    if not general and draw(st.booleans(), label="duplicates"):
        points = points[rng.integers(0, n, n)]
    if not general:  # far from the origin, near points become equal
        points = points + draw(st.sampled_from(OFFSETS), label="offset")
    if draw(st.booleans(), label="units"):
        units = draw(st.lists(st.sampled_from(UNITS), min_size=m, max_size=m))
        points = points * np.array(units)
    weights = _weights(draw(st.sampled_from(WEIGHTS), label="weights"), n, rng)
    weights = weights * draw(st.sampled_from((1.0, 1e-280, 1e280)), label="unit of the weights")
    return np.ascontiguousarray(points), weights


@st.composite
def cases(
    draw: st.DrawFn, *, max_moments: int = 84, max_rows: int = 400, general: bool = False
) -> Case:
    """Draw a request that can be met: the target is at least C(m + k, k)."""
    points, weights = draw(weighted_sets(max_rows=max_rows, general=general))
    m = points.shape[1]
    orders = [k for k in range(1, 9) if math.comb(m + k, k) <= max_moments]
    k = draw(st.sampled_from(orders), label="k")
    least = math.comb(m + k, k)
    target = draw(st.integers(least, 3 * least), label="target")
    return Case(points, weights, k, target, draw(st.integers(0, 3), label="seed"))


@dataclass(frozen=True)
class StreamCase:
    """A request for rows that pass by: a case, the rows of its sample, where its blocks end."""

    case: Case
    sample: NDArray[np.int64]
    cuts: list[int]
    n_cells: int


@st.composite
def divisions(draw: st.DrawFn, n_rows: int) -> list[int]:
    """Draw where the blocks of a stream end; some are empty, some hold one row."""
    cuts = draw(st.lists(st.integers(0, n_rows), max_size=5))
    return sorted([*cuts, *(cut + 1 for cut in cuts[:1] if cut < n_rows)])


@st.composite
def stream_cases(draw: st.DrawFn, *, max_rows: int = 1200) -> StreamCase:
    """Draw a request for a stream, of few moments, so that small buffers fill many times."""
    case = draw(cases(max_moments=22, max_rows=max_rows))
    points, n = case.points, len(case.points)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed of the sample"))
    bend = draw(st.sampled_from(("none", "sorted", "far")), label="bend of the stream")
    near = np.arange(n)
    if bend == "sorted":
        points = np.ascontiguousarray(points[np.argsort(points[:, 0], kind="stable")])
    if bend == "far":  # a seventh of the rows, of which the sample knows nothing
        points = points.copy()
        points[::7] = points[0] + 100.0 * (points[::7] - points[0])
        near = np.flatnonzero(near % 7) if n > 1 else near
    sample = rng.permutation(near)[: max(len(near) // 2, 40)]
    if np.any((np.ptp(points, axis=0) > 0.0) & (np.ptp(points[sample], axis=0) == 0.0)):
        sample = np.arange(n)  # a column that varies does so in the sample
    return StreamCase(
        Case(points, case.weights, case.k, case.target, case.seed),
        sample,
        draw(divisions(n), label="ends of the blocks"),
        draw(st.sampled_from((1, 2, 5, 40)), label="cells"),
    )


@st.composite
def matrices(draw: st.DrawFn, max_rows: int = 12) -> tuple[NDArray[np.float64], int]:
    """Draw a matrix of small integers whose rank is known: a product of two full-rank factors."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows = draw(st.integers(1, max_rows))
    n_columns = draw(st.integers(1, 2 * max_rows))
    rank = draw(st.integers(1, min(n_rows, n_columns)))
    left = np.eye(n_rows, rank) + np.tril(rng.integers(-2, 3, (n_rows, rank)), -1)
    right = np.eye(rank, n_columns) + np.triu(rng.integers(-2, 3, (rank, n_columns)), 1)
    product = (left @ right)[rng.permutation(n_rows)][:, rng.permutation(n_columns)]
    return np.ascontiguousarray(product), rank


@st.composite
def groupings(draw: st.DrawFn, n_points: int) -> list[NDArray[Any]]:
    """Draw disjoint groups of some of ``n_points`` positions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shuffled = rng.permutation(n_points)[: draw(st.integers(1, n_points))]
    n_cuts = draw(st.integers(0, 6))
    cuts = np.sort(rng.integers(0, len(shuffled) + 1, n_cuts))
    return [part for part in np.split(shuffled, cuts) if len(part)]
