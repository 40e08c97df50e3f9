"""What can be asked of a number of points: the bound of Tchakaloff, and what can be worked with."""

from bisect import bisect_right
from typing import Final

from momentc.errors import RequestError
from momentc.moments.multi_index import n_moments
from momentc.text import readable

__all__ = [
    "check_countable",
    "check_request",
    "compared_order",
    "largest_order",
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
        count = readable(needed)
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
            f"k = {k} in {rank} independent columns has C({rank}+{k},{k}) = {readable(needed)} "
            f"moments, more than {MOST_MOMENTS} cannot be worked with; the largest k is "
            f"{largest_order(rank, MOST_MOMENTS)}"
        )
