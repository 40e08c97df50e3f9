"""Error and time of ``momentc.compress`` against the numbers that the paper's authors published.

    python benchmarks/against_the_paper.py error [--trials 20] [--d 1000:64000] [--effort normal]
    python benchmarks/against_the_paper.py time [--effort normal]

``error`` draws the published trials again (see ``published/README.md``) and compares the mean
absolute error of Eq. (13), cell by cell, over the cells whose published error is above 1e-14.
``time`` is the median of five compress calls, in this process, after a warm-up. With ``--effort``
``low`` momentc does what the published algorithm does, and no more.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import momentc

PUBLISHED = Path(__file__).resolve().parent / "published"
FLOOR = 1e-14
ROUNDING = 1e-17


def rows(name: str) -> list[dict[str, str]]:
    """Read one of the published tables."""
    with (PUBLISHED / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sigmoid_mean(points: NDArray, weights: NDArray, directions: NDArray) -> float:
    """Return Eq. (13) of the paper."""
    values = 1.0 / (1.0 + np.exp(-points @ directions))
    return float(weights @ values.mean(axis=1) / weights.sum())


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")


def compare_errors(trials: int, d_range: tuple[int, int], effort: str) -> None:
    """Print the ratio of each cell, and the geometric means."""
    ratios: dict[tuple[int, int, int], float] = {}
    for row in rows("fig2_error.csv"):
        m, k, d, target = (int(row[key]) for key in ("m", "k", "d", "target"))
        published = float(row["mean_abs_error"])
        if published < FLOOR or not d_range[0] <= d <= d_range[1]:
            continue
        errors = []
        for trial in range(trials):
            rng = np.random.default_rng(m + d + trial)
            directions = 2 * rng.random((m, 10)) - 1
            points = 2 * rng.random((d, m)) - 1
            kept = momentc.compress(points, k, target, effort=effort)
            exact = sigmoid_mean(points, np.ones(d), directions)
            errors.append(abs(sigmoid_mean(kept.points, kept.weights, directions) - exact))
        ratios[m, k, d] = max(float(np.mean(errors)), ROUNDING) / published
        print(
            f"m={m} k={k} d={d:6d} target={target:5d}  ours {np.mean(errors):.2e}  "
            f"published {published:.2e}  ratio {ratios[m, k, d]:.3g}",
            flush=True,
        )
    values = list(ratios.values())
    print(f"\n{len(values)} cells, geometric mean of the ratios {geometric_mean(values):.3f}")
    for m in range(1, 6):
        of_m = [ratio for cell, ratio in ratios.items() if cell[0] == m]
        print(f"  m={m}: {geometric_mean(of_m):.3g}")
    above = sorted(((ratio, cell) for cell, ratio in ratios.items() if ratio > 1), reverse=True)
    print(f"  above 1: {len(above)} " + ", ".join(f"{cell}: {ratio:.2f}" for ratio, cell in above))


def compare_times(effort: str, repeats: int = 5) -> None:
    """Print the speed-up of each cell of Fig. 6, and the geometric mean."""
    speed_ups = []
    for row in rows("fig6_runtime.csv"):
        m, k, d, target = (int(row[key]) for key in ("m", "k", "d", "target"))
        points = np.random.default_rng(m + d).uniform(-1, 1, (d, m))
        seconds = []
        for repeat in range(repeats + 1):
            start = time.perf_counter()
            momentc.compress(points, k, target, effort=effort)
            if repeat:
                seconds.append(time.perf_counter() - start)
        ours, published = float(np.median(seconds)), float(row["mean_seconds"])
        speed_ups.append(published / ours)
        print(
            f"m={m} d={d:6d} target={target:5d}  {ours:8.4f} s  published {published:10.3f} s  "
            f"{published / ours:7.0f} x",
            flush=True,
        )
    print(f"\ngeometric mean {geometric_mean(speed_ups):.0f} x, least {min(speed_ups):.0f} x")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("error", "time"))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--d", default="1000:64000")
    parser.add_argument("--effort", default="normal", choices=("low", "normal", "high"))
    arguments = parser.parse_args()
    if arguments.what == "time":
        compare_times(arguments.effort)
    else:
        first, last = map(int, arguments.d.split(":"))
        compare_errors(arguments.trials, (first, last), arguments.effort)


if __name__ == "__main__":
    main()
