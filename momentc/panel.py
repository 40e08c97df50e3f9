"""The function panel: random symmetric functions of a weighted set, by which errors are measured.

A function of the panel is the weighted mean ``sum_j c_j g(y_j) / sum_j c_j`` of a random g over
the points y_j in the frame, where every coordinate lies in [-1, 1]. The families:

========== ============================================================ ==================
family     g(y)                                                         smoothness
========== ============================================================ ==================
sigmoid    sigmoid(<y, a>), a uniform in [-1, 1]^m (Eq. 13)             analytic
rational   1 / (A + <y, a>), A = m + 0.05 (Eq. 98)                      analytic, pole near
bumps      exp(-|y - z|^2 / 2 s^2), z a row, s = 1 .. 8 local spreads   analytic, local
cosines    cos(f <y, u> + phase), u a direction, f = 1 .. 16            analytic, oscillates
relu       max(0, <y - z, u>), z a row: the kink goes through the data  a kink
steps      1 where <y - z, u> > 1e-6 .. 2e-6                            a jump beside a row
========== ============================================================ ==================

Whoever *chooses* something by a panel (an order, say) and whoever *reports* errors must not use
the same functions: ``purpose`` keeps their random streams apart. Every family has a stream of its
own, so leaving one out does not change the others.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from momentc.map_function import MapFunction

__all__ = [
    "DEFAULT_FAMILIES",
    "FAMILIES",
    "Family",
    "FamilyError",
    "Panel",
    "Purpose",
    "draw_panel",
    "published_rational",
    "published_sigmoid",
]

FAMILIES: Final = ("sigmoid", "rational", "bumps", "cosines", "relu", "steps")
DEFAULT_FAMILIES: Final = ("sigmoid", "rational", "bumps", "cosines", "relu")

Purpose = Literal["select", "order", "report"]
_STREAM: Final[dict[Purpose, int]] = {"select": 1, "report": 2, "order": 3}

# Functions of a family. Their rms error scatters by about 1 / sqrt(2 x 32), an eighth.
PER_FAMILY: Final = 32

# Widths of the bumps in local spreads, and frequencies of the cosines in radians per unit of the
# frame; the functions of a family take them in turn.
BUMP_WIDTHS: Final = (1.0, 2.0, 4.0, 8.0)
FREQUENCIES: Final = (1.0, 2.0, 4.0, 8.0, 16.0)

# How far from a row a jump is, in units of the frame.
JUMP_BESIDE: Final = 1e-6

# The local spread at a row is the distance within which this part of a sample of the rows lies.
LOCAL_PART: Final = 1.0 / 64.0
SPREAD_SAMPLE: Final = 2048

# Rows that are evaluated at a time: the sum over a block is a dot product, whose rounding grows
# with its length; the sums of the blocks are added without error.
BLOCK_ROWS: Final = 1024

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Family:
    """Functions of one kind.

    Parameters
    ----------
    name : str
        What the errors are listed under.
    kind : str
        One of :data:`FAMILIES`: the formula.
    vectors : (m, n) float64 ndarray
        Directions, or the centres of the bumps.
    scalars : (n,) float64 ndarray
        Offsets, phases, or the widths of the bumps.
    pooled : bool
        The mean of all n is one function, as in the paper, instead of n functions.
    """

    name: str
    kind: str
    vectors: Array
    scalars: Array
    pooled: bool = False

    @property
    def n_functions(self) -> int:
        """Number of functions."""
        return 1 if self.pooled else self.vectors.shape[1]

    def values(self, points: Array) -> Array:
        """Return the functions at each of some points, shape (n_points, n_functions)."""
        found = _FORMULAS[self.kind](points, self.vectors, self.scalars)
        return found.mean(axis=1, keepdims=True) if self.pooled else found


@dataclass(frozen=True, slots=True)
class FamilyError:
    """How far the functions of a family are off.

    Parameters
    ----------
    rms, mean_abs, worst : float
        Root mean square, mean absolute and largest absolute difference over the functions.
    """

    rms: float
    mean_abs: float
    worst: float


@dataclass(frozen=True, slots=True)
class Panel:
    """Some families of functions.

    Parameters
    ----------
    families : tuple of Family
    """

    families: tuple[Family, ...]

    @property
    def n_functions(self) -> int:
        """Number of functions in all families."""
        return sum(family.n_functions for family in self.families)

    def means(self, points: Array, weights: Array, map_function: MapFunction = map) -> Array:
        """Return the weighted mean of every function over a weighted set, or over several.

        Parameters
        ----------
        points : (n, m) float64 ndarray
            In the coordinates for which the panel was drawn: the frame.
        weights : (n,) or (n_sets, n) float64 ndarray
            >= 0, of positive sum: of one set, or of sets of the same points.
        map_function : callable
            Runs the blocks; the result does not depend on it.

        Returns
        -------
        (n_functions,) or (n_sets, n_functions) float64 ndarray
            Family after family.
        """

        def block_sums(start: int) -> Array:
            rows = slice(start, start + BLOCK_ROWS)
            here, shares = points[rows], weights[..., rows]
            # Family by family: their values side by side would be a matrix of fresh pages.
            sums = [shares @ family.values(here) for family in self.families]
            return np.concatenate(sums, axis=-1)

        high = np.zeros((*weights.shape[:-1], self.n_functions))
        low = np.zeros_like(high)
        starts = range(0, len(points), BLOCK_ROWS)
        for term in (map if len(starts) < 2 else map_function)(block_sums, starts):
            # Knuth's two-sum: the rounding of each addition is kept.
            total = high + term
            shadow = total - high
            low += (high - (total - shadow)) + (term - shadow)
            high = total
        mass = np.apply_along_axis(math.fsum, -1, weights)
        return np.asarray((high + low) / mass[..., None])

    def compare(self, expected: Array, found: Array) -> dict[str, FamilyError]:
        """Return the error of each family from two results of :meth:`means`."""
        errors: dict[str, FamilyError] = {}
        first = 0
        for family in self.families:
            last = first + family.n_functions
            miss = np.abs(found[first:last] - expected[first:last])
            errors[family.name] = FamilyError(
                rms=float(np.sqrt(np.mean(miss**2))),
                mean_abs=float(miss.mean()),
                worst=float(miss.max()),
            )
            first = last
        return errors


def draw_panel(
    points: Array,
    weights: Array,
    seed: int,
    purpose: Purpose,
    *,
    families: Sequence[str] = DEFAULT_FAMILIES,
    per_family: int = PER_FAMILY,
) -> Panel:
    """Draw the functions for a weighted set.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        In the frame; kinks and bumps are centred at its rows.
    weights : (n,) float64 ndarray
        >= 0: a row is chosen with a probability in proportion to its weight.
    seed : int
        >= 0. Same seed, purpose and points: the same functions.
    purpose : {'select', 'order', 'report'}
        What chooses weights, what chooses k, and what errors are reported by share no function.
    families : sequence of str
        Of :data:`FAMILIES`.
    per_family : int
    """
    drawn = []
    for name in families:
        key = (_STREAM[purpose], FAMILIES.index(name))
        random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
        drawn.append(_draw(name, points, weights, per_family, random))
    return Panel(tuple(drawn))


def published_sigmoid(directions: Array) -> Panel:
    """Return Eq. (13) of the paper as one function, ``directions`` being its x_a in the columns.

    For points in the coordinates in which the directions were drawn, not in the frame.
    """
    count = directions.shape[1]
    return Panel((Family("eq13", "sigmoid", directions, np.zeros(count), pooled=True),))


def published_rational(directions: Array, offset: float) -> Panel:
    """Return Eq. (98) of the paper with A = ``offset`` as one function."""
    count = directions.shape[1]
    return Panel((Family("eq98", "rational", directions, np.full(count, offset), pooled=True),))


def _draw(
    name: str, points: Array, weights: Array, count: int, random: np.random.Generator
) -> Family:
    m = points.shape[1]
    turn = np.arange(count)
    if name in {"sigmoid", "rational"}:
        offset = 0.0 if name == "sigmoid" else m + 0.05
        vectors = 2.0 * random.random((m, count)) - 1.0
        return Family(name, name, vectors, np.full(count, offset))
    if name == "cosines":
        frequencies = np.take(FREQUENCIES, turn % len(FREQUENCIES))
        vectors = _unit(random.standard_normal((m, count))) * frequencies
        return Family(name, name, vectors, random.uniform(0.0, 2.0 * np.pi, count))
    rows = points[random.choice(len(points), count, p=weights / weights.sum())]
    if name == "bumps":
        sample = points[random.integers(len(points), size=SPREAD_SAMPLE)]
        widths = np.take(BUMP_WIDTHS, turn % len(BUMP_WIDTHS))
        return Family(name, name, rows.T.copy(), widths * _local_spread(rows, sample))
    vectors = _unit(random.standard_normal((m, count)))
    offsets = np.einsum("ij,ji->i", rows, vectors)
    if name == "steps":
        # Beside the row: rounding would say on which side it is, and all that are equal to it.
        offsets += JUMP_BESIDE * (1.0 + random.random(count))
    return Family(name, name, vectors, offsets)


def _unit(vectors: Array) -> Array:
    """Return the columns at length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=0), np.finfo(float).tiny))


def _local_spread(rows: Array, sample: Array) -> Array:
    """Return the distance within which the nearest part of the sample lies, for each row."""
    square = np.zeros((len(rows), len(sample)))
    for own, others in zip(rows.T, sample.T, strict=True):
        square += (others - own[:, None]) ** 2
    place = int(LOCAL_PART * len(sample))
    near = np.partition(square, place, axis=1)[:, place:]
    # Duplicates of the row say nothing of its surroundings.
    nearest = np.where(near > 0.0, near, np.inf).min(axis=1)
    return np.asarray(np.where(np.isfinite(nearest), np.sqrt(nearest), 1.0))


def _sigmoid(points: Array, vectors: Array, _offsets: Array) -> Array:
    # As a tanh: nothing overflows, whatever the argument.
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * (points @ vectors)))


def _rational(points: Array, vectors: Array, offsets: Array) -> Array:
    return np.asarray(1.0 / (offsets + points @ vectors))


def _bumps(points: Array, centres: Array, widths: Array) -> Array:
    # By differences: |y|^2 - 2 <y, z> + |z|^2 would lose the digits that narrow bumps need.
    square = np.zeros((len(points), centres.shape[1]))
    for column, centre in zip(points.T, centres, strict=True):
        square += (column[:, None] - centre) ** 2
    return np.asarray(np.exp(square / (-2.0 * widths**2)))


def _cosines(points: Array, vectors: Array, phases: Array) -> Array:
    return np.asarray(np.cos(points @ vectors + phases))


def _relu(points: Array, vectors: Array, offsets: Array) -> Array:
    return np.maximum(0.0, points @ vectors - offsets)


def _steps(points: Array, vectors: Array, offsets: Array) -> Array:
    return np.asarray(points @ vectors > offsets, dtype=np.float64)


_FORMULAS: Final[Mapping[str, Callable[[Array, Array, Array], Array]]] = {
    "sigmoid": _sigmoid,
    "rational": _rational,
    "bumps": _bumps,
    "cosines": _cosines,
    "relu": _relu,
    "steps": _steps,
}
