"""Names of the files that a compression writes."""

from contextlib import suppress
from pathlib import Path

from momentc.errors import UsageError
from momentc.files.jobs import CompressJob

__all__ = ["STDOUT", "output_of", "report_of"]

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

    if job.output is None:
        return str(derived_output(job.source.location))
    if not job.output:
        raise UsageError("--output is empty; expected a file name or - for the standard output")
    return job.output


def report_of(job: CompressJob) -> str | None:
    """Name of the report: as asked for, else beside a regular output, else none.

    ``data.momentc.h5`` -> ``data.momentc.report.json``.
    """
    if job.report is not None:
        return job.report
    output = output_of(job)
    if output == STDOUT:
        return None
    path = Path(output)
    with suppress(OSError):  # a name that cannot be: whoever writes it says so
        if path.exists() and not path.is_file() and not path.is_dir():
            return None  # a device or a pipe has no place beside it
    return str(path.with_name(path.stem + REPORT_SUFFIX))
