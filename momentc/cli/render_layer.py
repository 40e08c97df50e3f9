"""The report of ``compress-layer`` as facts for a person."""

from typing import Any

from momentc.cli.text import format_bytes, format_count, format_error, format_seconds

__all__ = ["layer_facts"]


def layer_facts(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the summary of a layer that was made narrower."""
    n_in, n_out = content["n_points"], content["n_kept"]
    bias = ", a bias" if content["has_bias"] else ""
    errors = [value or 0.0 for value in content["error"][: content["k"] + 1]]
    worst = max(range(len(errors)), key=errors.__getitem__)
    return [
        ("input", content["input"]),
        ("output", content["output"]),
        (
            "layer",
            f"{content['layer']} -> {content['outgoing']}  ({format_count(content['n_inputs'])} "
            f"inputs{bias}, {format_count(content['n_outputs'])} outputs)",
        ),
        (
            "neurons",
            f"{format_count(n_in)} -> {format_count(n_out)}  (1 in {n_in / n_out:,.1f})",
        ),
        (
            "moments",
            f"{format_count(content['n_moments'])} of order 0 to {content['k']} "
            f"(rank {content['rank']})",
        ),
        (
            "moment error",
            f"{format_error(errors[worst])} at order {worst}, tolerance "
            f"{format_error(content['tolerance'])}: ok",
        ),
        ("rounding", f"{format_error(content['rounding'])} (weights are {content['dtype']})"),
        ("time", format_seconds(content["seconds"])),
        ("peak memory", format_bytes(content["peak_memory"])),
    ]
