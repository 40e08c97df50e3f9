"""The report of ``reproduce`` as facts and tables for a person."""

from collections.abc import Sequence
from typing import Any

from momentc.cli.console import Table
from momentc.cli.text import format_error, format_seconds

__all__ = ["failures", "reproduce_facts", "reproduce_tables"]


def reproduce_facts(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the summary of a reproduced figure."""
    judged = [row for row in content["verdicts"] if row["ok"] is not None]
    good = sum(row["ok"] for row in judged)
    runs = f"{content['runs']}"
    if content["resumed"]:
        runs += f" ({content['resumed']} of them from before)"
    facts = [("figure", f"{content['figure']}, scale {content['scale']}")]
    if content["seeds"]:
        facts.append(("seeds", ", ".join(map(str, content["seeds"]))))
    facts.append(("runs", runs))
    facts.append(("verdict", f"{good} of {len(judged)} criteria: {_word(content['ok'])}"))
    if content["moment_error"] is not None:
        facts.append(("moment error", f"at most {format_error(content['moment_error'])}"))
    facts += [("failed", sentence) for sentence in failures(content)]
    facts.append(("time", format_seconds(content["seconds"])))
    facts += [("output" if i == 0 else "", path) for i, path in enumerate(content["files"])]
    return facts


def failures(content: dict[str, Any]) -> list[str]:
    """Return why cells of a scan behind the figure could not be done."""
    found: list[str] = content.get("report", {}).get("failed", [])
    return found


def reproduce_tables(content: dict[str, Any]) -> list[Table]:
    """Return the verdicts, and where the time went."""
    tables = [_verdicts(content["verdicts"])]
    if content["times"]:
        tables.append(_times(content["times"]))
    return tables


def _verdicts(found: Sequence[dict[str, Any]]) -> Table:
    lines = [
        [
            row["panel"], row["what"], row["wanted"] or "-", _number(row["found"]),
            "-" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}",
            row["published"] or "-",
            "-" if row["ok"] is None else _word(row["ok"]),
        ]
        for row in found
    ]  # fmt: skip
    head = ("panel", "criterion", "wanted", "found", "spread", "published", "")
    return ("What the figure must show", head, lines)


def _times(found: Sequence[dict[str, Any]]) -> Table:
    curves = [name for name in ("full", "compressed", "random") if name in found[0]]
    lines = []
    for row in found:
        compress = row["compress"]
        longer = compress is not None and compress > row["compressed"]
        word = "compressing takes longer than training" if longer else ""
        seconds = [f"{row[name]:.2f} s" for name in curves]
        lines.append(
            [row["panel"], "-" if compress is None else f"{compress:.2f} s", *seconds, word]
        )
    head = ("panel", "compressing", *(f"training {name}" for name in curves), "")
    return ("Mean seconds of the processor, one thread", head, lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _word(ok: bool) -> str:
    return "ok" if ok else "FAILED"
