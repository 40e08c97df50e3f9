"""``momentc info``: parse, one call of the library, render."""

from typing import Annotated

import typer

from momentc.cli import options as opt
from momentc.cli.console import Console
from momentc.cli.environment import prepare
from momentc.cli.render import info_facts, order_table

__all__ = ["HELP", "info"]

HELP = """\b
Examples:
  momentc info data.momentc.h5
  momentc info data.h5 --dataset /grp/x

Say what FILE holds.

A file that momentc wrote is checked against its checksum (exit code 5 if it is damaged).
"""


def info(
    context: typer.Context,
    location: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A file that momentc wrote, or an array file; - for the standard input.",
            show_default=False,
        ),
    ],
    dataset: opt.Dataset = None,
    allow_external: opt.AllowExternal = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    as_json: opt.AsJson = False,
) -> None:
    """Say what FILE holds."""
    console = Console(context, quiet=quiet, verbose=verbose, as_json=as_json)
    prepare(1)
    from momentc.files.info import describe_file
    from momentc.files.jobs import InputChoice

    outcome = describe_file(
        InputChoice(location=location, dataset=dataset, allow_external=allow_external)
    )
    content = outcome.content
    console.say_notes(outcome.notes)
    console.result(content, info_facts(content), order_table(content))
