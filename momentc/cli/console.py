"""The two streams: results on stdout, everything else on stderr; how much of it is said.

| level | stdout | stderr |
| --- | --- | --- |
| ``-q`` | nothing but ``--json`` | errors |
| default | the result's table | errors, notes, progress |
| ``-v`` | the result's table | the same, times by stage, and tracebacks |
"""

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer

from momentc.cli.cell_progress import CellProgress, LineCells, QuietCells, RichCells
from momentc.cli.guard import BEGAN, VERBOSE
from momentc.cli.progress import LineProgress, NoProgress, Progress, RichProgress
from momentc.cli.signals import Terminated
from momentc.cli.streams import stdout_was_closed
from momentc.errors import OutputError
from momentc.report import report_text
from momentc.text import printable

__all__ = ["Console", "Table"]

# The logger of momentc.jit, which is not imported here: it loads numba.
COMPILING = "momentc.jit"

# No table is wider.
WIDEST_TABLE = 10_000

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]  # title, head, rows


class Console:
    """Says what a command has to say, as loud as its options want it.

    Parameters
    ----------
    context : typer.Context
        The command's context; learns whether tracebacks are wanted.
    quiet, verbose, no_progress, as_json : bool
        The options of the same names.
    result_on_stdout : bool
        Stdout carries the result itself (``-o -``), so no table may go there.

    Raises
    ------
    OutputError
        ``--json``, and nobody can get what is written on the standard output.
    """

    def __init__(
        self,
        context: typer.Context,
        *,
        quiet: bool = False,
        verbose: bool = False,
        no_progress: bool = False,
        as_json: bool = False,
        result_on_stdout: bool = False,
    ) -> None:
        context.meta[VERBOSE] = verbose
        if as_json and stdout_was_closed():
            raise OutputError("--json is asked for, but the standard output is closed")
        _show_library_warnings(quiet=quiet)
        self.began: float = context.meta[BEGAN]
        self.quiet = quiet
        self.verbose = verbose
        self._as_json = as_json
        self._has_stdout = not result_on_stdout
        self._wants_progress = not (quiet or no_progress)

    def progress(self) -> Progress:
        """Progress for this terminal: moving bars, or a line every half minute, or nothing."""
        if not self._wants_progress:
            return NoProgress()
        if _is_capable(sys.stderr):
            _show_compiling()
            return RichProgress()
        return LineProgress(sys.stderr)

    @contextmanager
    def cells(self, *, kept: bool) -> Iterator[CellProgress]:
        """Progress of a job of many cells, in the same three forms.

        Parameters
        ----------
        kept : bool
            Finished cells outlast an interruption, which is worth saying.
        """
        progress: CellProgress = QuietCells()
        if self._wants_progress:
            progress = RichCells() if _is_capable(sys.stderr) else LineCells(sys.stderr)
            _show_compiling()  # also in a log: the times of cells stand there
        try:
            with progress:
                yield progress
        except (KeyboardInterrupt, Terminated):
            if kept:
                self.note("finished cells, if any, are kept; the same command goes on from there")
            raise

    def note(self, sentence: str) -> None:
        """Say something that the user should know, unless told to be quiet."""
        if not self.quiet:
            print(f"momentc: note: {sentence}", file=sys.stderr, flush=True)

    def say_notes(self, sentences: Iterable[str]) -> None:
        """Say all notes of a job; see :meth:`note`."""
        for sentence in sentences:
            self.note(sentence)

    def say_stages(self, stages: Mapping[str, float]) -> None:
        """Say how many seconds the stages took; see :meth:`detail`."""
        for stage, seconds in stages.items():
            self.detail(f"{seconds:9.3f} s  {stage}")

    def detail(self, sentence: str) -> None:
        """Say something that only ``-v`` asks for."""
        if self.verbose:
            print(f"momentc: {sentence}", file=sys.stderr, flush=True)

    def result(
        self,
        report: dict[str, Any],
        facts: Sequence[tuple[str, str]],
        *tables: Table | None,
    ) -> None:
        """Put the result on stdout: the report as JSON, or facts and tables for a person.

        Raises
        ------
        OutputError
            The disk behind it is full.
        """
        if not self._has_stdout:
            return
        found = [table for table in tables if table is not None]
        try:
            if self._as_json:
                sys.stdout.write(report_text(report))
            elif not self.quiet and _is_capable(sys.stdout):
                _print_rich(facts, found)
            elif not self.quiet:
                _print_plain(facts, found)
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # the reader has seen enough: no error
        except OSError as error:
            raise OutputError(
                f"the standard output cannot be written: {error.strerror}; send it elsewhere"
            ) from error


def _show_library_warnings(*, quiet: bool) -> None:
    """Say on stderr what the library logs, such as a leftover of a killed run that it removed."""
    logger = logging.getLogger("momentc")
    handler = _ErrorStream()
    handler.setFormatter(logging.Formatter("momentc: note: %(message)s"))
    logger.handlers = [handler]  # one, also after many runs in one process
    logger.setLevel(logging.ERROR if quiet else logging.WARNING)
    logging.getLogger(COMPILING).setLevel(logging.NOTSET)


def _show_compiling() -> None:
    """Say as well that kernels are compiled, to who waits or reads the times."""
    logging.getLogger(COMPILING).setLevel(logging.INFO)


class _ErrorStream(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the time: bars put one of their own in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _is_capable(stream: Any) -> bool:
    """A terminal that may be painted: NO_COLOR and TERM=dumb ask for plain lines."""
    return bool(
        stream.isatty()
        and os.environ.get("TERM", "dumb") not in {"", "dumb"}
        and not os.environ.get("NO_COLOR")
    )


def _print_plain(facts: Sequence[tuple[str, str]], tables: Sequence[Table]) -> None:
    """Aligned columns of plain text, the form that pipes and logs get."""
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        print(f"{name:<{width}}  {printable(text)}".rstrip())
    for table in tables:
        print()
        _print_plain_table(*table)


def _print_plain_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    print(title)
    for row in (head, *rows):
        cells = [cell.rjust(size) for cell, size in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _print_rich(facts: Sequence[tuple[str, str]], tables: Sequence[Table]) -> None:
    """Print the same facts with colour and rules."""
    from rich import box
    from rich.console import Console as RichConsole
    from rich.measure import Measurement
    from rich.table import Table as RichTable
    from rich.text import Text

    console = RichConsole(file=sys.stdout, highlight=False)
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in facts:
        grid.add_row(Text(name), _coloured(printable(text)))
    console.print(grid)
    for title, head, rows in tables:
        drawn = RichTable(
            title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
        )
        for name in head:
            drawn.add_column(Text(name), justify="right", no_wrap=True)
        for row in rows:
            drawn.add_row(*(_coloured(cell) for cell in row))
        wide = console.options.update(width=WIDEST_TABLE)
        if Measurement.get(console, wide, drawn).maximum <= console.width:
            console.print(drawn)
        else:
            # The terminal's own line breaks keep all digits: rich would cut them off.
            _print_plain_table(title, head, rows)
            print()


def _coloured(text: str) -> Any:
    """Green for what holds, red for what does not; user's text is never read as markup."""
    from rich.text import Text

    style = {"ok": "green", "FAILED": "bold red"}
    last = text.rsplit(maxsplit=1)[-1] if text.split() else ""
    drawn = Text(text)
    if last in style:
        drawn.stylize(style[last], len(text) - len(last))
    return drawn
