"""The library's own front: arrays in, a weighted set out, in scikit-learn's words."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from momentc.compression import Compression
from momentc.engine.threads import thread_map
from momentc.errors import InputError, UsageError, VerificationError
from momentc.incremental import Batch, Batches
from momentc.io.base import ArraySource
from momentc.io.convert import load_points
from momentc.io.numeric import require_real
from momentc.options import (
    DEFAULT_TOLERANCE,
    CompressOptions,
    Effort,
    require_fraction,
    require_integer,
)
from momentc.pipeline.points import compress_points
from momentc.verification import MomentComparison, blocks_of, compare_moments
from momentc.weighted import WeightedSet

__all__ = ["MomentCompressor", "compress", "options_of", "require_tolerance", "verify_moments"]

# Arguments of the compressor's constructor.
PARAMETERS = ("k", "target", "random_state", "threads", "tolerance", "effort")


def compress(
    points: ArrayLike,
    k: int = 5,
    target: int = 1000,
    weights: ArrayLike | None = None,
    random_state: int = 0,
    *,
    threads: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
    effort: Effort = "normal",
) -> WeightedSet:
    """Keep ``target`` of the points, re-weighted, with the same moments up to order ``k``.

    Parameters
    ----------
    points : (n, m) array_like of real numbers
        The objects, one a row; an array of shape (n,) is one column.
    k : int
        Order up to which the moments are kept.
    target : int
        Points to keep, at least C(m+k, k). Exactly so many are returned, fewer only if there are
        no more distinct points or the features have a lower rank.
    weights : (n,) array_like, optional
        >= 0; all 1 where not given.
    random_state : int
        Seed of every random choice.
    threads : int
        0: all that the process may use. The result does not depend on it.
    tolerance : float
        Largest accepted moment error in the frame.
    effort : {'low', 'normal', 'high'}
        How much time to spend on functions that are no moments up to k: on higher orders, and
        on the freedom that the moments leave the weights. 'low' keeps k alone.

    Returns
    -------
    WeightedSet
        ``points`` are rows of the input, bit for bit and in its dtype; ``weights`` >= 0 with the
        input's total; ``index`` the row numbers.

    Raises
    ------
    UsageError, InputError, RequestError
        See :mod:`momentc.errors`.
    VerificationError
        If the moments of the result miss the tolerance.

    Examples
    --------
    >>> import numpy as np, momentc
    >>> points = np.random.default_rng(0).normal(size=(100_000, 3))
    >>> kept = momentc.compress(points, k=4, target=500)
    >>> bool(np.isclose(kept.weights @ kept.points[:, 0] ** 4, np.sum(points[:, 0] ** 4)))
    True
    """
    compressor = MomentCompressor(
        k,
        target,
        random_state=random_state,
        threads=threads,
        tolerance=tolerance,
        effort=effort,
    )
    return compressor.fit(points, sample_weight=weights).compressed_


class MomentCompressor:
    """As :func:`compress`, as an estimator that also tells how exact the result is.

    Parameters
    ----------
    k, target, random_state, threads, tolerance, effort
        As in :func:`compress`.

    Attributes
    ----------
    compressed_ : WeightedSet
        The result.
    result_ : momentc.compression.Compression
        Errors by order, rank, number of moments, notes, seconds by stage; its ``support`` is
        ``compressed_``.
    """

    compressed_: WeightedSet
    result_: Compression
    _batches: Batches | None = None

    def __init__(
        self,
        k: int = 5,
        target: int = 1000,
        *,
        random_state: int = 0,
        threads: int = 0,
        tolerance: float = DEFAULT_TOLERANCE,
        effort: Effort = "normal",
    ) -> None:
        self.k = k
        self.target = target
        self.random_state = random_state
        self.threads = threads
        self.tolerance = tolerance
        self.effort = effort

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Compress the rows of X.

        Parameters
        ----------
        X : (n, m) array_like
        y : None
            For scikit-learn's conventions.
        sample_weight : (n,) array_like, optional

        Raises
        ------
        As :func:`compress`.
        """
        _refuse_y(y)
        for name in ("result_", "compressed_"):  # no older result, should there be an error
            self.__dict__.pop(name, None)
        array = _as_array(X, "X")
        self._batches = None
        with ArraySource(array, _as_weights(sample_weight), hashed=False) as source:
            loaded = load_points(source)
            result = compress_points(loaded.points, loaded.weights, self._options())
            require_tolerance(result)
            index = loaded.index[result.support.index]
            self.compressed_ = WeightedSet(
                source.take(index), result.support.weights, index, result.k
            )
        self.result_ = replace(result, support=self.compressed_)
        return self

    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Take in a batch of rows, in bounded memory; :meth:`finalize` gives the result.

        Row numbers count on from batch to batch. Frame and cells are found on the first few
        thousand rows, which should be like the others.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`; all batches have the same columns and dtype.

        Raises
        ------
        UsageError
            After :meth:`fit`: its rows are gone, and would be missing in the result.
        As :func:`compress`. A batch is taken in whole or not at all; where an interruption comes
        too late for that, all that follows raises `UsageError`: begin again with a new compressor.
        """
        _refuse_y(y)
        if self._batches is None and hasattr(self, "result_"):
            raise UsageError(
                "partial_fit() after fit(): the rows of fit() are gone and would not count. Give "
                "all rows to partial_fit(), in a new compressor"
            )
        array = _as_array(X, "X")
        weights = _as_weights(sample_weight)
        if array.shape == (0,) and (weights is None or len(weights) == 0):
            return self  # not a row, and no columns either
        if array.ndim in {1, 2} and _counts_for_nothing(array, weights):
            require_real("X", array.dtype)
            empty = array[:0].reshape(0, 1 if array.ndim == 1 else array.shape[1])
            none = np.empty(0, np.int64)
            batch = Batch(empty, empty.astype(np.float64), np.empty(0), none, len(array))
        else:
            with ArraySource(array, weights, hashed=False) as source:
                loaded = load_points(source)
                rows = source.take(loaded.index)
            batch = Batch(rows, loaded.points, loaded.weights, loaded.index, len(array))
        if self._batches is None:
            self._batches = Batches(self._options(), batch.rows.shape[1], batch.rows.dtype)
        self._batches.add(batch)
        return self

    def merge(self, other: "MomentCompressor") -> Self:
        """Take in what another compressor has taken in by ``partial_fit``.

        Its rows count on from the last one here, and the moments are those of all rows of both,
        exactly.

        Parameters
        ----------
        other : MomentCompressor
            With the same k, target and effort. It is not changed.

        Raises
        ------
        UsageError
            One of the two has taken nothing in, or they are one.
        PartsError
            They do not belong together.
        """
        if not isinstance(other, MomentCompressor):
            raise UsageError(f"merge needs a MomentCompressor, got a {type(other).__name__}")
        if other is self:
            raise UsageError("merge needs another compressor: its own rows would count twice")
        if self._batches is None or other._batches is None:
            raise UsageError("merge needs two compressors that have seen rows by partial_fit")
        self._batches.merge(other._batches)
        return self

    def finalize(self) -> Self:
        """Compress what ``partial_fit`` and ``merge`` have taken in; more may follow.

        Raises
        ------
        UsageError
            Nothing has been taken in.
        RequestError, VerificationError
        """
        if self._batches is None:
            raise UsageError("finalize() comes after partial_fit()")
        result, kept = self._batches.compress()
        require_tolerance(result)
        self.result_, self.compressed_ = replace(result, support=kept), kept
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments of the constructor, as scikit-learn's ``clone`` asks for them."""
        del deep  # none of them has parameters of its own
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor; they count from the next ``fit`` on.

        Raises
        ------
        UsageError
            There is no such argument.
        """
        for name, value in params.items():
            if name not in PARAMETERS:
                known = ", ".join(PARAMETERS)
                raise UsageError(f"there is no parameter {name!r}; there are {known}")
            setattr(self, name, value)
        return self

    def __copy__(self) -> "MomentCompressor":
        """Return a copy that shares no batches: what one takes in is none of the other's."""
        return copy.deepcopy(self)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn, which alone asks for it, that no target is needed."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a result."""
        return hasattr(self, "compressed_")

    def __repr__(self) -> str:
        """Return the call that makes one like this."""
        values = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({values})"

    def _options(self) -> CompressOptions:
        return options_of(
            self.k, self.target, self.random_state, self.threads, self.tolerance, self.effort
        )


def options_of(
    k: int, target: int, random_state: int, threads: int, tolerance: float, effort: Effort
) -> CompressOptions:
    """Return the options under the names that they have in Python.

    Raises
    ------
    UsageError
    """
    # Not None, as elsewhere: the same call gives the same result.
    seed = require_integer("random_state", random_state, 0)
    return CompressOptions(k, target, seed, threads, tolerance, effort)


def verify_moments(
    points: ArrayLike,
    compressed: WeightedSet,
    k: int | None = None,
    weights: ArrayLike | None = None,
    *,
    threads: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
) -> MomentComparison:
    """Compare the moments of a compressed set with those of the original points.

    Parameters
    ----------
    points : (n, m) array_like
        The original, which is not changed.
    compressed : WeightedSet
    k : int, optional
        Order up to which the moments should agree. Default: that of ``compressed``, where it is
        the result of a compression.
    weights : (n,) array_like, optional
        Of the original; all 1 where not given.
    threads, tolerance
        As in :func:`compress`.

    Returns
    -------
    MomentComparison
        Its ``ok`` says whether they agree within the tolerance. Only moments are compared:
        ``np.array_equal(points[compressed.index], compressed.points)`` says whether the rows are
        those of the original.
    """
    if not isinstance(compressed, WeightedSet):
        raise UsageError(
            f"compressed is a {type(compressed).__name__}; expected a WeightedSet, as compress() "
            "returns it"
        )
    order = compressed.k if k is None else k
    if order is None:
        raise UsageError("compressed does not say its order k; give one")
    order = require_integer("k", order, 0)
    threads = require_integer("threads", threads, 0)
    tolerance = require_fraction("tolerance", tolerance)
    original = _as_array(points, "points")
    with ArraySource(original, _as_weights(weights), hashed=False) as source:
        loaded = load_points(source)
    with ArraySource(compressed.points, compressed.weights, hashed=False) as source:
        other = load_points(source)
    with thread_map(threads) as map_function:
        return compare_moments(
            blocks_of(loaded.points, loaded.weights), other.points, other.weights, order, tolerance,
            map_function=map_function,
        )  # fmt: skip


def _counts_for_nothing(array: NDArray[Any], weights: NDArray[Any] | None) -> bool:
    """Whether a batch has no row, or only rows of weight 0: they are counted, and no more."""
    if len(array) == 0:
        return weights is None or weights.shape == (0,)
    return weights is not None and weights.shape == (len(array),) and not np.any(weights)


def _refuse_y(y: object) -> None:
    """Refuse what is most likely meant as weights; scikit-learn itself passes None on."""
    if y is not None:
        raise UsageError("y has no meaning here; weights are sample_weight=")


def _as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return an array; one with masked entries is refused, as NaN is: they would count."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(f"{name} has masked entries; take the rows that count, as an array")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # tensors that track gradients, say
        raise InputError(f"{name} is no array of numbers: {error}") from error
    if array.dtype.kind == "O":
        which = ", ".join(_columns_without_numbers(values))
        which = f": column {which}" if which else ""
        raise InputError(
            f"{name} holds objects that are not plain numbers of one type{which}. Take the columns "
            "of numbers and convert them, as .astype(float) does"
        )
    for column in _columns_that_were_rounded(values, array):
        raise InputError(
            f"{name}: column {column} holds integers that float64, the type of the others, cannot "
            "hold exactly; leave it out, or subtract what they have in common"
        )
    return array


def _columns_without_numbers(values: Any) -> list[str]:
    """Return the columns of a data frame that are none of numbers; [] of anything else."""
    try:
        return [
            str(column)
            for column in values.columns
            if np.asarray(values[column]).dtype.kind not in "iuf"
        ]
    except Exception:  # whatever it is, it has no columns by name: the message does without
        return []


def _columns_that_were_rounded(values: Any, array: NDArray[Any]) -> Iterator[str]:
    """Yield the columns of integers of a data frame that are others in the one type of all."""
    if array.dtype.kind != "f" or array.ndim != 2 or not hasattr(values, "iloc"):
        return
    for number, column in enumerate(values.columns):
        own = np.asarray(values.iloc[:, number])
        if own.dtype.kind in "iu" and own.dtype.itemsize == 8:
            with np.errstate(invalid="ignore"):
                changed = (np.abs(array[:, number]) >= 2.0**62) | (
                    array[:, number].astype(own.dtype) != own
                )
            if changed.any():
                yield str(column)


def _as_weights(weights: ArrayLike | None) -> NDArray[Any] | None:
    array = None if weights is None else _as_array(weights, "weights")
    if array is not None and array.ndim == 0:
        raise InputError("weights are a single number; expected one for each row")
    return array


def require_tolerance(result: Compression) -> None:
    """Refuse a result that misses the tolerance.

    Raises
    ------
    VerificationError
    """
    if not result.ok:
        raise VerificationError(
            f"the moments of the result differ by {result.largest_error:.1e} in the frame, more "
            f"than the tolerance {result.tolerance:.1e}; a lower k, a larger target or a larger "
            "tolerance will do"
        )
