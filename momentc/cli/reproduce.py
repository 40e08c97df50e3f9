"""``momentc reproduce``: parse, one call of the library, render."""

from typing import Annotated

import typer

from momentc.cli import options as opt
from momentc.cli.console import Console
from momentc.cli.environment import prepare_cells
from momentc.cli.render_reproduce import failures, reproduce_facts, reproduce_tables
from momentc.errors import VerificationError
from momentc.text import printable

__all__ = ["HELP", "reproduce"]

HELP = """\b
Examples:
  momentc reproduce fig3
  momentc reproduce fig4 --seeds 5 -o figures
  momentc reproduce fig3 --scale paper

Compute a figure of the paper (arXiv:2510.00504), judge it, and write a table, a picture and a
report.

\b
  fig2  error by order and number of points      fig6  time by number of points
  fig3  training on a compressed training set    fig7  training with compressed attention heads
  fig4  training a compressed network            fig8  polylogarithmic compression
  fig5  scaling laws before and after

Figs. 3, 4, 5 and 7 need: pip install 'momentc[learn]'. If a figure does not show what the paper's
shows, the table and the report ("ok": false) say so; the exit code is 0. Finished curves are kept:
after Ctrl-C the same command goes on.
"""


def reproduce(
    context: typer.Context,
    figure: Annotated[
        str,
        typer.Argument(metavar="FIGURE", help="fig2 to fig8.", show_default=False),
    ],
    scale: Annotated[
        str,
        typer.Option(
            "--scale",
            metavar="small|paper",
            help="Sizes that take a few minutes at most, or those of the paper.",
            show_default=True,
        ),
    ] = "small",
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder for the files.", show_default=True
        ),
    ] = "reproduce",
    seeds: Annotated[
        int | None, opt.whole("--seeds", help="Repetitions. Default: as the scale has it.")
    ] = None,
    seed: Annotated[int, opt.whole("--seed", help="The first of them; the others follow it.")] = 42,
    threads: Annotated[
        int,
        opt.whole(
            "--threads",
            "-T",
            help="Curves or cells to compute at a time, each in a process (fig6: threads of each "
            "run); 0 is all that may be used.",
        ),
    ] = 0,
    force: opt.Force = False,
    restart: opt.Restart = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_progress: opt.NoProgress = False,
    as_json: opt.AsJson = False,
) -> None:
    """Compute a figure of the paper and judge it."""
    console = Console(
        context, quiet=quiet, verbose=verbose, no_progress=no_progress, as_json=as_json
    )
    processes = prepare_cells(threads)
    from momentc.files.reproduce import ReproduceJob
    from momentc.files.reproduce import reproduce as run

    job = ReproduceJob(
        figure=figure,
        scale=scale,
        output=output,
        seeds=seeds,
        seed=seed,
        processes=processes,
        force=force,
        restart=restart,
    )
    with console.cells(kept=True) as progress:
        outcome = run(job, on_standing=progress)
    console.say_notes(outcome.notes)
    content = outcome.content
    console.result(content, reproduce_facts(content), *reproduce_tables(content))
    if not outcome.ok:
        raise VerificationError(
            'momentc could not do some of the cells behind the figure; the lines "failed" say why'
            if failures(content)
            else "some of the results behind the figure do not have the moments of their input; "
            f"{printable(content['files'][0])} says which"
        )
