"""The figure of ``bench``: seconds and memory against d, and where the time goes."""

from collections.abc import Sequence
from typing import Any, Final

from momentc.study.bench_summary import wrong_baselines
from momentc.study.drawing import COLOURS, mark_sizes, new_figure, render

__all__ = ["draw_bench"]

Record = dict[str, Any]

BASELINE_MARKERS: Final = {"svd": "x", "paper": "s", "pyrecombine": "^"}
STAGES: Final = (
    "frame", "moments", "reduction", "surplus matching", "final solve", "certificate",
)  # fmt: skip
MIB: Final = 2.0**20


def draw_bench(records: Sequence[Record], path: str, fraction: float | None = None) -> bytes:
    """Return the figure of the records of :func:`momentc.study.timing.measure_cell`.

    Parameters
    ----------
    records : sequence of dict
    path : str
        Its ending says what to draw with.
    fraction : float or None
        Part of d that is kept; None where the targets were given: a line for each.
    """
    lines = sorted({(r["m"], r["k"]) for r in records})
    colours = {line: COLOURS[i % len(COLOURS)] for i, line in enumerate(lines)}
    figure, axes = new_figure(1, 3, (4.6, 3.9))
    _draw_times(axes[0, 0], records, colours, by_target=fraction is None)
    _draw_memory(axes[0, 1], records, colours)
    _draw_stages(axes[0, 2], records)
    _legend(figure, records, colours)
    if all(record["ok"] for record in records):
        worst = max((record["moment_error"] for record in records), default=0.0)
        verdict = f"each of its results was verified: moment errors at most {worst:.0e}"
    else:
        wrong = sum(not record["ok"] for record in records)
        verdict = f"{wrong} of {len(records)} cells FAILED the verification"
    if wrong_ones := wrong_baselines(records):
        verdict += f"; results of {', '.join(wrong_ones)} FAILED it"
    figure.suptitle(f"Time and memory of momentc; {verdict}", fontsize=11)
    return render(figure, path)


def _draw_times(
    axis: Any, records: Sequence[Record], colours: dict[Any, str], *, by_target: bool
) -> None:
    most = max(record["threads"] for record in records)
    lines: dict[tuple[int, int, int, int | None], list[Record]] = {}
    for r in records:
        place = r["m"], r["k"], r["threads"], r["target"] if by_target else None
        lines.setdefault(place, []).append(r)
    for (m, k, threads, target), line in lines.items():
        line.sort(key=lambda record: int(record["d"]))
        colour = colours[m, k]
        axis.plot(
            [r["d"] for r in line], [r["seconds"] for r in line], marker="o", markersize=4,
            color=colour, linestyle="-" if threads == most else (0, (4, 2)), linewidth=1.2,
            markerfacecolor=colour if threads == most else "white",
        )  # fmt: skip
        if threads != most:
            continue
        if by_target and len({place[3] for place in lines if place[:2] == (m, k)}) > 1:
            axis.annotate(
                f"{target:,} kept", (line[-1]["d"], line[-1]["seconds"]), xytext=(-2, 4),
                textcoords="offset points", fontsize=6, ha="right", color=colour,
            )  # fmt: skip
        for name, marker in BASELINE_MARKERS.items():
            found = [
                (r["d"], r["baselines"][name]["seconds"])
                for r in line
                if r["baselines"].get(name, {}).get("ok", False)
            ]
            if found:
                axis.plot(
                    *zip(*found, strict=True), marker=marker, markersize=5, color=colour,
                    linestyle=":", linewidth=0.9, markerfacecolor="white",
                )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="objects d", ylabel="seconds (least of the runs)")
    mark_sizes(axis, (record["d"] for record in records))
    _slope_one(axis, records)
    axis.set_title("time", fontsize=10)


def _slope_one(axis: Any, records: Sequence[Record]) -> None:
    """Draw what grows in proportion to d, through the largest cell."""
    sizes = [record["d"] for record in records]
    if len(set(sizes)) < 2:
        return
    last = max(records, key=lambda record: (record["d"], record["seconds"]))
    first = min(sizes)
    axis.plot(
        [first, last["d"]], [last["seconds"] * first / last["d"] * 1.6, last["seconds"] * 1.6],
        color="#777777", linestyle=(0, (5, 3)), linewidth=0.9,
    )  # fmt: skip
    axis.annotate(
        "∝ d", (first, last["seconds"] * first / last["d"] * 1.6), color="#777777", fontsize=8,
        xytext=(0, 7), textcoords="offset points",
    )  # fmt: skip


def _draw_memory(axis: Any, records: Sequence[Record], colours: dict[Any, str]) -> None:
    for (m, k), colour in colours.items():
        line = [record for record in records if (record["m"], record["k"]) == (m, k)]
        most: dict[int, float] = {}
        for record in line:
            most[record["d"]] = max(most.get(record["d"], 0.0), record["peak_memory"] / MIB)
        axis.plot(
            sorted(most), [most[d] for d in sorted(most)], marker="o", markersize=4, color=colour,
            linewidth=1.2,
        )  # fmt: skip
    axis.set(xscale="log", xlabel="objects d", ylabel="MiB")
    axis.set_ylim(0, 1.1 * max(record["peak_memory"] for record in records) / MIB)
    mark_sizes(axis, (record["d"] for record in records))
    axis.set_title("peak memory of the process", fontsize=10)


def _draw_stages(axis: Any, records: Sequence[Record]) -> None:
    """Draw the parts of the time of the largest cell of each m and k."""
    largest: dict[tuple[int, int], Record] = {}
    for record in records:
        place = (record["m"], record["k"])
        if place not in largest or record["d"] >= largest[place]["d"]:
            largest[place] = record
    bars = [largest[place] for place in sorted(largest)]
    stages = list(dict.fromkeys(stage for record in bars for stage in record["stages"]))
    # The same in every figure, and none of a line's.
    colours = dict(zip([*STAGES, *(s for s in stages if s not in STAGES)], _pale(), strict=False))
    left = [0.0] * len(bars)
    for stage in stages:
        parts = [
            record["stages"].get(stage, 0.0) / sum(record["stages"].values()) for record in bars
        ]
        axis.barh(
            range(len(bars)), parts, left=left, color=colours.get(stage, "#bbbbbb"), label=stage,
            height=0.65, edgecolor="white", linewidth=0.5,
        )  # fmt: skip
        left = [a + b for a, b in zip(left, parts, strict=True)]
    axis.set_yticks(
        range(len(bars)), [f"m={r['m']} k={r['k']}\nd={r['d']:,}" for r in bars], fontsize=7
    )
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xlabel="part of the time")
    axis.grid(visible=False)
    axis.set_title("stages, largest cell of each line", fontsize=10, pad=34)
    axis.legend(
        fontsize=7, frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0),
        borderaxespad=0.2,
    )  # fmt: skip


def _pale() -> list[Any]:
    """Return colours beside which those of the lines stand out."""
    from matplotlib import colormaps

    return [colormaps["Set3"](i) for i in range(12)]


def _legend(figure: Any, records: Sequence[Record], colours: dict[Any, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=f"m = {m}, k = {k}")
        for (m, k), colour in colours.items()
    ]
    threads = sorted({record["threads"] for record in records})
    for count in threads:
        dashes: Any = "-" if count == threads[-1] else (0, (4, 2))
        word = "thread" if count == 1 else "threads"
        handles.append(
            Line2D([], [], color="#444444", linestyle=dashes, marker="o", markersize=4,
                   markerfacecolor="#444444" if count == threads[-1] else "white",
                   label=f"{count} {word}")
        )  # fmt: skip
    used = {name for r in records for name, other in r["baselines"].items() if other.get("ok")}
    handles += [
        Line2D([], [], color="#444444", linestyle=":", marker=BASELINE_MARKERS[name],
               markerfacecolor="white", label=name)
        for name in BASELINE_MARKERS if name in used
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(8, len(handles)), fontsize=8,
        frameon=False,
    )  # fmt: skip
