"""Which order k for a given target: measured on the user's own data.

A small k wastes the target: smooth functions could be far more exact. A large k needs groups of
C(m+k, k) points, and groups that are wide lose whatever is not smooth. Where the best order lies
depends on the data and on the target, so it is measured: a part of the rows is compressed to the
target with one order after the other, and held-out functions of the panel are compared: neither
those by which surplus matching chooses weights nor those that ``error-scan`` reports.

The part holds several times the target. Nearly all of the error is made in the last reductions,
from two or three times the target down, and those see the same density of points whether the rows
were a million or a few times the target.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.duplicates import merge_duplicates
from momentc.errors import MomentcError, VerificationError
from momentc.moments.frame_fit import fit_frame
from momentc.moments.multi_index import n_moments
from momentc.moments.request import check_request
from momentc.options import CompressOptions
from momentc.panel import draw_panel
from momentc.pipeline.points import compress_points

__all__ = ["OrderChoice", "OrderTrial", "candidate_orders", "choose_order", "pick"]

# Rows of the part in multiples of the target, and the most that are taken.
PART_OF_TARGET: Final = 6
MOST_ROWS: Final = 400_000

# Parts that are measured; the scatter between parts is about a quarter of the error.
PARTS: Final = 2

# Orders are tried in this succession, as long as the target has room for groups.
LADDER: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 25, 30, 40, 50, 60)
GROUPS_AT_LEAST: Final = 2

# Moments of an order that are tried at most, or the search takes much longer than what follows.
MOST_MOMENTS_TRIED: Final = 300

# Results in a row that may be no better than the best before the search ends. Orders that the
# reductions raise to the same one have one result.
PATIENCE: Final = 2

# The largest error of any family may grow by this much for the sake of the others.
TOLERATED: Final = 1.5

# A typical error that is so little above the least is as good: the cheaper order is taken.
AS_GOOD: Final = 1.15

# Errors below this are as good as none.
NEGLIGIBLE: Final = 1e-13


@dataclass(frozen=True, slots=True)
class OrderTrial:
    """One order, measured.

    Parameters
    ----------
    k, kept_order : int
        The order asked for, and the one that the reductions kept; of several parts the lowest.
    rms : dict of str to float
        Error by family, the root mean square over functions and parts.
    """

    k: int
    kept_order: int
    rms: dict[str, float]

    @property
    def largest(self) -> float:
        """The largest error of a family, negligible ones counted as equal."""
        return max(NEGLIGIBLE, *self.rms.values())

    @property
    def typical(self) -> float:
        """The geometric mean over the families, negligible errors counted as equal."""
        logs = [math.log(max(value, NEGLIGIBLE)) for value in self.rms.values()]
        return math.exp(math.fsum(logs) / len(logs))


@dataclass(frozen=True, slots=True)
class OrderChoice:
    """The chosen order and what speaks for it.

    Parameters
    ----------
    k : int
    target : int
    n_rows : int
        Distinct rows of the part that was measured; 0 if nothing had to be.
    n_points : int
        Rows of the input.
    trials : tuple of OrderTrial
    reason : str
        A sentence for the user.
    """

    k: int
    target: int
    n_rows: int
    n_points: int
    trials: tuple[OrderTrial, ...]
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "k": self.k,
            "rows_measured": self.n_rows,
            "reason": self.reason,
            "trials": [
                {"k": trial.k, "kept_order": trial.kept_order, "rms": trial.rms}
                for trial in self.trials
            ],
        }


def candidate_orders(rank: int, target: int) -> tuple[int, ...]:
    """Return the orders that are tried for a target, at least 1, which may not be possible."""
    most = min(target / GROUPS_AT_LEAST, MOST_MOMENTS_TRIED)
    return tuple(k for k in LADDER if k == 1 or n_moments(rank, k) <= most)


def choose_order(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    options: CompressOptions,
    *,
    n_rows: int | None = None,
    on_trial: Callable[[int, int], None] | None = None,
) -> OrderChoice:
    """Choose the order for ``options.target``; its ``k`` is not looked at.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        Finite.
    weights : (n,) float64 ndarray
        > 0.
    options : CompressOptions
        Target, seed, threads and effort are those of the compression that follows.
    n_rows : int, optional
        Rows of the input, where the points are a sample of it.
    on_trial : callable, optional
        Told (orders tried, orders there are).

    Raises
    ------
    RequestError
        If the target is too small for any order.
    """
    target, n_points = options.target, len(points) if n_rows is None else n_rows
    # Of the lowest order: what that drops, higher ones may keep, and then cannot.
    rank = fit_frame(points, weights, k=1).rank
    if rank == 0:
        reason = "k = 1: all columns are constant, there is nothing to choose"
        return OrderChoice(1, target, 0, n_points, (), reason)
    is_sample = len(points) < n_points
    rows, merged = merge_duplicates(points, weights)
    if not is_sample and len(rows) <= target:
        reason = "k = 1: all distinct rows are kept as they are, whatever the order"
        return OrderChoice(1, target, 0, n_points, (), reason)
    check_request(1, target, n_points, rank)
    # Distinct rows are what a reduction has to do with: a part of few of them would be kept as it
    # is, at every order, and so tell nothing.
    some_equal = len(rows) < len(points)
    points, weights = points[rows], merged
    if is_sample:
        # A sample that is smaller than the part it stands for is reduced to as small a part.
        options = replace(options, target=min(target, len(points) // PART_OF_TARGET))
        if options.target < n_moments(rank, 1):
            reason = (
                f"k = 1: of a sample of the {n_points} rows only {len(points)} "
                f"{'distinct ones ' if some_equal else ''}count, too few to measure an order by; "
                "give one with --k"
            )
            return OrderChoice(1, target, 0, n_points, (), reason)
    candidates = candidate_orders(rank, options.target)
    parts = _parts(points, weights, options.target, options.seed)
    trials: list[OrderTrial] = []
    for k in candidates:
        if on_trial is not None:
            on_trial(len(trials), len(candidates))
        trial = _try(k, parts, options)
        if trial is None:
            break  # the reductions cannot go on at this order; a higher one is harder still
        trials.append(trial)
        after_best = {later.typical for later in trials[trials.index(pick(trials)) + 1 :]}
        if len(after_best) >= PATIENCE:
            break
    if not trials:
        raise VerificationError(
            f"no order can be kept with {target} points; a larger target will do"
        )
    best = pick(trials)
    n_measured = len(parts[0][0])
    if n_measured == len(points) and not is_sample:
        on = "all rows"
    elif some_equal:
        whole = "" if is_sample else f" of {len(points)}"
        on = f"{n_measured}{whole} distinct rows of {n_points}"
    else:
        on = f"{n_measured} of {n_points} rows"
    reason = _reason(best, trials, target, options.target, on)
    return OrderChoice(best.k, target, n_measured, n_points, tuple(trials), reason)


def pick(trials: Sequence[OrderTrial]) -> OrderTrial:
    """Return the best trial.

    Among those whose largest error of a family is at most 1.5 times the least, the one with the
    smallest typical error: a function that is off by 1e-3 is not made worse so that another gains
    a digit beyond its tenth. Of those that are as good, the lowest kept order, which is the
    cheapest; of equal ones the highest order asked for, which promises the most.
    """
    admissible = _admissible(trials)
    typical = min(trial.typical for trial in admissible)
    good = [trial for trial in admissible if trial.typical <= AS_GOOD * typical]
    return min(good, key=lambda trial: (trial.kept_order, -trial.k))


def _admissible(trials: Sequence[OrderTrial]) -> list[OrderTrial]:
    """Return those of which no family is much worse off than it could be."""
    least = min(trial.largest for trial in trials)
    return [trial for trial in trials if trial.largest <= TOLERATED * least]


_Part = tuple[NDArray[np.float64], NDArray[np.float64]]


def _parts(
    points: NDArray[np.float64], weights: NDArray[np.float64], target: int, seed: int
) -> list[_Part]:
    """Draw the parts of the distinct rows that are measured."""
    wanted = max(PART_OF_TARGET * target, target + 1000)
    if wanted >= len(points) and len(points) <= MOST_ROWS:
        return [(points, weights)]
    wanted = min(wanted, MOST_ROWS, len(points))
    found = []
    for number in range(PARTS):
        key = np.random.SeedSequence(seed, spawn_key=(number,))
        rows = np.random.default_rng(key).choice(len(points), wanted, replace=False)
        rows.sort()
        found.append((points[rows], weights[rows]))
    return found


def _try(k: int, parts: Sequence[_Part], options: CompressOptions) -> OrderTrial | None:
    """Measure one order on all parts; None if it cannot be kept."""
    square: dict[str, float] = {}
    kept_orders: list[int] = []
    for number, (points, weights) in enumerate(parts):
        try:
            result = compress_points(
                points,
                weights,
                CompressOptions(
                    k, options.target, options.seed + number, options.threads,
                    options.tolerance, options.effort,
                ),
            )  # fmt: skip
        except MomentcError:
            return None
        if not result.ok:
            return None
        kept_orders.append(result.kept_order)
        local = result.frame.apply(points)
        panel = draw_panel(local, weights, options.seed + number, "order")
        support = result.support
        errors = panel.compare(
            panel.means(local, weights), panel.means(local[support.index], support.weights)
        )
        for name, error in errors.items():
            square[name] = square.get(name, 0.0) + error.rms**2 / len(parts)
    rms = {name: math.sqrt(value) for name, value in square.items()}
    return OrderTrial(k, min(kept_orders), rms)


def _reason(best: OrderTrial, trials: list[OrderTrial], target: int, measured: int, on: str) -> str:
    tried = f" (kept to order {best.kept_order} where it was tried)"
    kept = "" if best.kept_order == best.k else tried
    place = trials.index(best)
    smaller = "" if measured == target else f", reduced to {measured},"
    others = "".join(
        f"; k = {trial.k}: {_error(trial.typical)} and {_error(trial.largest)}"
        for trial in (trials[max(0, place - 1) : place] + trials[place + 1 : place + 2])
    )
    admissible = _admissible(trials)
    better = any(trial.typical < best.typical for trial in admissible)
    # One that is better in the mean by more than counts as equal, and yet was not chosen.
    excluded = [
        trial for trial in trials
        if trial not in admissible and AS_GOOD * trial.typical < best.typical
    ]  # fmt: skip
    least = min(trials, key=lambda trial: trial.largest)
    worse = (
        f"; {', '.join(f'k = {trial.k}' for trial in excluded)}, better in the mean, "
        f"{'is' if len(excluded) == 1 else 'are'} more than {TOLERATED:g} times as far off in the "
        f"worst family as k = {least.k} ({_error(least.largest)})"
        if excluded else ""
    )  # fmt: skip
    equal = (
        f"; up to {AS_GOOD - 1.0:.0%} counts as equal, and of equal ones the least work is chosen"
        if better else ""
    )  # fmt: skip
    return (
        f"k = {best.k}{kept} was chosen for target {target}: on {on}{smaller} held-out "
        f"functions are off by {_error(best.typical)} in the geometric mean of their families, and "
        f"by {_error(best.largest)} in the worst{others}{worse}{equal}"
    )


def _error(value: float) -> str:
    return f"{value:.1e}" if value > NEGLIGIBLE else f"less than {NEGLIGIBLE:.0e}"
