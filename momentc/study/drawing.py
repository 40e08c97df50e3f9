"""What the figures share: matplotlib without a screen, colours, bytes instead of files."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from momentc.errors import UsageError

__all__ = [
    "COLOURS",
    "FORMATS",
    "METHOD_STYLE",
    "check_plot",
    "format_of",
    "mark_sizes",
    "new_figure",
    "order_colours",
    "render",
]

FORMATS: Final = (".png", ".pdf", ".svg")

# The colours of Okabe and Ito, told apart by colour-blind eyes.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

# Line, marker and colour of the methods: told apart in grey, too.
METHOD_STYLE: Final[dict[str, dict[str, Any]]] = {
    "momentc": {"linestyle": "-", "marker": "o"},
    "paper": {"linestyle": (0, (1, 1.2)), "marker": "s", "markerfacecolor": "white"},
    "random": {"linestyle": "-", "marker": "x", "color": "#999999"},
    "kmeans": {"linestyle": "-", "marker": "^", "color": "#555555"},
}


def check_plot(path: str) -> None:
    """Refuse, before any computing, a plot that could not be drawn.

    Raises
    ------
    UsageError
        The suffix is not known, or matplotlib is not installed.
    """
    format_of(path)
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UsageError(
            "--plot needs matplotlib, which is not installed: pip install 'momentc[plot]'"
        )


def format_of(path: str) -> str:
    """Return 'png', 'pdf' or 'svg'."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"--plot is {path!r}; expected a name that ends in {', '.join(FORMATS)}")
    return suffix[1:]


def new_figure(n_rows: int, n_columns: int, panel: tuple[float, float], **sharing: Any) -> Any:
    """Return (figure, axes (n_rows, n_columns)); needs no screen and keeps no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Room for title and legend, whatever the number of panels.
    size = (max(7.5, panel[0] * n_columns), panel[1] * n_rows + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, **sharing)
    for axis in axes.flat:
        axis.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def mark_sizes(axis: Any, sizes: Iterable[float]) -> None:
    """Put the ticks of the x axis where the data are, few enough to be read."""
    wanted = sorted(set(sizes))
    step = -(-len(wanted) // 6)
    shown = wanted[::-1][::step][::-1]
    axis.set_xticks(shown, [_short(size) for size in shown])
    axis.set_xticks([], minor=True)


def _short(size: float) -> str:
    """``500``, ``16k``, ``1.5M``."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{size / unit:.4g}{name}"
    return f"{size:g}"


def order_colours(orders: list[int]) -> dict[int, Any]:
    """Return a colour for every order, from dark to light: ordered also in grey."""
    from matplotlib import colormaps

    scale = colormaps["viridis"]
    return {
        order: scale(0.05 + 0.85 * place / max(1, len(orders) - 1))
        for place, order in enumerate(orders)
    }


def render(figure: Any, path: str) -> bytes:
    """Return the figure as the bytes of a file of the format that the name asks for.

    Free of dates, so the same figure is the same bytes.
    """
    stream = io.BytesIO()
    kind = format_of(path)
    stamps = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(stream, format=kind, dpi=150, metadata=stamps[kind])
    return stream.getvalue()
