"""``momentc verify-moments``: parse, one call of the library, render."""

from typing import Annotated, Any

import typer

from momentc.cli import options as opt
from momentc.cli.console import Console
from momentc.cli.environment import prepare
from momentc.cli.render import comparison_facts, order_table
from momentc.errors import VerificationError
from momentc.options import DEFAULT_TOLERANCE
from momentc.text import printable

__all__ = ["HELP", "verify_moments"]

HELP = """\b
Examples:
  momentc verify-moments data.h5 data.momentc.h5
  momentc verify-moments data.h5:/grp/x small.npz --weights /grp/mass --k 3 --tol 1e-12
  momentc verify-moments 'run-*.npy' all.h5
  momentc compress data.npy -o - | tee small.npz | momentc verify-moments data.npy -

Compare the moments of ORIGINAL and COMPRESSED, order by order.

Several ORIGINALs are read as one array, as compress does.

Both are read anew. Dataset, columns and the handling of NaN are what COMPRESSED records,
unless given here. The exit code is 0 if all moments agree within the tolerance, else 5.
"""


def verify_moments(
    context: typer.Context,
    originals: Annotated[
        list[str],
        typer.Argument(
            metavar="ORIGINAL...",
            help="The file that was compressed, or - for the standard input; several files or a "
            "quoted pattern where they were compressed as one.",
            show_default=False,
        ),
    ],
    compressed: Annotated[
        str,
        typer.Argument(
            metavar="COMPRESSED",
            help="What momentc made of it, or - for the standard input.",
            show_default=False,
        ),
    ],
    k: Annotated[
        int | None,
        opt.whole(
            "--k",
            "-k",
            help="Order up to which the moments must agree. Default: that of COMPRESSED.",
        ),
    ] = None,
    tolerance: opt.Tolerance = DEFAULT_TOLERANCE,
    dataset: opt.Dataset = None,
    weights: opt.Weights = None,
    columns: opt.Columns = None,
    threads: opt.Threads = 0,
    nan: Annotated[
        str | None,
        typer.Option(
            "--nan",
            metavar="error|drop",
            help="Rows with NaN or infinity: refuse the input, or drop and count them. Default: "
            "what COMPRESSED records of its making.",
        ),
    ] = None,
    allow_lossy: opt.AllowLossy = False,
    allow_external: opt.AllowExternal = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_progress: opt.NoProgress = False,
    as_json: opt.AsJson = False,
) -> None:
    """Compare the moments of ORIGINAL and COMPRESSED, order by order."""
    console = Console(
        context, quiet=quiet, verbose=verbose, no_progress=no_progress, as_json=as_json
    )
    threads = prepare(threads)
    from momentc.files.jobs import InputChoice, VerifyJob
    from momentc.files.names import expand_inputs
    from momentc.files.verify import verify_files

    original, *more = expand_inputs(originals)
    job = VerifyJob(
        source=InputChoice(
            location=original,
            more=tuple(more),
            dataset=dataset,
            weights=weights,
            columns=columns,
            nan=nan or "error",  # type: ignore[arg-type]  # InputChoice checks the word
            allow_lossy=allow_lossy,
            allow_external=allow_external,
        ),
        compressed=compressed,
        k=k,
        tolerance=tolerance,
        nan_as_recorded=nan is None,
        threads=threads,
    )
    with console.progress() as progress:
        outcome = verify_files(job, progress=progress, began=console.began)
    console.say_notes(outcome.notes)
    console.say_stages(outcome.content["stages"])
    console.result(outcome.content, comparison_facts(outcome.content), order_table(outcome.content))
    if not outcome.ok:
        raise VerificationError(failure(outcome.content))


def failure(content: dict[str, Any]) -> str:
    """Say what does not hold."""
    compressed, original = printable(content["compressed"]), printable(content["original"])
    if content["made_from_original"] and not content["rows_are_kept"]:
        return f"{compressed}: some of its rows are not the rows of {original} that it names"
    return (
        f"{compressed}: does not have the moments of {original} up to order {content['k']} "
        f"within {content['tolerance']:.1e}"
    )
