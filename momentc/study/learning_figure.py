"""The pictures of the experiments on training: losses by epoch (Figs. 3, 4, 7) and by size (5).

As in the paper: the full set or network green and dashed, the compressed orange, the random part
blue. A line is the geometric mean over the seeds, the band their whole range.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from momentc.study.drawing import new_figure, render
from momentc.study.verdicts import laws

__all__ = ["draw_curves", "draw_laws"]

Record = dict[str, Any]

# On the axis of sizes; more would run into each other.
MOST_TICKS: Final = 7

# Colours of Okabe and Ito.
STYLE: Final[dict[str, dict[str, Any]]] = {
    "random": {"color": "#0072B2", "linestyle": "-"},
    "compressed": {"color": "#E69F00", "linestyle": "-"},
    "full": {"color": "#009E73", "linestyle": (0, (4, 2))},
}


def draw_curves(
    records: Sequence[Record],
    titles: dict[str, str],
    heading: str,
    path: str,
    *,
    with_train: bool = False,
    truth: tuple[int, float] | None = None,
) -> bytes:
    """Return the figure of losses against epochs, a column a panel.

    Parameters
    ----------
    records : sequence of dict
        As :func:`momentc.learn.experiments.runs.record_of` makes them.
    titles : dict
        Panel to its title.
    heading : str
    path : str
        Its suffix chooses the format.
    with_train : bool
        A row of training losses above that of test losses.
    truth : (int, float), optional
        n and q: panel (a) shows ``J_n(q r) cos(n theta)``.
    """
    panels = list(dict.fromkeys(record["panel"] for record in records))
    n_rows = 2 if with_train else 1
    first = 0 if truth is None else 1
    figure, axes = new_figure(n_rows, first + len(panels), (3.1, 2.7 if with_train else 3.2))
    for column, panel in enumerate(panels, start=first):
        mine = [record for record in records if record["panel"] == panel]
        for axis, what in zip(
            axes[:, column], ("train", "test") if with_train else ("test",), strict=True
        ):
            _losses(axis, mine, what)
            axis.set(yscale="log")
            axis.xaxis.get_major_locator().set_params(integer=True)
            if column == first:
                axis.set_ylabel(f"{what} loss")
        label = f"({panel}) " if len(panels) + first > 1 else ""
        axes[0, column].set_title(f"{label}{titles[panel]}", fontsize=9)
        axes[-1, column].set_xlabel("epoch")
    if truth is not None:
        for axis in axes[1:, 0]:
            axis.set_visible(False)
        _harmonic(axes[0, 0], *truth)
    _legend(figure, records)
    figure.suptitle(heading, fontsize=11)
    return render(figure, path)


def draw_laws(records: Sequence[Record], titles: dict[str, str], heading: str, path: str) -> bytes:
    """Return the figure of final test losses against the number of objects (Fig. 5)."""
    panels = list(dict.fromkeys(record["panel"] for record in records))
    figure, axes = new_figure(1, len(panels), (4.6, 3.4))
    for axis, panel in zip(axes.flat, panels, strict=True):
        found = laws([record for record in records if record["panel"] == panel])
        for curve, law in found.items():
            x, y, low, high = (list(values) for values in zip(*law["points"], strict=True))
            name = "d" if curve == "full" else "d' = ⌈16√d⌉"
            exponent = f"{law['exponent']:.2f} ± {law['standard_error']:.2f}"
            label = f"{curve}, {name}: exponent {exponent}"
            style = {**STYLE[curve], "linestyle": "none"}
            axis.errorbar(
                x, y, yerr=np.abs([np.subtract(y, low), np.subtract(high, y)]), marker="o",
                markersize=4, capsize=2, linewidth=1.2, label=label, **style,
            )  # fmt: skip
            line = [math.exp(law["intercept"]) * size ** -law["exponent"] for size in x]
            axis.plot(x, line, linewidth=1.2, **STYLE[curve])
        axis.set(xscale="log", yscale="log", xlabel="objects", ylabel="final test loss")
        sizes = sorted({record["d"] for record in records if record["panel"] == panel})
        shown = sizes[:: -(-len(sizes) // MOST_TICKS)]
        axis.set_xticks(shown, [f"{size:,}" for size in shown], fontsize=8)
        axis.set_xticks([], minor=True)
        axis.set_title(f"({panel}) {titles[panel]}", fontsize=10)
        axis.legend(fontsize=7, frameon=False)
    figure.suptitle(heading, fontsize=11)
    return render(figure, path)


def _losses(axis: Any, records: Sequence[Record], what: str) -> None:
    for curve, style in STYLE.items():
        lines = [record for record in records if record["curve"] == curve]
        if not lines:
            continue
        epochs = lines[0]["epochs"]
        # The batches of an epoch have no mean before the first.
        begin = 1 if lines[0][what][0] is None else 0
        values = np.array([record[what][begin:] for record in lines], dtype=float)
        x = epochs[begin:]
        if len(lines) > 1:
            axis.fill_between(
                x, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.18,
                linewidth=0,
            )  # fmt: skip
        axis.plot(x, np.exp(np.log(values).mean(axis=0)), linewidth=1.6, **style)


def _harmonic(axis: Any, order: int, frequency: float) -> None:
    from scipy.special import jv

    x, y = np.meshgrid(*[np.linspace(-1.0, 1.0, 160)] * 2)
    value = jv(order, frequency * np.hypot(x, y)) * np.cos(order * np.arctan2(y, x))
    axis.imshow(value, extent=(-1, 1, -1, 1), origin="lower", cmap="RdBu_r")
    axis.grid(visible=False)
    axis.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    axis.set_title(f"(a) J{_lowered(order)}({frequency:g}r) cos({order}θ)", fontsize=9)


def _lowered(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _legend(figure: Any, records: Sequence[Record]) -> None:
    from matplotlib.lines import Line2D

    sizes = {
        record["curve"]: record["d"] if record["curve"] == "full" else record["target"]
        for record in records
    }
    handles = [
        Line2D([], [], linewidth=1.6, label=f"{curve}, {sizes[curve]:,}", **STYLE[curve])
        for curve in ("full", "compressed", "random")
        if curve in sizes
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
