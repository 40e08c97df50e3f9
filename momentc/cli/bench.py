"""``momentc bench``: parse, one call of the library, render."""

from typing import Annotated

import typer

from momentc.cli import options as opt
from momentc.cli.console import Console
from momentc.cli.environment import compile_on_first_run, prepare
from momentc.cli.ranges import parse_doublings, parse_numbers, parse_words
from momentc.cli.render_bench import bench_facts, bench_tables
from momentc.errors import VerificationError
from momentc.options import DEFAULT_TOLERANCE

__all__ = ["HELP", "bench"]

HELP = """\b
Examples:
  momentc bench --m 1:3 --d 1000:16000
  momentc bench --m 1:5 --k 5 --d 1000:128000 -o bench.csv --plot bench.png
  momentc bench --m 4 --k 5 --d 64000 --threads 1,2
  momentc bench --m 3 --k 5 --d 10000,100000 --target min --baseline svd,pyrecombine

How long does a compression take, how much memory, and how do both grow?

Uniform points in [-1, 1]^m, as in Fig. 6 of the paper. Each cell runs in a process of its own:
a warm-up, then some timed runs. Every result that was timed is checked against the input's
moments; exit code 5 if one of momentc is wrong. Leave the machine alone meanwhile.
"""

MINIMAL = "min"


def bench(
    context: typer.Context,
    m: Annotated[str, typer.Option("--m", metavar="LIST", help="Columns.")] = "1:5",
    k: Annotated[str, typer.Option("--k", "-k", metavar="LIST", help="Orders.")] = "5",
    d: Annotated[
        str,
        typer.Option("--d", metavar="LIST", help="Numbers of points; 1000:16000 doubles."),
    ] = "1000:16000",
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-n",
            metavar="LIST",
            help="Objects to keep; min is C(m+k, k), the job of a single cluster. Default: "
            "--fraction of the points.",
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(
            "--fraction", metavar="FLOAT", help="Part of the points to keep. Default: 0.1."
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            "-T",
            metavar="LIST",
            help="Numbers of threads to compare, as 1,2; 0 is all that may be used. Default: 0.",
        ),
    ] = None,
    repeats: Annotated[int, opt.whole("--repeats", help="Timed runs of each cell.")] = 3,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="LIST",
            help="To time in turn with momentc: svd (Algorithm 2 literally) and paper (Appendix "
            "D), both for small sizes, pyrecombine (extra: momentc[bench]) for --target min.",
        ),
    ] = None,
    effort: opt.Effort = "normal",
    seed: Annotated[int, opt.whole("--seed", help="Of momentc.")] = 0,
    tolerance: opt.Tolerance = DEFAULT_TOLERANCE,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Table to write, .csv or .json; - is stdout. With it, Ctrl-C keeps the finished "
            "cells.",
        ),
    ] = None,
    plot: opt.Plot = None,
    force: opt.Force = False,
    restart: opt.Restart = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_progress: opt.NoProgress = False,
    as_json: opt.AsJson = False,
) -> None:
    """Measure time and memory over a grid."""
    console = Console(
        context,
        quiet=quiet,
        verbose=verbose,
        no_progress=no_progress,
        as_json=as_json,
        result_on_stdout=output == "-",
    )
    opt.check_stdout(output, as_json=as_json, is_text=True)
    all_threads = prepare(0)
    from momentc.files.bench import bench as run
    from momentc.files.study_jobs import BenchJob

    job = BenchJob(
        ms=parse_numbers("--m", m),
        ks=parse_numbers("--k", k),
        ds=parse_doublings("--d", d),
        targets=() if target == MINIMAL else parse_doublings("--target", target),
        minimal=target == MINIMAL,
        fraction=fraction,
        threads=_threads(threads, all_threads),
        baselines=parse_words(baseline),
        effort=effort,  # type: ignore[arg-type]  # CompressOptions checks the word
        repeats=repeats,
        seed=seed,
        tolerance=tolerance,
        output=output,
        plot=plot,
        force=force,
        restart=restart,
    )
    with console.cells(kept=output not in {None, "-"}) as progress:
        outcome = run(job, on_standing=progress, prepare=compile_on_first_run(all_threads))
    console.say_notes(outcome.notes)
    content = outcome.content
    for cell in content["cells"]:
        stages = ", ".join(f"{name} {took:.3g} s" for name, took in cell["stages"].items())
        console.detail(
            f"m={cell['m']} k={cell['k']} d={cell['d']} target={cell['target']} "
            f"threads={cell['threads']}: {stages}"
        )
    console.result(content, bench_facts(content, outcome.output, plot), *bench_tables(content))
    if not outcome.ok:
        raise VerificationError(
            "some timed results of momentc do not have the moments of their input within "
            f"{tolerance:.1e}; the table says which"
        )


def _threads(text: str | None, every: int) -> tuple[int, ...]:
    numbers = parse_numbers("--threads", text, least=0) or (0,)
    return tuple(dict.fromkeys(number or every for number in numbers))
