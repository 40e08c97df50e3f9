"""The report of ``bench`` as facts and tables for a person."""

from collections.abc import Sequence
from typing import Any

from momentc.cli.console import Table
from momentc.cli.text import format_count, format_error
from momentc.text import format_bytes

__all__ = ["bench_facts", "bench_tables"]


def bench_facts(
    content: dict[str, Any], output: str | None, plot: str | None
) -> list[tuple[str, str]]:
    """Return the summary of a bench."""
    cells = content["cells"]
    number = f"{len(cells)}"
    if content["resumed"]:
        number += f" ({content['resumed']} of them from before)"
    errors = [cell["moment_error"] for cell in cells]
    wrong = sum(not cell["ok"] for cell in cells)
    if wrong:
        verdict = f"{wrong} of {len(cells)} cells: FAILED"
    else:
        verdict = (
            f"every timed result of momentc, moment error at most {format_error(max(errors))}: ok"
        )
    facts = [
        ("cells", number),
        ("runs", f"{content['repeats']} of each, after a warm-up, effort {content['effort']}"),
        ("verified", verdict),
    ]
    facts += [
        (name, f"{number} of its results FAILED the verification: that time counts for nothing")
        for name, number in content["wrong_baselines"].items()
    ]
    if output not in {None, "-"}:
        facts.append(("output", str(output)))
    if plot is not None:
        facts.append(("plot", plot))
    return facts


def bench_tables(content: dict[str, Any]) -> list[Table]:
    """Return the tables that the bench has something for."""
    tables = [_times(content["cells"])]
    if any(cell["baselines"] for cell in content["cells"]):
        tables.append(_baselines(content["cells"]))
    if content["exponents"]:
        tables.append(_exponents(content["exponents"]))
    if content["memory"]:
        tables.append(_memory(content["memory"]))
    if content["speedups"]:
        tables.append(_speedups(content["speedups"]))
    return tables


def _times(cells: Sequence[dict[str, Any]]) -> Table:
    lines = []
    for cell in cells:
        total = sum(cell["stages"].values()) or 1.0
        stage, most = max(cell["stages"].items(), key=lambda item: item[1])
        lines.append(
            [
                str(cell["m"]), str(cell["k"]), format_count(cell["d"]),
                format_count(cell["target"]), str(cell["threads"]),
                _seconds(cell["seconds"]), _seconds(cell["median"]),
                format_count(round(cell["objects_per_second"])),
                f"{stage} {most / total:.0%}",
                format_bytes(cell["peak_memory"]),
                format_error(cell["moment_error"]), _verdict(cell),
            ]
        )  # fmt: skip
    head = ("m", "k", "d", "target", "threads", "least", "median", "objects/s", "longest stage",
            "peak memory", "moment error", "")  # fmt: skip
    return ("Seconds of the compress call", head, lines)


def _baselines(cells: Sequence[dict[str, Any]]) -> Table:
    lines = []
    for cell in cells:
        place = [str(cell["m"]), str(cell["k"]), format_count(cell["d"]),
                 format_count(cell["target"]), str(cell["threads"])]  # fmt: skip
        for name, other in cell["baselines"].items():
            if "skipped" in other:
                lines.append([*place, name, "-", "-", "-", other["skipped"]])
                continue
            lines.append(
                [
                    *place, name, _seconds(other["seconds"]),
                    f"{other['seconds'] / cell['seconds']:,.3g}x" if other["ok"] else "-",
                    format_error(other["moment_error"]), _verdict(other),
                ]
            )  # fmt: skip
    head = ("m", "k", "d", "target", "threads", "baseline", "least", "momentc is faster by",
            "moment error", "")  # fmt: skip
    return ("Baselines on the same points, runs taken in turn", head, lines)


def _exponents(found: Sequence[dict[str, Any]]) -> Table:
    lines = [
        [
            row["system"], *_line(row), f"{row['exponent']:.2f} ± {row['standard_error']:.2f}",
            str(row["points"]),
        ]
        for row in found
    ]  # fmt: skip
    head = ("system", "m", "k", "threads", "target", "fitted", "points")
    return ("Exponent of time in d", head, lines)


def _memory(found: Sequence[dict[str, Any]]) -> Table:
    lines = [
        [
            *_line(row), format_bytes(max(0.0, row["fixed"])),
            f"{row['bytes_per_object']:,.0f} ± {row['standard_error']:,.0f}",
        ]
        for row in found
    ]  # fmt: skip
    head = ("m", "k", "threads", "target", "fixed", "bytes an object")
    return ("Peak memory = fixed + bytes an object", head, lines)


def _line(row: dict[str, Any]) -> list[str]:
    """Say of which cells a line is."""
    target = "fraction" if row["target"] is None else format_count(row["target"])
    return [str(row["m"]), str(row["k"]), str(row["threads"]), target]


def _speedups(found: Sequence[dict[str, Any]]) -> Table:
    lines = [
        [
            str(row["m"]), str(row["k"]), format_count(row["d"]), format_count(row["target"]),
            f"{row['threads']} over {row['than']}", f"{row['speedup']:.2f}x",
        ]
        for row in found
    ]  # fmt: skip
    return ("Threads", ("m", "k", "d", "target", "threads", "faster by"), lines)


def _seconds(value: float) -> str:
    """Three digits: 0.000123 s, 1.23 s, 123 s."""
    return f"{value:.3g} s" if value >= 0.001 else f"{value * 1e3:.3g} ms"


def _verdict(timed: dict[str, Any]) -> str:
    return "ok" if timed["ok"] else "FAILED"
