"""Which array of a file is meant when the user names none."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from momentc.errors import InputError

__all__ = ["Candidate", "MissingDatasetError", "choose", "named_like_weights"]

MAX_LISTED = 20
"""Lines of a list in a message; more do not help to choose."""

WEIGHT_NAMES = frozenset(
    {"w", "c", "wt", "wts", "logw", "logwt", "logwts", "counts", "multiplicity"}
)
"""Names of arrays that are weights most likely, as are those with "weight" in them."""

RESHAPE = "Arrays of more dimensions have to become rows before: x.reshape(-1, x.shape[-1])"


class MissingDatasetError(InputError):
    """A dataset or member that the file does not have."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An array in a file.

    Parameters
    ----------
    dataset : str
        Its name as the user would give it.
    shape : tuple of int
        Any number of dimensions.
    dtype : numpy.dtype
        Any type.
    """

    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        """Return name, shape and type in one line."""
        return f"{self.dataset}  {self.shape}  {self.dtype}"


def named_like_weights(dataset: str) -> bool:
    """Whether an array of this name most likely has weights of rows, or their logarithms."""
    last = dataset.rsplit("/", 1)[-1].lower()
    return "weight" in last or last.replace("_", "") in WEIGHT_NAMES


def choose(
    name: str, found: list[Candidate], refused: list[str], n_weights: int | None = None
) -> str:
    """Pick the array that is meant, as rows or as their weights.

    Parameters
    ----------
    name : str
        The file, for the message.
    found : list of Candidate
        All arrays of the file.
    refused : list of str
        Why other arrays of the file were not even considered.
    n_weights : int, optional
        Rows that want weights, where it is these that are looked for.

    Returns
    -------
    str
        The dataset.

    Raises
    ------
    InputError
        None, or several; the message lists them.
    """
    if not found and refused:
        raise InputError("\n".join(refused[:MAX_LISTED]))
    if n_weights is None:
        return _choose_rows(name, found, refused)
    return _choose_weights(name, found, refused, n_weights)


def _choose_rows(name: str, found: list[Candidate], refused: list[str]) -> str:
    """Pick the only 2-D array of real numbers, or the only 1-D one if there is no 2-D one.

    Not beside one of more dimensions and as many entries along the first: emcee's file holds its
    chain (steps, walkers, columns), which is meant, and log-probabilities (steps, walkers), which
    look like rows.
    """
    numeric = _numeric(found)
    for n_dimensions in (2, 1):
        fitting = [candidate for candidate in numeric if len(candidate.shape) == n_dimensions]
        # An empty array beside a filled one is not what is meant; alone, it is, and its error says
        # why.
        fitting = [candidate for candidate in fitting if 0 not in candidate.shape] or fitting
        if len(fitting) == 1:
            n_rows = fitting[0].shape[0]
            larger = [
                candidate
                for candidate in numeric
                if len(candidate.shape) > 2 and candidate.shape[0] == n_rows
            ]
            if larger:
                raise InputError(
                    f"{name} holds one array of rows, and one of more dimensions beside it. If the "
                    f"first is meant, name it with --dataset or as {name}:{fitting[0].dataset}; "
                    "the other has to become rows before: x.reshape(-1, x.shape[-1])\n"
                    f"{_listed([*fitting, *larger])}"
                )
            return fitting[0].dataset
        if fitting:
            raise InputError(
                f"{name} holds {len(fitting)} arrays that could be meant. Name one with --dataset "
                "or as "
                f"{name}:{fitting[0].dataset}\n{_listed(fitting)}{_in_more_dimensions(numeric)}"
            )
    raise InputError(
        f"{name} holds no array of real numbers with one or two dimensions"
        + (f"; it holds\n{_listed(found)}" if found else "")
        + (f"\n{RESHAPE}" if any(len(candidate.shape) > 2 for candidate in numeric) else "")
        + _with_reasons(refused)
    )


def _choose_weights(name: str, found: list[Candidate], refused: list[str], n_rows: int) -> str:
    """Pick the array that is named like weights and has a number for each row, or the only array.

    Any other column of numbers (labels, logarithms of weights) would be taken without a word.
    """
    fitting = [array for array in _numeric(found) if array.shape in {(n_rows,), (n_rows, 1)}]
    named = [
        array for array in fitting
        if named_like_weights(array.dataset) and "log" not in array.dataset.lower()
    ]  # fmt: skip
    for sure in (named, [] if refused else found):
        if len(sure) == 1:
            return sure[0].dataset
    if fitting:
        several = "arrays" if len(fitting) > 1 else "array"
        raise InputError(
            f"weights {name}: it holds {len(fitting)} {several} with a number for each of the "
            f"{n_rows} rows. Name the one that is meant, as in --weights "
            f"{name}:{fitting[0].dataset}\n{_listed(fitting)}{_with_reasons(refused)}"
        )
    raise InputError(
        f"weights {name}: it holds no array with a number for each of the {n_rows} rows"
        + (f"; it holds\n{_listed(found)}" if found else "")
        + _with_reasons(refused)
    )


def _numeric(found: list[Candidate]) -> list[Candidate]:
    return [candidate for candidate in found if candidate.dtype.kind in "biuf"]


def _with_reasons(refused: list[str]) -> str:
    return "".join(f"\n  {reason}" for reason in refused[:MAX_LISTED])


def _in_more_dimensions(numeric: list[Candidate]) -> str:
    """List the arrays that could be meant if they were rows; nothing if there are none."""
    larger = [candidate for candidate in numeric if len(candidate.shape) > 2]
    return f"\n{RESHAPE}\n{_listed(larger)}" if larger else ""


def _listed(candidates: list[Candidate]) -> str:
    lines = [f"  {candidate}" for candidate in candidates[:MAX_LISTED]]
    if len(candidates) > MAX_LISTED:
        lines.append(f"  ... and {len(candidates) - MAX_LISTED} more")
    return "\n".join(lines)
