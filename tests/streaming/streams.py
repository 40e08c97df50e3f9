"""Streams with buffers as small as may be, so that few rows show what many would do."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.map_function import MapFunction
from momentc.moments.frame import Frame, extent_of
from momentc.moments.multi_index import n_moments
from momentc.options import CompressOptions
from momentc.streaming.cell_store import LEAST_CELL
from momentc.streaming.plan import StreamPlan
from momentc.streaming.stream import CellStream, Setting, fit_setting

__all__ = ["all_columns", "as_bytes", "let_pass", "new_stream", "rows_as_bytes", "small_setting"]

Array = NDArray[np.float64]


def rows_as_bytes(points: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the rows as they stand in memory, (n, bytes of a row)."""
    rows = np.ascontiguousarray(points)
    return rows.view(np.uint8).reshape(len(rows), rows.shape[1] * rows.itemsize)


def all_columns(points: Array, weights: Array) -> Frame:
    """Return the frame of a sample with every column in it, also those that seem to say nothing."""
    frame = extent_of(points, weights).frame()
    return Frame(frame.center, frame.scale, np.arange(points.shape[1]))


def small_setting(
    sample: Array, weights: Array, options: CompressOptions, n_cells: int = 3
) -> Setting:
    """Return a setting found on a sample, all columns in the frame."""
    return fit_setting(sample, weights, all_columns(sample, weights), options, n_cells)


def new_stream(setting: Setting, n_raw: int, cell_rows: int = 0) -> CellStream:
    """Return a stream whose cells hold so many rows, or as few as is possible."""
    least = LEAST_CELL * n_moments(setting.frame.rank, setting.order)
    n_cells = setting.router.n_cells
    slots = n_cells * max(cell_rows, least)
    plan = StreamPlan(
        n_cells=n_cells, slots=slots, block_rows=64, sample_rows=64, left=slots, memory=0
    )
    return CellStream(setting, plan, n_raw)


def let_pass(
    stream: CellStream,
    points: Array,
    weights: Array,
    cuts: Sequence[int] = (),
    map_function: MapFunction = map,
    first: int = 0,
) -> CellStream:
    """Let rows pass, numbered from ``first`` on, in blocks that end at ``cuts``."""
    raw = rows_as_bytes(points)
    index = np.arange(first, first + len(points))
    for start, stop in itertools.pairwise([0, *cuts, len(points)]):
        block = slice(start, stop)
        stream.add(points[block], weights[block], index[block], raw[block], map_function)
    return stream


def as_bytes(arrays: Sequence[NDArray[Any]]) -> list[bytes]:
    """Return arrays as something that compares bit for bit."""
    return [array.tobytes() for array in arrays]
