"""Figs. 2, 6 and 8: jobs of ``error-scan`` and ``bench`` with fixed settings, and verdicts."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from momentc.files.bench import bench
from momentc.files.jobs import JobReport
from momentc.files.scan import error_scan
from momentc.files.study_jobs import BenchJob, OnStanding, ScanJob
from momentc.files.study_outputs import probe_files
from momentc.io.atomic import write_bytes_atomic
from momentc.report import report_text
from momentc.study.verdicts import judge_errors, judge_polylog, judge_times

if TYPE_CHECKING:
    from momentc.files.reproduce import ReproduceJob

__all__ = ["Grid", "reproduce_scan"]


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of a figure.

    Parameters
    ----------
    ms, ks, ds : tuple of int
        No ks: those of error-scan's --polylog.
    trials : int
        Repetitions of an error, or of a time.
    """

    ms: tuple[int, ...]
    ks: tuple[int, ...]
    ds: tuple[int, ...]
    trials: int


DOUBLED: Final = (1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000)
GRIDS: Final = {
    ("fig2", "small"): Grid((1, 2, 3), (1, 2, 3, 4), DOUBLED[:4], 5),
    ("fig2", "paper"): Grid((1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6), DOUBLED, 20),
    ("fig6", "small"): Grid((1, 2, 3), (5,), DOUBLED[:5], 3),
    ("fig6", "paper"): Grid((1, 2, 3, 4, 5), (5,), DOUBLED, 10),
    ("fig8", "small"): Grid((1, 2), (5, 8, 12, 16, 20), DOUBLED[1:6], 3),
    ("fig8", "paper"): Grid((1, 2), (), DOUBLED[:7], 5),
}
METHOD: Final = ("momentc",)


def reproduce_scan(
    job: "ReproduceJob", *, on_standing: OnStanding | None = None, settings: Grid | None = None
) -> JobReport:
    """Do a ReproduceJob of Fig. 2, 6 or 8.

    Returns
    -------
    JobReport
        Content as for the other figures, with ``report``, what error-scan or bench reports.

    Raises
    ------
    As the two.
    """
    grid = settings or GRIDS[job.figure, job.scale]
    if job.seeds is not None:
        grid = replace(grid, trials=job.seeds)
    table, picture, report = (job.path(suffix) for suffix in (".csv", ".png", ".json"))
    probe_files(report, None, force=job.force)
    began = time.perf_counter()
    if job.figure == "fig6":
        outcome = bench(
            BenchJob(
                ms=grid.ms, ks=grid.ks, ds=grid.ds, repeats=grid.trials, seed=job.seed,
                threads=(job.processes,), output=table, plot=picture, force=job.force,
                restart=job.restart,
            ),
            on_standing=on_standing,
        )  # fmt: skip
        verdicts = judge_times(outcome.content["exponents"])
    else:
        polylog = job.figure == "fig8"
        outcome = error_scan(
            ScanJob(
                synthetic="uniform", ms=grid.ms, ks=grid.ks, ds=grid.ds, trials=grid.trials,
                polylog=polylog, methods=METHOD, seed=job.seed, output=table, plot=picture,
                processes=job.processes, force=job.force, restart=job.restart,
            ),
            on_standing=on_standing,
        )  # fmt: skip
        found = outcome.content
        verdicts = (
            judge_polylog(found["polylog"])
            if polylog
            else judge_errors(found["exponents"], grid.ms)
        )
    measured = outcome.content["cells" if job.figure == "fig6" else "rows"]
    # None is what no number tells: the cell has failed.
    worst = [row["moment_error"] for row in measured if row["moment_error"] is not None]
    content = {
        "kind": "reproduce",
        "figure": job.figure,
        "scale": job.scale,
        "seeds": [job.seed],
        "runs": len(outcome.content["cells"]),
        "resumed": outcome.content["resumed"],
        "seconds": time.perf_counter() - began,
        "verdicts": verdicts,
        "ok": all(row["ok"] is not False for row in verdicts),
        "times": [],
        "moment_error": max(worst, default=None),
        "files": [table, picture, report],
        "report": outcome.content,
    }
    text = report_text(content)
    write_bytes_atomic(report, text.encode(), force=job.force)
    return JobReport(content=content, ok=outcome.ok, notes=outcome.notes, output=table)
