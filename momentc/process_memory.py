"""The memory that this process takes."""

import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["peak_memory", "reset_peak"]


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes.

    Linux tells it in ``/proc`` for this program alone; ``getrusage`` there also counts what the
    parent process had before it started this one.
    """
    return _field("VmHWM")


def reset_peak() -> int:
    """Let the peak begin anew, where the system can; return what the process holds now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _field("VmRSS")


def _field(name: str) -> int:
    """Return a field of ``/proc/self/status`` in bytes; elsewhere the largest memory so far."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
