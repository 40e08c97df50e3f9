"""Draw a photograph's pixels beside the few weighted colours that stand for them.

    python sample_data/demo_picture.py photograph.h5 photograph.momentc.h5 picture.png

The first file is made by make_samples.py, the second by ``momentc compress``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
import matplotlib.pyplot as plt

INK, PALE, ACCENT = "#22262b", "#8b949e", "#c2410c"
PANE = (0.80, 0.82, 0.84, 1.0)  # grey, so that white and black points both stand out
SHOWN_PIXELS = 25_000  # more only hide each other
LARGEST_MARKER = 900.0  # points squared, for the heaviest colour


def read(original: Path, compressed: Path) -> dict[str, Any]:
    """Both files as arrays; the compressed file's own account of its errors."""
    with h5py.File(original, "r") as file:
        pixels = file["pixels"][()]
        height, width = int(file.attrs["height"]), int(file.attrs["width"])
        credit = f"Photograph: {file.attrs['author']}, {file.attrs['licence'].split(',')[0]}"
    with h5py.File(compressed, "r") as file:
        return {
            "picture": pixels.reshape(height, width, 3),
            "pixels": pixels,
            "credit": credit,
            "colours": file["w"][()],
            "weights": file["c"][()],
            "about": json.loads(file.attrs["momentc"]),
        }


def draw_colours(
    axes: Any, colours: NDArray[np.uint8], sizes: Any, edge: float, title: str
) -> None:
    """Colours as points in the cube of red, green and blue, each in its own colour."""
    red, green, blue = colours.T.astype(float)
    axes.scatter(
        red, green, blue, c=colours / 255.0, s=sizes, alpha=0.85, linewidths=edge, edgecolors=INK,
        depthshade=False,
    )  # fmt: skip
    axes.set(xlim=(0, 255), ylim=(0, 255), zlim=(0, 255))
    axes.set(xticks=(0, 128, 255), yticks=(0, 128, 255), zticks=(0, 128, 255))
    axes.tick_params(labelsize=8, colors=PALE, pad=-1)
    for axis, name in ((axes.xaxis, "red"), (axes.yaxis, "green"), (axes.zaxis, "blue")):
        axis.set_label_text(name, fontsize=10, color=INK)
        axis.labelpad = 4 if name == "blue" else -4
        axis.set_pane_color(PANE)
        axis.line.set_color(PALE)
        axis._axinfo["grid"].update(color="#c3c9d0", linewidth=0.6)
    axes.view_init(elev=16, azim=-62)
    axes.set_box_aspect((1, 1, 1), zoom=1.03)
    axes.set_title(title, fontsize=13, color=INK, pad=0)


def draw_errors(axes: Any, about: dict[str, Any]) -> None:
    """Moment error by order, on a logarithmic scale: rounding up to k, small after it."""
    k, tolerance, floor = about["matched_order"], about["tolerance"], 1e-18
    error = np.maximum([value or 0.0 for value in about["error"]], floor)
    for order, value in enumerate(error):
        colour = INK if order <= k else ACCENT
        axes.plot((order, order), (floor / 10, value), color=colour, linewidth=5, alpha=0.25)
        axes.plot(order, value, "o", color=colour, markersize=9)
        text = "exact" if value == floor else f"{value:.0e}"
        axes.text(order, value * 6, text, ha="center", va="bottom", fontsize=10, color=colour)
    axes.axhline(tolerance, color=PALE, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.text(-0.5, tolerance * 2, "tolerance", color=PALE, fontsize=10, va="bottom")
    axes.set_yscale("log")
    axes.set(ylim=(floor / 10, 1e0), xlim=(-0.6, len(error) - 0.4), xticks=range(len(error)))
    axes.set_yticks([1e-16, 1e-12, 1e-8, 1e-4, 1])
    axes.set_xlabel("order of the moments", color=INK, fontsize=10)
    axes.set_title(f"Largest moment error: rounding up to order {k}", fontsize=13, color=INK, pad=8)
    bare(axes)


def bare(axes: Any) -> None:
    """Only the two sides of the frame that carry numbers."""
    axes.tick_params(colors=INK, labelsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_brightness(axes: Any, data: dict[str, Any]) -> None:
    """A quantity that nobody asked to keep: how much of the picture is darker than a value."""
    luma = np.array([0.299, 0.587, 0.114])
    whole = np.sort(data["pixels"] @ luma)
    axes.plot(whole, np.linspace(0, 1, len(whole)), color=PALE, linewidth=5, label="all pixels")
    kept = data["colours"] @ luma
    order = np.argsort(kept)
    share = np.cumsum(data["weights"][order]) / data["weights"].sum()
    axes.step(kept[order], share, where="post", color=INK, linewidth=1.2, label="kept colours")
    axes.set(xlim=(0, 255), ylim=(0, 1), xticks=(0, 64, 128, 192, 255), yticks=(0, 0.5, 1))
    axes.set_xlabel("brightness", color=INK, fontsize=10)
    axes.set_title("Share of pixels darker than ...", fontsize=13, color=INK, pad=8)
    axes.legend(frameon=False, fontsize=11, loc="upper left")
    bare(axes)


def draw(data: dict[str, Any], path: Path) -> None:
    """The whole picture."""
    about, pixels, weights = data["about"], data["pixels"], data["weights"]
    figure = plt.figure(figsize=(16, 10), dpi=110, facecolor="white")
    headline = (
        f"{len(pixels):,} pixels  \N{RIGHTWARDS ARROW}  {len(weights):,} weighted colours "
        f"with the same {about['n_moments']} moments"
    )
    figure.text(0.04, 0.945, headline, fontsize=22, color=INK, weight="bold")

    photograph = figure.add_axes((0.04, 0.45, 0.31, 0.45))
    photograph.imshow(data["picture"])
    photograph.set_axis_off()
    photograph.set_title(data["credit"], fontsize=11, color=INK, pad=10)

    shown = np.random.default_rng(0).choice(len(pixels), SHOWN_PIXELS, replace=False)
    cube = figure.add_axes((0.36, 0.40, 0.30, 0.50), projection="3d")
    draw_colours(cube, pixels[shown], 4.0, 0.0, f"{len(shown):,} of the {len(pixels):,} pixels")
    cube = figure.add_axes((0.68, 0.40, 0.30, 0.50), projection="3d")
    sizes = LARGEST_MARKER * weights / weights.max()
    title = f"The {len(weights):,} that are kept, area = weight"
    draw_colours(cube, data["colours"], sizes, 0.4, title)

    draw_brightness(figure.add_axes((0.06, 0.075, 0.40, 0.275)), data)
    draw_errors(figure.add_axes((0.55, 0.075, 0.41, 0.275)), about)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Take the three file names from the command line."""
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} photograph.h5 photograph.momentc.h5 picture.png")
    original, compressed, picture = (Path(name) for name in sys.argv[1:])
    draw(read(original, compressed), picture)


if __name__ == "__main__":
    main()
