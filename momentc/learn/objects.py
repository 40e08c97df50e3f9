"""From parts of a network or a training set to rows of numbers, and to the rows that are kept.

An *object* is what a symmetric function sums over (section 2 of the paper): here all numbers that
belong to one neuron, one head or one sample, in a fixed order, as one row of m columns. Rows are
float64, which holds every number of the smaller types exactly, so an object is never rounded.
"""

import math

import numpy as np
from numpy.typing import NDArray

from momentc.api import MomentCompressor
from momentc.compression import Compression
from momentc.errors import InputError, RequestError
from momentc.options import DEFAULT_TOLERANCE, Effort
from momentc.text import readable

__all__ = ["neuron_objects", "reduce_objects"]


def neuron_objects(
    incoming: NDArray[np.float64],
    bias: NDArray[np.float64] | None,
    outgoing: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the neurons of a hidden layer as rows (w_i, b_i, v_i).

    The layer's output is the sum over i of ``v_i sigma(w_i . x + b_i)`` (Eq. 3).

    Parameters
    ----------
    incoming : (d, n_in) float64 ndarray
        Weights w_i of the neurons, as a Linear layer stores them.
    bias : (d,) float64 ndarray or None
        Their biases b_i.
    outgoing : (n_out, d) float64 ndarray
        Weights of the next Linear layer; column i is v_i.

    Returns
    -------
    (d, m) float64 ndarray
        m = n_in + 1 + n_out, or n_in + n_out without a bias.
    """
    columns = [incoming, outgoing.T]
    if bias is not None:
        columns.insert(1, bias[:, None])
    return np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=np.float64)


def reduce_objects(
    objects: NDArray[np.float64],
    k: int,
    target: int,
    *,
    what: str,
    weights: NDArray[np.float64] | None = None,
    random_state: int = 0,
    effort: Effort = "normal",
    threads: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
) -> Compression:
    """Compress objects, and say in the terms of the caller why it cannot be done.

    Parameters
    ----------
    objects : (d, m) float64 ndarray
    k, target, weights, random_state, effort, threads, tolerance
        As in :func:`momentc.compress`.
    what : str
        What the rows are and where their m columns come from, for the message.

    Returns
    -------
    Compression
        Its ``support`` holds index (ascending) and weights; all moments hold the tolerance.

    Raises
    ------
    RequestError
        The target is below C(m+k, k).
    UsageError, InputError, VerificationError
        As in :func:`momentc.compress`.
    """
    compressor = MomentCompressor(
        k,
        target,
        random_state=random_state,
        effort=effort,
        threads=threads,
        tolerance=tolerance,
    )
    finite = np.isfinite(objects).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise InputError(
            f"{what}: number {rows[0]} holds NaN or infinity ({len(rows)} do in all, numbered from "
            "0); leave them out or repair them first"
        )
    try:
        return compressor.fit(objects, sample_weight=weights).result_
    except RequestError as error:
        m = objects.shape[1]
        raise RequestError(
            f"{what}, m = {m} columns with C({m}+{k},{k}) = {readable(math.comb(m + k, k))} "
            f"moments up to order {k}: {error}"
        ) from error
