"""Compression of a weighted set in memory: the flow from points to a checked result.

Orchestration only: merge duplicates, fit the frame, reduce the support, correct the last digits of
the weights, compare the moments.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from momentc.clustering.duplicates import merge_duplicates
from momentc.cpus import available_threads
from momentc.engine.threads import thread_map
from momentc.errors import InputError
from momentc.hybrid import reduce_support
from momentc.map_function import MapFunction
from momentc.moments.accumulate import Moments, accumulate_moments
from momentc.moments.discrepancy import (
    error_by_order,
    relative_error_by_order,
    worst_error,
)
from momentc.moments.features import legendre_features
from momentc.moments.frame import Frame, fit_frame
from momentc.moments.multi_index import n_moments
from momentc.moments.request import check_request, compared_order, working_order
from momentc.options import CompressOptions
from momentc.progress import ProgressCallback
from momentc.reduction.matching import least_change
from momentc.surplus import match_surplus
from momentc.weighted import WeightedSet

__all__ = ["Compression", "certify", "check_request", "compress_points"]


# The largest weight must be at least this: below 2^-1022 float64 has fewer than 53 bits.
LEAST_WEIGHT = 2.0**-1010


@dataclass(frozen=True, slots=True)
class Compression:
    """A compressed weighted set, and what is known of it.

    Parameters
    ----------
    support : WeightedSet
        The points that are kept, in the input's order; ``index`` counts the input's rows.
    k, kept_order, matched_order : int
        The order asked for, the order K >= k that the reductions kept, and the order up to which
        the moments are found to agree within the tolerance.
    target, seed : int
    n_points, n_distinct, n_columns : int
        Of the input: rows, distinct rows, columns.
    rank : int
        Affine rank: columns that carry moments of their own.
    n_moments : int
        C(rank + k, k).
    error : tuple of float
        Largest difference of the moments in the frame, by order 0 .. K and, where they are
        few enough, K + 1 and K + 2.
    relative_error : tuple of float
        Relative Frobenius error of the moment tensors in the user's coordinates, by order.
    tolerance : float
    frame : Frame
    moments : Moments
        Of the input, monomials in the frame, up to the same order.
    notes : tuple of str
        What the user should know.
    stages : tuple of (str, float)
        Seconds by stage.
    """

    support: WeightedSet
    k: int
    kept_order: int
    matched_order: int
    target: int
    seed: int
    n_points: int
    n_distinct: int
    n_columns: int
    rank: int
    n_moments: int
    error: tuple[float, ...]
    relative_error: tuple[float, ...]
    tolerance: float
    frame: Frame
    moments: Moments
    notes: tuple[str, ...]
    stages: tuple[tuple[str, float], ...]

    @property
    def ok(self) -> bool:
        """Whether the moments up to order k agree within the tolerance."""
        return self.holds(self.error)

    @property
    def largest_error(self) -> float:
        """Largest of the errors up to order k; NaN if one of them is NaN."""
        return worst_error(self.error, self.k)

    def holds(self, error: Sequence[float]) -> bool:
        """Tell whether errors by order, measured anywhere, are within the tolerance up to k."""
        return worst_error(error, self.k) <= self.tolerance


def _exponent(weights: NDArray[np.float64]) -> int:
    """Return the power of two that brings the largest weight near 1.

    Raises
    ------
    InputError
        If the weights are so small that float64 holds them with less than its full precision.
    """
    largest = float(weights.max())
    if largest < LEAST_WEIGHT:
        raise InputError(
            f"the largest weight is {largest:g}, where float64 has few digits left: multiply all "
            "weights by a power of two"
        )
    return int(np.frexp(largest)[1])


class _Stopwatch:
    """Seconds by stage, in the order of their first start."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def compress_points(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    options: CompressOptions,
    *,
    progress: ProgressCallback | None = None,
) -> Compression:
    """Compress a weighted set to at most ``options.target`` of its points.

    The result is returned whether or not it holds the tolerance: see :attr:`Compression.ok`.

    Parameters
    ----------
    points : (n, m) float64 ndarray
        Finite, n >= 1, m >= 1.
    weights : (n,) float64 ndarray
        > 0.
    options : CompressOptions
    progress : callable, optional
        Called with (stage, points removed, points to remove).

    Raises
    ------
    RequestError
        If no result can meet the request: the target is below the number of moments.
    VerificationError
        If the reduction cannot go on within its tolerance.
    """
    watch = _Stopwatch()
    n_threads = options.threads or available_threads()
    with thread_map(n_threads) as map_function:
        with watch.stage("frame"):
            points = np.ascontiguousarray(points, dtype=np.float64)
            # Scaling by a power of two is exact and keeps every power of the weights in range.
            exponent = _exponent(weights)
            scaled = np.ldexp(weights, -exponent)
            rows, merged = merge_duplicates(points, scaled, map_function)
            if not merged.all():
                # Weights below 1e-308 of the largest: nothing of them is left beside it.
                rows, merged = rows[merged > 0.0], merged[merged > 0.0]
            frame = fit_frame(points[rows] if len(rows) < len(points) else points, merged)
        copied = len(points) <= options.target
        if copied:
            rows, merged = np.arange(len(points)), scaled
        check_request(options.k, options.target, len(rows), frame.rank)
        everything = frame.apply(points)
        local = everything[rows] if len(rows) < len(points) else everything
        if len(rows) <= options.target:
            kept, kept_weights, order = np.arange(len(rows)), merged, options.k
        else:
            kept, kept_weights, order = _reduce(
                local, merged, frame.rank, options, n_threads, map_function, progress, watch
            )
        with watch.stage("certificate"):
            # From the rows as they came, not from the merged ones: the certificate checks every
            # step in between.
            compared = compared_order(order, frame.rank)
            moments = accumulate_moments(everything, scaled, compared, "monomial", map_function)
            after = accumulate_moments(
                local[kept], kept_weights, compared, "monomial", map_function
            )
            error = error_by_order(moments, after)
            relative = relative_error_by_order(moments, after, frame)
    index = rows[kept]
    moments = Moments(
        "monomial",
        moments.plan,
        np.ldexp(moments.high, exponent),
        np.ldexp(moments.low, exponent),
    )
    final_weights = weights if copied else np.ldexp(kept_weights, exponent)
    return Compression(
        support=WeightedSet(points[index], final_weights, index),
        k=options.k,
        kept_order=order,
        matched_order=_matched_order(error, options.tolerance),
        target=options.target,
        seed=options.seed,
        n_points=len(points),
        n_distinct=len(rows),
        n_columns=points.shape[1],
        rank=frame.rank,
        n_moments=n_moments(frame.rank, options.k),
        error=error,
        relative_error=relative,
        tolerance=options.tolerance,
        frame=frame,
        moments=moments,
        notes=_notes(frame, len(points), len(rows), options.target, copied),
        stages=tuple(watch.seconds.items()),
    )


def certify(
    compression: Compression, points: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compare a weighted set, as it was written, with the moments of the input.

    Parameters
    ----------
    compression : Compression
        Carries the input's moments.
    points : (n, m) float64 ndarray
        The matched columns as read back from the file.
    weights : (n,) float64 ndarray

    Returns
    -------
    error, relative_error : tuple of float
        By order, as in :class:`Compression`.
    """
    frame = compression.frame
    moments = compression.moments
    written = accumulate_moments(frame.apply(points), weights, moments.plan.order, "monomial")
    return error_by_order(moments, written), relative_error_by_order(moments, written, frame)


def _reduce(
    local: NDArray[np.float64],
    weights: NDArray[np.float64],
    rank: int,
    options: CompressOptions,
    n_threads: int,
    map_function: MapFunction,
    progress: ProgressCallback | None,
    watch: _Stopwatch,
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Return the positions that are kept, their weights, and the order K that they match."""
    order = working_order(options.k, rank, options.target, options.effort)
    with watch.stage("moments"):
        wanted = accumulate_moments(local, weights, order, "legendre", map_function)
    reduced = weights.copy()
    with watch.stage("reduction"):
        kept = reduce_support(
            local, reduced, options.target, wanted.plan, options.seed,
            n_threads=n_threads, map_function=map_function, progress=progress,
        )  # fmt: skip
    with watch.stage("final solve"):
        kept_weights = _correct(local[kept], reduced[kept], wanted)
    if options.effort == "high":
        with watch.stage("surplus matching"):
            order, kept_weights = match_surplus(
                local, weights, kept, kept_weights, order, options.seed, map_function
            )
            # A larger change leaves more rounding behind in the orders that were matched already.
            kept_weights = _correct(local[kept], kept_weights, wanted)
    return kept, kept_weights, order


def _correct(
    local: NDArray[np.float64], weights: NDArray[np.float64], wanted: Moments
) -> NDArray[np.float64]:
    """Return the weights corrected against the input's moments, if that lowers the error."""
    features = legendre_features(local, wanted.plan)

    def residual(candidate: NDArray[np.float64]) -> NDArray[np.float64]:
        have = accumulate_moments(local, candidate, wanted.plan.order, "legendre")
        return wanted.missing_in(have)

    miss = residual(weights)
    corrected = weights * (1.0 + least_change(features, weights, miss))
    if np.all(corrected > 0.0) and np.abs(residual(corrected)).max() < np.abs(miss).max():
        return corrected
    return weights


def _matched_order(error: tuple[float, ...], tolerance: float) -> int:
    """Return the order up to which all errors hold the tolerance, -1 if not even the mass does."""
    failing = [order for order, value in enumerate(error) if not value <= tolerance]
    return (failing[0] if failing else len(error)) - 1


def _notes(frame: Frame, n_points: int, n_rows: int, target: int, copied: bool) -> tuple[str, ...]:
    notes = []
    if copied:
        notes.append(
            f"the input has {n_points} rows, no more than the target: all are kept as they are"
        )
    elif n_rows < n_points:
        kept = ", no more than the target: all of them are kept" if n_rows <= target else ""
        notes.append(f"{n_points} rows hold {n_rows} distinct points{kept}")
    if frame.constant:
        listed = ", ".join(map(str, frame.constant))
        notes.append(f"constant columns drop out of the moments: {listed}")
    if frame.dependent:
        listed = ", ".join(str(column) for column, _ in frame.dependent)
        worst = max(residual for _, residual in frame.dependent)
        notes.append(
            f"columns that are affine combinations of others drop out of the moments: {listed} "
            f"(largest residual {worst:.1e} in the frame)"
        )
    return tuple(notes)
