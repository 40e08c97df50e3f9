"""``momentc compress-layer``: parse, one call of the library, render."""

from typing import Annotated, Any

import typer

from momentc.cli import options as opt
from momentc.cli.console import Console
from momentc.cli.environment import compile_on_first_run, prepare
from momentc.cli.render import order_table
from momentc.cli.render_layer import layer_facts
from momentc.options import DEFAULT_TOLERANCE

__all__ = ["HELP", "compress_layer"]

HELP = """\b
Examples:
  momentc compress-layer model.safetensors --layer fc1 --k 3 --target 256
  momentc compress-layer model.safetensors --layer 0 --outgoing 2 --target 500 -o small.safetensors

Keep a few neurons of a Linear layer of a network, with all moments of (incoming weights, bias,
outgoing weights) up to order K, and write a narrower network of the same kind.

The weights of the kept neurons are multiplied into the next Linear layer. Between the two there may
be nothing but an activation. Needs: pip install 'momentc[learn]' (torch itself is not used).
"""


def compress_layer(
    context: typer.Context,
    location: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A .safetensors checkpoint.", show_default=False),
    ],
    layer: Annotated[
        str,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="The hidden Linear layer: its tensors are NAME.weight and NAME.bias.",
            show_default=False,
        ),
    ],
    k: Annotated[int, opt.whole("--k", "-k", help="Order up to which moments are kept.")] = 3,
    target: Annotated[int, opt.whole("--target", "-n", help="Neurons to keep.")] = 1000,
    outgoing: Annotated[
        str | None,
        typer.Option(
            "--outgoing",
            metavar="NAME",
            help="The Linear layer that reads the neurons. Default: the only one in the same "
            "module that could.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File to write. Default: model.momentc.safetensors beside the input.",
        ),
    ] = None,
    seed: Annotated[int, opt.whole("--seed", help="Seed of every random choice.")] = 0,
    effort: opt.Effort = "normal",
    tolerance: opt.Tolerance = DEFAULT_TOLERANCE,
    threads: opt.Threads = 0,
    force: opt.Force = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    as_json: opt.AsJson = False,
) -> None:
    """Make one layer of a checkpoint narrower."""
    console = Console(context, quiet=quiet, verbose=verbose, as_json=as_json)
    n_threads = prepare(threads)
    from momentc.files.compress_layer import LayerJob, compress_layer_file
    from momentc.options import CompressOptions

    job = LayerJob(
        location=location,
        layer=layer,
        options=CompressOptions(
            k=k,
            target=target,
            seed=seed,
            threads=n_threads,
            tolerance=tolerance,
            effort=effort,  # type: ignore[arg-type]  # CompressOptions checks the word
        ),
        outgoing=outgoing,
        output=output,
        force=force,
    )
    outcome = compress_layer_file(job, began=console.began, prepare=compile_on_first_run(n_threads))
    console.say_notes(outcome.notes)
    content: dict[str, Any] = outcome.content
    console.result(content, layer_facts(content), order_table(content))
