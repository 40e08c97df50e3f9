"""The figure of a scan: error against d, or against the target, one panel a dimension or family."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from momentc.study.drawing import (
    COLOURS,
    METHOD_STYLE,
    mark_sizes,
    new_figure,
    order_colours,
    render,
)
from momentc.study.fit import FLOOR, theory_exponent
from momentc.study.summary import FIXED_ALONG, PUBLISHED, keeps_fraction, line_variable

__all__ = ["draw_polylog", "draw_scan"]

Row = dict[str, Any]

# The smallest error that is drawn: rounding may give 0, which has no place on a log axis.
LEAST_DRAWN: Final = 1e-17

FORMULAS: Final = {"eq13": "sigmoid means, Eq. (13)", "eq98": "rational means, Eq. (98)"}


def draw_scan(
    rows: Sequence[Row],
    exponents: Sequence[Row],
    path: str,
    fraction: float | None = None,
    rank: int | None = None,
) -> bytes:
    """Return the figure of the rows of :func:`momentc.study.summary.means`.

    Several m: a panel for each m with the paper's function, and one with the fitted exponents.
    One m: a panel for each family.

    Parameters
    ----------
    rows, exponents : sequence of dict
    path : str
        Its ending says what to draw with.
    fraction : float or None
        Part of d that is kept; None where the targets were given.
    rank : int, optional
        Affine rank of the rows. Default: all columns are independent.
    """
    ms = sorted({row["m"] for row in rows})
    families = list(rows[0]["errors"])
    published = [name for name in PUBLISHED if name in families]
    along = line_variable(rows, fraction)
    fixed = sorted({row[FIXED_ALONG[along]] for row in rows}) if fraction is None else []
    # Several lines of a method and an order: the more objects, the thicker.
    thickness = {at: 0.6 + 1.6 * i / len(fixed) for i, at in enumerate(fixed, start=1)}
    widths = thickness if len(fixed) > 1 else {}
    if len(ms) > 1:
        name = published[0] if published else families[0]
        panels = [(f"m = {m}", m, name) for m in ms]
        title = f"Error of {FORMULAS.get(name, name)}"
        shown = [row for row in exponents if row["family"] == name and row["theory"]]
    else:
        panels = [(FORMULAS.get(name, name), ms[0], name) for name in families]
        dependent = "" if rank in {None, ms[0]} else f", {rank} of them independent"
        title = f"Error of the function panel, m = {ms[0]}{dependent}"
        shown = []
    count = len(panels) + bool(shown)
    n_columns = 2 if count in {2, 4} else min(3, count)
    n_rows = math.ceil(count / n_columns)
    figure, axes = new_figure(n_rows, n_columns, (4.3, 3.3))
    orders = sorted({row["k"] for row in rows if row["k"]})
    colours = order_colours(orders)
    flat = list(axes.flat)
    has_theory = False
    for axis, (name_of_panel, m, family) in zip(flat, panels, strict=False):
        mine = [row for row in rows if row["m"] == m]
        has_theory |= _draw_panel(
            axis, mine, family, along, fraction, colours, widths, m if rank is None else rank
        )
        axis.set_title(name_of_panel, fontsize=10)
        axis.set_xlabel("objects d" if along == "d" else "objects kept")
        axis.set_ylabel("mean |error|")
    if shown:
        _draw_exponents(flat[len(panels)], shown, ms)
    for axis in flat[len(panels) + bool(shown) :]:
        axis.set_visible(False)
    _one_scale(flat[: len(panels)], together=len(ms) > 1)
    for axis in flat[: len(panels)]:
        _mark_floor(axis)
    labels = {f"{FIXED_ALONG[along]} = {at:,}": width for at, width in widths.items()}
    _legend(figure, rows, orders, colours, labels, has_theory=has_theory)
    trials = max(row["trials"] for row in rows)
    worst = max((row["moment_error"] for row in rows if row["method"] == "momentc"), default=None)
    checked = "" if worst is None else f"; momentc's moments up to k agree to {worst:.0e}"
    figure.suptitle(f"{title} ({trials} trial{'s' * (trials > 1)}{checked})", fontsize=11)
    return render(figure, path)


def draw_polylog(rows: Sequence[Row], path: str) -> bytes:
    """Return the figure of the rows of :func:`momentc.study.summary.polylog_rows` (Fig. 8)."""
    ms = sorted({row["m"] for row in rows})
    figure, axes = new_figure(1, len(ms), (5.0, 3.6))
    rules = {1: "120 log d", 2: "20 log² d"}
    for axis, m in zip(axes.flat, ms, strict=True):
        for method in dict.fromkeys(row["method"] for row in rows):
            line = [row for row in rows if row["m"] == m and row["method"] == method]
            style = {"color": "#0072b2", **METHOD_STYLE[method]}
            error = [max(row["mean_least_error"], LEAST_DRAWN) for row in line]
            axis.errorbar(
                [row["d"] for row in line], error,
                yerr=[
                    [min(row["std"], 0.9 * e) for row, e in zip(line, error, strict=True)],
                    [row["std"] for row in line],
                ],
                label=method, capsize=2, markersize=4, linewidth=1.2, **style,
            )  # fmt: skip
            for row, value in zip(line, error, strict=True):
                if row["median_k"]:
                    axis.annotate(
                        f"{row['median_k']:g}", (row["d"], value), xytext=(0, 6),
                        textcoords="offset points", fontsize=7, ha="center",
                    )  # fmt: skip
        axis.set(xscale="log", yscale="log", xlabel="objects d", ylabel="least mean |error|")
        axis.set_title(f"m = {m}: d → {rules[m]}", fontsize=10)
        mark_sizes(axis, (row["d"] for row in rows if row["m"] == m))
        _mark_floor(axis)
    axes.flat[0].legend(fontsize=8, frameon=False)
    figure.suptitle("Polylogarithmic compression, Eq. (98); at each point the best order k")
    return render(figure, path)


def _draw_panel(
    axis: Any,
    rows: Sequence[Row],
    family: str,
    along: str,
    fraction: float | None,
    colours: dict[int, Any],
    widths: dict[int, float],
    rank: int,
) -> bool:
    """Draw a line for each method and order; where targets were given, for each d or target.

    Returns
    -------
    bool
        Whether the theory's slope stands beside one of them.
    """
    fixed = FIXED_ALONG[along]
    lines: dict[tuple[str, int, int], list[Row]] = {}
    for row in rows:
        # A method without an order has no use for the C(m+k, k) that another one must keep.
        if row["k"] or keeps_fraction(row, fraction):
            at = 0 if fraction is not None else row[fixed]
            lines.setdefault((row["method"], row["k"], at), []).append(row)
    drawn = False
    alike = Counter(_values(found, family, along) for found in lines.values())
    for (method, k, at), found in lines.items():
        line = sorted(found, key=lambda row: float(row[along]))
        x = [row[along] for row in line]
        y = [max(row["errors"][family]["mean_abs"], LEAST_DRAWN) for row in line]
        style = {"color": colours.get(k, "#000000"), **METHOD_STYLE[method]}
        # Of lines that are alike each shows as a rim around the next.
        values = _values(found, family, along)
        alike[values] -= 1
        rim = 2.0 * alike[values]
        axis.plot(x, y, markersize=4.0 + rim, linewidth=widths.get(at, 1.2) + rim, **style)
        has_theory = method == "momentc" and (fraction is not None or along == "target")
        theory = theory_exponent(rank, k, family)
        if has_theory and len(x) > 1 and theory is not None:
            drawn |= _theory_line(axis, x, y, theory, colours[k])
    axis.set(xscale="log", yscale="log")
    mark_sizes(axis, (row[along] for row in rows))
    return drawn


def _values(line: Sequence[Row], family: str, along: str) -> tuple[tuple[float, float], ...]:
    """Return what a line draws."""
    return tuple(sorted((row[along], row["errors"][family]["mean_abs"]) for row in line))


def _theory_line(axis: Any, x: list[float], y: list[float], exponent: float, colour: Any) -> bool:
    """Draw the theory's slope through the first point, as far as it stays above rounding."""
    if y[0] <= FLOOR:
        return False
    last = min(x[-1], x[0] * (y[0] / FLOOR) ** (1.0 / exponent))
    axis.plot(
        [x[0], last], [y[0], y[0] * (last / x[0]) ** -exponent],
        color=colour, linestyle=(0, (5, 3)), linewidth=0.8, alpha=0.7,
    )  # fmt: skip
    return True


def _mark_floor(axis: Any) -> None:
    """Shade what is rounding, if the axis comes near it."""
    low, high = axis.get_ylim()
    if low < 30.0 * FLOOR:
        axis.axhspan(LEAST_DRAWN / 10, FLOOR, color="#eeeeee", zorder=0)
        axis.text(
            0.01, FLOOR / 2.0, "rounding", fontsize=7, color="#777777", ha="left", va="top",
            transform=axis.get_yaxis_transform(),
        )  # fmt: skip
        low = min(max(low, LEAST_DRAWN / 3), FLOOR / 20.0)
        axis.set_ylim(low, max(high, 10.0 * FLOOR))


def _one_scale(axes: Sequence[Any], *, together: bool) -> None:
    """Panels of one function share their scale; families keep their own."""
    if together:
        low = min(axis.get_ylim()[0] for axis in axes)
        high = max(axis.get_ylim()[1] for axis in axes)
        for axis in axes:
            axis.set_ylim(low, high)


def _draw_exponents(axis: Any, rows: Sequence[Row], ms: Sequence[int]) -> None:
    """Fig. 2(e): fitted exponents against k, theory dashed."""
    fitted = [m for m in ms if any(row["m"] == m for row in rows)]
    for place, m in enumerate(fitted):
        colour = COLOURS[place % len(COLOURS)]
        beside = 0.06 * (place - (len(fitted) - 1) / 2)  # so that bars do not lie on each other
        for method in dict.fromkeys(row["method"] for row in rows):
            line = [row for row in rows if row["m"] == m and row["method"] == method]
            if line:
                axis.errorbar(
                    [row["k"] + beside for row in line], [row["exponent"] for row in line],
                    yerr=[row["standard_error"] for row in line], capsize=2, markersize=4,
                    linewidth=1.0, **{**METHOD_STYLE[method], "color": colour},
                )  # fmt: skip
        theory = {row["k"]: row["theory"] for row in rows if row["m"] == m}
        axis.plot(
            sorted(theory), [theory[k] for k in sorted(theory)], color=colour,
            linestyle=(0, (5, 3)), linewidth=0.8, label=f"m = {m}",
        )  # fmt: skip
    axis.set(xlabel="order k", ylabel="exponent of d")
    axis.set_xticks(sorted({row["k"] for row in rows}))
    axis.set_title("fitted exponents; dashed (k+1)/m + 0.5", fontsize=10)
    axis.legend(fontsize=7, frameon=False)


def _legend(
    figure: Any, rows: Sequence[Row], orders: list[int], colours: dict[int, Any],
    widths: dict[str, float], *, has_theory: bool,
) -> None:  # fmt: skip
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linewidth=1.2, markersize=4, label=method,
               **{"color": "#444444", **METHOD_STYLE[method]})
        for method in dict.fromkeys(row["method"] for row in rows)
    ]  # fmt: skip
    handles += [Line2D([], [], color=colours[k], linewidth=3, label=f"k = {k}") for k in orders]
    handles += [
        Line2D([], [], color="#444444", linewidth=width, label=label)
        for label, width in widths.items()
    ]
    if has_theory:
        handles.append(
            Line2D([], [], color="#444444", linestyle=(0, (5, 3)), linewidth=0.8,
                   label="slope (k+1)/m + 0.5")
        )  # fmt: skip
    figure.legend(
        handles=handles, loc="outside lower center", fontsize=8, frameon=False,
        ncols=min(len(handles), int(figure.get_figwidth() / 1.3)),
    )  # fmt: skip
