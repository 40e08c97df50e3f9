"""Opening whatever the user named as a source of rows."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import BinaryIO

from momentc.errors import InputError, UsageError
from momentc.io.base import ArraySource, SourceBase
from momentc.io.choice import MissingDatasetError, named_like_weights
from momentc.io.concat import ConcatSource
from momentc.io.container import Container, open_array, open_container, open_inside
from momentc.io.location import STDIN, FileFormat, parse_location
from momentc.io.protocol import Source
from momentc.io.result_source import ResultSource
from momentc.text import printable

__all__ = ["ArraySource", "ResultSource", "Source", "open_source", "open_sources"]


def open_source(
    location: str,
    *,
    dataset: str | None = None,
    usual_dataset: str | None = None,
    weights: str | None = None,
    allow_external: bool = False,
    stdin: BinaryIO | None = None,
    hold_at_most: int | None = None,
) -> SourceBase:
    """Open rows for reading; only headers are read.

    Parameters
    ----------
    location : str
        File, or file and dataset; see `momentc.io.location`. ``-`` is the standard input. A file
        that momentc wrote is a source of its points with their weights.
    dataset : str, optional
        HDF5 dataset path or .npz member. Default: the only 2-D (or, if none, 1-D) array of numbers.
    usual_dataset : str, optional
        As `dataset`, but only for a location that names none, and not of a .npy file, which has
        none.
    weights : str, optional
        Dataset of the same file (looked for first), or a location of its own. A file of
        momentc has weights already, and takes no others.
    allow_external : bool, default False
        Follow HDF5 links, external storage and virtual datasets into other files.
    stdin : binary file, optional
        What ``-`` reads; default is the process's own.
    hold_at_most : int, optional
        Bytes of a pipe that may be held. The rows of a larger .npy array in C order can be read
        only once (`Source.sequential_only`); everything else on a pipe is read whole, and so are
        weights. By default, everything is.

    Returns
    -------
    Source
        Close it, or use it in a ``with`` statement.

    Raises
    ------
    UsageError
        The arguments contradict each other, or the rows have weights already.
    InputError
        The file is missing, malformed, unsafe, or not rows of real numbers.
    VerificationError
        A file of momentc does not have the content that it was written with.
    """
    if location == STDIN and weights == STDIN:
        raise UsageError(
            "points and weights cannot both come from the standard input: name a file for one of "
            "them"
        )
    container = open_container(parse_location(location, dataset), stdin, hold_at_most)
    source = open_array(
        container, _dataset_of(container, usual_dataset), allow_external=allow_external
    )
    try:
        if weights is None:
            _note_weights(source, container.name)
        else:
            _attach_weights(source, container, weights, allow_external=allow_external, stdin=stdin)
    except BaseException:
        source.close()
        raise
    return source


def open_sources(
    locations: Sequence[str],
    *,
    dataset: str | None = None,
    usual_dataset: str | None = None,
    weights: str | None = None,
    allow_external: bool = False,
    stdin: BinaryIO | None = None,
    hold_at_most: int | None = None,
) -> SourceBase:
    """Open several inputs as one, the rows of the second after those of the first.

    Parameters
    ----------
    locations : sequence of str
        At least one. With one alone, this is `open_source`.
    dataset : str, optional
        As in `open_source`, in each of them.
    usual_dataset : str, optional
        As in `open_source`.
    weights : str, optional
        A dataset that each of them has; or else one location with a weight for every row of all.
    allow_external, stdin, hold_at_most
        As in `open_source`. A pipe that is larger than `hold_at_most` can only be read alone.

    Returns
    -------
    Source
        See `momentc.io.concat`.

    Raises
    ------
    UsageError, InputError, VerificationError
        As in `open_source`; also `InputError` if they do not go together, see
        `momentc.io.concat`.
    """
    if not locations:
        raise UsageError("no input is given; expected at least one file")
    if len(locations) == 1:
        return open_source(
            locations[0],
            dataset=dataset,
            usual_dataset=usual_dataset,
            weights=weights,
            allow_external=allow_external,
            stdin=stdin,
            hold_at_most=hold_at_most,
        )
    if [*locations, weights].count(STDIN) > 1:
        raise UsageError("the standard input is named twice, and can be read only once")
    with ExitStack() as on_error:
        containers, parts = [], []
        for location in locations:
            container = open_container(parse_location(location, dataset), stdin, hold_at_most)
            containers.append(container)
            parts.append(
                open_array(
                    container,
                    _dataset_of(container, usual_dataset),
                    allow_external=allow_external,
                )
            )
            on_error.callback(parts[-1].close)
        everywhere = weights is not None and _attach_inside_each(
            parts, containers, weights, allow_external=allow_external
        )
        if weights is None:
            _note_weights_of_one(parts, containers)
        whole = ConcatSource(parts)
        if weights is not None and not everywhere:
            _attach_weights(whole, None, weights, allow_external=allow_external, stdin=stdin)
        on_error.pop_all()
    return whole


def _dataset_of(container: Container, usual: str | None) -> str | None:
    named = container.location.dataset
    return usual if named is None and container.form is not FileFormat.NPY else named


def _note_weights(source: SourceBase, file: str) -> None:
    """Note what looks like weights of the rows and was not named: it would be missed in silence."""
    if source.has_weights:
        return
    source.warnings += tuple(
        f"{source.name}: {file} holds {printable(array.dataset)} as well, a number for each row, "
        "which takes no part. If these are weights of the rows, give "
        f"--weights {printable(array.dataset)}"
        for array in source.arrays_beside(named_like_weights)
        if array.dtype.kind in "biuf" and array.shape in {(source.n_rows,), (source.n_rows, 1)}
    )


def _note_weights_of_one(parts: Sequence[SourceBase], containers: Sequence[Container]) -> None:
    """Note it for the first input that has some alone: of a thousand the others are like it."""
    for part, container in zip(parts, containers, strict=True):
        before = part.warnings
        _note_weights(part, container.name)
        if part.warnings != before:
            return


def _attach_inside_each(
    parts: Sequence[SourceBase],
    containers: Sequence[Container],
    weights: str,
    *,
    allow_external: bool,
) -> bool:
    """Give each part the weights of this name in its own file; False if none has them."""
    without = []
    for part, container in zip(parts, containers, strict=True):
        try:
            found = open_inside(
                container, weights, allow_external=allow_external, n_weights=part.n_rows
            )
        except MissingDatasetError:
            without.append(container)
        else:
            _attach(part, found)
    if without and len(without) < len(parts):
        having = next(container for container in containers if container not in without)
        raise InputError(
            f"{having.name} has weights {printable(weights)}, but {without[0].name} has none of "
            "this name: of inputs that are read as one, all have weights or none has"
        )
    return not without


def _attach_weights(
    source: SourceBase,
    container: Container | None,
    weights: str,
    *,
    allow_external: bool,
    stdin: BinaryIO | None,
) -> None:
    """Give a source its weights: from the same file if it has them, else from a location.

    `container` is None where the source has several files, which have been looked into.
    """
    missing = f"{source.name} has no such dataset"
    if container is not None:
        try:
            found = open_inside(
                container, weights, allow_external=allow_external, n_weights=source.n_rows
            )
        except MissingDatasetError as error:
            missing = str(error)
        else:
            _attach(source, found)
            return
    try:
        place = parse_location(weights)
    except InputError as error:
        raise InputError(
            f"weights {printable(weights)}: there is no such file, and {missing}"
        ) from error
    found = open_array(
        open_container(place, stdin), place.dataset, allow_external=allow_external,
        n_weights=source.n_rows,
    )  # fmt: skip
    if _was_chosen(found, place.dataset):
        found.warnings += (f"of the arrays in {printable(weights)}, {found.name} are the weights",)
    _attach(source, found)


def _was_chosen(found: SourceBase, named: str | None) -> bool:
    """Whether an array is one of several, and was not named in full."""
    within = (named or "").strip("/")
    path = (found.dataset or "").strip("/")
    if path == within:
        return False
    # What lies in a group has more beside that group, most likely.
    is_deeper = "/" in path.removeprefix(within).strip("/")
    return is_deeper or any(True for _ in found.arrays_beside(lambda _: True))


def _attach(source: SourceBase, weights: SourceBase) -> None:
    """Attach weights; close them if they do not fit."""
    try:
        source.attach_weights(weights)
    except BaseException:
        weights.close()
        raise
