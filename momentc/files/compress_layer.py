"""Compress one layer of a checkpoint: names, locks and times around the work itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from momentc.errors import UsageError
from momentc.files.jobs import JobReport
from momentc.files.names import STDOUT
from momentc.io.atomic import output_lock, probe_output
from momentc.learn.checkpoint import compress_safetensors
from momentc.options import CompressOptions
from momentc.process_memory import peak_memory
from momentc.stopwatch import Stopwatch
from momentc.text import printable

__all__ = ["LayerJob", "compress_layer_file"]

SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class LayerJob:
    """Compress one layer of a checkpoint.

    Parameters
    ----------
    location : str
        A .safetensors file.
    layer : str
        The hidden Linear layer.
    options : CompressOptions
        Order, target, seed, threads, tolerance, effort.
    outgoing : str, optional
        The Linear layer that reads the neurons. Default: the only one in the same module that
        could.
    output : str, optional
        File to write. Default: ``model.safetensors`` gives ``model.momentc.safetensors``.
    force : bool
        Overwrite an existing output; never the input.
    """

    location: str
    layer: str
    options: CompressOptions = field(default_factory=CompressOptions)
    outgoing: str | None = None
    output: str | None = None
    force: bool = False


def compress_layer_file(
    job: LayerJob, *, began: float | None = None, prepare: Callable[[], None] | None = None
) -> JobReport:
    """Do a :class:`LayerJob`.

    Parameters
    ----------
    job : LayerJob
    began : float, optional
        As in :class:`momentc.stopwatch.Stopwatch`.
    prepare : callable, optional
        Called when the output can be written, before the work begins.

    Raises
    ------
    UsageError, InputError, RequestError, OutputError, VerificationError
        As :func:`momentc.learn.compress_safetensors`; nothing was written.
    """
    watch = Stopwatch(began)
    output = _output_of(job)
    # Before any work, and before another run may take the name.
    inputs = [Path(job.location)] if Path(job.location).is_file() else []
    probe_output(output, force=job.force, inputs=inputs)
    with output_lock(output):
        if prepare is not None:
            prepare()
        content = compress_safetensors(
            job.location,
            job.layer,
            job.options.k,
            job.options.target,
            output,
            job.outgoing,
            random_state=job.options.seed,
            effort=job.options.effort,
            threads=job.options.threads,
            tolerance=job.options.tolerance,
            force=job.force,
        )
    content |= {"seconds": round(watch.seconds, 6), "peak_memory": peak_memory()}
    return JobReport(content=content, ok=True, notes=tuple(content["notes"]), output=output)


def _output_of(job: LayerJob) -> str:
    """Name of the file to write.

    Raises
    ------
    UsageError
        It is no file name, or does not end as checkpoints do.
    """
    for what, name in (("the input", job.location), ("--output", job.output)):
        if name in {STDOUT, ""} or "\0" in (name or ""):
            raise UsageError(f"{what} is {name!r}; expected the name of a {SUFFIX} file")
    if job.output is None:
        path = Path(job.location)
        if not path.name:
            raise UsageError(f"the input is {job.location!r}; expected the name of a {SUFFIX} file")
        return str(path.with_name(path.name.removesuffix(SUFFIX) + ".momentc" + SUFFIX))
    path = Path(job.output)
    # Programs choose the reader by the suffix; a device, such as /dev/null, has none.
    if path.suffix.lower() != SUFFIX and (path.is_file() or not path.exists()):
        raise UsageError(f"output {printable(job.output)} does not end in {SUFFIX}")
    return job.output
