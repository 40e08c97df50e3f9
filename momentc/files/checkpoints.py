"""When a stream writes its state to the disk, and how it goes on from there."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from momentc.errors import OutputError
from momentc.files.jobs import CompressJob
from momentc.files.parts import digests_as_arrays, digests_of_arrays
from momentc.files.plan import CompressPlan
from momentc.files.work import Counts
from momentc.io.checkpoint import (
    checkpoint_path,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from momentc.io.source import Source
from momentc.streaming.stream import CellStream
from momentc.text import printable

__all__ = ["Checkpoints"]

# Work of fewer seconds is sooner done again than written down.
WORTH_SECONDS: Final = 10.0

# The sizes of a stream follow from the budget, the sample from them, and the frame from the sample.
WORDS: Final = {
    "datasets": "another dataset or other weights",
    "weighted": "the rows without weights, or with them",
    "files": "other files, or files that have changed since",
    "weight_exponent": "other weights",
    "stream": "another --memory",
    "sample": "other rows of the input",
    "frame": "other rows of the input",
}


class Checkpoints:
    """The checkpoint of one job: beside its output, hidden, removed when the output stands.

    Parameters
    ----------
    job : CompressJob
    plan : CompressPlan
    head : dict
        What the state depends on: plain JSON values.

    Attributes
    ----------
    resumed_after : int
        Objects that an earlier run had taken in.
    """

    def __init__(self, job: CompressJob, plan: CompressPlan, head: dict[str, Any]) -> None:
        self._path = checkpoint_path(plan.output) if plan.checkpoints else None
        self._head = head
        self._every = job.checkpoint_every
        self._restart = job.restart
        self._last = time.monotonic()
        self._written = False
        self._failure: str | None = None
        self.resumed_after = 0

    def resume(self, stream: CellStream, source: Source, counts: Counts) -> int:
        """Take over what an earlier run has done; return the first row that it has not.

        Raises
        ------
        PartsError
            The checkpoint is of another job, or damaged.
        """
        if self._path is None:
            return 0
        if self._restart:
            remove_checkpoint(self._path)
            return 0
        found = read_checkpoint(self._path, self._head, WORDS)
        if found is None:
            return 0
        state, arrays = found
        stream.restore(arrays)
        source.digests.update(digests_of_arrays(arrays))
        for name, value in state["counts"].items():
            setattr(counts, name, math.inf if value is None else value)
        self._written = True
        self.resumed_after = stream.n_rows
        return int(state["next_row"])

    def after_block(
        self,
        stream: CellStream,
        source: Source,
        counts: Counts,
        next_row: int,
        check: Callable[[], None],
    ) -> None:
        """Write a checkpoint if it is time, or if ``check`` raises because a signal came."""
        due = time.monotonic() - self._last >= self._every
        self._write_if(due, stream, source, counts, next_row, check)

    def at_the_end(
        self,
        stream: CellStream,
        source: Source,
        counts: Counts,
        next_row: int,
        check: Callable[[], None],
    ) -> None:
        """Write the state that is left after the last row: it is small, and worth the pass.

        Also if ``check`` raises because a signal came.
        """
        due = time.monotonic() - self._last >= min(WORTH_SECONDS, self._every) or self._written
        self._write_if(due, stream, source, counts, next_row, check)

    def notes(self) -> Iterator[str]:
        """Say what the user should know of them when all is done."""
        if self.resumed_after:
            yield (
                f"went on from the checkpoint of an earlier run: {self.resumed_after} objects had "
                "been taken in"
            )
        if self._failure is not None:
            yield self._trouble()

    @contextmanager
    def named_by_interruptions(self) -> Iterator[None]:
        """Let what interrupts the work say where the checkpoint is, if there is one."""
        try:
            yield
        except Exception:
            raise
        except BaseException as signal:
            if self._failure is not None:
                signal.add_note(self._trouble())
            if self._written:
                command = "the same command" + (" without --restart" if self._restart else "")
                signal.add_note(
                    f"{command} goes on from the checkpoint {printable(str(self._path))}"
                )
            raise

    def _trouble(self) -> str:
        """Say that the last checkpoint is missing, and why."""
        which = "the last checkpoint could not" if self._written else "no checkpoint could"
        return f"{which} be written: {self._failure}"

    def _write_if(
        self,
        due: bool,
        stream: CellStream,
        source: Source,
        counts: Counts,
        next_row: int,
        check: Callable[[], None],
    ) -> None:
        try:
            check()
        except BaseException:
            self._write(stream, source, counts, next_row)
            raise
        if due:
            self._write(stream, source, counts, next_row)

    def _write(self, stream: CellStream, source: Source, counts: Counts, next_row: int) -> None:
        if self._path is None:
            return
        values = asdict(counts)
        values["least_weight"] = None if math.isinf(counts.least_weight) else counts.least_weight
        try:
            write_checkpoint(
                self._path,
                self._head,
                {"next_row": next_row, "counts": values},
                {**stream.runs(), **digests_as_arrays(source.digests)},
            )
        except OutputError as error:
            # A checkpoint is a help: without it the run is as good, only not to be interrupted.
            self._failure = str(error)
        else:
            self._written, self._failure = True, None
        self._last = time.monotonic()
