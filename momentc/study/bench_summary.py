"""What the timed cells say together: exponents, speedups, ratios."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from momentc.study.fit import fit_power

__all__ = ["bench_csv_rows", "memory_growth", "speedups", "time_exponents"]

Record = dict[str, Any]


def time_exponents(records: Sequence[Record]) -> list[Record]:
    """Return the fitted exponents of time in d for each m, k and number of threads.

    Keys: ``m``, ``k``, ``threads``, ``system``, ``exponent``, ``standard_error``, ``points``.
    """
    lines: dict[tuple[int, int, int, str], list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        place = (record["m"], record["k"], record["threads"])
        lines[*place, "momentc"].append((record["d"], record["seconds"]))
        for name, other in record["baselines"].items():
            if "seconds" in other:
                lines[*place, name].append((record["d"], other["seconds"]))
    found = []
    for (m, k, threads, system), line in sorted(lines.items()):
        law = fit_power([d for d, _ in line], [seconds for _, seconds in line])
        if law is not None:
            found.append(
                {
                    "m": m, "k": k, "threads": threads, "system": system,
                    "exponent": law.exponent, "standard_error": law.standard_error,
                    "points": law.n,
                }
            )  # fmt: skip
    return found


def memory_growth(records: Sequence[Record]) -> list[Record]:
    """Return the line through peak memory against d for each m and k with three sizes or more.

    Keys: ``m``, ``k``, ``bytes_per_object``, ``standard_error``, ``fixed`` (bytes at d = 0).
    """
    groups: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for record in records:
        groups[record["m"], record["k"]].append(record)
    found = []
    for (m, k), group in sorted(groups.items()):
        if len({record["d"] for record in group}) < 3:
            continue
        d = np.array([record["d"] for record in group], dtype=np.float64)
        peak = np.array([record["peak_memory"] for record in group], dtype=np.float64)
        offset = d - d.mean()
        square = float(offset @ offset)
        slope = float(offset @ peak) / square
        miss = peak - peak.mean() - slope * offset
        error = math.sqrt(float(miss @ miss) / (len(group) - 2) / square)
        found.append(
            {
                "m": m, "k": k, "bytes_per_object": slope, "standard_error": error,
                "fixed": float(peak.mean() - slope * d.mean()),
            }
        )  # fmt: skip
    return found


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
