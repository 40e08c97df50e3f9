"""Seconds by stage, and the memory that the process took."""

import sys
import time
from pathlib import Path

__all__ = ["Stopwatch", "peak_memory"]


class Stopwatch:
    """Seconds since the job began, and seconds by stage in the order of their first lap.

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
        """Book the time since the last lap (or skip) under `stage`."""
        now = time.perf_counter()
        self.laps.append((stage, now - self._lap_began))
        self._lap_began = now

    def skip(self) -> None:
        """Begin a lap now; the time before it is booked by others."""
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


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes.

    Linux tells it in ``/proc`` for this program alone; ``getrusage`` there also counts what the
    parent process had before it started this one.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
