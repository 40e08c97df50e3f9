"""The outputs of long jobs of many cells: tables, figures, and the journal of what is finished."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from momentc.errors import OutputError, PartsError, UsageError
from momentc.files.names import STDOUT
from momentc.io.atomic import output_lock, probe_output, write_bytes_atomic
from momentc.io.journal import Journal, read_journal
from momentc.io.lock import BusyError
from momentc.text import printable

__all__ = [
    "finished_cells",
    "pieces_of_others",
    "probe_files",
    "table_format",
    "when_free",
    "write_files",
]

SUFFIX = ".jsonl"

# Tasks of one job look after, and write, the same files: one waits for the other, so many times so
# many seconds.
TRIES: Final = 50
PAUSE: Final = 0.1


def table_format(output: str) -> str:
    """Return 'csv' or 'json', as the name asks for; '-' is csv.

    Raises
    ------
    UsageError
    """
    if output == STDOUT:
        return "csv"
    suffix = Path(output).suffix.lower()
    if suffix not in {".csv", ".json"}:
        raise UsageError(
            f"--output is {printable(output)}; expected a name that ends in .csv or .json, or -"
        )
    return suffix[1:]


def probe_files(
    output: str | None, plot: str | None, *, force: bool, inputs: Sequence[Path] = ()
) -> None:
    """Refuse outputs that could not be written, before anything is computed.

    Raises
    ------
    OutputError, UsageError
    """
    paths = [path for path in (output, plot) if path is not None and path != STDOUT]
    for path in paths:
        probe_output(path, force=force, inputs=inputs)
    if len(paths) == 2 and Path(paths[0]).resolve() == Path(paths[1]).resolve():
        raise UsageError("--output and --plot are the same file; give two names")


def when_free(action: Callable[[], None]) -> None:
    """Do what needs an output's lock, as soon as no other run has it; give up after some seconds.

    Raises
    ------
    OutputError
        What the action raises; that another run has the lock, after the last try.
    """
    for _ in range(TRIES - 1):
        with suppress(BusyError):
            return action()
        time.sleep(PAUSE)
    return action()


@contextmanager
def finished_cells(
    output: str | None, head: dict[str, Any], *, task: tuple[int, int] | None, restart: bool
) -> Iterator[tuple[Journal | None, list[dict[str, Any]]]]:
    """Open the journal of a job; yield it with all pieces that are finished, other tasks' too.

    The journals stand beside the output: ``scan.csv.cells.jsonl``, and
    ``scan.csv.task-3-of-8.jsonl`` for tasks of an array job. Without an output there is none.

    Parameters
    ----------
    output : str or None
    head : dict
        What the pieces depend on.
    task : (int, int), optional
    restart : bool
        Forget what is finished (of a task: what this very task has finished; what other tasks have
        left of another job is theirs to forget).

    Raises
    ------
    PartsError
        A journal belongs to another job.
    OutputError
        Another run is writing the same journal, or one that is to be forgotten.
    """
    place = None if output is None or output == STDOUT else Path(output)
    if place is None or (place.exists() and not place.is_file()):
        yield None, []  # nothing stands beside a pipe or a device
        return
    own = _journal(place, task)
    with ExitStack() as stack:
        stack.enter_context(output_lock(own))
        if restart:
            forgotten = [own] if task is not None else sorted({own, *_journals(place)})
            with ExitStack() as locks:
                # All, before any goes: tasks that still run would write on without a name.
                for path in forgotten:
                    locks.enter_context(output_lock(path))
                for path in forgotten:
                    path.unlink(missing_ok=True)
        journal = stack.enter_context(Journal(own, head))
        others = pieces_of_others(place, head, task=task, restart=restart)
        yield journal, [*journal.pieces, *others]


def pieces_of_others(
    output: str | Path, head: dict[str, Any], *, task: tuple[int, int] | None, restart: bool
) -> list[dict[str, Any]]:
    """Return the pieces that stand in the other journals beside an output by now.

    Parameters
    ----------
    output, head, task, restart
        See :func:`finished_cells`.
    """
    place = Path(output)
    own = _journal(place, task)
    pieces: list[dict[str, Any]] = []
    for path in _journals(place):
        if path == own:
            continue
        try:
            pieces += read_journal(path, head)
        except PartsError:
            if not restart:
                raise
    return pieces


def _journal(output: Path, task: tuple[int, int] | None) -> Path:
    name = "cells" if task is None else f"task-{task[0]}-of-{task[1]}"
    return output.with_name(f"{output.name}.{name}{SUFFIX}")


def _journals(output: Path) -> list[Path]:
    """Return the journals beside an output."""
    start = f"{output.name}."
    return sorted(
        path
        for path in output.parent.iterdir()
        if path.name.startswith((f"{start}cells", f"{start}task-")) and path.suffix == SUFFIX
    )


def write_files(
    output: str | None, text: str, plot: str | None, picture: bytes | None, *, force: bool
) -> None:
    """Write the table and the plot, each whole or not at all.

    Raises
    ------
    OutputError
    """
    if output == STDOUT:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # the reader has seen enough
        except OSError as error:
            raise OutputError(
                f"the standard output cannot be written: {error.strerror}; send it elsewhere"
            ) from error
    elif output is not None:
        write_bytes_atomic(output, text.encode(), force=force)
    if plot is not None and picture is not None:
        write_bytes_atomic(plot, picture, force=force)
