"""Names of the files that a compression writes."""

import glob
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from momentc.errors import InputError, UsageError
from momentc.files.jobs import CompressJob, MergeJob
from momentc.io.location import parse_location

__all__ = [
    "STDOUT",
    "expand_inputs",
    "is_file_name",
    "made_folder",
    "merged_output",
    "output_of",
    "report_beside",
    "report_of",
]

STDOUT = "-"
REPORT_SUFFIX = ".report.json"


def output_of(job: CompressJob) -> str:
    """Name of the file to write, or ``-``.

    Raises
    ------
    UsageError
        The input is a pipe and no output was named.
    """
    from momentc.io.location import derived_output

    if job.output is not None and not job.output:
        raise UsageError("--output is empty; expected a file name or - for the standard output")
    if job.shard is None:
        return str(derived_output(job.source.location)) if job.output is None else job.output
    if job.output is not None and not (job.output.endswith("/") or Path(job.output).is_dir()):
        return job.output
    # data.h5 -> data.part-03-of-16.h5, in the folder that was named.
    number, n_parts = job.shard
    name = derived_output(job.source.location)
    stem = name.name.removesuffix(name.suffix).removesuffix(".momentc")
    part = f"{stem}.part-{number:0{len(str(n_parts))}}-of-{n_parts}{name.suffix}"
    folder = name.parent if job.output is None else Path(job.output)
    return str(folder / part)


def made_folder(job: CompressJob) -> str | None:
    """Name of the folder that the job makes for its output: that of shards, whichever is first."""
    if job.shard is None or job.output is None or not job.output.endswith("/"):
        return None
    return job.output


def report_of(job: CompressJob) -> str | None:
    """Name of the report: as asked for, else beside a regular output, else none.

    ``data.momentc.h5`` -> ``data.momentc.report.json``.
    """
    if job.report is not None:
        return job.report
    return report_beside(output_of(job))


def report_beside(output: str) -> str | None:
    """Name of the report beside an output; None where there is no place beside it."""
    if not is_file_name(output):
        return None
    path = Path(output)
    # A folder such as "." has no name: whoever writes there says that it is one.
    return str(path.with_name(path.stem + REPORT_SUFFIX)) if path.name else None


def merged_output(job: MergeJob) -> str:
    """Name of the file that a merge writes: ``data.part-3-of-8.h5`` gives ``data.momentc.h5``.

    Raises
    ------
    UsageError
        No name was given, and the parts' names do not tell.
    InputError
        Nor is there a first part.
    """
    if job.output is not None:
        if not job.output:
            raise UsageError("--output is empty; expected a file name or - for the standard output")
        return job.output
    first = Path(job.parts[0])
    stem, found, _ = first.name.rpartition(".part-")
    if not found:
        if is_file_name(str(first)) and not first.exists():
            raise InputError(f"{first}: no such file; expected a part that --shard made")
        raise UsageError(
            f"the output cannot be named after {first.name}, which is not named as a part is "
            "(data.part-1-of-8.h5); leave it out, or give a name with --output"
        )
    return str(first.with_name(f"{stem}.momentc{first.suffix}"))


def is_file_name(output: str) -> bool:
    """Whether an output is a file, with a place beside it: no stream, no device, no pipe."""
    if output == STDOUT:
        return False
    path = Path(output)
    with suppress(OSError):  # a name that cannot be: whoever writes it says so
        return not path.exists() or path.is_file() or path.is_dir()
    return True


def expand_inputs(locations: Sequence[str]) -> list[str]:
    """Replace patterns by the files that match, in the order of their names.

    What follows a pattern, as in ``run-*.h5:/x``, follows each of the files.

    Raises
    ------
    InputError
        A pattern matches nothing.
    """
    found = []
    for location in locations:
        if not glob.has_magic(location) or _is_literal(location):
            found.append(location)
            continue
        matches = _matches(location)
        if not matches:
            raise InputError(f"{location}: no file matches this pattern")
        found += matches
    return found


def _is_literal(location: str) -> bool:
    """Whether there is a file of this very name, as ``a[1].npz`` or ``a[1].npz:x`` may be."""
    try:
        parse_location(location)
    except (InputError, UsageError):
        return Path(location).exists()
    return True


def _matches(location: str) -> list[str]:
    """Return the files that match, in the order of their names, each with the dataset that follows.

    As for names: what matches from the rightmost colon on is the dataset.
    """
    cut = len(location)
    while cut > 0:
        # Not Path.glob: the pattern may begin anywhere, and its spelling is the user's.
        if matches := sorted(glob.glob(location[:cut])):  # noqa: PTH207
            return [match + location[cut:] for match in matches]
        cut = location.rfind(":", 0, cut)
    return []
