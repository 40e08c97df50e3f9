"""Datasets in HDF5 files: opened read-only, checked before anything is read."""

import errno
import importlib.util
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from momentc.errors import InputError
from momentc.io.base import BLOCK_BYTES, JOINED, SourceBase
from momentc.io.choice import Candidate, choose
from momentc.io.hdf5_links import (
    check_storage,
    hdf5_errors,
    linked_files,
    list_datasets,
    load_h5py,
    walk,
)
from momentc.io.npy import printable_reason
from momentc.io.stamp import FileStamp

__all__ = ["Hdf5Source", "find_dataset", "open_hdf5"]

_KNOWN_FILTERS = {
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32026: "blosc2",
}
"""Registered numbers of the filters that hdf5plugin brings."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

_END_AT = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}
"""For each version of the superblock, where the size of an address stands, and where the addresses
begin, of which the third is that of the file's end (HDF5 File Format Specification, II.A)."""

_MAX_UNIT_BYTES = 1 << 28
"""Bytes of one read along chunk borders. Chunks of one column and very many rows would make the
read as large as the dataset; beyond this they are unpacked more than once instead."""


def open_hdf5(name: str, file: Path | BinaryIO) -> Any:
    """Open an HDF5 file read-only.

    Parameters
    ----------
    name : str
        For messages.
    file : pathlib.Path or binary file
        On disk or in memory.

    Returns
    -------
    h5py.File

    Raises
    ------
    InputError
        The library cannot open it; says so if a writer holds it or left it unfinished. Or another
        file follows, which the library would pass over.
    """
    h5py = load_h5py()
    _refuse_joined(name, file)
    try:
        # best-effort: file systems without locks (many network ones) are read all the same.
        return (
            h5py.File(file, "r", locking="best-effort")
            if isinstance(file, Path)
            else h5py.File(file, "r")
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = printable_reason(error)
        if (
            getattr(error, "errno", None) in {errno.EAGAIN, errno.EACCES}
            or "unable to lock" in reason
        ):
            advice = (
                "Another program has it open for writing and locks it. Wait until that has "
                "finished; if none is "
                "running, the lock is stale: set HDF5_USE_FILE_LOCKING=FALSE"
            )
        elif "already open for" in reason:
            advice = (
                "A program has it open for writing, or the producer may have been killed before "
                "it closed the "
                "file. If none is running, repair it with h5clear -s"
            )
        else:
            advice = (
                "The file is damaged or incomplete: the producer may have been killed before it "
                "closed it"
            )
        raise InputError(f"{name} cannot be opened as HDF5: {reason}. {advice}") from error


def _refuse_joined(name: str, file: Path | BinaryIO) -> None:
    """Refuse files that were joined end to end."""
    try:
        with file.open("rb") if isinstance(file, Path) else nullcontext(file) as stream:
            stream.seek(0)
            head = stream.read(64)
            if len(head) < 64 or not head.startswith(_SIGNATURE) or head[8] not in _END_AT:
                return  # not at the start, truncated, or newer: the library says what there is
            size_at, begin = _END_AT[head[8]]
            third = begin + 2 * head[size_at]
            end = int.from_bytes(head[third : third + head[size_at]], "little")
            stream.seek(min(end, 2**63 - 1))
            follows = stream.read(len(_SIGNATURE))
    except OSError:
        return  # the library says what is wrong
    if follows == _SIGNATURE:
        raise InputError(
            f"{name}: after the HDF5 file comes another one, which would be passed over. {JOINED}"
        )


def find_dataset(
    file: Any,
    dataset: str | None,
    *,
    allow_external: bool,
    name: str,
    n_weights: int | None = None,
) -> tuple[Any, str]:
    """Open the dataset that is meant.

    Parameters
    ----------
    file : h5py.File
        Open file.
    dataset : str or None
        Path of a dataset, or of a group that holds only one candidate; None is the whole file.
    allow_external : bool
        Whether other files may be read.
    name : str
        The file, for messages.
    n_weights : int, optional
        Rows that want weights, where it is these that are looked for.

    Returns
    -------
    dataset : h5py.Dataset
        Its storage is checked.
    path : str
        Where it was found, beginning with ``/``.

    Raises
    ------
    InputError
        No such dataset, not exactly one candidate, or data in other files.
    """
    h5py = load_h5py()
    path = "/" + (dataset or "").strip("/")
    with hdf5_errors(name):
        node = walk(file, path, allow_external=allow_external, name=name)
        if isinstance(node, h5py.Group):
            listed = list_datasets(node, allow_external=allow_external, name=name)
            path = choose(name, *listed, n_weights)
            node = walk(file, path, allow_external=allow_external, name=name)
        if not isinstance(node, h5py.Dataset):
            raise InputError(f"{name}:{path} is a type, not a dataset")
        check_storage(node, allow_external=allow_external, name=f"{name}:{path}")
    return node, path


class Hdf5Source(SourceBase):
    """Rows of one dataset of an HDF5 file.

    Parameters
    ----------
    file : h5py.File
        Open file; closed with the source.
    dataset : h5py.Dataset
        What `find_dataset` returned.
    location : str
        Name of the file, for messages.
    dataset_path : str
        Path of the dataset.
    path : pathlib.Path or None
        The file; None if it is in memory.
    watched : binary file or None
        The same file, opened beside the library to notice changes; closed with the source.

    Raises
    ------
    InputError
        Chunks that were never written, a filter that is not installed, or see `SourceBase`.
    """

    def __init__(
        self,
        file: Any,
        dataset: Any,
        *,
        location: str,
        dataset_path: str,
        path: Path | None,
        watched: BinaryIO | None,
    ) -> None:
        name = f"{location}:{dataset_path}"
        with hdf5_errors(name):
            shape, dtype, chunks = dataset.shape, dataset.dtype, dataset.chunks
            row_bytes = math.prod((shape or ())[1:]) * dtype.itemsize
        super().__init__(
            name,
            path=path,
            dataset=dataset_path,
            shape=shape,
            # An enumeration carries its names in the dtype's metadata; only the numbers matter.
            dtype=np.dtype(dtype.str) if dtype.kind in "biuf" else dtype,
            stamp=None if watched is None else FileStamp(name, watched.fileno()),
            unit_rows=max(1, min(chunks[0], _MAX_UNIT_BYTES // max(1, row_bytes))) if chunks else 1,
        )
        with hdf5_errors(name):
            _require_filters(name, dataset)
            _require_written(name, dataset)
            self._linked = linked_files(dataset, path)
        self._sequential_rows *= max(1, BLOCK_BYTES // (self.row_bytes * self._unit_rows))
        self._file = file
        self._dataset = dataset
        self._closers.append(file.close)
        if watched is not None:
            self._closers.append(watched.close)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that is read: also those that links and virtual datasets lead to."""
        return super().paths + self._linked

    def arrays_beside(self, wanted: Callable[[str], bool]) -> Iterator[Candidate]:
        """Yield the datasets of the same group; see `SourceBase.arrays_beside`."""
        h5py = load_h5py()
        group, _, own = str(self.dataset).rpartition("/")
        with hdf5_errors(self.name):
            parent = self._file[group or "/"]
            names = [part for part in sorted(parent) if part != own and wanted(part)]
        for part in names:
            # What cannot be opened, or lies in another file, is nothing that was missed here.
            with suppress(InputError), hdf5_errors(self.name):
                link = parent.get(part, getlink=True)
                node = parent[part] if isinstance(link, h5py.HardLink) else None
                if isinstance(node, h5py.Dataset):
                    yield Candidate(f"{group}/{part}", node.shape or (), node.dtype)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        with hdf5_errors(self.name):
            rows = np.ascontiguousarray(self._dataset[start:stop])
        return rows.astype(self.dtype, copy=False).reshape(stop - start, self.n_columns)


def _require_written(name: str, dataset: Any) -> None:
    """Refuse data that were declared but never stored: HDF5 would read them as zeros."""
    if dataset.chunks is not None:
        n_expected = math.prod(
            -(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)
        )
        n_missing = n_expected - dataset.id.get_num_chunks()
        what = f"{n_missing} of {n_expected} chunks were"
    else:
        layout = dataset.id.get_create_plist()
        h5d = load_h5py().h5d
        is_stored_here = layout.get_layout() == h5d.CONTIGUOUS and layout.get_external_count() == 0
        n_missing = int(is_stored_here and dataset.id.get_storage_size() == 0)
        what = "its data were"
    if n_missing:
        raise InputError(
            f"{name}: {what} never written and would read as zeros. The producer may have been "
            "killed; run it again"
        )


def _require_filters(name: str, dataset: Any) -> None:
    """Refuse compressed data that the installed library cannot unpack."""
    layout, h5z = dataset.id.get_create_plist(), load_h5py().h5z
    for i in range(layout.get_nfilters()):
        number = layout.get_filter(i)[0]
        if h5z.filter_avail(number):
            continue
        if importlib.util.find_spec("hdf5plugin") is not None:
            importlib.import_module("hdf5plugin")  # registers its filters
        if not h5z.filter_avail(number):
            raise InputError(
                f"{name} needs the HDF5 filter {number} "
                f"({_KNOWN_FILTERS.get(number, 'unknown')}), which is not "
                "installed: pip install hdf5plugin"
            )
