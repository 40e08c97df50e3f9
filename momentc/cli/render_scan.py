"""The report of ``error-scan`` as facts and tables for a person."""

from collections.abc import Sequence
from typing import Any

from momentc.cli.console import Table
from momentc.cli.text import format_count, format_error

__all__ = ["scan_facts", "scan_tables"]

# A longer table of means than this is left to the file: nobody reads it in a terminal.
MOST_ROWS = 80


def scan_facts(content: dict[str, Any], output: str | None, plot: str | None) -> list[
    tuple[str, str]
]:  # fmt: skip
    """Return the summary of a scan."""
    done = len(content["cells"])
    total = done + content["missing"]
    cells = f"{done} of {total}" if content["missing"] else f"{done}"
    if content["resumed"]:
        cells += f" ({content['resumed']} of them from before)"
    facts = [("input", content["input"]), ("cells", cells)]
    if content["task"] is not None:
        number, count = content["task"]
        facts.append(("task", f"{number} of {count}"))
    if content["missing"]:
        facts.append(
            ("result", "other tasks are still to come; the last one to end writes the table")
        )
    if len(content["rows"]) > MOST_ROWS and not content["polylog"]:
        facts.append(("errors", f"{len(content['rows'])} rows, more than a terminal shows"))
    worst = [row["moment_error"] for row in content["rows"] if row["method"] == "momentc"]
    if worst:
        facts.append(("moment error", f"at most {format_error(max(worst))} up to order k"))
    facts += [("failed", sentence) for sentence in content["failed"]]
    if content["max_error"] is not None and not content["missing"]:
        facts.append(("advice", _advice(content)))
    if output not in {None, "-"}:
        facts.append(("output", str(output)))
        if plot is not None and content["rows"]:
            facts.append(("plot", plot))
    return facts


def scan_tables(content: dict[str, Any]) -> list[Table]:
    """Return the tables that the scan has something for."""
    if content["missing"] or not content["rows"]:
        return []
    tables: list[Table] = []
    rows = content["rows"]
    if content["polylog"]:
        tables.append(_polylog(content["polylog"]))
    elif len(rows) <= MOST_ROWS:
        tables.append(_means(rows))
    if (table := _exponents(content["exponents"], content["rank"])) is not None:
        tables.append(table)
    if content["ratios"] and not content["polylog"]:
        tables.append(_ratios(content["ratios"]))
    if content["recommended"]:
        tables.append(_recommended(content))
    return tables


def _advice(content: dict[str, Any]) -> str:
    everything = [row for row in content["recommended"] if row["family"] == "all"]
    bound = format_error(content["max_error"])
    if not everything:
        return "none: there is no setting that momentc could do in every trial"
    if len({(row["m"], row["d"]) for row in content["rows"]}) > 1:
        return f"the last table has the cheapest settings seen with an rms error <= {bound}"
    (best,) = everything
    if best["k"] is None:
        held = [row["family"] for row in content["recommended"] if row["k"] is not None]
        some = f" ({', '.join(held)} it does: the last table)" if held else ""
        return (
            f"no setting seen holds {bound} in every family{some}; the smallest rms error is "
            f"{format_error(best['rms'])}. Scan a larger --target"
        )
    # One trial may be one of the luckier ones, several times better than the mean.
    once = best["trials"] == 1
    return (
        f"--k {best['k']} --target {best['target']} is the cheapest setting seen with an rms error "
        f"<= {bound} in every family ({format_error(best['rms'])}; the worst single function "
        f"{format_error(best['worst'])}{'; in one trial: --trials 5 is surer' if once else ''})"
    )


def _means(rows: Sequence[dict[str, Any]]) -> Table:
    families = list(rows[0]["errors"])
    several = len({(row["m"], row["d"]) for row in rows}) > 1
    # Some cells have failed: their rows are means of fewer.
    uneven = len({row["trials"] for row in rows}) > 1
    head = [
        *(("m", "d") if several else ()), "method", "k", "kept to", "target",
        *(("trials",) if uneven else ()), *families,
    ]  # fmt: skip
    lines = [
        [
            *((str(row["m"]), format_count(row["d"])) if several else ()),
            row["method"],
            str(row["k"] or "-"),
            "-" if row["kept_order"] is None else str(row["kept_order"]),
            format_count(row["target"]),
            *((str(row["trials"]),) if uneven else ()),
            *(format_error(row["errors"][family]["rms"]) for family in families),
        ]
        for row in rows
    ]
    return ("Error of the function panel (rms over its functions, mean over trials)", head, lines)


def _exponents(found: Sequence[dict[str, Any]], rank: int | None) -> Table | None:
    """Return the exponents of one family: the paper's function, or the first of the panel.

    Beside the theory, where there is one. Its m are the independent columns.
    """
    known = [row for row in found if row["theory"]] or [row for row in found if row["k"]]
    names = list(dict.fromkeys(row["family"] for row in known))
    if not names:
        return None
    family = next((name for name in ("eq13", "eq98") if name in names), names[0])
    along = found[0]["along"]
    several = len({row["d"] for row in known}) > 1
    targets = any(row["target"] is not None for row in known)
    ordered = sorted(
        (row for row in known if row["family"] == family),
        key=lambda row: (row["m"], row["d"] or 0, row["target"] or 0, row["method"], row["k"]),
    )
    lines = [
        [
            str(row["m"] if rank is None else rank),
            *([format_count(row["d"])] if several else ()),
            *([format_count(row["target"])] if targets else ()), row["method"], str(row["k"]),
            f"{row['exponent']:.2f} ± {row['standard_error']:.2f}",
            f"{row['theory']:.2f}" if row["theory"] else "-", str(row["points"]),
        ]
        for row in ordered
    ]  # fmt: skip
    title = f"Exponent of the error of {family} in {'d' if along == 'd' else 'the target'}"
    head = (
        "m", *(("d",) if several else ()), *(("target",) if targets else ()), "method", "k",
        "fitted", "(k+1)/m + 0.5", "points",
    )  # fmt: skip
    return (title, head, lines)


def _ratios(found: Sequence[dict[str, Any]]) -> Table:
    lines = [
        [
            row["other"], row["family"], f"{row['geometric_mean']:.2g}", f"{row['worst']:.2g}",
            str(row["cells"]),
        ]
        for row in found
    ]  # fmt: skip
    return (
        "Error of momentc over that of the other methods (mean absolute, where the above is rms)",
        ("method", "family", "geometric mean", "worst", "cells"),
        lines,
    )


def _polylog(found: Sequence[dict[str, Any]]) -> Table:
    lines = [
        [
            row["method"], str(row["m"]), format_count(row["d"]), format_count(row["target"]),
            f"{row['median_k']:g}" if row["median_k"] else "-",
            format_error(row["mean_least_error"]), format_error(row["std"]),
        ]
        for row in found
    ]  # fmt: skip
    return (
        "Least error of Eq. (98) over the orders, mean over trials",
        ("method", "m", "d", "target", "median k", "least error", "std"),
        lines,
    )


def _recommended(content: dict[str, Any]) -> Table:
    found = content["recommended"]
    several = len({(row["m"], row["d"]) for row in found}) > 1
    lines = [
        [
            *((str(row["m"]), format_count(row["d"])) if several else ()),
            row["family"],
            "-" if row["k"] is None else str(row["k"]),
            "-" if row["k"] is None else format_count(row["target"]),
            format_error(row["rms"]),
            "-" if row["worst"] is None else format_error(row["worst"]),
        ]
        for row in found
    ]
    bound = format_error(content["max_error"])
    title = f"Cheapest setting seen with an rms error of at most {bound}"
    head = (*(("m", "d") if several else ()), "family", "k", "target", "rms", "worst function")
    return (title, head, lines)
