"""The report of ``compress-layer`` as facts for a person."""

from typing import Any

from momentc.cli.render import moments_kept, reduced_to, verdict
from momentc.cli.text import format_count, format_error, format_seconds
from momentc.text import format_bytes

__all__ = ["layer_facts"]


def layer_facts(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the summary of a layer that was made narrower."""
    bias = ", a bias" if content["has_bias"] else ""
    return [
        ("input", content["input"]),
        ("output", content["output"]),
        (
            "layer",
            f"{content['layer']} -> {content['outgoing']}  ({format_count(content['n_inputs'])} "
            f"inputs{bias}, {format_count(content['n_outputs'])} outputs)",
        ),
        ("neurons", reduced_to(content["n_points"], content["n_kept"])),
        ("moments", moments_kept(content)),
        ("moment error", verdict(content)),
        ("rounding", f"{format_error(content['rounding'])} (weights are {content['dtype']})"),
        ("time", format_seconds(content["seconds"])),
        ("peak memory", format_bytes(content["peak_memory"])),
    ]
