"""The program: its commands, ``--help`` and ``--version``."""

from contextlib import suppress
from typing import Annotated, Any

import typer

from momentc.cli.bench import HELP as BENCH_HELP
from momentc.cli.bench import bench
from momentc.cli.compress import HELP as COMPRESS_HELP
from momentc.cli.compress import compress
from momentc.cli.compress_layer import HELP as LAYER_HELP
from momentc.cli.compress_layer import compress_layer
from momentc.cli.error_scan import HELP as SCAN_HELP
from momentc.cli.error_scan import error_scan
from momentc.cli.guard import GuardedGroup
from momentc.cli.info import HELP as INFO_HELP
from momentc.cli.info import info
from momentc.cli.merge import HELP as MERGE_HELP
from momentc.cli.merge import merge
from momentc.cli.reproduce import HELP as REPRODUCE_HELP
from momentc.cli.reproduce import reproduce
from momentc.cli.verify_moments import HELP as VERIFY_HELP
from momentc.cli.verify_moments import verify_moments
from momentc.errors import UsageError
from momentc.version import __version__

__all__ = ["app", "build_command"]

HELP = """\b
Examples:
  momentc compress data.h5 --k 5 --target 1000     writes data.momentc.h5
  momentc verify-moments data.h5 data.momentc.h5   compares the moments, exit code 0 or 5
  momentc info data.momentc.h5                     says what a file holds
  momentc merge parts/*.h5 -n 1000 -o all.h5       merges the parts that --shard made
  momentc error-scan data.h5 --target 500,1000     measures the error by order and target

Keep a few rows of an array, with new weights, so that all moments of the rows up to order k stay
exactly as they were. Results go to stdout, everything else to stderr.

\b
Exit codes:
  0  done, and the moments were checked on what was written
  1  a bug in momentc
  2  wrong usage
  3  the input cannot be used
  4  the request cannot be met: says which k or target could be
  5  verification failed
  6  the output was not written
  7  over the memory budget
  8  finished cells or parts that belong to another job
  130 interrupted, 141 the reader of stdout has closed it, 143 terminated
"""

# Widths come from the terminal; help that is only ever 80 columns wide wraps the examples.
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="momentc",
    cls=GuardedGroup,
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"momentc {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def momentc(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that stand before the command; without a command, show the help."""
    if context.invoked_subcommand is None:
        with suppress(OSError):  # nobody may be there to read it
            typer.echo(context.get_help(), err=True)
        raise typer.Exit(UsageError.exit_code)


COMMANDS = (
    ("compress", compress, COMPRESS_HELP, "Keep a few rows, with weights, and all moments."),
    ("verify-moments", verify_moments, VERIFY_HELP, "Compare the moments of two files."),
    ("merge", merge, MERGE_HELP, "Merge the parts that compress --shard made."),
    ("error-scan", error_scan, SCAN_HELP, "Measure the error by order and target."),
    ("bench", bench, BENCH_HELP, "Measure time and memory."),
    ("info", info, INFO_HELP, "Say what a file holds."),
    ("compress-layer", compress_layer, LAYER_HELP, "Make a layer of a network narrower."),
    ("reproduce", reproduce, REPRODUCE_HELP, "Compute a figure of the paper."),
)
for _name, _function, _help, _short in COMMANDS:
    app.command(_name, help=_help, short_help=_short, context_settings=SETTINGS)(_function)


def build_command() -> Any:
    """Return the program as one callable command."""
    return typer.main.get_command(app)
