"""What is needed to set a stream up anywhere, and to put states of such streams together."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from momentc.map_function import MapFunction
from momentc.streaming.plan import StreamPlan
from momentc.streaming.stream import CellStream, Setting

__all__ = ["State", "StreamShape"]

State = dict[str, NDArray[Any]]
"""What a stream consists of: :meth:`CellStream.state`. A stream itself has buffers for many times
as many points, a state has none: it is what is kept and sent."""


@dataclass(frozen=True, slots=True)
class StreamShape:
    """What streams have in common whose states can be put together.

    Parameters
    ----------
    setting : Setting
    sizes : StreamPlan
    n_raw : int
        Bytes that are carried along with every point.
    """

    setting: Setting
    sizes: StreamPlan
    n_raw: int

    def stream(self, state: State | None = None) -> CellStream:
        """Return a stream: empty, or one that goes on from a state."""
        stream = CellStream(self.setting, self.sizes, self.n_raw)
        if state is not None:
            stream.restore(state)
        return stream

    def merged(self, first: State, second: State, map_function: MapFunction = map) -> State:
        """Return the state of both together, reduced; neither of the two is changed.

        Raises
        ------
        VerificationError
            If a cell cannot be reduced within the tolerance.
        """
        stream = self.stream(first)
        stream.merge(self.stream(second), map_function)
        stream.reduce(map_function)
        return stream.state()
