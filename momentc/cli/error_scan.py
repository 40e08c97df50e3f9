"""``momentc error-scan``: parse, one call of the library, render."""

from typing import Annotated

import typer

from momentc.cli import options as opt
from momentc.cli.console import Console
from momentc.cli.environment import compile_on_first_run, prepare_cells
from momentc.cli.ranges import parse_doublings, parse_numbers, parse_words
from momentc.cli.render_scan import scan_facts, scan_tables
from momentc.cli.text import parse_part
from momentc.errors import UsageError, VerificationError

__all__ = ["HELP", "error_scan"]

HELP = """\b
Examples:
  momentc error-scan data.h5 --k 1:6 --target 200,500,1000 -o scan.csv --plot scan.png
  momentc error-scan data.h5 --k 2:8 --target 500:2000 --max-error 1e-6
  momentc error-scan --synthetic uniform --m 1:5 --k 1:6 --d 1000:16000 --trials 20
  momentc error-scan --synthetic uniform --m 1:2 --polylog --trials 5

How large is the error of smooth and less smooth functions of the data after compression?

Every cell of the grid is compressed, by momentc and by other methods of the same size, and
compared with the input on a panel of random functions. Finished cells are kept beside the output:
after Ctrl-C the same command goes on.
"""


def error_scan(
    context: typer.Context,
    location: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            help="One file, as for compress, or -. None with --synthetic.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        str | None,
        typer.Option("--k", "-k", metavar="LIST", help="Orders, as 1:6 or 1:4,8,60. Default: 1:6."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-n",
            metavar="LIST",
            help="Objects to keep, as 200,500 or 250:2000, which doubles. Synthetic points: "
            "default --fraction of them.",
        ),
    ] = None,
    synthetic: Annotated[
        str | None,
        typer.Option(
            "--synthetic", metavar="uniform|gaussian", help="Random points instead of a file."
        ),
    ] = None,
    m: Annotated[
        str | None,
        typer.Option("--m", metavar="LIST", help="Columns of synthetic points. Default: 1:5."),
    ] = None,
    d: Annotated[
        str | None,
        typer.Option(
            "--d",
            metavar="LIST",
            help="Numbers of synthetic points; 1000:16000 (the default) doubles.",
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(
            "--fraction", metavar="FLOAT", help="Part of synthetic points to keep. Default: 0.1."
        ),
    ] = None,
    trials: Annotated[
        int, opt.whole("--trials", help="Repetitions with other random choices.")
    ] = 1,
    polylog: Annotated[
        bool,
        typer.Option(
            "--polylog",
            help="Keep 120 log d (m = 1) or 20 log(d)^2 (m = 2) points, with the best of many "
            "orders: Appendix G of the paper.",
        ),
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="LIST",
            help="momentc, paper (Appendix D of the paper, literally; slow), random, kmeans.",
        ),
    ] = "momentc,random,kmeans",
    families: Annotated[
        str | None,
        typer.Option(
            "--families",
            metavar="LIST",
            help="Of the panel: sigmoid,rational,bumps,cosines,relu,steps. Default: all but steps.",
        ),
    ] = None,
    functions: Annotated[int, opt.whole("--functions", help="Functions of each family.")] = 32,
    effort: opt.Effort = "normal",
    max_error: Annotated[
        float | None,
        typer.Option(
            "--max-error",
            metavar="FLOAT",
            help="Recommend the cheapest setting seen with at most this error.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Table to write, .csv or .json; - is stdout. Default: data.h5 -> "
            "data.error-scan.csv.",
        ),
    ] = None,
    plot: opt.Plot = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="I/N",
            help="Compute the I-th of N slices of the cells, for array jobs; whoever ends last "
            "writes the table.",
        ),
    ] = None,
    dataset: opt.Dataset = None,
    weights: opt.Weights = None,
    columns: opt.Columns = None,
    threads: Annotated[
        int,
        opt.whole(
            "--threads",
            "-T",
            help="Cells to compute at a time, each in a process; 0 is all that may be used.",
        ),
    ] = 0,
    seed: Annotated[int, opt.whole("--seed", help="Of the methods and of the panel.")] = 0,
    nan: opt.NanPolicy = "error",
    allow_lossy: opt.AllowLossy = False,
    allow_external: opt.AllowExternal = False,
    force: opt.Force = False,
    restart: opt.Restart = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_progress: opt.NoProgress = False,
    as_json: opt.AsJson = False,
) -> None:
    """Measure the error over a grid of orders and targets."""
    console = Console(
        context,
        quiet=quiet,
        verbose=verbose,
        no_progress=no_progress,
        as_json=as_json,
        result_on_stdout=output == "-",
    )
    opt.check_stdout(output, as_json=as_json, is_text=True)
    processes = prepare_cells(threads)
    from momentc.files.jobs import InputChoice
    from momentc.files.scan import error_scan as scan
    from momentc.files.study_jobs import ScanJob

    source = None
    of_input = {
        "--dataset": dataset, "--weights": weights, "--columns": columns,
        "--nan": nan != "error", "--allow-lossy": allow_lossy, "--allow-external": allow_external,
    }  # fmt: skip
    if location is None and (given := [name for name, value in of_input.items() if value]):
        raise UsageError(f"{', '.join(given)}: for an input file only, and none was given")
    if location is not None:
        source = InputChoice(
            location=location,
            dataset=dataset,
            weights=weights,
            columns=columns,
            nan=nan,  # type: ignore[arg-type]  # InputChoice checks the word
            allow_lossy=allow_lossy,
            allow_external=allow_external,
        )
    job = ScanJob(
        source=source,
        synthetic=synthetic,
        ms=parse_numbers("--m", m),
        ds=parse_doublings("--d", d),
        ks=parse_numbers("--k", k),
        targets=parse_doublings("--target", target),
        fraction=fraction,
        trials=trials,
        polylog=polylog,
        methods=parse_words(method),
        families=parse_words(families),
        effort=effort,  # type: ignore[arg-type]  # CompressOptions checks the word
        seed=seed,
        per_family=functions,
        max_error=max_error,
        output=output,
        plot=plot,
        task=None if task is None else parse_part("--task", task),
        processes=processes,
        force=force,
        restart=restart,
    )
    with console.cells(kept=output != "-") as progress:
        outcome = scan(job, on_standing=progress, prepare=compile_on_first_run(processes))
    console.say_notes(outcome.notes)
    content = outcome.content
    for name in sorted({row["method"] for row in content["rows"]}):
        took = sum(cell.get("seconds", 0.0) for cell in content["cells"] if cell["method"] == name)
        console.detail(f"{name}: {took:.3g} s in its cells")
    console.result(content, scan_facts(content, outcome.output, plot), *scan_tables(content))
    if not outcome.ok:
        raise VerificationError(
            'momentc could not do some of the cells; the lines "failed" say why, and the table '
            "has the means of the others"
        )
