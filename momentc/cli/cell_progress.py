"""Progress of a job of many cells: how many are done, the last one, the time left."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from momentc.cli.progress import SECONDS_BETWEEN_LINES
from momentc.cli.text import format_estimate

if TYPE_CHECKING:
    from momentc.study.run import Standing

__all__ = ["CellProgress", "LineCells", "QuietCells", "RichCells", "describe"]


class CellProgress(Protocol):
    """Takes the news of a job of cells, for the time of a ``with`` block."""

    def __call__(self, standing: "Standing") -> None:
        """Take the news."""

    def __enter__(self) -> Self:
        """Begin to draw."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop drawing and leave the screen clean."""


def describe(standing: "Standing") -> str:
    """``12 of 230 cells, about 3 min 20 s to go``."""
    text = f"{standing.done} of {standing.total} {standing.unit}"
    if standing.seconds_left is None or standing.done == standing.total:
        return text
    return f"{text}, about {format_estimate(standing.seconds_left)} to go"


class QuietCells:
    """Says nothing."""

    def __call__(self, standing: "Standing") -> None:
        """Take no notice."""

    def __enter__(self) -> Self:
        """Begin nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """End nothing."""


class LineCells:
    """At most one line every 30 seconds, for logs of batch jobs.

    Parameters
    ----------
    stream : text stream
        stderr.
    clock : callable
        Seconds; only the tests give another one.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._said_at = clock()

    def __call__(self, standing: "Standing") -> None:
        """Take the news and say it if the last line is old enough."""
        now = self._clock()
        if standing.done < standing.total and now - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = now
            print(f"momentc: {describe(standing)}", file=self._stream, flush=True)

    def __enter__(self) -> Self:
        """Begin; the first line comes after 30 seconds."""
        return self

    def __exit__(self, *_: object) -> None:
        """End; there is nothing to clean."""


class RichCells:
    """One bar on stderr; gone when the job ends."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            SpinnerColumn(style="cyan"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[last]}", style="dim"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: Any = self._bars.add_task("loading", total=None, last="")

    def __call__(self, standing: "Standing") -> None:
        """Take the news; the drawing itself happens ten times a second at most."""
        self._bars.update(
            self._task,
            total=standing.total or None,
            completed=standing.done,
            description=describe(standing),
            last=standing.last,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop and give the screen back."""
        self._bars.stop()
