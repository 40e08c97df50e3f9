"""Walking an HDF5 file without leaving it.

The library follows external links, external storage and virtual datasets to any file that the
process may read, so a file from elsewhere could pull in what the user never named. Every component
of a path is therefore looked at before it is opened.
"""

import importlib
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from momentc.errors import InputError, MomentcError
from momentc.io.choice import MAX_LISTED, Candidate, MissingDatasetError
from momentc.io.npy import printable_reason
from momentc.text import printable

__all__ = [
    "check_storage",
    "hdf5_errors",
    "linked_files",
    "list_datasets",
    "load_h5py",
    "walk",
]

MAX_SOFT_LINKS = 64
"""Soft links followed for one path; more is a cycle."""
MAX_OBJECTS = 100_000
"""Objects looked at in search of candidates; a file with more needs a dataset path."""


def load_h5py() -> Any:
    """Import h5py at its first use: a tenth of a second that a .npy file should not cost."""
    return importlib.import_module("h5py")


@contextmanager
def hdf5_errors(name: str) -> Iterator[None]:
    """Turn whatever the HDF5 library raises on a bad file into an `InputError`."""
    try:
        yield
    except (MomentcError, MemoryError):
        raise
    except Exception as error:
        # h5py raises OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError, ...
        raise InputError(
            f"{name}: the HDF5 library failed: {printable_reason(error)}. "
            "The file is damaged, or its producer was stopped before it closed the file"
        ) from error


def walk(file: Any, path: str, *, allow_external: bool, name: str) -> Any:
    """Open the object at a path, one link at a time.

    Parameters
    ----------
    file : h5py.File or h5py.Group
        Where relative paths begin.
    path : str
        Components separated by ``/``.
    allow_external : bool
        Whether links into other files may be followed.
    name : str
        The file, for messages.

    Returns
    -------
    h5py.Group, h5py.Dataset or h5py.Datatype

    Raises
    ------
    MissingDatasetError
        There is no such object.
    InputError
        An external link, or soft links in a circle.
    """
    h5py = load_h5py()
    node, n_links = file, 0
    pending = deque(_components(path))
    while pending:
        part = pending.popleft()
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            inside = (
                f"{node.name}, which holds: {_names_in(node)}" if isinstance(node, h5py.Group)
                else f"{node.name}, which is no group"
            )  # fmt: skip
            raise MissingDatasetError(f"{name} has no dataset {path}: {part!r} is not in {inside}")
        if isinstance(link, h5py.SoftLink):
            n_links += 1
            if n_links > MAX_SOFT_LINKS:
                raise InputError(
                    f"{name}:{path} leads through more than {MAX_SOFT_LINKS} soft links: a circle"
                )
            if link.path.startswith("/"):
                node = node.file["/"]
            pending.extendleft(reversed(_components(link.path)))
            continue
        if isinstance(link, h5py.ExternalLink) and not allow_external:
            raise InputError(external_link_message(name, f"{node.name.rstrip('/')}/{part}", link))
        try:
            node = node[part]
        except KeyError as error:
            raise MissingDatasetError(
                f"{name}:{path}: {part!r} cannot be opened: {printable_reason(error)}"
            ) from error
    return node


def _names_in(group: Any) -> str:
    names = sorted(group)
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return (", ".join(map(printable, names[:MAX_LISTED])) or "nothing") + more


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


def external_link_message(name: str, where: str, link: Any) -> str:
    """Say that a link leaves the file, and where to."""
    return (
        f"{name}:{where} is an external link to {link.filename}:{link.path}. Files that were not "
        "named are "
        "not read; give that file instead, or --allow-external if you trust this one"
    )


def check_storage(dataset: Any, *, allow_external: bool, name: str) -> None:
    """Refuse a dataset whose data lie in other files.

    Parameters
    ----------
    dataset : h5py.Dataset
        Opened, but neither its shape nor its data were asked for.
    allow_external : bool
        Whether other files may be read.
    name : str
        File and dataset, for messages.

    Raises
    ------
    InputError
        A virtual dataset or external storage; the message names the files.
    """
    if allow_external:
        return
    layout = dataset.id.get_create_plist()
    if layout.get_layout() == load_h5py().h5d.VIRTUAL:
        targets = {layout.get_virtual_filename(i) for i in range(layout.get_virtual_count())}
        what = "a virtual dataset over"
    elif layout.get_external_count() > 0:
        targets = {
            layout.get_external(i)[0].decode(errors="replace")
            for i in range(layout.get_external_count())
        }
        what = "stored externally in"
    else:
        return
    raise InputError(
        f"{name} is {what} {', '.join(sorted(targets)[:5])}. Files that were not named are not "
        "read; "
        "give that file instead, or --allow-external if you trust this one"
    )


def linked_files(dataset: Any, path: Path | None) -> tuple[Path, ...]:
    """Return the files besides its own in which the data of a dataset lie, as far as they exist.

    Parameters
    ----------
    dataset : h5py.Dataset
    path : pathlib.Path or None
        The file that was opened; None if it is in memory.
    """
    layout = dataset.id.get_create_plist()
    own = Path(os.fsdecode(dataset.file.filename))
    names = [layout.get_external(i)[0] for i in range(layout.get_external_count())]
    if layout.get_layout() == load_h5py().h5d.VIRTUAL:
        names += [layout.get_virtual_filename(i) for i in range(layout.get_virtual_count())]
    # The library looks beside the file and in the working folder.
    places = [folder / os.fsdecode(name) for name in names for folder in (own.parent, Path())]
    found = dict.fromkeys(place for place in (own, *places) if place.is_file())
    return tuple(place for place in found if path is None or not place.samefile(path))


def list_datasets(
    group: Any, *, allow_external: bool, name: str
) -> tuple[list[Candidate], list[str]]:
    """List the datasets in and below a group, in the order of their paths.

    Parameters
    ----------
    group : h5py.Group
        Where to begin.
    allow_external : bool
        Whether datasets behind external links and in other files count. Groups there are not
        entered.
    name : str
        The file, for messages.

    Returns
    -------
    found : list of Candidate
        Each dataset once, under the first path that leads to it.
    refused : list of str
        Sentences about datasets that lie in other files or have an unknown type.

    Raises
    ------
    InputError
        More than `MAX_OBJECTS` objects.
    """
    h5py = load_h5py()
    found: list[Candidate] = []
    refused: list[str] = []
    seen: set[tuple[int, int]] = set()
    stack = [group]
    while stack:
        parent = stack.pop()
        for part in sorted(parent, reverse=True):
            where = f"{parent.name.rstrip('/')}/{part}"
            link = parent.get(part, getlink=True)
            if isinstance(link, h5py.SoftLink):
                continue  # its target is met under its own name
            is_external = isinstance(link, h5py.ExternalLink)
            if is_external and not allow_external:
                refused.append(external_link_message(name, where, link))
                continue
            node = parent[part]
            # Two links to one object, or a circle of groups, are met once.
            info = h5py.h5o.get_info(node.id)
            if (info.fileno, info.addr) in seen:
                continue
            seen.add((info.fileno, info.addr))
            if len(seen) > MAX_OBJECTS:
                raise InputError(
                    f"{name} holds more than {MAX_OBJECTS} objects: name the dataset with --dataset"
                )
            if isinstance(node, h5py.Group) and not is_external:
                stack.append(node)
            elif isinstance(node, h5py.Dataset):
                _add(
                    found,
                    refused,
                    node,
                    where,
                    allow_external=allow_external,
                    name=f"{name}:{where}",
                )
    return sorted(found, key=lambda candidate: candidate.dataset), sorted(refused)


def _add(
    found: list[Candidate],
    refused: list[str],
    dataset: Any,
    where: str,
    *,
    allow_external: bool,
    name: str,
) -> None:
    """Note a dataset as candidate, or why it is none."""
    try:
        check_storage(dataset, allow_external=allow_external, name=name)
        with hdf5_errors(name):
            found.append(Candidate(where, dataset.shape or (), dataset.dtype))
    except InputError as error:
        refused.append(str(error))
