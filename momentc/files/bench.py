"""``bench``: plan, go on where it stopped, time cell by cell, write table and figure."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from momentc.engine.processes import run_in_processes, thread_environment
from momentc.files.jobs import JobReport
from momentc.files.study_jobs import DEFAULT_FRACTION, BenchJob, OnStanding
from momentc.files.study_outputs import finished_cells, probe_files, table_format, write_files
from momentc.options import CompressOptions
from momentc.report import report_text
from momentc.study.baselines import check_baselines
from momentc.study.bench_figure import draw_bench
from momentc.study.bench_summary import (
    bench_csv_rows,
    memory_growth,
    speedups,
    time_exponents,
    wrong_baselines,
)
from momentc.study.drawing import check_plot
from momentc.study.run import Standing, TimeLeft
from momentc.study.table import rows_to_csv
from momentc.study.timing import BenchCell, BenchSetting, measure_cell, plan_bench
from momentc.version import __version__

__all__ = ["bench"]

_CELL = ("m", "k", "d", "target", "threads")


def bench(
    job: BenchJob,
    *,
    on_standing: OnStanding | None = None,
    prepare: Callable[[], None] | None = None,
) -> JobReport:
    """Do a :class:`BenchJob`: one cell at a time, each in a fresh process.

    Parameters
    ----------
    job : BenchJob
    on_standing : callable, optional
        Told how far the cells are.
    prepare : callable, optional
        Called when the job is found in order and something is left to measure.

    Returns
    -------
    JobReport
        Content: ``cells`` (see :func:`momentc.study.timing.measure_cell`), ``exponents``,
        ``memory``, ``speedups``, ``resumed``; ``wrong_baselines``, {name: number of cells}.
        ``ok``: every timed result of momentc was right.

    Raises
    ------
    UsageError, OutputError, PartsError
        Nothing was timed.
    MemoryBudgetError
        A cell's process was ended; finished cells are kept if there is an output.
    """
    check_baselines(job.baselines)
    CompressOptions(effort=job.effort, tolerance=job.tolerance)
    if job.output is not None:
        table_format(job.output)
    if job.plot is not None:
        check_plot(job.plot)
    probe_files(job.output, job.plot, force=job.force)
    fraction = None
    if not (job.targets or job.minimal):
        fraction = DEFAULT_FRACTION if job.fraction is None else job.fraction
    cells, skipped = plan_bench(job.ms, job.ks, job.ds, job.targets, fraction, job.threads)
    setting = BenchSetting(job.repeats, job.effort, job.seed, job.tolerance, job.baselines)
    head = {
        "job": "bench", "momentc": __version__, "seed": job.seed, "effort": job.effort,
        "repeats": job.repeats, "tolerance": job.tolerance, "baselines": list(job.baselines),
    }  # fmt: skip
    with finished_cells(job.output, head, task=None, restart=job.restart) as (journal, pieces):
        records = {_key(piece): piece for piece in pieces}
        todo = [cell for cell in cells if cell.key not in records]
        if todo and prepare is not None:
            prepare()
        for record in _measure(todo, setting, on_standing):
            if journal is not None:
                journal.append(record)
            records[_key(record)] = record
        done = [records[cell.key] for cell in cells]
        content = {
            "kind": "bench",
            "repeats": job.repeats,
            "effort": job.effort,
            "tolerance": job.tolerance,
            "resumed": len(cells) - len(todo),
            "ok": all(record["ok"] for record in done),
            "wrong_baselines": wrong_baselines(done),
            "exponents": time_exponents(done, fraction),
            "memory": memory_growth(done, fraction),
            "speedups": speedups(done),
            "cells": done,
        }
        text = ""
        if job.output is not None:
            text = (
                rows_to_csv(bench_csv_rows(done)) if table_format(job.output) == "csv"
                else report_text(content)
            )  # fmt: skip
        picture = None if job.plot is None else draw_bench(done, job.plot, fraction)
        write_files(job.output, text, job.plot, picture, force=job.force)
        if journal is not None:
            # Times grow stale: unlike errors they are not kept for the next command.
            journal.path.unlink(missing_ok=True)
    return JobReport(content=content, ok=bool(content["ok"]), notes=skipped, output=job.output)


def _measure(cells: list[BenchCell], setting: BenchSetting, on_standing: OnStanding | None) -> Any:
    """Yield the records of the cells, one process after the other."""
    say = on_standing or (lambda _: None)
    left = TimeLeft((("momentc", cell.cost) for cell in cells), 1)
    say(Standing(0, len(cells), None, ""))
    for done, cell in enumerate(cells, start=1):
        environment = thread_environment(cell.threads)
        began = time.perf_counter()
        results = run_in_processes(measure_cell, [(cell, setting)], 1, environment=environment)
        with closing(results):
            record = next(results)[1]
        # With the start of the process, its warm-up and the verification.
        left.finish("momentc", cell.cost, time.perf_counter() - began)
        yield record
        say(Standing(done, len(cells), left.seconds(), cell.key))


def _key(record: dict[str, Any]) -> str:
    return BenchCell(**{name: record[name] for name in _CELL}).key
