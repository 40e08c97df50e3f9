"""Progress of a running job, drawn for a terminal or written as rare lines for a log.

The library calls ``progress(stage, count, total)`` as often as it likes. A stage either counts
up to its total (rows read) or down (objects left); which one, the first two calls of it tell.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from momentc.cli.text import format_count, format_seconds

__all__ = ["LineProgress", "NoProgress", "Progress", "RichProgress"]

SECONDS_BETWEEN_LINES = 30.0


class Progress(Protocol):
    """A progress callback that is open for the time of a ``with`` block."""

    def __call__(self, stage: str, count: int, total: int) -> None:
        """Take the news: `count` objects done (or left) of `total` in `stage`."""

    def __enter__(self) -> Self:
        """Begin to draw."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop drawing and leave the screen clean."""


class NoProgress:
    """Says nothing."""

    def __call__(self, stage: str, count: int, total: int) -> None:
        """Take no notice."""

    def __enter__(self) -> Self:
        """Begin nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """End nothing."""


class Pace:
    """Rate of one stage and the time it still needs, from its first and its latest count."""

    def __init__(self, count: int, now: float) -> None:
        self._first = count
        self._began = now
        self.count = count
        self._now = now

    def update(self, count: int, now: float) -> None:
        """Take the latest count."""
        self.count = count
        self._now = now

    @property
    def falls(self) -> bool:
        """Whether the stage counts what is left."""
        return self.count < self._first

    @property
    def rate(self) -> float:
        """Objects a second since the stage began; 0 before anything moved."""
        elapsed = self._now - self._began
        return abs(self.count - self._first) / elapsed if elapsed > 0 else 0.0

    def seconds_left(self, total: int, floor: int) -> float | None:
        """Seconds until the count reaches its end at this rate; None while that is unknown."""
        if self.rate == 0:
            return None
        distance = self.count - floor if self.falls else total - self.count
        return max(distance, 0) / self.rate


class LineProgress:
    """At most one line every 30 seconds, for logs of batch jobs.

    Parameters
    ----------
    stream : text stream
        Where the lines go: stderr.
    floor : int
        Where a stage ends that counts what is left.
    clock : callable
        Seconds; only the tests give another one.
    """

    def __init__(
        self, stream: TextIO, *, floor: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._floor = floor
        self._clock = clock
        self._stage = ""
        self._pace = Pace(0, 0.0)
        self._said_at = clock()

    def __call__(self, stage: str, count: int, total: int) -> None:
        """Take the news and say it if the last line is old enough."""
        now = self._clock()
        if stage != self._stage:
            self._stage = stage
            self._pace = Pace(count, now)
        self._pace.update(count, now)
        if now - self._said_at < SECONDS_BETWEEN_LINES:
            return
        self._said_at = now
        line = f"momentc: {stage}: {describe(self._pace, total)}"
        left = self._pace.seconds_left(total, self._floor)
        if left is not None:
            line += f", {format_seconds(left)} left"
        print(line, file=self._stream, flush=True)

    def __enter__(self) -> Self:
        """Begin; the first line comes after 30 seconds."""
        return self

    def __exit__(self, *_: object) -> None:
        """End; there is nothing to clean."""


class RichProgress:
    """A bar a stage on stderr: stage, bar, objects left, rate, time; gone when the job ends."""

    def __init__(self, *, floor: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[said]}", style="dim"),
            console=Console(stderr=True),
            transient=True,
        )
        self._floor = floor
        self._stage = ""
        self._task: Any = None
        self._pace = Pace(0, 0.0)

    def __call__(self, stage: str, count: int, total: int) -> None:
        """Take the news; the drawing itself happens ten times a second at most."""
        now = time.monotonic()
        if stage != self._stage:
            self._finish_stage()
            self._stage = stage
            self._pace = Pace(count, now)
            self._task = self._bars.add_task(stage, total=None, said="")
        self._pace.update(count, now)
        said = describe(self._pace, total)
        left = self._pace.seconds_left(total, self._floor)
        if left is not None:
            said += f", {format_seconds(left)} left"
        done = total - count if self._pace.falls else count
        self._bars.update(self._task, total=max(total, 1), completed=done, said=said)

    def _finish_stage(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, total=1, completed=1)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop and give the screen back."""
        self._bars.stop()


def describe(pace: Pace, total: int) -> str:
    """`12,000 left of 273,280, 1,200,000 a second`."""
    word = " left" if pace.falls else ""
    text = f"{format_count(pace.count)}{word} of {format_count(total)}"
    if pace.rate > 0:
        text += f", {format_count(round(pace.rate))} a second"
    return text
