"""What the user sees of a finished compression, of one input or of parts."""

from typing import TYPE_CHECKING

from momentc.cli.console import Console
from momentc.cli.render import compression_facts, order_table
from momentc.errors import VerificationError
from momentc.text import printable

if TYPE_CHECKING:
    from momentc.files.jobs import JobReport

__all__ = ["show_compression"]


def show_compression(console: Console, outcome: "JobReport", tolerance: float) -> None:
    """Print notes, times by stage, the summary and the errors by order.

    Raises
    ------
    VerificationError
        The result was written although it misses the tolerance, as --keep-going asks.
    """
    console.say_notes(outcome.notes)
    console.say_stages(outcome.content["stages"])
    console.result(outcome.content, compression_facts(outcome), order_table(outcome.content))
    if not outcome.ok:
        raise VerificationError(
            f"{printable(str(outcome.output))}: written as --keep-going asks, but its moments miss "
            f"the tolerance {tolerance:.1e}; it is marked as not ok"
        )
