"""Training sets of few weighted samples that train as the whole set does (sections 2 and 4).

The loss of Eq. (2) is a mean over the samples z_i = (x_i, y_i), so it is a symmetric function of
them. In place of d samples, d' of them carry weights c_j with the same moments up to order k, and
the loss becomes ``sum_j c_j l(x_j, y_j) / sum_j c_j``: see :func:`weighted_mean`. For mini-batches,
samples are drawn independently with the probabilities c_j / sum c (Appendix E), and the plain mean
over a batch is then what it was: see :class:`WeightedSampler`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, WeightedRandomSampler

from momentc.errors import UsageError
from momentc.learn.objects import reduce_objects
from momentc.learn.tensors import exact_float64, require_numbers
from momentc.options import DEFAULT_TOLERANCE, Effort

__all__ = ["CompressedDataset", "WeightedSampler", "compress_dataset", "weighted_mean"]


@dataclass(frozen=True, eq=False)
class CompressedDataset(Dataset[tuple[Tensor, Tensor]]):
    """Weighted samples; a map-style dataset of pairs (x, y) for a DataLoader.

    Parameters
    ----------
    x : (d', ...) tensor
        Inputs, rows of the original, bit for bit and in its type.
    y : (d', ...) tensor
        Their targets.
    weights : (d',) float64 tensor
        c > 0, with the total that the original has.
    index : (d',) int64 tensor
        The row number that each sample has in the original, ascending.
    error : tuple of float
        Largest difference of the moments in the frame, by order 0 .. k and beyond.
    """

    x: Tensor
    y: Tensor
    weights: Tensor
    index: Tensor
    error: tuple[float, ...]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.index)

    def __repr__(self) -> str:
        """Say what it is in a line; torch writes out tensors of up to a thousand numbers."""
        return (
            f"<CompressedDataset: {len(self)} samples, x {tuple(self.x.shape)} {self.x.dtype}, "
            f"y {tuple(self.y.shape)} {self.y.dtype}, total weight {float(self.weights.sum()):.6g}>"
        )

    def __getitem__(self, index: int | Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Return one sample, or a whole batch at once if `index` is a list."""
        return self.x[index], self.y[index]


def compress_dataset(
    x: Tensor,
    y: Tensor,
    k: int = 5,
    target: int = 1000,
    *,
    weights: Tensor | None = None,
    random_state: int = 0,
    effort: Effort = "normal",
    threads: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
) -> CompressedDataset:
    """Keep ``target`` samples, re-weighted, with the same moments of (x, y) up to order ``k``.

    Parameters
    ----------
    x : (d, ...) real tensor
        Inputs. Everything but the first dimension is flattened into columns.
    y : (d,) or (d, ...) real tensor
        Targets; they are columns of the objects as well. Numbers without an order, such as the
        labels of classes, are none: compress each class by itself.
    k, target, random_state, effort, threads, tolerance
        As in :func:`momentc.compress`. The target must be at least C(m+k, k), where m counts
        the columns of x and y together.
    weights : (d,) tensor, optional
        >= 0, for a training set that has weights already.

    Returns
    -------
    CompressedDataset
        On the devices of x and y.

    Raises
    ------
    UsageError
        x and y are not as many, or not real.
    RequestError
        The target is too small for so many columns.
    InputError
        A value is NaN or infinite, or an integer that float64 does not hold; a weight is negative.
    """
    for name, tensor in (("x", x), ("y", y)):
        require_numbers(name, tensor)
        if tensor.dim() == 0 or tensor.numel() == 0:
            raise UsageError(
                f"{name} has shape {tuple(tensor.shape)}; expected numbers with one sample a row"
            )
    if len(x) != len(y):
        raise UsageError(f"x has {len(x)} samples and y has {len(y)}; expected as many")
    if weights is not None:
        require_numbers("weights", weights)
    inputs, targets = _columns("x", x), _columns("y", y)
    found = reduce_objects(
        np.concatenate([inputs, targets], axis=1),
        k,
        target,
        what=f"samples with {inputs.shape[1]} inputs and {targets.shape[1]} targets",
        weights=None if weights is None else exact_float64("weights", weights),
        random_state=random_state,
        effort=effort,
        threads=threads,
        tolerance=tolerance,
    )
    index = torch.from_numpy(found.support.index)
    return CompressedDataset(
        x=x.detach()[index.to(x.device)],
        y=y.detach()[index.to(y.device)],
        weights=torch.from_numpy(found.support.weights).to(x.device),
        index=index,
        error=found.error,
    )


class WeightedSampler(WeightedRandomSampler):
    """Draws sample numbers independently with probabilities c_j / sum c (Appendix E).

    The mean loss over a batch of such samples has the expectation of the whole set's loss, so the
    training loop needs no weights. Seeing each sample once in an epoch would not do.

    Parameters
    ----------
    weights : (d',) tensor
        c > 0.
    num_samples : int
        Draws in an epoch; for the same work as before, as many as the original set has samples.
    generator : torch.Generator, optional
        Makes the draws reproducible. Default: torch's own.

    Examples
    --------
    >>> sampler = WeightedSampler(kept.weights, 10_000, torch.Generator().manual_seed(0))
    >>> loader = DataLoader(kept, batch_size=256, sampler=sampler)
    """

    def __init__(
        self, weights: Tensor, num_samples: int, generator: torch.Generator | None = None
    ) -> None:
        _check_weights(weights)
        # torch draws on the CPU and in float64 only.
        listed: list[float] = weights.detach().cpu().double().tolist()
        super().__init__(listed, num_samples, replacement=True, generator=generator)


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Return the full-batch loss ``sum_j c_j l_j / sum_j c_j``, in place of Eq. (2).

    Parameters
    ----------
    losses : (n,) or (n, ...) tensor
        Loss of each sample (``reduction="none"``); further dimensions are averaged evenly.
    weights : (n,) tensor
        c >= 0, not all 0. They are added up in float32 at least.

    Returns
    -------
    () tensor
        In the type of the losses.
    """
    require_numbers("losses", losses)
    if not losses.is_floating_point() or losses.numel() == 0:
        raise UsageError(
            f"losses have shape {tuple(losses.shape)} and type {losses.dtype}; expected "
            "floating-point numbers"
        )
    _check_weights(weights)
    if losses.dim() == 0 or len(losses) != len(weights):
        raise UsageError(
            f"losses have shape {tuple(losses.shape)} and there are {len(weights)} weights; "
            "expected a loss for each weight: use reduction='none'"
        )
    # The shares are rounded once, and not the weights before they are added up.
    wide = _wide(weights)
    shares = (wide / wide.sum()).to(losses.dtype)
    return (losses.reshape(len(losses), -1).mean(dim=1) * shares).sum()


def _check_weights(weights: Tensor) -> None:
    require_numbers("weights", weights)
    usable = weights.dim() == 1 and len(weights) and bool((weights >= 0).all())
    if not usable or not 0.0 < float(_wide(weights).sum()) < float("inf"):
        raise UsageError(
            f"weights must be (n,) finite numbers >= 0 with a sum > 0, got shape "
            f"{tuple(weights.shape)}"
        )


def _wide(weights: Tensor) -> Tensor:
    """Return the weights in a type in which a million of them can be added up."""
    return weights.to(torch.promote_types(weights.dtype, torch.float32))


def _columns(name: str, tensor: Tensor) -> NDArray[np.float64]:
    """Flatten all but the first dimension; (n,) is one column."""
    return exact_float64(name, tensor).reshape(len(tensor), -1)
