"""Errors of whole families of functions, against the paper's method on the same points.

    python benchmarks/families.py [--trials 4] [--effort low,normal,high]

Eleven sets of 2,000 or 4,000 points: uniform in 2 to 4 dimensions, mixtures of twenty Gaussians of
widths from 0.05 to 0.5, and pixels of the sample photograph, by colour and by place and colour.
Each is compressed to a tenth for k = 3 and 5, by momentc and by the published algorithm (Appendix
D, as ``momentc error-scan --method paper`` runs it). The ratio of the root-mean-square errors over
48 functions of each family, in the geometric mean over the trials; 4 trials scatter by a fifth.
"""

import argparse
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import momentc
from momentc.io.source import open_source
from momentc.moments.frame_fit import fit_frame
from momentc.panel import DEFAULT_FAMILIES, Panel, draw_panel
from momentc.study.paper import compress_as_published

PHOTOGRAPH = Path(__file__).resolve().parent.parent / "sample_data" / "photograph.h5"
WIDTH = 640
SETS = (
    *(("uniform", m, n) for m in (2, 3) for n in (2000, 4000)),
    ("uniform", 4, 4000),
    ("mixture 0.05", 2, 4000),
    ("mixture 0.5", 2, 4000),
    ("mixture 0.05", 3, 4000),
    ("mixture 0.3", 3, 4000),
    ("pixels", 3, 4000),
    ("pixels", 5, 4000),
)
ORDERS = (3, 5)
FRACTION = 0.1
ROUNDING = 1e-15

Array = NDArray[np.float64]


def draw(kind: str, m: int, n: int) -> tuple[Array, Array]:
    """Return distinct points in their frame, and how often each occurs."""
    random = np.random.default_rng([m, n])
    if kind == "uniform":
        points = random.uniform(-1.0, 1.0, (n, m))
    elif kind == "pixels":
        with open_source(str(PHOTOGRAPH)) as source:
            index = np.sort(random.choice(source.n_rows, n, replace=False))
            points = np.asarray(source.take(index), dtype=np.float64)
        if m == 5:
            points = np.column_stack([index // WIDTH, index % WIDTH, points])
    else:
        centres = random.normal(size=(20, m))
        noise = float(kind.split()[1]) * random.normal(size=(n, m))
        points = centres[random.integers(0, 20, n)] + noise
    points, counts = np.unique(points, axis=0, return_counts=True)
    weights = counts.astype(np.float64)
    return np.ascontiguousarray(fit_frame(points, weights, k=5).apply(points)), weights


def log_errors(panel: Panel, exact: Array, points: Array, weights: Array) -> Array:
    """Return the logarithm of each family's error."""
    errors = panel.compare(exact, panel.means(points, weights)).values()
    return np.log([max(error.rms, ROUNDING) for error in errors])


def main() -> None:
    """Print the ratios of each set, their geometric means and the largest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--effort", default="normal")
    arguments = parser.parse_args()
    efforts = arguments.effort.split(",")
    found: dict[str, list[Array]] = {effort: [] for effort in efforts}
    print(f"{'':46s}" + " ".join(f"{name:>8s}" for name in DEFAULT_FAMILIES))
    for kind, m, n in SETS:
        points, weights = draw(kind, m, n)
        for k in ORDERS:
            target = int(FRACTION * n)
            if target < 2 * comb(m + k, k):
                continue
            logs: dict[str, list[Array]] = {effort: [] for effort in efforts}
            for trial in range(arguments.trials):
                panel = draw_panel(points, weights, 100 + trial, "report", per_family=48)
                exact = panel.means(points, weights)
                index, paper_weights = compress_as_published(points, weights, k, target, trial)
                paper = log_errors(panel, exact, points[index], paper_weights)
                for effort in efforts:
                    done = momentc.compress(
                        points, k, target, weights=weights, random_state=trial, effort=effort
                    )
                    ours = log_errors(panel, exact, points[done.index], done.weights)
                    logs[effort].append(ours - paper)
            for effort in efforts:
                found[effort].append(np.mean(logs[effort], axis=0))
                name = f"{kind}, m={m}, d={n}, k={k}, {target} kept, {effort}"
                print(line(name, found[effort][-1]), flush=True)
    for effort, ratios in found.items():
        print(line(f"geometric mean, {effort}", np.mean(ratios, axis=0)))
        print(line(f"largest, {effort}", np.max(ratios, axis=0)))


def line(name: str, logs: Array) -> str:
    """Return a line of the table."""
    return f"{name:46s}" + " ".join(f"{ratio:8.3f}" for ratio in np.exp(logs))


if __name__ == "__main__":
    main()
