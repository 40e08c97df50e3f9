"""``error-scan`` on files: read, plan, go on where it stopped, compute, write table and figure."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from momentc.errors import OutputError, UsageError
from momentc.files.jobs import JobReport
from momentc.files.open import open_input
from momentc.files.study_jobs import DEFAULT_FRACTION, OnStanding, ScanJob
from momentc.files.study_outputs import (
    finished_cells,
    pieces_of_others,
    probe_files,
    table_format,
    when_free,
    write_files,
)
from momentc.files.work import Counts
from momentc.io.convert import load_points, select_columns
from momentc.io.location import parse_location
from momentc.io.lock import BusyError
from momentc.options import CompressOptions
from momentc.panel import DEFAULT_FAMILIES, FAMILIES
from momentc.report import report_text
from momentc.study.drawing import check_plot
from momentc.study.evaluate import Setting
from momentc.study.grid import (
    Cell,
    Plan,
    cut_for_task,
    plan_file,
    plan_polylog,
    plan_synthetic,
)
from momentc.study.methods import Dataset, check_methods
from momentc.study.run import run_cells
from momentc.study.scan_figure import draw_polylog, draw_scan
from momentc.study.summary import exponents, means, polylog_rows, ratios, recommend
from momentc.study.synthetic import check_kind
from momentc.study.table import records_to_csv
from momentc.version import __version__

__all__ = ["error_scan", "scan_output"]

# Fields of a record that name its cell.
_CELL = ("source", "m", "d", "method", "k", "target", "trial")

DEFAULT_KS = (1, 2, 3, 4, 5, 6)
DEFAULT_MS = (1, 2, 3, 4, 5)
DEFAULT_DS = (1000, 2000, 4000, 8000, 16000)


def scan_output(job: ScanJob) -> str:
    """Return the name of the table: as asked for, else ``data.error-scan.csv`` for ``data.h5``.

    Raises
    ------
    UsageError
        The input is a pipe, which has no name.
    """
    if job.output is not None:
        table_format(job.output)
        return job.output
    if job.source is None:
        return "error-scan.csv"
    path = parse_location(job.source.location, job.source.dataset).path
    if path is None:
        raise UsageError(
            "the standard input has no name to derive an output from; give one with --output"
        )
    return str(path.with_name(f"{path.stem}.error-scan.csv"))


def error_scan(
    job: ScanJob,
    *,
    on_standing: OnStanding | None = None,
    prepare: Callable[[], None] | None = None,
) -> JobReport:
    """Do a :class:`ScanJob`.

    Parameters
    ----------
    job : ScanJob
    on_standing : callable, optional
        Told how far the cells are.
    prepare : callable, optional
        Called when the job is found in order and cells are left to do.

    Returns
    -------
    JobReport
        Content: ``rank`` (affine, of a file; null for synthetic points), ``cells`` (the records),
        ``rows`` (means over the trials), ``exponents``,
        ``ratios``, ``polylog``, ``recommended``, ``complete`` and ``missing``, the number of cells
        that other tasks still have to do.

    Raises
    ------
    UsageError, InputError, RequestError, OutputError
        What the classes say; nothing was computed.
    PartsError
        The finished cells beside the output belong to another job.
    MemoryBudgetError
        A worker process was ended; finished cells are kept.
    """
    check_methods(job.methods)
    setting = _setting(job)
    output = scan_output(job)
    if job.plot is not None:
        check_plot(job.plot)
    data, name, described, notes, inputs = _load(job)

    def probe() -> None:
        probe_files(output, job.plot, force=job.force, inputs=inputs)

    standing = None
    if job.task is None:
        probe()
    else:
        try:
            when_free(probe)
        except BusyError:
            raise
        except OutputError as error:
            # Others may have finished the table: that is an obstacle only if cells are left to do.
            if job.restart or not Path(output).is_file():
                raise
            if _lacks_plot(job):
                probe_files(None, job.plot, force=job.force, inputs=inputs)
            standing = error
    plan = _plan(job, data)
    rank = None if data is None else data.frame.rank
    head = {
        "job": "error-scan", "momentc": __version__, "input": described, "seed": job.seed,
        "effort": job.effort, "families": list(setting.families),
        "functions": job.per_family, "polylog": job.polylog,
    }  # fmt: skip
    with finished_cells(output, head, task=job.task, restart=job.restart) as (journal, pieces):
        records = {_key(piece): piece for piece in pieces}
        mine = plan.cells if job.task is None else cut_for_task(plan.cells, job.task)
        todo = [cell for cell in mine if cell.key not in records]
        if standing is not None and any(cell.key not in records for cell in plan.cells):
            raise standing
        if todo and prepare is not None:
            prepare()
        found = run_cells(
            todo,
            setting,
            points=None if data is None else data.points,
            weights=None if data is None else data.weights,
            n_processes=job.processes,
            on_standing=on_standing,
        )
        n_resumed = sum(cell.key in records for cell in plan.cells)
        for record in found:
            if journal is not None:
                journal.append(record)
            records[_key(record)] = record
        if job.task is not None:
            # What the others have finished meanwhile. Each task looks after its own last cell is on
            # the disk, so the last one sees them all.
            for piece in pieces_of_others(output, head, task=job.task, restart=job.restart):
                records.setdefault(_key(piece), piece)
    # In the order of the plan: which process was first must not show.
    done = [records[cell.key] for cell in plan.cells if cell.key in records]
    content = _content(job, name, rank, plan, done, n_resumed)
    if content["complete"]:
        text = (
            records_to_csv(done) if table_format(output) == "csv"
            else report_text(content)
        )  # fmt: skip
        _write(job, output, text, _picture(job, content))
    return JobReport(
        content=content,
        # The baselines may fail: that is a measurement too.
        ok=not any("failed" in record for record in done if record["method"] == "momentc"),
        notes=(*notes, *plan.skipped),
        output=output if content["complete"] else None,
    )


def _write(job: ScanJob, output: str, text: str, picture: bytes | None) -> None:
    """Write table and figure; of a task, unless another one has seen as well that all is done."""

    def write() -> None:
        write_files(output, text, job.plot, picture, force=job.force)

    if job.task is None:
        write()
        return
    try:
        when_free(write)
    except OutputError:
        if not _holds(output, text):
            raise
        if _lacks_plot(job):
            when_free(lambda: write_files(None, "", job.plot, picture, force=job.force))


def _lacks_plot(job: ScanJob) -> bool:
    return job.plot is not None and not Path(job.plot).exists()


def _holds(output: str, text: str) -> bool:
    """Tell whether a table has these cells already."""
    with suppress(OSError, ValueError):
        written = Path(output).read_text(encoding="utf-8")
        if table_format(output) == "csv":
            return written == text
        return bool(json.loads(written)["cells"] == json.loads(text)["cells"])
    return False


def _setting(job: ScanJob) -> Setting:
    families = tuple(dict.fromkeys(job.families)) or DEFAULT_FAMILIES
    unknown = [name for name in families if name not in FAMILIES]
    if unknown:
        raise UsageError(
            f"--families names {', '.join(unknown)}; expected a list of {', '.join(FAMILIES)}"
        )
    CompressOptions(effort=job.effort)  # refuses a word that is none
    return Setting(job.seed, job.effort, tuple(families), job.per_family, job.polylog)


def _load(
    job: ScanJob,
) -> tuple[Dataset | None, str, dict[str, Any], tuple[str, ...], list[Path]]:
    """Return the user's points, their name, what identifies them, notes, and the files read."""
    if job.source is None:
        assert job.synthetic is not None
        check_kind(job.synthetic)
        return None, f"{job.synthetic} points", {"synthetic": job.synthetic}, (), []
    with open_input(job.source) as source:
        columns = select_columns(job.source.columns, source.n_columns)
        loaded = load_points(
            source, columns=columns, nan=job.source.nan, allow_lossy=job.source.allow_lossy
        )
        described = {
            "fingerprint": source.fingerprint(),
            "columns": [int(column) for column in columns],
            "nan": job.source.nan,
        }
        notes = (*source.warnings, *Counts.of(loaded).notes(source.name))
        files = [*job.source.files(), *source.paths]
        return Dataset(loaded.points, loaded.weights), source.name, described, notes, files


def _plan(job: ScanJob, data: Dataset | None) -> Plan:
    if data is not None:
        if not job.targets:
            raise UsageError("a scan of a file needs targets: --target 200,500,1000")
        return plan_file(
            data.points.shape[1], len(data), data.frame.rank, job.ks or DEFAULT_KS, job.targets,
            job.methods, job.trials,
        )  # fmt: skip
    assert job.synthetic is not None
    if job.polylog:
        ms, ds = job.ms or (1, 2), job.ds or DEFAULT_DS
        return plan_polylog(job.synthetic, ms, ds, job.ks, job.methods, job.trials)
    return plan_synthetic(
        job.synthetic, job.ms or DEFAULT_MS, job.ds or DEFAULT_DS, job.ks or DEFAULT_KS,
        job.targets, _fraction(job), job.methods, job.trials,
    )  # fmt: skip


def _key(record: dict[str, Any]) -> str:
    return Cell(**{name: record[name] for name in _CELL}).key


def _content(
    job: ScanJob,
    name: str,
    rank: int | None,
    plan: Plan,
    done: list[dict[str, Any]],
    n_resumed: int,
) -> dict[str, Any]:
    rows = means(done)
    fraction = _fraction(job)
    return {
        "kind": "error-scan",
        "input": name,
        "rank": rank,
        "effort": job.effort,
        "seed": job.seed,
        "polylog": polylog_rows(done) if job.polylog else [],
        "complete": len(done) == len(plan.cells),
        "missing": len(plan.cells) - len(done),
        "resumed": n_resumed,
        "task": None if job.task is None else list(job.task),
        "failed": sorted({record["failed"] for record in done if "failed" in record}),
        "max_error": job.max_error,
        "recommended": [] if job.max_error is None else recommend(rows, job.max_error),
        "exponents": [] if job.polylog else exponents(rows, fraction, rank),
        "ratios": ratios(rows),
        "rows": rows,
        "cells": done,
    }


def _picture(job: ScanJob, content: dict[str, Any]) -> bytes | None:
    if job.plot is None or not content["rows"]:
        return None
    if job.polylog:
        return draw_polylog(content["polylog"], job.plot)
    return draw_scan(
        content["rows"], content["exponents"], job.plot, _fraction(job), content["rank"]
    )


def _fraction(job: ScanJob) -> float | None:
    """Return the part of d that is kept; None where the targets were given."""
    if job.synthetic is None or job.targets or job.polylog:
        return None
    return DEFAULT_FRACTION if job.fraction is None else job.fraction
