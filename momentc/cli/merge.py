"""``momentc merge``: parse, one call of the library, render."""

from typing import Annotated

import typer

from momentc.cli import options as opt
from momentc.cli.console import Console
from momentc.cli.environment import compile_on_first_run, prepare
from momentc.cli.outcome import show_compression
from momentc.cli.text import parse_size
from momentc.options import DEFAULT_TOLERANCE

__all__ = ["HELP", "merge"]

HELP = """\b
Examples:
  momentc merge parts/*.h5 --target 1000 -o data.momentc.h5
  momentc merge parts/data.part-*-of-16.h5 --allow-missing

Merge the parts that compress --shard made into one result.

The parts must be of one input, overlap nowhere and miss nothing. The result is checked against
the moments that the parts carry from their rows: the input is not read again.
"""


def merge(
    context: typer.Context,
    parts: Annotated[
        list[str],
        typer.Argument(
            metavar="PART...", help="Files of --shard, in any order.", show_default=False
        ),
    ],
    target: opt.Target = 1000,
    k: Annotated[
        int | None, opt.whole("--k", "-k", help="Moment order. Default: that of the parts.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File to write, .h5 or .npz; - is stdout. Default: data.part-3-of-8.h5 -> "
            "data.momentc.h5, beside the parts.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Merge although rows are in no part; the result says so, and is a part itself.",
        ),
    ] = False,
    threads: opt.Threads = 0,
    memory: opt.Memory = None,
    seed: opt.Seed = 0,
    effort: opt.Effort = "normal",
    tolerance: opt.Tolerance = DEFAULT_TOLERANCE,
    force: opt.Force = False,
    keep_going: opt.KeepGoing = False,
    report: opt.Report = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_progress: opt.NoProgress = False,
    as_json: opt.AsJson = False,
) -> None:
    """Merge the parts that compress --shard made into one result."""
    console = Console(
        context,
        quiet=quiet,
        verbose=verbose,
        no_progress=no_progress,
        as_json=as_json,
        result_on_stdout=output == "-",
    )
    opt.check_stdout(output, as_json=as_json)
    threads = prepare(threads)
    from momentc.files.jobs import MergeJob
    from momentc.files.merge import merge_files
    from momentc.files.names import expand_inputs

    job = MergeJob(
        parts=tuple(expand_inputs(parts)),
        target=target,
        k=k,
        seed=seed,
        threads=threads,
        tolerance=tolerance,
        effort=effort,  # type: ignore[arg-type]  # CompressOptions checks the word
        output=output,
        report=report,
        memory=None if memory is None else parse_size(memory),
        force=force,
        keep_going=keep_going,
        allow_missing=allow_missing,
    )
    with console.progress() as progress:
        outcome = merge_files(
            job, progress=progress, began=console.began, prepare=compile_on_first_run(threads)
        )
    show_compression(console, outcome, tolerance)
