"""Reports as facts and tables for a person."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from momentc.cli.console import Table
from momentc.cli.text import format_count, format_error, format_estimate, format_seconds
from momentc.text import format_bytes

if TYPE_CHECKING:
    from momentc.files.jobs import JobReport
    from momentc.files.plan import CompressPlan

__all__ = [
    "comparison_facts",
    "compression_facts",
    "info_facts",
    "moments_kept",
    "order_table",
    "plan_facts",
    "reduced_to",
    "verdict",
]

Facts = list[tuple[str, str]]

# Numbers of columns that are written out.
MOST_LISTED = 12


def compression_facts(outcome: "JobReport") -> Facts:
    """Return the summary of a finished compression."""
    content = outcome.content
    n_in, n_out = content["n_points"], content["n_kept"]
    facts = [
        ("input", content["input"]["name"]),
        ("output", str(outcome.output)),
        ("objects", reduced_to(n_in, n_out)),
        ("moments", moments_kept(content)),
        ("moment error", verdict(content)),
        (
            "time",
            f"{format_seconds(content['seconds'])}  "
            f"({format_count(round(content['objects_per_second']))} objects a second)",
        ),
        ("peak memory", format_bytes(content["peak_memory"])),
    ]
    if outcome.report_path is not None:
        facts.append(("report", outcome.report_path))
    return facts


def comparison_facts(content: dict[str, Any]) -> Facts:
    """Return the summary of a comparison of two files."""
    n_in, n_out = content["n_points"]
    weight_in, weight_out = content["total_weight"]
    if content["rows_are_kept"]:
        kept = "rows of the original, bit for bit: ok"
    elif content["made_from_original"]:
        kept = "not the rows of the original: FAILED"
    else:
        kept = "not of the original: made from another array, or with other weights"
    whole = content["rows"] == [[0, content["n_rows"]]]
    part = f"rows {_stretches(content['rows'])} of {format_count(content['n_rows'])}"
    return [
        ("original", content["original"]),
        ("compressed", content["compressed"]),
        *(() if whole else (("part", part),)),
        ("objects", reduced_to(n_in, n_out)),
        ("total weight", f"{weight_in:.17g} -> {weight_out:.17g}"),
        ("moments", moments_kept(content)),
        ("kept rows", kept),
        ("moment error", verdict(content)),
        ("time", format_seconds(content["seconds"])),
    ]


def plan_facts(plan: "CompressPlan") -> Facts:
    """Return the summary of what a compression would do."""
    weights = "with weights" if plan.weighted else "without weights"
    facts = [
        ("input", f"{plan.input}, {plan.dtype}, {weights}"),
        ("objects", f"{format_count(plan.rows[1] - plan.rows[0])} -> {format_count(plan.target)}"),
        ("columns", format_count(plan.n_columns)),
        ("moments", _planned_moments(plan)),
        ("memory", f"{format_bytes(plan.memory_needed)} of {format_bytes(plan.memory_budget)}"),
        *_planned_stream(plan),
        ("passes", f"{plan.passes} over the input"),
        ("time", f"roughly {format_estimate(plan.seconds)}"),
        ("output", plan.output),
    ]
    if plan.report is not None:
        facts.append(("report", plan.report))
    if plan.copies_through:
        facts.append(("note", "the input has no more rows than the target: all would be kept"))
    elif plan.target_may_be_low:
        facts.append(
            ("note", "the target is below the number of moments: it will do only if columns depend")
        )
    return facts


def _planned_stream(plan: "CompressPlan") -> Facts:
    """Say how a stream would be worked on; nothing where all rows are held in memory."""
    if plan.stream is None:
        return []
    stream = plan.stream
    cell_rows = format_count(stream.slots // stream.n_cells)
    facts = [
        (
            "stream",
            f"{format_count(stream.n_cells)} cells of {cell_rows} rows, blocks of "
            f"{format_count(stream.block_rows)}, "
            f"{format_count(stream.left)} points left for the last stages",
        )
    ]
    start, stop = plan.rows
    if stop - start < plan.n_rows:
        facts.append(("rows", f"{format_count(start)} to {format_count(stop - 1)} of all"))
    if plan.ranges:
        most = max(stop - start for start, stop in plan.ranges)
        facts.append(
            ("ranges", f"{format_count(len(plan.ranges))} of at most {format_count(most)} rows")
        )
    if plan.checkpoints:
        facts.append(("checkpoints", "beside the output; the same command goes on from there"))
    return facts


def _planned_moments(plan: "CompressPlan") -> str:
    if plan.auto_order:
        return "of the order that measurements on a part of the rows will choose"
    return (
        f"{format_count(plan.n_moments)} of order 0 to {plan.k} (fewer if columns depend on each "
        "other)"
    )


def info_facts(content: dict[str, Any]) -> Facts:
    """Return the summary of a file."""
    facts = [("file", content["name"])]
    if content["kind"] == "array":
        return [
            *facts,
            ("holds", "an array"),
            ("rows", format_count(content["n_rows"])),
            ("columns", format_count(content["n_columns"])),
            ("dtype", content["dtype"]),
            ("weights", "yes" if content["weighted"] else "no"),
        ]
    made_from = content["input"]
    return [
        *facts,
        ("holds", f"a compressed array (momentc {content['momentc']})"),
        (
            "made from",
            f"{made_from['name']}, {made_from['dtype']}, "
            f"{made_from['fingerprint'] or 'fingerprint of the whole not known'}",
        ),
        *((("weights", _weights_of(made_from)),) if made_from["weighted"] else ()),
        *_part_rows(content),
        ("objects", reduced_to(content["n_points"], content["n_kept"])),
        ("columns", _matched_columns(content)),
        ("total weight", f"{content['total_weight']:.17g}"),
        ("moments", moments_kept(content)),
        ("request", f"k {content['k']}, target {content['target']}, effort {content['effort']}"),
        ("seed", str(content["seed"])),
        ("moment error", verdict(content)),
        ("checksum", f"{content['checksum']} ok"),
        *(("note", note) for note in content["notes"]),
    ]


def _weights_of(made_from: dict[str, Any]) -> str:
    return "of the input itself" if made_from["weights"] is None else str(made_from["weights"])


def _matched_columns(content: dict[str, Any]) -> str:
    """``6 (2, 3, 5 matched)``, ``6 (all matched)``."""
    columns = content["columns"]
    if sorted(columns) == list(range(content["n_columns"])):
        return f"{content['n_columns']} (all matched)"
    few = ", ".join(map(str, columns)) if len(columns) <= MOST_LISTED else str(len(columns))
    return f"{content['n_columns']} ({few} matched)"


def _part_rows(content: dict[str, Any]) -> Facts:
    """Say which rows a part was made from; nothing of a whole result."""
    part = content.get("part")
    if part is None:
        return []
    facts = [("part", f"rows {_stretches(part['rows'])} of {format_count(part['shape'][0])}")]
    if content.get("missing_rows"):
        lost = _stretches(content["missing_rows"])
        facts.append(("missing", f"rows {lost}: no part with them was merged"))
    return facts


def _stretches(rows: Sequence[Sequence[int]]) -> str:
    """Write stretches (start, stop) of rows with their first and last."""
    return ", ".join(f"{format_count(a)} to {format_count(b - 1)}" for a, b in rows)


def order_table(content: dict[str, Any]) -> Table | None:
    """Return the errors order by order; None for a report without errors."""
    if "error" not in content:
        return None
    rows = [
        (
            str(order),
            format_error(error),
            format_error(relative),
            _order_verdict(order, error, content),
        )
        for order, (error, relative) in enumerate(
            zip(content["error"], content["relative_error"], strict=True)
        )
    ]
    return ("Error by order", ("order", "in the frame", "relative", ""), rows)


def _order_verdict(order: int, error: float | None, content: dict[str, Any]) -> str:
    if order <= content["k"]:
        return "ok" if error is not None and error <= content["tolerance"] else "FAILED"
    below = content["error"][: order + 1]
    matched = all(value is not None and value <= content["tolerance"] for value in below)
    return "matched too" if matched else "not matched"


def verdict(content: dict[str, Any]) -> str:
    """Return the worst error of the orders asked for, and whether that is good enough."""
    errors: Sequence[float | None] = content["error"][: content["k"] + 1]
    if any(error is None for error in errors):
        return "not finite FAILED"
    worst = max(range(len(errors)), key=lambda order: errors[order] or 0.0)
    word = "ok" if (errors[worst] or 0.0) <= content["tolerance"] else "FAILED"
    return (
        f"{format_error(errors[worst])} at order {worst}, tolerance "
        f"{format_error(content['tolerance'])}: {word}"
    )


def moments_kept(content: dict[str, Any]) -> str:
    """Return how many moments are kept, and up to which order."""
    return (
        f"{format_count(content['n_moments'])} of order 0 to {content['k']} "
        f"(rank {content['rank']})"
    )


def reduced_to(n_in: int, n_out: int) -> str:
    """Return how many objects there were and are, and their ratio."""
    ratio = f"1 in {n_in / n_out:,.1f}" if n_out else "none kept"
    return f"{format_count(n_in)} -> {format_count(n_out)}  ({ratio})"
