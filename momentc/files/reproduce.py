"""``reproduce``: the figures of the paper, computed, judged, and written with their pictures.

Figs. 3, 4, 5 and 7 are trainings (``momentc.learn.experiments``). Figs. 2, 6 and 8 are jobs of
``error-scan`` and ``bench`` with the paper's settings; see ``files/reproduce_scans.py``.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from momentc.engine.processes import run_in_processes
from momentc.errors import OutputError, UsageError
from momentc.files.jobs import JobReport
from momentc.files.study_jobs import OnStanding
from momentc.files.study_outputs import finished_cells, probe_files
from momentc.io.atomic import write_bytes_atomic
from momentc.report import report_text
from momentc.study.learning_figure import draw_curves, draw_laws
from momentc.study.run import Standing, TimeLeft
from momentc.study.table import rows_to_csv
from momentc.study.verdicts import judge
from momentc.text import printable
from momentc.version import __version__

__all__ = ["FIGURES", "SCALES", "ReproduceJob", "check_extras", "reproduce"]

TRAININGS: Final = ("fig3", "fig4", "fig5", "fig7")
FIGURES: Final = ("fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8")
SCALES: Final = ("small", "paper")

# Seed 42 is that of the published Figs. 3 to 5.
FIRST_SEED: Final = 42

HEADINGS: Final = {
    "fig3": "Fig. 3: a training set, a tenth of it with weights, a tenth at random",
    "fig4": "Fig. 4: a wide network, a tenth of its neurons with weights, a tenth at random",
    "fig5": "Fig. 5: test loss by size, before and after compression to d' = ⌈16√d⌉",
    "fig7": "Fig. 7: attention, a part of its heads with weights, a part at random",
}


@dataclass(frozen=True, slots=True)
class ReproduceJob:
    """Reproduce one figure.

    Parameters
    ----------
    figure : str
        One of :data:`FIGURES`.
    scale : {'small', 'paper'}
    output : str
        Folder; it is made if it does not exist.
    seeds : int, optional
        Repetitions. Default: as the scale says.
    seed : int
        The first of them; the others follow it.
    processes : int
        Runs at a time. The result does not depend on it, but for times.
    force, restart : bool
        Overwrite outputs; forget finished runs.
    """

    figure: str
    scale: str = "small"
    output: str = "reproduce"
    seeds: int | None = None
    seed: int = FIRST_SEED
    processes: int = 1
    force: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        """Check the words and numbers."""
        if self.figure not in FIGURES:
            raise UsageError(
                f"there is no figure {self.figure!r} to reproduce; expected one of "
                f"{', '.join(FIGURES)}"
            )
        if self.scale not in SCALES:
            raise UsageError(f"--scale is {self.scale!r}; expected small or paper")
        if (self.seeds is not None and self.seeds < 1) or not 0 <= self.seed < 10**6:
            raise UsageError("--seeds must be at least 1, --seed 0 to 999999")

    def path(self, suffix: str) -> str:
        """Return the name of one of the files."""
        return str(Path(self.output) / f"{self.figure}-{self.scale}{suffix}")


def reproduce(
    job: ReproduceJob, *, on_standing: OnStanding | None = None, settings: Any = None
) -> JobReport:
    """Do a :class:`ReproduceJob`.

    Parameters
    ----------
    job : ReproduceJob
    on_standing : callable, optional
        Told how far the runs are.
    settings : Scale, optional
        Another scale than the one that the job names, of the module of the figure.

    Returns
    -------
    JobReport
        Content: ``verdicts`` (see :mod:`momentc.study.verdicts`), ``ok`` (all that are judged),
        ``times`` (processor seconds of compressing and of training by panel and curve), ``panels``,
        ``seeds``, ``resumed``, ``files``. The report's own ``ok`` is that of the moments.

    Raises
    ------
    UsageError
        Unknown figure or scale; torch or matplotlib is not installed.
    OutputError, PartsError, MemoryBudgetError
        As :func:`momentc.files.scan.error_scan`.
    """
    check_extras(job.figure)
    if job.figure not in TRAININGS:
        from momentc.files.reproduce_scans import reproduce_scan

        _make_folder(job.output)
        return reproduce_scan(job, on_standing=on_standing, settings=settings)
    from momentc.learn.experiments.catalogue import find_experiment, settings_of

    experiment = find_experiment(job.figure)
    scale = settings or (experiment.small if job.scale == "small" else experiment.paper)
    count = job.seeds or int(scale.seeds)
    runs = experiment.plan(scale, range(job.seed, job.seed + count))
    _make_folder(job.output)
    probe_files(job.path(".csv"), job.path(".png"), force=job.force)
    probe_files(job.path(".json"), None, force=job.force)
    described = settings_of(scale)
    head = {
        "job": "reproduce", "momentc": __version__, "figure": job.figure, "settings": described,
    }  # fmt: skip
    began = time.perf_counter()
    with finished_cells(job.path(".csv"), head, task=None, restart=job.restart) as (journal, found):
        assert journal is not None
        records = {_key(record): record for record in found}
        todo = [run for run in runs if run.key not in records]
        costs = {run.key: experiment.cost(scale, run) for run in todo}
        todo.sort(key=lambda run: -costs[run.key])  # long ones first: no process idles at the end
        for record in _perform(job, scale, todo, costs, on_standing):
            journal.append(record)
            records[_key(record)] = record
        # In the order of the plan: which process was first must not show.
        done = [records[run.key] for run in runs]
        content = {
            "kind": "reproduce",
            "figure": job.figure,
            "scale": job.scale,
            "seeds": list(range(job.seed, job.seed + count)),
            "runs": len(runs),
            "resumed": len(runs) - len(todo),
            "seconds": time.perf_counter() - began,
            "settings": described,
            "panels": _panels(described),
            **_judged(judge(job.figure, done)),
            "times": _times(done),
            "moment_error": max(
                (r["moment_error"] for r in done if r["moment_error"] is not None), default=None
            ),
            "files": [job.path(suffix) for suffix in (".csv", ".png", ".json")],
        }
        _write(job, rows_to_csv(_rows(done)), _picture(job, content, done), content)
    return JobReport(content=content, ok=True, notes=(), output=job.path(".csv"))


def check_extras(figure: str) -> None:
    """Refuse, before any computing, what needs a library that is not installed.

    Raises
    ------
    UsageError
    """
    if figure in TRAININGS and find_spec("torch") is None:
        raise UsageError(
            f"{figure} trains networks, which needs torch: pip install 'momentc[learn]'"
        )
    if find_spec("matplotlib") is None:
        raise UsageError(f"{figure} is drawn, which needs matplotlib: pip install 'momentc[plot]'")


def _make_folder(output: str) -> None:
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{printable(output)}: the folder cannot be made: {error.strerror}"
        ) from error


def _perform(
    job: ReproduceJob,
    scale: Any,
    todo: Sequence[Any],
    costs: dict[str, float],
    on_standing: OnStanding | None,
) -> Iterator[dict[str, Any]]:
    """Yield the records of the runs as they are finished."""
    from momentc.learn.experiments.catalogue import perform_run

    say = on_standing or (lambda _: None)
    workers = max(1, min(job.processes, len(todo)))
    left = TimeLeft(((run.panel, costs[run.key]) for run in todo), workers)
    say(Standing(0, len(todo), None, "", "curves"))
    items = [(job.figure, scale, run) for run in todo]
    results: Any = (
        run_in_processes(perform_run, items, workers)
        if workers > 1
        else ((place, perform_run(item)) for place, item in enumerate(items))
    )
    with closing(results):
        for done, (place, record) in enumerate(results, start=1):
            run = todo[place]
            left.finish(run.panel, costs[run.key], record["seconds"])
            yield record
            say(Standing(done, len(todo), left.seconds(), run.key, "curves"))


def _judged(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"verdicts": verdicts, "ok": all(row["ok"] is not False for row in verdicts)}


def _key(record: dict[str, Any]) -> str:
    return f"{record['panel']} seed={record['seed']} d={record['d']} {record['curve']}"


def _rows(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one line for each recorded epoch of each curve; no times, which differ every time."""
    return [
        {
            "panel": record["panel"], "curve": record["curve"], "seed": record["seed"],
            "d": record["d"],
            "objects": record["d"] if record["curve"] == "full" else record["target"],
            "epoch": epoch, "train_loss": train, "test_loss": test,
        }
        for record in records
        for epoch, train, test in zip(
            record["epochs"], record["train"], record["test"], strict=True
        )
    ]  # fmt: skip


def _times(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean processor seconds of a run, by panel: compressing, and training each curve."""
    found = []
    for panel in dict.fromkeys(record["panel"] for record in records):
        row: dict[str, Any] = {"panel": panel}
        mine = [record for record in records if record["panel"] == panel]
        compressed = [r["compress_seconds"] for r in mine if r["compress_seconds"] is not None]
        row["compress"] = sum(compressed) / len(compressed) if compressed else None
        for curve in dict.fromkeys(record["curve"] for record in mine):
            spent = [r["train_seconds"] for r in mine if r["curve"] == curve]
            row[curve] = sum(spent) / len(spent)
        found.append(row)
    return found


def _panels(settings: dict[str, Any]) -> dict[str, str]:
    """Return the titles of the panels, from the rules in the settings."""
    rules = settings.get("rules") or [
        settings[name] for name in ("rule", "samples_rule", "widths_rule") if name in settings
    ]
    titles = {}
    for rule in rules:
        batch = "full batches" if rule["batch"] is None else f"batches of {rule['batch']}"
        titles[rule["panel"]] = f"{rule['algorithm']}, lr {rule['rate']:g}, {batch}"
    if "samples_rule" in settings:
        titles = {"a": "training set of d samples", "b": "network of width d"}
    return titles


def _picture(
    job: ReproduceJob, content: dict[str, Any], records: Sequence[dict[str, Any]]
) -> bytes:
    number = len(content["seeds"])
    heading = f"{HEADINGS[job.figure]} ({number} seed{'s' * (number > 1)})"
    path, titles = job.path(".png"), content["panels"]
    if job.figure == "fig5":
        return draw_laws(records, titles, heading, path)
    task = content["settings"].get("task")
    return draw_curves(
        records,
        titles,
        heading,
        path,
        with_train=job.figure != "fig3",
        truth=None if task is None else (task["order"], task["frequency"]),
    )


def _write(job: ReproduceJob, table: str, picture: bytes, content: dict[str, Any]) -> None:
    report = report_text(content)
    for suffix, data in (
        (".csv", table.encode()), (".png", picture), (".json", report.encode()),
    ):  # fmt: skip
        write_bytes_atomic(job.path(suffix), data, force=job.force)
