"""What the timed cells say together: exponents, speedups, ratios."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from momentc.study.fit import fit_power
from momentc.study.summary import keeps_fraction

__all__ = ["bench_csv_rows", "memory_growth", "speedups", "time_exponents", "wrong_baselines"]

Record = dict[str, Any]


def wrong_baselines(records: Sequence[Record]) -> dict[str, int]:
    """Return in how many cells each baseline missed the moments; only those that did."""
    found: dict[str, int] = {}
    for record in records:
        for name, other in record["baselines"].items():
            if not other.get("ok", True):
                found[name] = found.get(name, 0) + 1
    return found


def time_exponents(records: Sequence[Record], fraction: float | None = None) -> list[Record]:
    """Return the fitted exponents of time in d for each m, k and number of threads.

    Parameters
    ----------
    records : sequence of dict
        See :func:`momentc.study.timing.measure_cell`.
    fraction : float or None
        Part of d that is kept: cells that keep C(m+k, k), which is more, are another job and take
        no part. None where the targets were given: a line for each of them.

    Returns
    -------
    list of dict
        Keys: ``m``, ``k``, ``threads``, ``target`` (null at a fixed fraction), ``system``,
        ``exponent``, ``standard_error``, ``points``.
    """
    found = []
    for (m, k, threads, target), line in _lines(records, fraction).items():
        timed: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for record in line:
            timed["momentc"].append((record["d"], record["seconds"]))
            for name, other in record["baselines"].items():
                if other.get("ok", False):
                    timed[name].append((record["d"], other["seconds"]))
        for system, points in sorted(timed.items()):
            law = fit_power([d for d, _ in points], [seconds for _, seconds in points])
            if law is not None:
                found.append(
                    {
                        "m": m, "k": k, "threads": threads, "target": target, "system": system,
                        "exponent": law.exponent, "standard_error": law.standard_error,
                        "points": law.n,
                    }
                )  # fmt: skip
    return found


def memory_growth(records: Sequence[Record], fraction: float | None = None) -> list[Record]:
    """Return the line through peak memory against d, where there are three sizes or more.

    Parameters
    ----------
    records, fraction
        See :func:`time_exponents`.

    Returns
    -------
    list of dict
        Keys: ``m``, ``k``, ``threads``, ``target``, ``bytes_per_object``, ``standard_error``,
        ``fixed`` (bytes at d = 0).
    """
    found = []
    for (m, k, threads, target), line in _lines(records, fraction).items():
        if len({record["d"] for record in line}) < 3:
            continue
        d = np.array([record["d"] for record in line], dtype=np.float64)
        peak = np.array([record["peak_memory"] for record in line], dtype=np.float64)
        offset = d - d.mean()
        square = float(offset @ offset)
        slope = float(offset @ peak) / square
        miss = peak - peak.mean() - slope * offset
        error = math.sqrt(float(miss @ miss) / (len(line) - 2) / square)
        found.append(
            {
                "m": m, "k": k, "threads": threads, "target": target, "bytes_per_object": slope,
                "standard_error": error, "fixed": float(peak.mean() - slope * d.mean()),
            }
        )  # fmt: skip
    return found


def _lines(
    records: Sequence[Record], fraction: float | None
) -> dict[tuple[int, int, int, int | None], list[Record]]:
    """Return the records that differ in d alone, in the order of m, k, threads and target."""
    lines: dict[tuple[int, int, int, int | None], list[Record]] = defaultdict(list)
    for record in records:
        if keeps_fraction(record, fraction):
            target = record["target"] if fraction is None else None
            lines[record["m"], record["k"], record["threads"], target].append(record)
    return dict(sorted(lines.items(), key=lambda item: (*item[0][:3], item[0][3] or 0)))


def speedups(records: Sequence[Record]) -> list[Record]:
    """Return how much faster more threads are than the fewest, cell by cell."""
    groups: dict[tuple[int, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[record["m"], record["k"], record["d"], record["target"]].append(record)
    found = []
    for (m, k, d, target), group in groups.items():
        first, *others = sorted(group, key=lambda record: int(record["threads"]))
        found += [
            {
                "m": m, "k": k, "d": d, "target": target, "threads": other["threads"],
                "than": first["threads"], "speedup": first["seconds"] / other["seconds"],
            }
            for other in others
        ]  # fmt: skip
    return found


def bench_csv_rows(records: Sequence[Record]) -> list[Record]:
    """Return the records flat: ``stage_<name>`` and ``<baseline>_<field>`` columns."""
    flat = []
    for record in records:
        row = {name: value for name, value in record.items() if name not in {"stages", "baselines"}}
        for stage, seconds in record.get("stages", {}).items():
            row[f"stage_{stage.replace(' ', '_')}"] = seconds
        for name, other in record["baselines"].items():
            row |= {f"{name}_{field}": value for field, value in other.items()}
        flat.append(row)
    return flat
