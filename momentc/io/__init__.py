"""Files: the only place of momentc that opens any."""

from momentc.io.atomic import output_lock, probe_output, write_text_atomic
from momentc.io.base import ArraySource, Source
from momentc.io.concat import ConcatSource
from momentc.io.convert import LoadedPoints, PointBlock, float64_blocks, load_points, select_columns
from momentc.io.fingerprint import leaf_rows
from momentc.io.location import derived_output
from momentc.io.result_file import (
    FORMAT_VERSION,
    output_format,
    read_result,
    read_with_extra,
    write_result,
    write_result_stream,
)
from momentc.io.source import open_source, open_sources

__all__ = [
    "FORMAT_VERSION",
    "ArraySource",
    "ConcatSource",
    "LoadedPoints",
    "PointBlock",
    "Source",
    "derived_output",
    "float64_blocks",
    "leaf_rows",
    "load_points",
    "open_source",
    "open_sources",
    "output_format",
    "output_lock",
    "probe_output",
    "read_result",
    "read_with_extra",
    "select_columns",
    "write_result",
    "write_result_stream",
    "write_text_atomic",
]
