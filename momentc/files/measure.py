"""The memory that the process took."""

import sys
from pathlib import Path

__all__ = ["peak_memory"]


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
