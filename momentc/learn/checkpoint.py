"""One layer of a checkpoint made narrower: safetensors in, safetensors out, without torch.

The same as :func:`momentc.learn.compress_layer` with ``mode="folded"``, on the tensors alone:
``fc1.weight`` (d, n_in), ``fc1.bias`` (d,) and ``fc2.weight`` (n_out, d) lose all but d' of their d
neurons, and the columns of ``fc2.weight`` are multiplied by the weights c (Eq. 15). All other
tensors stay as they are. A file does not say how the layers are connected, so what stands between
the two is the caller's word, except where names and shapes tell otherwise.

Before the file gets its name, it is read back and three things are checked: the kept rows are rows
of the original, the outgoing columns are c_j v_j rounded to their type, and the moments of the kept
neurons with their weights c are those of all neurons.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from momentc.compression import Compression, certify
from momentc.errors import InputError, RequestError, UsageError, VerificationError
from momentc.io.atomic import write_bytes_atomic
from momentc.io.safetensors import (
    StoredTensor,
    TensorFile,
    decode_tensors,
    encode_tensors,
    read_tensors,
)
from momentc.learn.objects import neuron_objects, reduce_objects
from momentc.moments.discrepancy import worst_error
from momentc.options import DEFAULT_TOLERANCE, CompressOptions, Effort
from momentc.report import finite
from momentc.text import printable
from momentc.version import __version__

__all__ = ["RECORD", "compress_safetensors"]

RECORD = "momentc:"
"""Begin of the metadata key, followed by the layer, under which index and weights are recorded."""

MOST_LISTED = 20
"""Names in a message; more do not help to choose."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Names of a hidden layer's tensors, and its neurons as objects."""

    weight: str
    bias: str | None
    outgoing: str
    objects: NDArray[np.float64]
    sizes: tuple[int, int, int]  # inputs, neurons, outputs


def compress_safetensors(
    input: str | Path,
    layer: str,
    k: int,
    target: int,
    output: str | Path,
    outgoing: str | None = None,
    *,
    random_state: int = 0,
    effort: Effort = "normal",
    threads: int = 0,
    tolerance: float = DEFAULT_TOLERANCE,
    force: bool = False,
) -> dict[str, Any]:
    """Keep ``target`` neurons of a layer of a checkpoint, their weights folded (Eq. 15).

    Parameters
    ----------
    input : str or pathlib.Path
        A .safetensors file.
    layer : str
        The hidden Linear layer: `layer`.weight, and `layer`.bias if there is one.
    k, target, random_state, effort, threads, tolerance
        As in :func:`momentc.compress`; m is inputs + 1 (with a bias) + outputs of a neuron.
    output : str or pathlib.Path
        The file to write. Its metadata records under ``momentc:LAYER`` which neurons were kept,
        with which weights c.
    outgoing : str, optional
        The Linear layer that reads the neurons. Default: the only one in the same module that
        could.
    force : bool
        Replace an existing output (never the input).

    Returns
    -------
    dict
        The report: plain JSON values. ``error`` are the moment errors by order in the frame;
        ``rounding`` is the largest change of a folded weight by its type, in parts of the largest
        of them; ``notes`` names other tensors that may belong to the neurons.

    Raises
    ------
    UsageError
        No such layer, or the one that reads it is not known.
    InputError
        Not a valid file, or a tensor of the wrong kind.
    RequestError
        The target is below the number of moments, or not below the number of neurons.
    OutputError
        The output cannot be written.
    VerificationError
        What was written does not hold the moments; nothing is left behind.
    """
    options = CompressOptions(k, target, random_state, threads, tolerance, effort)
    if str(output) == "-":
        raise UsageError("output is '-'; expected the name of a file")
    source = read_tensors(input)
    found = _find_layer(source, layer, outgoing)
    n_in, n_neurons, n_out = found.sizes
    if options.target >= n_neurons:
        raise RequestError(
            f"{layer} has {n_neurons} neurons; expected a target below that, got {options.target}"
        )
    bias = "no bias" if found.bias is None else "a bias"
    compression = reduce_objects(
        found.objects,
        options.k,
        options.target,
        what=f"neurons of {layer} with {n_in} inputs, {bias} and {n_out} outputs",
        random_state=options.seed,
        effort=options.effort,
        threads=options.threads,
        tolerance=options.tolerance,
    )
    index, c = compression.support.index, compression.support.weights
    tensors = dict(source.tensors)
    for name in (found.weight, found.bias):
        if name is not None:
            tensors[name] = source.tensors[name].rows(index)
    folded = _folded(source.tensors[found.outgoing], index, c)
    tensors[found.outgoing] = folded
    content = {
        "momentc": __version__,
        "layer": layer,
        "outgoing": found.outgoing.removesuffix(".weight"),
        "k": compression.k,
        "target": compression.target,
        "seed": compression.seed,
        "effort": effort,
        "n_points": n_neurons,
        "n_kept": len(index),
        "n_inputs": n_in,
        "has_bias": found.bias is not None,
        "n_outputs": n_out,
        "rank": compression.rank,
        "n_moments": compression.n_moments,
        "kept_order": compression.kept_order,
        "tolerance": compression.tolerance,
    }
    record = {**content, "index": index.tolist(), "weights": c.tolist()}
    metadata = {**source.metadata, RECORD + layer: json.dumps(record, sort_keys=True)}
    measured: dict[str, Any] = {}
    write_bytes_atomic(
        output,
        encode_tensors(tensors, metadata),
        force=force,
        inputs=[Path(input)],
        check=lambda data: measured.update(
            _verify(decode_tensors(data, printable(str(output))), source, found, compression)
        ),
    )
    return {
        **content,
        **measured,
        "input": source.name,
        "output": str(output),
        "dtype": folded.dtype,
        "notes": [*compression.notes, *_notes(source, layer, found)],
    }


def _find_layer(source: TensorFile, layer: str, outgoing: str | None) -> _Layer:
    """Find the tensors on both sides of the neurons, and take the neurons out of them."""
    weight = _matrix(source, layer)
    n_neurons, n_in = weight.shape
    bias_name = f"{layer}.bias" if f"{layer}.bias" in source.tensors else None
    bias = source.tensors[bias_name] if bias_name else None
    if bias is not None and (bias.shape != (n_neurons,) or not bias.is_float):
        raise InputError(
            f"{source.name}: {layer}.bias is {bias.dtype} of shape {bias.shape}, expected "
            f"({n_neurons},) numbers"
        )
    if outgoing is None:
        outgoing = _only_reader(source, layer, n_neurons)
    reader = _matrix(source, outgoing)
    if outgoing == layer or reader.shape[1] != n_neurons:
        raise UsageError(
            f"{source.name}: {outgoing}.weight has shape {reader.shape}, expected (outputs, "
            f"{n_neurons}), one column for each neuron of {layer}"
        )
    own = source.tensors.get(f"{outgoing}.bias")
    if own is not None and own.shape != (reader.shape[0],):
        raise InputError(
            f"{source.name}: {outgoing}.bias has shape {own.shape}, expected ({reader.shape[0]},)"
        )
    _refuse_more_than_linear(source, (layer, outgoing))
    return _Layer(
        weight=f"{layer}.weight",
        bias=bias_name,
        outgoing=f"{outgoing}.weight",
        objects=neuron_objects(
            weight.as_float64(), None if bias is None else bias.as_float64(), reader.as_float64()
        ),
        sizes=(n_in, n_neurons, reader.shape[0]),
    )


def _refuse_more_than_linear(source: TensorFile, layers: tuple[str, str]) -> None:
    """Refuse layers with tensors that a plain Linear has not: what they do, no name tells.

    Scales of quantized layers, masks, low-rank additions, and the weights c of neurons.
    """
    for name in sorted(source.tensors):
        for layer in layers:
            own = name.removeprefix(f"{layer}.")
            if own == name or own in {"weight", "bias"}:
                continue
            how = (
                "is compressed already, with mode='dynamic': fold it before (momentc.learn.fold)"
                if own in {"c_in", "c_out"}
                else "is no plain Linear layer of a weight and a bias: merge what it has besides"
            )
            raise UsageError(
                f"{source.name}: there is {printable(name)}, so {printable(layer)} {how}"
            )


def _notes(source: TensorFile, layer: str, found: _Layer) -> list[str]:
    """Name the tensors beside the layer that may belong to its neurons, and stay as they are."""
    n_neurons = found.sizes[1]
    parent, dot, _ = layer.rpartition(".")
    touched = {found.weight, found.bias, found.outgoing}
    names = [
        name
        for name, tensor in sorted(source.tensors.items())
        if n_neurons in tensor.shape and name not in touched and name.startswith(parent + dot)
    ]
    if not names:
        return []
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return [
        f"{', '.join(map(printable, names[:MOST_LISTED]))}{more}: {n_neurons} numbers in a row or "
        f"column, as many as {layer} had neurons. They are left as they are, which is wrong if "
        "they belong to these neurons"
    ]


def _matrix(source: TensorFile, layer: str) -> StoredTensor:
    """Return the weight of a Linear layer."""
    tensor = source.tensors.get(f"{layer}.weight")
    if tensor is None:
        names = [key.removesuffix(".weight") for key in sorted(source.tensors) if _is_linear(
            key, source.tensors[key])]  # fmt: skip
        listed = ", ".join(names[:MOST_LISTED]) or "none"
        more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
        raise UsageError(
            f"{source.name} has no tensor {printable(layer)}.weight; layers it could be: "
            f"{listed}{more}"
        )
    if len(tensor.shape) != 2 or not tensor.is_float:
        what = "; convolutions cannot be compressed" if len(tensor.shape) > 2 else ""
        raise InputError(
            f"{source.name}: {layer}.weight is {tensor.dtype} of shape {tensor.shape}, expected a "
            f"matrix of F64, F32, F16 or BF16 numbers{what}"
        )
    return tensor


def _is_linear(name: str, tensor: StoredTensor) -> bool:
    return name.endswith(".weight") and len(tensor.shape) == 2 and tensor.is_float


def _only_reader(source: TensorFile, layer: str, n_neurons: int) -> str:
    """Return the one layer in the same module that can read the neurons.

    One in another module may belong to anything: its name would be a guess.
    """
    readers = [
        name.removesuffix(".weight")
        for name, tensor in sorted(source.tensors.items())
        if _is_linear(name, tensor) and tensor.shape[1] == n_neurons and name != f"{layer}.weight"
    ]
    parent = layer.rpartition(".")[0]
    candidates = [name for name in readers if name.rpartition(".")[0] == parent]
    if len(candidates) != 1:
        listed = ", ".join((candidates or readers)[:MOST_LISTED]) or "none"
        raise UsageError(
            f"{source.name}: which layer reads the {n_neurons} neurons of {layer}? Name it with "
            f"outgoing (--outgoing). Layers with as many inputs: {listed}"
        )
    norms = _norms(source.tensors, layer, n_neurons)
    if norms:
        raise UsageError(
            f"{source.name}: {norms[0]} has a number for each of {n_neurons} channels and may be a "
            f"normalisation between {layer} and {candidates[0]}, with which the neurons are no sum "
            f"and cannot be compressed. If it is elsewhere, say so with outgoing={candidates[0]} "
            "(--outgoing)"
        )
    return candidates[0]


def _norms(tensors: Mapping[str, StoredTensor], layer: str, n_neurons: int) -> list[str]:
    """Name the vectors of as many numbers beside the layer that belong to no Linear layer."""
    parent = layer.rpartition(".")[0]
    return [
        name
        for name, tensor in sorted(tensors.items())
        if tensor.shape == (n_neurons,)
        and parent in {name.rpartition(".")[0], name.rpartition(".")[0].rpartition(".")[0]}
        and len(tensors.get(f"{name.rpartition('.')[0]}.weight", tensor).shape) != 2
    ]


def _folded(
    outgoing: StoredTensor, index: NDArray[np.int64], c: NDArray[np.float64]
) -> StoredTensor:
    """Return the kept columns times their weights, rounded once to the tensor's type."""
    with np.errstate(over="ignore"):
        folded = outgoing.rounded(outgoing.as_float64()[:, index] * c)
    if not np.isfinite(folded.as_float64()).all():
        advice = {"F16": "; save the checkpoint as F32 or BF16 first"}.get(outgoing.dtype, "")
        raise InputError(f"the folded weights are beyond the range of {outgoing.dtype}{advice}")
    return folded


def _verify(
    written: TensorFile, source: TensorFile, layer: _Layer, compression: Compression
) -> dict[str, Any]:
    """Check what the disk gave back against the original; return the errors that were found."""
    name = f"{written.name}: {layer.weight}"
    record = json.loads(written.metadata[RECORD + layer.weight.removesuffix(".weight")])
    index = np.array(record["index"], np.int64)
    c = np.array(record["weights"], np.float64)
    touched = {layer.weight, layer.bias, layer.outgoing}
    for key, tensor in source.tensors.items():
        if key in touched - {layer.outgoing}:
            expected = tensor.rows(index)
        elif key == layer.outgoing:
            expected = _folded(tensor, index, c)
        else:
            expected = tensor
        have = written.tensors.get(key)
        if have is None or (have.dtype, have.shape, have.data) != (
            expected.dtype, expected.shape, expected.data
        ):  # fmt: skip
            raise VerificationError(f"{written.name}: {key} is not what it should be as written")
    error, relative = certify(compression, layer.objects[index], c)
    if not compression.holds(error):
        raise VerificationError(
            f"{name}: the moments are off by {worst_error(error, compression.k):.1e}, more than "
            f"the tolerance {compression.tolerance:.1e}; a lower k or a larger target will do"
        )
    exact = source.tensors[layer.outgoing].as_float64()[:, index] * c
    stored = written.tensors[layer.outgoing].as_float64()
    largest = float(np.abs(exact).max(initial=0.0))
    shift = np.abs(stored - exact) / (largest if largest > 0.0 else 1.0)
    return {
        "error": finite(error),
        "relative_error": finite(relative),
        "rounding": float(shift.max(initial=0.0)),
        "ok": True,
    }
