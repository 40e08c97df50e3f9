"""The methods that a scan compares: each takes a weighted set and returns a smaller one.

========= ================================================================ =======
name      what                                                             order k
========= ================================================================ =======
momentc   this library                                                     yes
paper     the paper's Appendix D, literally (``study/paper.py``)           yes
random    a uniform random subset, every kept row with the same factor     no
kmeans    centroids of k-means, weighted by what their clusters weigh      no
========= ================================================================ =======
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.centroids import kmeans_labels
from momentc.errors import UsageError
from momentc.moments.frame import Frame
from momentc.moments.frame_fit import fit_frame
from momentc.moments.request import check_request
from momentc.options import CompressOptions, Effort
from momentc.pipeline.points import compress_points
from momentc.study.paper import compress_as_published

__all__ = ["METHODS", "ORDERED", "Dataset", "Reduced", "Task", "check_methods"]

Array = NDArray[np.float64]

# Which columns drop out depends on the order, a little; all methods are measured on the same.
DEFAULT_ORDER: Final = 5


class Dataset:
    """A weighted set in the user's coordinates and in the frame.

    Parameters
    ----------
    points : (n, m) float64 ndarray
    weights : (n,) float64 ndarray
        > 0.
    """

    def __init__(self, points: Array, weights: Array) -> None:
        self.points = points
        self.weights = weights
        self.frame: Frame = fit_frame(points, weights, DEFAULT_ORDER)

    @cached_property
    def local(self) -> Array:
        """The points in the frame, (n, rank)."""
        return self.frame.apply(self.points)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.points)


@dataclass(frozen=True, slots=True)
class Task:
    """What one method is asked to do once."""

    k: int
    target: int
    seed: int
    effort: Effort


@dataclass(frozen=True, slots=True)
class Reduced:
    """What a method made of a dataset.

    Parameters
    ----------
    local : (n_kept, rank) float64 ndarray
        In the frame.
    weights : (n_kept,) float64 ndarray
    points : (n_kept, m) float64 ndarray
        In the user's coordinates.
    kept_order : int or None
        The order up to which the method keeps the moments; None if it keeps none on purpose.
    """

    local: Array
    weights: Array
    points: Array
    kept_order: int | None = None


def _momentc(data: Dataset, task: Task) -> Reduced:
    options = CompressOptions(task.k, task.target, task.seed, threads=1, effort=task.effort)
    result = compress_points(data.points, data.weights, options)
    kept_order = result.kept_order
    return _rows(data, result.support.index, result.support.weights, kept_order)


def _paper(data: Dataset, task: Task) -> Reduced:
    check_request(task.k, task.target, len(data), data.frame.rank)
    if data.frame.rank == 0:  # all rows are one, and one moment is left: the mass
        return _rows(data, np.zeros(1, np.int64), data.weights.sum(keepdims=True), task.k)
    kept, weights = compress_as_published(data.local, data.weights, task.k, task.target, task.seed)
    return _rows(data, kept, weights, task.k)


def _random(data: Dataset, task: Task) -> Reduced:
    random = np.random.default_rng(task.seed)
    kept = np.sort(random.choice(len(data), min(task.target, len(data)), replace=False))
    weights = data.weights[kept]
    return _rows(data, kept, weights * (data.weights.sum() / weights.sum()))


def _kmeans(data: Dataset, task: Task) -> Reduced:
    count = min(task.target, len(data))
    labels = kmeans_labels(data.local, data.weights, count, task.seed)
    mass: Array = np.bincount(labels, weights=data.weights, minlength=count).astype(np.float64)
    used = mass > 0.0

    def centroids(coordinates: Array) -> Array:
        sums = np.empty((int(used.sum()), coordinates.shape[1]))
        for column, values in enumerate(coordinates.T):
            total = np.bincount(labels, weights=data.weights * values, minlength=count)
            sums[:, column] = total[used]
        return np.asarray(sums / mass[used, None])

    return Reduced(centroids(data.local), mass[used], centroids(data.points))


def _rows(
    data: Dataset, kept: NDArray[np.int64], weights: Array, kept_order: int | None = None
) -> Reduced:
    return Reduced(data.local[kept], weights, data.points[kept], kept_order)


METHODS: Final[dict[str, Callable[[Dataset, Task], Reduced]]] = {
    "momentc": _momentc,
    "paper": _paper,
    "random": _random,
    "kmeans": _kmeans,
}

# The methods whose result depends on the order k.
ORDERED: Final = frozenset({"momentc", "paper"})


def check_methods(names: Sequence[str]) -> None:
    """Refuse names that are no methods."""
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise UsageError(
            f"--method names {', '.join(unknown) or 'nothing'}; expected a list of "
            f"{', '.join(METHODS)}"
        )
