"""Progress of a running job, drawn for a terminal or written as rare lines for a log.

The library calls ``progress(stage, done, total)`` as often as it likes; each stage counts up. A
total of 0 says that the stage cannot tell how far it is.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from momentc.cli.text import format_estimate, format_large, format_seconds

__all__ = ["LineProgress", "NoProgress", "Progress", "RichProgress"]

SECONDS_BETWEEN_LINES = 30.0

# Columns of a terminal for a stage, the numbers and a bar that shows more than a tenth.
ROOM_FOR_A_BAR = 96

# A rate or a time left that is guessed from less than this jumps about more than it tells.
SECONDS_BEFORE_RATE = 0.5


class Progress(Protocol):
    """A progress callback that is open for the time of a ``with`` block."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take the news: `done` objects of `total` in `stage`."""

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

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take no notice."""

    def __enter__(self) -> Self:
        """Begin nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """End nothing."""


class Pace:
    """One stage: how far it is, how fast, and how long it still needs.

    Parameters
    ----------
    stage : str
    done : int
        Objects done when the stage was first heard of.
    now : float
        Seconds on some clock.
    """

    def __init__(self, stage: str, done: int, now: float) -> None:
        self.stage = stage
        self._first = done
        self.began = now

    def describe(self, done: int, total: int, now: float) -> str:
        """``12,000 left of 273,280, 1.20M a second, 3 s to go``."""
        if total == 0:
            return "running"
        left = max(total - done, 0)
        text = f"{format_large(left)} left of {format_large(total)}"
        elapsed = now - self.began
        if elapsed < SECONDS_BEFORE_RATE or done <= self._first:
            return text
        rate = (done - self._first) / elapsed
        if rate >= 1:
            text += f", {format_large(round(rate))} a second"
        return text if left == 0 else f"{text}, {format_estimate(left / rate)} to go"


class LineProgress:
    """At most one line every 30 seconds, for logs of batch jobs.

    Parameters
    ----------
    stream : text stream
        Where the lines go: stderr.
    clock : callable
        Seconds; only the tests give another one.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._said_at = clock()
        self._pace = Pace("", 0, self._said_at)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take the news and say it if the last line is old enough."""
        now = self._clock()
        if stage != self._pace.stage:
            self._pace = Pace(stage, done, now)
        if now - self._said_at < SECONDS_BETWEEN_LINES:
            return
        self._said_at = now
        said = self._pace.describe(done, total, now)
        print(f"momentc: {stage}: {said}", file=self._stream, flush=True)

    def __enter__(self) -> Self:
        """Begin; the first line comes after 30 seconds."""
        return self

    def __exit__(self, *_: object) -> None:
        """End; there is nothing to clean."""


class RichProgress:
    """A line a stage on stderr: stage, bar, objects left, rate, time; gone when the job ends."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        self._bars = Bars(
            SpinnerColumn(finished_text="✓", style="cyan"),
            TextColumn("{task.description}"),
            # Where room is short, the numbers say more.
            BarColumn(bar_width=24 if console.width >= ROOM_FOR_A_BAR else 8),
            TextColumn("{task.fields[said]}", style="dim"),
            console=console,
            transient=True,
        )
        self._task: Any = None
        self._pace = Pace("", 0, 0.0)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take the news; the drawing itself happens ten times a second at most."""
        now = time.monotonic()
        if stage != self._pace.stage:
            if self._task is not None:
                said = format_seconds(now - self._pace.began)
                self._bars.update(self._task, total=1, completed=1, said=said)
            self._pace = Pace(stage, done, now)
            self._task = self._bars.add_task(stage, total=None, said="")
        said = self._pace.describe(done, total, now)
        # Without a total the bar moves to and fro.
        self._bars.update(self._task, total=total or None, completed=done, said=said)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop and give the screen back."""
        self._bars.stop()
