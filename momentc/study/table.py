"""The records of a scan as a table of comma-separated values."""

import csv
import io
from collections.abc import Sequence
from typing import Any

__all__ = ["records_to_csv", "rows_to_csv"]


def records_to_csv(records: Sequence[dict[str, Any]]) -> str:
    """Return one line for each cell.

    Columns: those of the cell, ``n_kept``, ``kept_order``, ``seconds``, ``moment_error_<order>``,
    ``rms_<family>``, ``mean_abs_<family>`` and ``worst_<family>``, and ``failed`` where a cell
    could not be done.
    """
    flat = []
    for record in records:
        row = {
            name: value for name, value in record.items() if name not in {"moment_error", "errors"}
        }
        for order, value in enumerate(record.get("moment_error", ())):
            row[f"moment_error_{order}"] = value
        for family, error in record.get("errors", {}).items():
            row[f"rms_{family}"] = error["rms"]
            row[f"mean_abs_{family}"] = error["mean_abs"]
            row[f"worst_{family}"] = error["worst"]
        flat.append(row)
    return rows_to_csv(flat)


def rows_to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows with a header; a column that only some rows have is empty in the others.

    Columns stand in the order of their first row, but those of stages, of orders and of families
    together behind the others.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    names.sort(key=_rank)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _text(value) for name, value in row.items()})
    return stream.getvalue()


def _rank(name: str) -> tuple[int, int]:
    if name.startswith("stage_"):
        return 1, 0
    if name.startswith("moment_error_"):
        return 2, int(name.removeprefix("moment_error_"))
    if name.startswith(("rms_", "mean_abs_", "worst_")):
        return 3, 0
    return (4, 0) if name == "failed" else (0, 0)


def _text(value: Any) -> Any:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else value
