"""A file that momentc wrote, as a source of its points with their weights."""

from typing import Any

from numpy.typing import NDArray

from momentc.io.base import ArraySource, SourceBase
from momentc.io.location import Location
from momentc.io.numeric import require_shape
from momentc.io.result_bytes import decode_with_extra
from momentc.weighted import WeightedSet

__all__ = ["ResultSource"]


class ResultSource(ArraySource):
    """The weighted set of a file of momentc, and what the file says of it.

    Parameters
    ----------
    location : Location
        Where the file came from; a file, or the standard input.
    data : bytes
        The file: it is small. Of a part in which no row counts it has none.

    Attributes
    ----------
    result : WeightedSet
    metadata : dict
    extra : dict of str to ndarray
        See :func:`momentc.io.result_bytes.decode_with_extra`.

    Raises
    ------
    InputError, VerificationError
        As that function.
    """

    result: WeightedSet
    metadata: dict[str, Any]
    extra: dict[str, NDArray[Any]]

    def __init__(self, location: Location, data: bytes) -> None:
        self.result, self.metadata, self.extra = decode_with_extra(data, location.name)
        super().__init__(
            self.result.points,
            self.result.weights if len(self.result) else None,
            location.name,
            path=location.path,
            dataset=location.dataset,
        )

    @staticmethod
    def _require_shape(name: str, shape: tuple[int, ...] | None) -> tuple[int, int]:
        if shape is not None and len(shape) == 2 and shape[0] == 0 < shape[1]:
            return 0, shape[1]
        return require_shape(name, shape)

    def attach_weights(self, source: SourceBase) -> None:
        """Refuse other weights than the rows have; see :class:`SourceBase`."""
        is_here = self.path is not None and source.path == self.path
        if self.has_weights and is_here and str(source.dataset).strip("/") == "c":
            source.close()  # they are those
            return
        super().attach_weights(source)
