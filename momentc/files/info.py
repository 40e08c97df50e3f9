"""Describe a file: what an array file holds, or what a compressed file records of itself."""

from typing import Any

from momentc.files.jobs import InputChoice, JobReport
from momentc.files.open import open_input

__all__ = ["describe_file"]


def describe_file(choice: InputChoice) -> JobReport:
    """Read headers (and, of a file that momentc wrote, everything, against its checksum).

    Returns
    -------
    JobReport
        Content: ``kind`` is 'compressed' or 'array', with the metadata or shape and dtype.

    Raises
    ------
    InputError
        The file is missing, malformed or holds nothing that can be compressed.
    VerificationError
        A compressed file does not match its checksum.
    """
    from momentc.io.source import ResultSource

    with open_input(choice, may_be_empty=True) as source:
        if not isinstance(source, ResultSource):
            content: dict[str, Any] = {
                "kind": "array",
                "name": source.name,
                "n_rows": source.n_rows,
                "n_columns": source.n_columns,
                "dtype": source.dtype.str,
                "weighted": source.has_weights,
            }
            return JobReport(content=content, ok=True, notes=source.warnings)
        result, metadata = source.result, source.metadata
    content = {
        "kind": "compressed",
        "name": source.name if source.path is None else choice.location,
        "n_rows": len(result),
        "dtype": result.points.dtype.str,
        "total_weight": result.total_weight,
        **metadata,
    }
    return JobReport(content=content, ok=bool(metadata.get("ok", False)))
