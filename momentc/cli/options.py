"""The options, each defined once: the same flag means the same thing in every command."""

import sys
from typing import Annotated, Any

import typer

from momentc.cli.streams import stdout_was_closed
from momentc.cli.text import integer_of
from momentc.errors import OutputError, UsageError
from momentc.text import printable

__all__ = [
    "AllowExternal",
    "AllowLossy",
    "AsJson",
    "Columns",
    "Dataset",
    "Effort",
    "Force",
    "KeepGoing",
    "Memory",
    "NanPolicy",
    "NoProgress",
    "Plot",
    "Quiet",
    "Report",
    "Restart",
    "Seed",
    "Target",
    "Threads",
    "Tolerance",
    "Verbose",
    "Weights",
    "check_stdout",
    "whole",
    "whole_number",
]


def whole_number(text: str | int) -> int:
    """Return the integer that a person has typed: ``1000``, ``1_000`` or ``1e3``.

    Raises
    ------
    typer.BadParameter
    """
    if isinstance(text, int):  # a default
        return text
    found = integer_of(text)
    if found is None:
        raise typer.BadParameter(
            f"{printable(text)!r} is no whole number; expected one as 1000 or 1e3"
        )
    return found


def whole(*names: str, help: str) -> Any:
    """Return an option that takes a whole number."""
    return typer.Option(*names, metavar="INT", help=help, parser=whole_number)


Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="PATH",
        help="HDF5 dataset or npz member; needed only if the file holds more than one candidate.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        "-w",
        metavar="PATH",
        help="Weights of the rows: a dataset of the same file, or another file. Default: all 1.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="LIST",
        help="Columns whose moments are matched, as 0,1,4:7; the others are carried along.",
    ),
]
Threads = Annotated[
    int, whole("--threads", "-T", help="Threads to use; 0 is all that this process may use.")
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tol",
        "--tolerance",
        metavar="FLOAT",
        help="Largest moment error that passes, in the frame where every column is in [-1, 1].",
        show_default=True,
    ),
]
NanPolicy = Annotated[
    str,
    typer.Option(
        "--nan",
        metavar="error|drop",
        help="Rows with NaN or infinity: refuse the input, or drop and count them.",
        show_default=True,
    ),
]
AllowLossy = Annotated[
    bool,
    typer.Option(
        "--allow-lossy",
        help="Accept numbers that float64 cannot hold exactly (integers beyond 2^53).",
    ),
]
AllowExternal = Annotated[
    bool,
    typer.Option(
        "--allow-external",
        help="Follow HDF5 links, storage and virtual datasets into other files.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say nothing but errors (and --json)."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Say more: times by stage, tracebacks of errors."),
]
NoProgress = Annotated[
    bool,
    typer.Option("--no-progress", help="Show no progress."),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the report as one JSON object on stdout."),
]
Effort = Annotated[
    str,
    typer.Option(
        "--effort",
        metavar="WORD",
        help="low, normal or high: how much time momentc spends on more than the moments up to K.",
    ),
]
Plot = Annotated[
    str | None,
    typer.Option(
        "--plot", metavar="PATH", help="Figure to write, .png, .pdf or .svg (extra: momentc[plot])."
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", "-f", help="Overwrite an existing output (never the input)."),
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart", help="Forget what an earlier run has finished (cells, checkpoint); begin anew."
    ),
]
Target = Annotated[int, whole("--target", "-n", help="Objects to keep.")]
Seed = Annotated[int, whole("--seed", help="Seed, recorded in the output.")]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        "-M",
        metavar="SIZE",
        help="Memory budget, as 500M, 4G or 4GiB: rows that need more are streamed. "
        "Default: half of what the process may use.",
    ),
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going",
        help="Write the result even if the tolerance is missed, marked as not ok; exit code 5.",
    ),
]
Report = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="PATH",
        help="File for the report. Default: beside the output, data.momentc.report.json.",
    ),
]


def check_stdout(output: str | None, *, as_json: bool, is_text: bool = False) -> None:
    """Refuse what the standard output cannot take: two things at a time, or binary on a terminal.

    Parameters
    ----------
    output : str or None
        ``-`` is the standard output.
    as_json : bool
    is_text : bool
        What goes to ``output`` is a table, which a terminal can show; there is no other report.

    Raises
    ------
    UsageError
    OutputError
        The standard output is closed.
    """
    if output != "-":
        return
    if as_json:
        remedy = (
            "give a file for one of them" if is_text
            else "write the report to a file with --report FILE"
        )  # fmt: skip
        raise UsageError(f"--output - and --json both want the standard output; {remedy}")
    if stdout_was_closed():
        raise OutputError("--output is -, but the standard output is closed; name a file")
    if sys.stdout.isatty() and not is_text:
        raise UsageError(
            "the result is binary and the standard output is a terminal; name a file with "
            "--output, or redirect: momentc ... -o - > small.npz"
        )
