"""What can be written, asked before any work goes into it, and kept from other runs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from momentc.errors import OutputError, UsageError
from momentc.files.names import STDOUT
from momentc.io.atomic import output_lock, probe_output
from momentc.io.result_file import output_format
from momentc.text import printable

__all__ = ["check_names", "locked", "probe"]


def probe(
    output: str,
    report: str | None,
    *,
    force: bool,
    inputs: Sequence[Path],
    by_writing: bool = True,
) -> None:
    """Refuse an output that cannot be written, before any work goes into it.

    Parameters
    ----------
    output : str
        A file name, or ``-``.
    report : str or None
    force : bool
        Whether existing files may be replaced.
    inputs : sequence of pathlib.Path
        Never to be replaced.
    by_writing : bool
        False leaves no trace, and finds only what the names and the folder tell.

    Raises
    ------
    UsageError, OutputError
    """
    check_names(output, report)
    if output != STDOUT:
        probe_output(output, force=force, inputs=inputs, by_writing=by_writing)
    if report is None:
        return
    try:
        probe_output(report, force=force, inputs=inputs, by_writing=by_writing)
    except OutputError as error:
        raise OutputError(f"{error}. This is the report: --report gives it another name") from error


def check_names(output: str, report: str | None) -> None:
    """Refuse names that no file of the kind can have.

    Raises
    ------
    UsageError
    """
    if output != STDOUT:
        output_format(output)
    if report == STDOUT:
        raise UsageError(
            "--report -: expected a file name; --json prints the report on the standard output"
        )
    both = report is not None and output != STDOUT
    if both and Path(str(report)).resolve() == Path(output).resolve():
        raise UsageError(
            f"--report and --output are the same file, {printable(output)}; give two names"
        )


@contextmanager
def locked(output: str, report: str | None) -> Iterator[None]:
    """Keep other runs from both files.

    Raises
    ------
    OutputError
        Another run is writing one of them.
    """
    with ExitStack() as locks:
        for path in (output, report):
            if path is not None and path != STDOUT:
                locks.enter_context(output_lock(path))
        yield
