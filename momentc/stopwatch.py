"""Seconds by stage."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch"]


class Stopwatch:
    """Seconds since the job began, and seconds by stage in the order of their first lap.

    Laps follow each other; stages have work between them that is booked by others, or by none.

    Parameters
    ----------
    began : float, optional
        When the command began, by ``time.perf_counter``; what passed until now is the first lap,
        for most of it goes into loading numerical libraries. Default: now.
    """

    def __init__(self, began: float | None = None) -> None:
        now = time.perf_counter()
        self._began = now if began is None else began
        self._lap_began = now
        self.laps: list[tuple[str, float]] = []
        if began is not None:
            self.laps.append(("start", now - began))

    def lap(self, stage: str) -> None:
        """Book the time since the last lap under `stage`."""
        now = time.perf_counter()
        self.laps.append((stage, now - self._lap_began))
        self._lap_began = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Book the time inside under `name`, unless it ends with an error."""
        start = time.perf_counter()
        yield
        self.laps.append((name, time.perf_counter() - start))

    def book(self, stages: Iterable[tuple[str, float]]) -> None:
        """Book the stages of another watch for the time since the last lap, and begin one."""
        self.laps.extend(stages)
        self._lap_began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return time.perf_counter() - self._began

    def totals(self) -> dict[str, float]:
        """Seconds by stage; laps of the same name added up."""
        totals: dict[str, float] = {}
        for stage, seconds in self.laps:
            totals[stage] = totals.get(stage, 0.0) + seconds
        return totals

    def stages(self) -> dict[str, float]:
        """Seconds by stage to the microsecond, for a report."""
        return {stage: round(seconds, 6) for stage, seconds in self.totals().items()}
