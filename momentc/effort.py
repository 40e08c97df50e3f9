"""What a compression does beyond what was asked, by ``effort``.

Two means: the reductions keep a higher order K than k, and the freedom that their moments leave the
weights is spent as well (``momentc.surplus``). Which of them, and how far, follows from k, the
number of variables and the target alone, so that the memory can be planned before a row is read.
"""

import math
from typing import Final, Literal

from momentc.moments.multi_index import n_moments
from momentc.moments.request import largest_order
from momentc.options import Effort

__all__ = [
    "SurplusMeans",
    "highest_order",
    "removal_seconds",
    "surplus_bytes",
    "surplus_means",
    "surplus_orders",
    "working_order",
    "working_orders",
]

# How the freedom of the weights is spent (``momentc.surplus``).
SurplusMeans = Literal["spline", "calibration"]

# What a working order K > k may cost, by effort: its moments relative to those of order k, and in
# all. The cost of removing a point grows as N_K^2, so "normal" raises the order where that is next
# to free, and "high" wherever the target leaves room.
# The first order more brings the most, so it may cost more than the next ones.
_AFFORDABLE: Final[dict[Effort, tuple[float, float, float]]] = {
    "low": (1.0, 1.0, 0.0),
    "normal": (2.25, 1.8, 130.0),
    "high": (4.0, 4.0, math.inf),
}

# Orders of few moments may be raised to so many moments whatever the ratio, and no order by more
# than so many: beyond, the errors of smooth functions are rounding already.
FREE_MOMENTS: Final = 36
MORE_ORDERS: Final = 4

# Points of the target per moment of the working order: fewer, larger groups lose more by their
# diameter than they gain by the order.
POINTS_PER_MOMENT: Final = 3

# Points of the target up to which the freedom of their weights is spent on a spline, by effort:
# that takes the cube of their number of operations.
_SPLINE_POINTS: Final[dict[Effort, int]] = {"normal": 1000, "high": 4000}

# In so many variables orders are raised even where that is done; in more, groups of more points
# lose by their diameter what the order gains, once it is.
RAISED_AND_MATCHED: Final = 2

# Moments up to which groups are small enough to raise an order all the same.
FEW_MOMENTS: Final = 20

# Parts of the points that the moments matched in the end may be, besides those kept anyway;
# and the part that these may be, for anything to be free.
SURPLUS_PARTS: Final = (0.1, 0.2, 0.35)
MOST_CONDITIONS: Final = 0.6

# Moments of the next order at most, in multiples of those kept, for it to be tried where no other
# is: of many variables they would be many, and have to be summed over all points.
NEXT_ORDER: Final = 3.0

# Matrices of all pairs of points that are in memory together.
SPLINE_COPIES: Final = 4

# Calibration: moments that are tried, orders above K at most, the part of the points that the
# moments may be, and numbers at most in the matrix of their features; and how many such matrices
# are in memory together.
CALIBRATED_MOMENTS: Final = (130, 300)
CALIBRATED_ORDERS: Final = 3
CALIBRATED_PART: Final = 0.2
CALIBRATED_FEATURES: Final = 1 << 22
CALIBRATION_COPIES: Final = 3

# The order of the reductions up to which it is worth its time: beyond, it gains next to nothing.
CALIBRATED_UP_TO: Final = 4


def working_order(k: int, rank: int, target: int, effort: Effort) -> int:
    """Return the order K >= k that the reductions keep, the highest if there are several.

    The error of a reduction at order K falls as the (K+1)-th power of the diameter of its groups,
    and the diameter grows only as N_K^(1/m). While the target leaves room for many groups of N_K
    points, a higher order therefore lowers the error of every smooth function: by 10 to 100 times
    for one or two orders more (``docs/algorithm.md``).

    Parameters
    ----------
    k : int
        The order that was asked for.
    rank : int
        Number of variables.
    target : int
        Points that will be left.
    effort : {'low', 'normal', 'high'}
        'low' keeps K = k.
    """
    return max(working_orders(k, rank, target, effort))


def working_orders(k: int, rank: int, target: int, effort: Effort) -> list[int]:
    """Return the orders at which the reductions are done, of which the better result is taken.

    Parameters
    ----------
    k, rank, target, effort
        See :func:`working_order`.
    """
    raised = _raised_order(k, rank, target, effort)
    if surplus_means(rank, target, effort) != "spline":
        return [raised]
    if rank <= RAISED_AND_MATCHED and effort == "normal":
        return [raised]
    compact = min(raised, max(k, largest_order(rank, FEW_MOMENTS)))
    return sorted({compact, raised}) if effort == "high" else [compact]


def _raised_order(k: int, rank: int, target: int, effort: Effort) -> int:
    """Return the highest order that is affordable."""
    first_factor, factor, most = _AFFORDABLE[effort]
    if rank == 0 or effort == "low":
        return k
    asked = n_moments(rank, k)
    order = k
    while order < k + MORE_ORDERS:
        needed = n_moments(rank, order + 1)
        affordable = max((first_factor if order == k else factor) * asked, FREE_MOMENTS)
        if needed > min(affordable, most, target / POINTS_PER_MOMENT):
            break
        order += 1
    return order


def surplus_means(rank: int, target: int, effort: Effort) -> SurplusMeans | None:
    """Return how the freedom of the weights is spent; None if it is not.

    Not in one variable, where a higher order brings as much.

    Parameters
    ----------
    rank, target, effort
        See :func:`working_order`.
    """
    if rank <= 1 or effort == "low":
        return None
    return "spline" if target <= _SPLINE_POINTS[effort] else "calibration"


def surplus_orders(
    order: int, rank: int, n_points: int, means: SurplusMeans | None, known: float = math.inf
) -> list[int]:
    """Return the orders K' >= K that surplus matching tries, ascending; none without room for it.

    Parameters
    ----------
    order : int
        The order K that the reductions kept.
    rank : int
        Number of variables.
    n_points : int
        Points whose weights are matched.
    means : {'spline', 'calibration'} or None
        Calibration to the order K itself changes nothing: it tries higher ones only.
    known : int, optional
        Order up to which the moments that are wanted are known.
    """
    if means == "calibration" and order <= CALIBRATED_UP_TO:
        most = min(CALIBRATED_PART * n_points, CALIBRATED_FEATURES / n_points)
        tried = (largest_order(rank, min(count, int(most))) for count in CALIBRATED_MOMENTS)
        found = {int(min(order + CALIBRATED_ORDERS, highest, known)) for highest in tried}
        return sorted(candidate for candidate in found if candidate > order)
    if means == "spline" and n_moments(rank, order) <= MOST_CONDITIONS * n_points:
        tried = (largest_order(rank, int(part * n_points)) for part in SURPLUS_PARTS)
        found = {order, *(max(order, candidate) for candidate in tried)}
        following = n_moments(rank, order + 1)
        most = min(MOST_CONDITIONS * n_points, NEXT_ORDER * n_moments(rank, order))
        if found == {order} and following <= most:
            found.add(order + 1)  # little is free: the next order is the best use of it, or none
        return sorted(candidate for candidate in found if candidate <= known)
    return []


def highest_order(k: int, rank: int, target: int, effort: Effort) -> int:
    """Return the highest order that a compression may match.

    Parameters
    ----------
    k, rank, target, effort
        See :func:`working_order`.
    """
    order = working_order(k, rank, target, effort)
    means = surplus_means(rank, target, effort)
    return max([order, *surplus_orders(order, rank, target, means)])


def surplus_bytes(k: int, rank: int, target: int, effort: Effort) -> int:
    """Return the bytes that surplus matching takes at its peak.

    Parameters
    ----------
    k, rank, target, effort
        See :func:`working_order`.
    """
    means = surplus_means(rank, target, effort)
    if means == "spline":
        return SPLINE_COPIES * 8 * target**2
    order = working_order(k, rank, target, effort)
    if tried := surplus_orders(order, rank, target, means):
        return CALIBRATION_COPIES * 8 * target * n_moments(rank, tried[-1])
    return 0


def removal_seconds(n_points: int, n_moments: float) -> float:
    """Return about how long it takes to remove points, on one thread.

    Fitted to whole runs on two cores: 2.3e6 points a second for 6 moments, 2.7e5 for 45, 1.2e5 for
    165.
    """
    return 1e-7 * n_points * math.pow(n_moments, 1.13)
