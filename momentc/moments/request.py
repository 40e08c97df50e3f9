"""What can be asked of a number of points: the bound of Tchakaloff, and what can be worked with."""

import math
from bisect import bisect_right
from typing import Final

from momentc.errors import RequestError
from momentc.moments.multi_index import n_moments
from momentc.options import Effort

__all__ = [
    "check_countable",
    "check_request",
    "compared_order",
    "largest_order",
    "matches_surplus",
    "surplus_bytes",
    "surplus_orders",
    "working_order",
    "working_orders",
]

# Orders above k whose moments are compared too, for information.
ORDERS_BEYOND: Final = 2

# Moments that may be compared for information alone.
MOMENTS_FOR_INFORMATION: Final = 4000

# Moments that one group may have at most. Its tableau needs 16 N^2 bytes and N^3 operations a
# group: 20,000 moments are 6 GB and hours.
MOST_MOMENTS: Final = 20_000


def largest_order(n_variables: int, most_moments: int) -> int:
    """Return the largest k with C(n_variables + k, k) <= most_moments, 0 if there is none."""
    if n_variables == 0:
        return 0
    # By doubling and halving: with one variable the order may be thousands.
    above = 1
    while n_moments(n_variables, above) <= most_moments:
        above *= 2
    return (
        bisect_right(
            range(above), most_moments, lo=1, key=lambda order: n_moments(n_variables, order)
        )
        - 1
    )


def compared_order(order: int, rank: int) -> int:
    """Return the order up to which moments are compared where those up to ``order`` are kept.

    Two orders more, for information, where they are few enough to be next to free. Where even
    those of ``order`` cannot be worked with (rows that are copied as they are), as many as can.
    """
    affordable = max(min(n_moments(rank, order), MOST_MOMENTS), MOMENTS_FOR_INFORMATION)
    return min(order + ORDERS_BEYOND, largest_order(rank, affordable) if rank else order)


def check_request(k: int, target: int, n_rows: int, rank: int) -> None:
    """Check that ``target`` points can carry the moments up to order k of ``rank`` variables.

    Parameters
    ----------
    k, target : int
    n_rows : int
        Distinct rows; where they are no more than the target nothing has to be reduced.
    rank : int
        Affine rank of the points, or an upper bound of it.

    Raises
    ------
    RequestError
        With the k and the target that would do.
    """
    if n_rows <= target:
        return
    needed = n_moments(rank, k)
    if needed > target:
        count = _readable(needed)
        order = largest_order(rank, target)
        at_target = (
            f"k = {order} is the largest that {target} points can keep" if order else "no k will do"
        )
        at_order = (
            f"k = {k} needs a target of at least {count}"
            if needed <= MOST_MOMENTS
            else f"k = {k} has {count} moments, more than {MOST_MOMENTS} cannot be worked with"
        )
        raise RequestError(
            f"target {target} is below C({rank}+{k},{k}) = {count}, the number of moments up to "
            f"order {k} in {rank} independent columns; {at_target}; {at_order}"
        )
    check_countable(k, rank)


def _readable(number: int) -> str:
    """Return a count in full, or as a power of ten where it has more than twelve digits.

    Python refuses to print integers of more than 4,300 digits, and nobody reads them.
    """
    if number < 10**12:
        return str(number)
    return f"about 1e{int(number.bit_length() * math.log10(2.0))}"


def check_countable(k: int, rank: int) -> None:
    """Check that the moments up to order k of ``rank`` variables are few enough to work with.

    Raises
    ------
    RequestError
        With the largest k that would do.
    """
    needed = n_moments(rank, k)
    if needed > MOST_MOMENTS:
        raise RequestError(
            f"k = {k} in {rank} independent columns has C({rank}+{k},{k}) = {_readable(needed)} "
            f"moments, more than {MOST_MOMENTS} cannot be worked with; the largest k is "
            f"{largest_order(rank, MOST_MOMENTS)}"
        )


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

# Points of the target up to which the freedom of their weights is spent as well, by effort: that
# takes the cube of their number of operations.
_MATCHED_POINTS: Final[dict[Effort, int]] = {"low": 0, "normal": 1000, "high": 4000}

# In so many variables orders are raised even where that is done; in more, groups of more points
# lose by their diameter what the order gains, once it is.
RAISED_AND_MATCHED: Final = 2

# Moments up to which groups are small enough to raise an order all the same.
FEW_MOMENTS: Final = 20

# Parts of the points that the moments matched in the end may be, besides those kept anyway;
# and the part that these may be, for anything to be free.
SURPLUS_PARTS: Final = (0.1, 0.2, 0.35)
MOST_CONDITIONS: Final = 0.6

# Matrices of all pairs of points that are in memory together.
SURPLUS_COPIES: Final = 4


def matches_surplus(rank: int, target: int, effort: Effort) -> bool:
    """Return whether the freedom of the weights is spent (``momentc.surplus``).

    Not in one variable, where a higher order brings as much.
    """
    return rank > 1 and target <= _MATCHED_POINTS[effort]


def surplus_bytes(rank: int, target: int, effort: Effort) -> int:
    """Return the bytes that surplus matching takes at its peak."""
    return SURPLUS_COPIES * 8 * target**2 if matches_surplus(rank, target, effort) else 0


def surplus_orders(order: int, rank: int, n_points: int) -> list[int]:
    """Return the orders K' >= K that surplus matching tries, ascending; none without room for it.

    Parameters
    ----------
    order : int
        The order K that the reductions kept.
    rank : int
        Number of variables.
    n_points : int
        Points whose weights are matched.
    """
    if n_moments(rank, order) > MOST_CONDITIONS * n_points:
        return []
    found = (largest_order(rank, int(part * n_points)) for part in SURPLUS_PARTS)
    return sorted({order, *(max(order, candidate) for candidate in found)})


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
    if not matches_surplus(rank, target, effort):
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
