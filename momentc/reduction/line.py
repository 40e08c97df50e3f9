"""Algorithms 1 and 2 on a line (m = 1), where the null vector of a group has a closed form.

N + 1 distinct points x_0 < .. < x_N have, up to a factor, one vector v with sum_i v_i p(x_i) = 0
for every polynomial p of degree below N: the weights of the divided difference of order N,
``v_i = 1 / prod_{j != i} (x_i - x_j)``. Nothing is factorised, a removal costs N^2 multiplications,
and every v_i is right to a few N units of rounding, however close the points are (Higham, *Accuracy
and Stability of Numerical Algorithms*, section 5.3). So no group needs a check or a repair of its
own: the result as a whole is checked against the input, as every result is.

The groups are windows of N + 1 neighbours, taken in sweeps from left to right. A sweep takes those
below a bound, each again and again until what has moved up from the right makes it too large; then
comes a sweep with a larger bound. This is the greedy choice of the paper, smallest group first, up
to the order within a sweep.

What counts as small is extent^2 times mass. The error of a removal is about mass x extent^(k+1) for
smooth functions and mass x extent for a kink. The extent alone thins crowded places too much for
kinks, extent times mass is worse for smooth functions (``docs/algorithm.md``).
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.indexing import U
from momentc.jit import kernel
from momentc.map_function import MapFunction
from momentc.progress import ProgressCallback

__all__ = ["reduce_line"]

# Points of a line that one task takes, and the least that it keeps, in multiples of N.
PIECE: Final = 8192
KEPT_OF_PIECE: Final = 4

# Multiple of the target until which the pieces are reduced side by side. The rest, which makes
# nearly all of the error, is one line again.
PIECES_UNTIL: Final = 2.5

# Part of the windows that a sweep takes, judged by a sample of so many; and times the smallness of
# the least (but for a part of them), so that no sweep goes from crowded places on to others.
SWEPT_PART: Final = 0.4
SAMPLED: Final = 64
LEAST_PART: Final = 0.05
WIDEST: Final = 4.0

# The mass of a window is carried along. Where it has fallen to this part of what it was, digits
# have gone, and it is summed anew. Bounds allow for what is left of that.
LOST_DIGITS: Final = 1e-3
SLACK: Final = 1e-6

Array = NDArray[np.float64]


@kernel
def _distance_products(x, products):  # type: ignore[no-untyped-def]
    """Fill in ``prod_{j != i} |x_i - x_j|`` for points whose extent is between 4 and 8.

    Returns whether all of them are in the range in which no factor can have been lost.
    """
    n = U(x.shape[0])
    for i in range(n):
        products[i] = 1.0
    # Four points at a time: a product is then loaded and stored once for four factors.
    j = U(0)
    while j + U(4) <= n:
        x0 = x[j]
        x1 = x[j + U(1)]
        x2 = x[j + U(2)]
        x3 = x[j + U(3)]
        own0 = products[j] * (abs(x0 - x1) * abs(x0 - x2) * abs(x0 - x3))
        own1 = products[j + U(1)] * (abs(x0 - x1) * abs(x1 - x2) * abs(x1 - x3))
        own2 = products[j + U(2)] * (abs(x0 - x2) * abs(x1 - x2) * abs(x2 - x3))
        own3 = products[j + U(3)] * (abs(x0 - x3) * abs(x1 - x3) * abs(x2 - x3))
        for i in range(n):
            at = x[i]
            products[i] *= (abs(at - x0) * abs(at - x1)) * (abs(at - x2) * abs(at - x3))
        products[j] = own0
        products[j + U(1)] = own1
        products[j + U(2)] = own2
        products[j + U(3)] = own3
        j += U(4)
    while j < n:
        x0 = x[j]
        own0 = products[j]
        for i in range(n):
            products[i] *= abs(x[i] - x0)
        products[j] = own0
        j += U(1)
    # No factor is above 8, so what ends above this was never below the least normal number.
    least = math.ldexp(1.0, 3 * x.shape[0] - 1022)
    smallest = np.inf
    largest = 0.0
    for i in range(n):
        smallest = min(smallest, products[i])
        largest = max(largest, products[i])
    return smallest > least and largest < np.inf


@kernel
def _distance_products_apart(x, products):  # type: ignore[no-untyped-def]
    """As ``_distance_products``, relative to the least of them, whatever their range.

    Those that float64 cannot hold beside the least become infinite: their points have no part in
    the null vector.
    """
    n = products.shape[0]
    exponents = np.empty(n, np.int64)
    for i in range(n):
        product = 1.0
        exponent = 0
        for j in range(n):
            if j != i:
                # Apart first: times a fraction, a subnormal difference would lose digits.
                factor, more = math.frexp(abs(x[i] - x[j]))
                product, carry = math.frexp(product * factor)
                exponent += more + carry
        products[i] = product
        exponents[i] = exponent
    least = exponents.min()
    for i in range(n):
        products[i] = math.ldexp(products[i], exponents[i] - least)


@kernel
def _first_equal(x):  # type: ignore[no-untyped-def]
    """Return the first of the ascending points that equals the next one, or -1."""
    for i in range(x.shape[0] - 1):
        if x[i] == x[i + 1]:
            return i
    return -1


@kernel
def _nearest_end(steps):  # type: ignore[no-untyped-def]
    """Return the place in the window of the weight that reaches 0 first, the nearer way.

    The signs of the null vector alternate, so the one way the even ones fall, the other the odd.
    """
    n = U(steps.shape[0])
    even = np.inf
    odd = np.inf
    i = U(0)
    while i + U(2) <= n:
        even = min(even, steps[i])
        odd = min(odd, steps[i + U(1)])
        i += U(2)
    if i < n:
        even = min(even, steps[i])
    place = U(0) if even <= odd else U(1)
    nearest = min(even, odd)
    while place + U(2) < n and steps[place] != nearest:
        place += U(2)
    return np.int64(place)


@kernel
def _take_one_out(x, weights, start, unit, window, products, steps):  # type: ignore[no-untyped-def]
    """Bring a weight of the window from ``start`` on to 0, and return its place in the window.

    ``unit`` is a power of 2 that makes the window 4 to 8 wide. ``window``, ``products`` and
    ``steps``, (N + 1,), are work space.
    """
    n = U(products.shape[0])
    first = U(start)
    for i in range(n):
        window[i] = x[first + i] * unit
    if not _distance_products(window, products):
        for i in range(n):
            window[i] = x[first + i]
        equal = _first_equal(window)
        if equal >= 0:
            here = start + equal
            lighter = here if weights[here] <= weights[here + 1] else here + 1
            weights[2 * here + 1 - lighter] += weights[lighter]
            return lighter - start
        _distance_products_apart(window, products)
    for i in range(n):
        steps[i] = weights[first + i] * products[i]
    leaves = _nearest_end(steps)
    step = steps[leaves]
    if leaves % 2 == 0:
        step = -step
    for i in range(n):
        change = step / products[i]
        # Below 0 by rounding only: another that reaches 0 in the same step.
        weights[first + i] = max(0.0, weights[first + i] + (-change if i & U(1) else change))
    return leaves


@kernel
def _mass(weights, start, n_moments):  # type: ignore[no-untyped-def]
    mass = 0.0
    for i in range(U(start), U(start + n_moments + 1)):
        mass += weights[i]
    return mass


@kernel
def _bound(x, weights, n, n_moments):  # type: ignore[no-untyped-def]
    """Return the smallness up to which a sweep takes windows, from a sample of them."""
    n_windows = n - n_moments
    stride = max(1, n_windows // SAMPLED)
    sample = np.empty(-(-n_windows // stride))
    for i in range(sample.shape[0]):
        start = i * stride
        extent = x[start + n_moments] - x[start]
        sample[i] = extent * extent * _mass(weights, start, n_moments)
    sample.sort()
    least = sample[int(LEAST_PART * sample.shape[0])]
    return min(sample[int(SWEPT_PART * sample.shape[0])], WIDEST * least)


@kernel
def _sweep(x, weights, rows, n, n_keep, bound, window, products, steps):  # type: ignore[no-untyped-def]
    """Take points out of the windows that are within the bound, from left to right.

    The first ``n`` entries of ``x``, ``weights`` and ``rows`` are the line. What is left is closed
    up, at least ``n_keep`` of them. Returns how many that are.
    """
    n_moments = window.shape[0] - 1
    done = U(0)
    start = 0
    n_left = n
    unit = 1.0
    mass = _mass(weights, start, n_moments)
    most = mass
    while start + n_moments < n and n_left > n_keep:
        here = U(start)
        following = U(start + n_moments + 1)
        extent = x[U(start + n_moments)] - x[here]
        own = weights[here]
        if extent * extent * mass > bound:
            x[done] = x[here]
            weights[done] = own
            rows[done] = rows[here]
            done += U(1)
            start += 1
        else:
            if not 4.0 <= extent * unit < 8.0:
                # Powers of 2 change no difference. 4 to 8 wide, because N factors of points in
                # an interval of 4 (its capacity is 1) multiply to what is neither large nor small.
                # (Of subnormal extents it is not enough, and their products are too small.)
                unit = math.ldexp(1.0, min(1023, 3 - math.frexp(extent)[1]))
            leaves = _take_one_out(x, weights, start, unit, window, products, steps)
            own = 0.0
            place = U(start + leaves)
            while place > here:
                before = place - U(1)
                x[place] = x[before]
                weights[place] = weights[before]
                rows[place] = rows[before]
                place = before
            start += 1
            n_left -= 1
        if start + n_moments < n:
            # What a removal takes from one weight it gives to the others.
            mass += weights[following] - own
            most = max(most, mass)
            if mass < LOST_DIGITS * most:
                mass = _mass(weights, start, n_moments)
                most = mass
    for i in range(U(start), U(n)):
        x[done] = x[i]
        weights[done] = weights[i]
        rows[done] = rows[i]
        done += U(1)
    return n_left


@kernel
def _thin(values, weights, n_keep, n_moments):  # type: ignore[no-untyped-def]
    """Bring the weights of all but ``n_keep`` points to 0, at least ``n_moments`` of them.

    Parameters
    ----------
    values : (n,) float64 ndarray  # IN, ascending
    weights : (n,) float64 ndarray  # IN, OUT: >= 0
    n_keep, n_moments : int  # IN
    """
    n = values.shape[0]
    x = values.copy()
    left = weights.copy()
    rows = np.arange(n)
    window = np.empty(n_moments + 1)
    products = np.empty(n_moments + 1)
    steps = np.empty(n_moments + 1)
    factor = 1.0 + SLACK
    while n > n_keep:
        bound = factor * _bound(x, left, n, n_moments)
        n_left = _sweep(x, left, rows, n, n_keep, bound, window, products, steps)
        # Whatever rounding does, the next sweep makes progress, or one after it.
        factor = 1.0 + SLACK if n_left < n else 2.0 * factor
        n = n_left
    for i in range(weights.shape[0]):
        weights[i] = 0.0
    for i in range(n):
        weights[rows[i]] = left[i]


def reduce_line(
    values: Array,
    weights: Array,
    target: int,
    n_moments: int,
    *,
    map_function: MapFunction = map,
    progress: ProgressCallback | None = None,
) -> NDArray[np.int64]:
    """Bring weights on a line to 0 until ``target`` points have one, and keep the moments.

    Parameters
    ----------
    values : (n,) float64 ndarray
        Positions of the points; those that are equal become one.
    weights : (n,) float64 ndarray
        >= 0. Changed in place.
    target : int
        At least ``n_moments``.
    n_moments : int
        N, the order to keep plus 1.
    map_function : callable
        Runs the pieces of the line; the result does not depend on it.
    progress : callable, optional
        Called with (stage, points removed, points to remove).

    Returns
    -------
    (n_kept,) int64 ndarray
        Positions of the points whose weight is not 0, ascending: ``target``, but for the rare
        steps in which two weights reach 0 together (lattices with equal weights).
    """
    alive = np.flatnonzero(weights > 0.0)
    n_start = len(alive)

    def report(stage: str, n_left: int) -> None:
        if progress is not None:
            progress(stage, n_start - n_left, n_start - target)

    # Not a stable sort, which takes four times as long: of equal points either may be first.
    order = alive[np.argsort(values[alive])]
    x, left = values[order], weights[order]
    limit = int(PIECES_UNTIL * target)
    piece = max(PIECE, 16 * KEPT_OF_PIECE * n_moments)
    while len(x) > max(1.05 * limit, 2 * piece):
        # Of every piece the same share, rounded so that they add up.
        edges = np.linspace(0, len(x), len(x) // piece + 1).astype(np.int64)
        share = max(limit / len(x), KEPT_OF_PIECE * n_moments / piece)
        keep = np.diff(np.round(share * edges)).astype(np.int64)
        n_left = len(x)
        for n_removed in _thin_pieces(x, left, edges, keep, n_moments, map_function):
            n_left -= n_removed
            report("pieces of the line", n_left)
        stays = left > 0.0
        weights[order] = left
        order, x, left = order[stays], x[stays], left[stays]
    if len(x) > target:
        _thin(x, left, target, n_moments)
        weights[order] = left
    kept = np.sort(order[left > 0.0])
    report("sweeps", len(kept))
    return kept


def _thin_pieces(
    x: Array,
    weights: Array,
    edges: NDArray[np.int64],
    keep: NDArray[np.int64],
    n_moments: int,
    map_function: MapFunction,
) -> Iterator[int]:
    """Thin the pieces between the edges, and yield how many points went, piece by piece."""

    def thin(number: int) -> int:
        own = slice(edges[number], edges[number + 1])
        _thin(x[own], weights[own], keep[number], n_moments)
        return int(edges[number + 1] - edges[number] - keep[number])

    return map_function(thin, range(len(keep)))
