"""What the records of a scan say together: means over trials, exponents, ratios, advice."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from momentc.study.fit import FLOOR, fit_power, theory_exponent
from momentc.study.grid import part_of

__all__ = [
    "FIXED_ALONG",
    "PUBLISHED",
    "exponents",
    "keeps_fraction",
    "line_variable",
    "means",
    "polylog_rows",
    "ratios",
    "recommend",
]

Record = dict[str, Any]
PUBLISHED: Final = ("eq13", "eq98")

# What has one value along a line of d or of targets.
FIXED_ALONG: Final = {"d": "target", "target": "d"}

_SETTING = ("source", "m", "d", "method", "k", "target")


def means(records: Iterable[Record]) -> list[Record]:
    """Return one row for each setting, averaged over its trials, by m, d, target, method, k.

    Keys: those of a cell without the trial; ``trials``, those that are averaged, and ``failed``,
    the number of others; ``kept_order``, the least; ``seconds``, the mean; ``moment_error``, the
    largest of a matched order; ``errors`` by family with the means of ``rms`` and ``mean_abs``, the
    standard deviation ``std`` of the latter over the trials, and ``worst``, the largest of a
    function in any trial.
    """
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    failed: dict[tuple[Any, ...], int] = defaultdict(int)
    for record in records:
        setting = tuple(record[name] for name in _SETTING)
        if "failed" in record:
            failed[setting] += 1
        else:
            groups[setting].append(record)
    rows = []
    for setting, group in groups.items():
        row = dict(zip(_SETTING, setting, strict=True))
        matched = [record["moment_error"][: record["k"] + 1] for record in group]
        orders = [record["kept_order"] for record in group if record["kept_order"] is not None]
        row |= {
            "trials": len(group),
            "failed": failed[setting],
            "n_kept": max(record["n_kept"] for record in group),
            "kept_order": min(orders) if orders else None,
            "seconds": _mean(record["seconds"] for record in group),
            "moment_error": max(max(values) for values in matched),
            "errors": {
                family: {
                    "rms": _mean(record["errors"][family]["rms"] for record in group),
                    "mean_abs": _mean(record["errors"][family]["mean_abs"] for record in group),
                    "worst": max(record["errors"][family]["worst"] for record in group),
                    "std": float(
                        np.std([record["errors"][family]["mean_abs"] for record in group])
                    ),
                }
                for family in group[0]["errors"]
            },
        }
        rows.append(row)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    return sorted(
        rows,
        key=lambda row: (
            row["m"], row["d"], row["target"], methods.index(row["method"]), row["k"],
        ),
    )  # fmt: skip


def line_variable(rows: Sequence[Record], fraction: float | None) -> str:
    """Return along what errors are looked at: 'd' or 'target'.

    Parameters
    ----------
    rows : sequence of dict
        See :func:`means`.
    fraction : float or None
        Part of d that is kept; None where the targets were given: then whichever of the two has
        more values, and lines are of one value of the other.
    """
    if fraction is not None:
        return "d"
    return (
        "d" if len({row["d"] for row in rows}) > len({row["target"] for row in rows}) else "target"
    )


def keeps_fraction(row: Record, fraction: float | None) -> bool:
    """Tell whether a target is that part of d; False where C(m+k, k) is more, another job."""
    return fraction is None or row["target"] == part_of(fraction, row["d"])


def exponents(
    rows: Sequence[Record], fraction: float | None = None, rank: int | None = None
) -> list[Record]:
    """Return the fitted exponents of the mean absolute error, for every line of three or more.

    A line runs over d at a fixed fraction; where targets were given, over targets at one d or over
    d at one target (see :func:`line_variable`). Points at the floor of floating point take no part,
    nor do those that keep C(m+k, k) points because the fraction is less. ``theory`` is
    (k+1)/m + 0.5 for the order asked for, m being the affine rank; null for methods that know no
    order, for functions with kinks or jumps, and at a fixed target.

    Parameters
    ----------
    rows : sequence of dict
        See :func:`means`.
    fraction : float or None
        Part of d that is kept; None where the targets were given.
    rank : int, optional
        Affine rank of the rows. Default: all columns are independent.
    """
    along = line_variable(rows, fraction)
    fixed = None if fraction is not None else FIXED_ALONG[along]
    lines: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for row in rows:
        if keeps_fraction(row, fraction):
            place = row["m"], row["method"], row["k"], None if fixed is None else row[fixed]
            for family in row["errors"]:
                lines[*place, family].append(row)
    found = []
    for (m, method, k, at, family), line in lines.items():
        law = fit_power(
            [row[along] for row in line],
            [row["errors"][family]["mean_abs"] for row in line],
            FLOOR,
        )
        if law is not None:
            found.append(
                {
                    "m": m, "method": method, "k": k, "family": family, "along": along,
                    "d": at if fixed == "d" else None, "target": at if fixed == "target" else None,
                    "exponent": -law.exponent, "standard_error": law.standard_error,
                    "theory": (
                        None if fixed == "target"
                        else theory_exponent(m if rank is None else rank, k, family)
                    ),
                    "points": law.n,
                }
            )  # fmt: skip
    return found


def ratios(rows: Sequence[Record], method: str = "momentc") -> list[Record]:
    """Return how a method's errors compare with every other's on the same cells.

    Keys: ``other``, ``family``, ``geometric_mean`` and ``worst`` of error / other's error over
    the cells where the other's error is above the floor, and their number ``cells``.
    """
    mine = {_place(row): row for row in rows if row["method"] == method}
    by_pair: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["method"] == method:
            continue
        for place, own in mine.items():
            if place[:3] != _place(row)[:3] or (row["k"] and place != _place(row)):
                continue
            for family, error in row["errors"].items():
                if error["mean_abs"] > FLOOR:
                    small = max(own["errors"][family]["mean_abs"], 1e-17)
                    by_pair[row["method"], family].append(math.log(small / error["mean_abs"]))
    return [
        {
            "other": other, "family": family, "geometric_mean": math.exp(_mean(values)),
            "worst": math.exp(max(values)), "cells": len(values),
        }
        for (other, family), values in by_pair.items()
    ]  # fmt: skip


def recommend(rows: Sequence[Record], max_error: float) -> list[Record]:
    """Return the cheapest setting of momentc that holds ``max_error``, for all families and each.

    For every m and d. The cheapest is the smallest target; among equal targets the lowest order
    that was kept, which takes the least time, and of these the highest k, which promises the most.
    A setting that momentc could not do in every trial is no setting.

    Keys: ``m``, ``d``; ``family`` ('all' first); ``k``, ``target``, ``trials``; ``rms`` (over the
    functions of a family, mean over the trials; of 'all' the largest family) and ``worst`` (of a
    single function in a single trial). Where no setting holds, ``k``, ``target`` and ``worst`` are
    null, ``trials`` is 0 and ``rms`` the smallest that was seen.
    """
    own = [row for row in rows if row["method"] == "momentc" and row["failed"] == 0]
    found: list[Record] = []
    for m, d in sorted({(row["m"], row["d"]) for row in own}):
        here = [row for row in own if (row["m"], row["d"]) == (m, d)]
        names = list(here[0]["errors"])
        for family in ("all", *names):
            chosen = names if family == "all" else [family]
            rms = [max(row["errors"][name]["rms"] for name in chosen) for row in here]
            good = [row for row, error in zip(here, rms, strict=True) if error <= max_error]
            best = min(good, key=_cost, default=None)
            record: Record = {"m": m, "d": d, "family": family}
            if best is None:
                record |= {"k": None, "target": None, "rms": min(rms), "worst": None, "trials": 0}
            else:
                errors = [best["errors"][name] for name in chosen]
                record |= {
                    "k": best["k"], "target": best["target"], "trials": best["trials"],
                    "rms": max(error["rms"] for error in errors),
                    "worst": max(error["worst"] for error in errors),
                }  # fmt: skip
            found.append(record)
    return found


def _cost(row: Record) -> tuple[int, int, int]:
    return row["target"], row["kept_order"], -row["k"]


def polylog_rows(records: Iterable[Record]) -> list[Record]:
    """Return Fig. 8: for every method, m and d the least error of Eq. (98) over the orders.

    The least of every trial is taken, as in the paper, then their mean; ``median_k`` is the
    median of the orders that reached it.
    """
    trials: dict[tuple[Any, ...], dict[int, list[tuple[float, int]]]] = defaultdict(dict)
    for record in records:
        if "failed" in record:
            continue
        place = (record["method"], record["m"], record["d"], record["target"])
        least = trials[place].setdefault(record["trial"], [])
        least.append((record["errors"]["eq98"]["mean_abs"], record["k"]))
    rows = []
    for (method, m, d, target), by_trial in sorted(trials.items()):
        best = [min(values) for values in by_trial.values()]
        rows.append(
            {
                "method": method, "m": m, "d": d, "target": target, "trials": len(best),
                "mean_least_error": _mean(error for error, _ in best),
                "std": float(np.std([error for error, _ in best])),
                "median_k": float(np.median([k for _, k in best])),
            }
        )  # fmt: skip
    return rows


def _place(row: Record) -> tuple[Any, ...]:
    return row["m"], row["d"], row["target"], row["k"]


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return math.fsum(kept) / len(kept)
