"""The last steps of every job that writes a result: describe, write, check what was written."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from momentc.compression import certify
from momentc.errors import OutputError, VerificationError
from momentc.files.jobs import JobReport
from momentc.files.names import STDOUT
from momentc.files.work import Work, as_float64
from momentc.io.atomic import write_bytes_atomic
from momentc.io.result_file import write_result, write_result_stream
from momentc.process_memory import peak_memory
from momentc.report import finite, report_text
from momentc.stopwatch import Stopwatch
from momentc.text import printable
from momentc.version import __version__
from momentc.weighted import WeightedSet

__all__ = ["deliver", "describe"]


def describe(work: Work) -> dict[str, Any]:
    """Return what is known of a result from itself and the moments of the input.

    Free of times and host names: same input, same bytes.
    """
    compression = work.compression
    error, relative = certify(
        compression, as_float64(work.result, work.columns), work.result.weights
    )
    reason = () if work.choice is None else (work.choice.reason,)
    return {
        "momentc": __version__,
        "k": compression.k,
        "kept_order": compression.kept_order,
        "matched_order": compression.matched_order,
        "target": compression.target,
        "seed": compression.seed,
        "n_kept": len(compression.support),
        "columns": work.columns.tolist(),
        "rank": compression.rank,
        "n_moments": compression.n_moments,
        "n_points": compression.n_points,
        "n_distinct": compression.n_distinct,
        "n_dropped_nan": work.counts.n_dropped_nan,
        "n_zero_weight": work.counts.n_zero_weight,
        "n_lossy": work.counts.n_lossy,
        "tolerance": compression.tolerance,
        "error": finite(error),
        "relative_error": finite(relative),
        "ok": compression.holds(error),
        "frame": {
            "center": compression.frame.center.tolist(),
            "scale": compression.frame.scale.tolist(),
        },
        "notes": [*reason, *compression.notes],
        "part": work.part,
    }


def deliver(
    work: Work,
    metadata: dict[str, Any],
    name: str,
    output: str,
    report: str | None,
    watch: Stopwatch,
    *,
    force: bool,
    keep_going: bool,
    inputs: Sequence[Path],
) -> JobReport:
    """Write a result and its report; what is read back from the disk must hold the same promise.

    Parameters
    ----------
    work : Work
    metadata : dict
    name : str
        Of the input, for messages.
    output, report : str, str or None
    watch : Stopwatch
    force, keep_going : bool
    inputs : sequence of pathlib.Path
        Never to be replaced.

    Raises
    ------
    VerificationError
        The moments of what was written miss the tolerance; nothing is left of it.
    OutputError
    """
    compression = work.compression
    as_written: dict[str, Any] = {}

    def verify(written: WeightedSet, metadata_written: dict[str, Any]) -> None:
        as_written.update(metadata_written)
        error, _ = certify(compression, as_float64(written, work.columns), written.weights)
        if finite(error) != metadata_written["error"]:
            raise VerificationError(
                f"{name}: the moments of what was written are not those of the result; this is a "
                "fault of the machine, or a bug in momentc"
            )
        if compression.holds(error) or keep_going:
            return
        # A NaN is worse than any number, and no number compares with it.
        orders = range(len(error[: compression.k + 1]))
        worst = max(orders, key=lambda i: np.nan_to_num(error[i], nan=np.inf))
        bound = " (a bound, as columns depend on others)" if compression.are_bounds else ""
        raise VerificationError(
            f"{name}: the moments of order {worst} are off by {error[worst]:.1e}{bound}, more than "
            f"the tolerance {compression.tolerance:.1e}; ask for a smaller k, a larger target or a "
            "larger --tol, or have the file written all the same with --keep-going"
        )

    if output == STDOUT:
        write_result_stream(
            sys.stdout.buffer, work.result, metadata, verify=verify, extra=work.extra
        )
    else:
        write_result(
            output, work.result, metadata,
            force=force, inputs=inputs, verify=verify, extra=work.extra,
        )  # fmt: skip
    watch.lap("writing")
    content = {**as_written, **_measured(watch, output, work)}
    if report is not None:
        try:
            write_bytes_atomic(report, report_text(content).encode(), force=force)
        except OutputError as error:
            raise OutputError(
                f"{error}. The result itself is written and verified: {printable(output)}"
            ) from error
    return JobReport(
        content=content,
        ok=bool(as_written["ok"]),
        notes=(*work.warnings, *work.counts.notes(name), *metadata["notes"]),
        output=output,
        report_path=report,
    )


def _measured(watch: Stopwatch, output: str, work: Work) -> dict[str, Any]:
    """Return what differs from run to run: for the report, never for the file."""
    seconds = watch.seconds
    taken_in = work.compression.n_points - work.resumed_after
    return {
        "output": output,
        "seconds": round(seconds, 6),
        "stages": watch.stages(),
        "peak_memory": peak_memory(),
        "objects_per_second": round(taken_in / seconds, 1),
        "resumed_after": work.resumed_after,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
