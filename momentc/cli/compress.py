"""``momentc compress``: parse, one call of the library, render."""

from typing import Annotated

import typer

from momentc.cli import options as opt
from momentc.cli.console import Console
from momentc.cli.environment import compile_on_first_run, prepare
from momentc.cli.outcome import show_compression
from momentc.cli.render import plan_facts
from momentc.cli.signals import signals_wait
from momentc.cli.text import parse_order, parse_part, parse_size
from momentc.options import DEFAULT_TOLERANCE

__all__ = ["HELP", "compress"]

HELP = """\b
Examples:
  momentc compress data.h5 --k 5 --target 1000
  momentc compress data.h5:/grp/x -k 3 -n 500 --weights /grp/mass -o small.npz
  momentc compress data.h5 --k auto --target 1000
  cat x.npy | momentc compress - -k 3 -n 500 -o - > small.npz
  momentc compress run-*.npy -k 3 -n 10000 -o all.h5 --memory 1G
  momentc compress big.h5 --shard 3/16 -k 5 -n 8000 -o parts/
  momentc compress big.h5 --engine dask --workers 8 -k 5 -n 8000

Keep TARGET rows of INPUT, with weights, and all moments up to order K.

Several INPUTs are read as one array. What does not fit into the memory budget is streamed: one
pass, with checkpoints from which the same command goes on.

The input is never changed. The moments are checked on what was written; if they miss the
tolerance nothing is left and the exit code is 5.
"""


def compress(
    context: typer.Context,
    locations: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help=".npy, .npz or .h5 files, file.h5:/dataset, a quoted pattern as 'run-*.npy', or "
            "- for the standard input.",
            show_default=False,
        ),
    ],
    k: Annotated[
        str,
        typer.Option(
            "--k",
            "-k",
            metavar="INT|auto",
            help="Moment order to match; auto chooses it by the errors measured on a part of the "
            "rows.",
        ),
    ] = "5",
    target: opt.Target = 1000,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File to write, .h5 or .npz; - is stdout. Default: data.h5 -> data.momentc.h5, "
            "data.npy or data.npz -> data.momentc.npz.",
        ),
    ] = None,
    dataset: opt.Dataset = None,
    weights: opt.Weights = None,
    columns: opt.Columns = None,
    threads: opt.Threads = 0,
    memory: opt.Memory = None,
    seed: opt.Seed = 0,
    effort: Annotated[
        str,
        typer.Option(
            "--effort",
            metavar="WORD",
            help="low, normal or high: how much time to spend on functions that are no moments up "
            "to K. low keeps K alone.",
        ),
    ] = "normal",
    tolerance: opt.Tolerance = DEFAULT_TOLERANCE,
    nan: opt.NanPolicy = "error",
    allow_lossy: opt.AllowLossy = False,
    allow_external: opt.AllowExternal = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Compress the I-th of N stretches of rows alone, I from 1: a part for merge.",
        ),
    ] = None,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            "--checkpoint-every",
            metavar="SECONDS",
            help="Time between checkpoints of a stream; one is also written when interrupted.",
        ),
    ] = 60.0,
    restart: opt.Restart = False,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="threads|dask",
            help="What runs the work: threads of this process, or a Dask cluster, to which the "
            "rows are given out in ranges (extra: momentc[dask]). Default: threads.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Dask cluster to use, as tcp://host:8786; implies --engine dask. Default: one of "
            "processes of this machine, for this command.",
        ),
    ] = None,
    workers: Annotated[
        int,
        opt.whole(
            "--workers",
            help="Processes of a Dask cluster on this machine; implies --engine dask, with which 0 "
            "is as many as --threads.",
        ),
    ] = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Read headers only; say what would be done and needed."),
    ] = False,
    force: opt.Force = False,
    keep_going: opt.KeepGoing = False,
    report: opt.Report = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_progress: opt.NoProgress = False,
    as_json: opt.AsJson = False,
) -> None:
    """Keep TARGET rows of INPUT, with weights, and all moments up to order K."""
    console = Console(
        context,
        quiet=quiet,
        verbose=verbose,
        no_progress=no_progress,
        as_json=as_json,
        result_on_stdout=output == "-" and not dry_run,
    )
    if not dry_run:
        opt.check_stdout(output, as_json=as_json)
    order = parse_order(k)
    threads = prepare(threads)
    from momentc.files.jobs import CompressJob, InputChoice
    from momentc.files.names import expand_inputs
    from momentc.options import CompressOptions

    location, *more = expand_inputs(locations)
    job = CompressJob(
        source=InputChoice(
            location=location,
            more=tuple(more),
            dataset=dataset,
            weights=weights,
            columns=columns,
            nan=nan,  # type: ignore[arg-type]  # InputChoice checks the word
            allow_lossy=allow_lossy,
            allow_external=allow_external,
        ),
        options=CompressOptions(
            k=1 if order is None else order,
            target=target,
            seed=seed,
            threads=threads,
            tolerance=tolerance,
            effort=effort,  # type: ignore[arg-type]  # CompressOptions checks the word
        ),
        output=output,
        report=report,
        memory=None if memory is None else parse_size(memory),
        force=force,
        keep_going=keep_going,
        auto_order=order is None,
        shard=None if shard is None else parse_part("--shard", shard),
        checkpoint_every=checkpoint_every,
        restart=restart,
        engine=engine or ("dask" if scheduler is not None or workers else "threads"),  # type: ignore[arg-type]
        scheduler=scheduler,
        workers=workers,
    )
    if dry_run:
        from momentc.files.plan import plan_compress

        plan = plan_compress(job)
        console.say_notes(plan.notes)
        console.result(plan.as_json(), plan_facts(plan))
        plan.check_columns()
        plan.check_output(job)
        plan.check_memory()
        return

    from momentc.files.compress import compress_file

    with console.progress() as progress:
        outcome = compress_file(
            job, progress=progress, began=console.began, interruption=signals_wait,
            prepare=compile_on_first_run(max(threads, workers)),
        )  # fmt: skip
    show_compression(console, outcome, tolerance)
