"""Largest moment error over many kinds of data, measured by code of its own.

    python benchmarks/moment_error.py

Nothing of momentc is used for the measurement: plain powers in extended precision (numpy's
longdouble), in the frame that the command line's contract defines. Every case is compressed with
and without weights over 15 decades. Exit code 1 if a case is above its limit.
"""

import itertools
import math
import sys
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

import momentc

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1e-12
HIGH_ORDER_LIMIT = 1e-11
MOST_MOMENTS = 500
N_POINTS = 3000


def moment_error(points: NDArray, weights: NDArray, kept: momentc.WeightedSet, k: int) -> float:
    """Largest difference of normalised moments of degree <= k in the frame of the points."""
    wide = np.longdouble
    mass = weights.astype(wide)
    mass = mass / mass.sum()
    center = (mass[:, None] * points).sum(axis=0)
    local = points.astype(wide) - center
    scale = np.abs(local).max(axis=0)
    scale[scale == 0] = 1
    local = local / scale
    other = (kept.points.astype(wide) - center) / scale
    other_mass = kept.weights.astype(wide)
    other_mass = other_mass / other_mass.sum()
    m = points.shape[1]
    worst = abs(math.fsum(kept.weights) / math.fsum(weights) - 1.0)
    for degree in range(1, k + 1):
        for chosen in itertools.combinations_with_replacement(range(m), degree):
            one = np.prod(local[:, chosen], axis=1) @ mass
            two = np.prod(other[:, chosen], axis=1) @ other_mass
            worst = max(worst, float(abs(one - two)))
    return worst


def kinds(m: int, rng: np.random.Generator) -> dict[str, NDArray]:
    """One set of points of each kind, with m columns."""
    mixture = rng.uniform(-1, 1, (8, m))[rng.integers(8, size=N_POINTS)]
    uniform = rng.uniform(-1, 1, (N_POINTS, m))
    with h5py.File(ROOT / "sample_data" / "photograph.h5") as file:
        pixels = file["pixels"][:]
    rows = rng.integers(len(pixels), size=(N_POINTS, 2))
    two_pixels = np.hstack([pixels[rows[:, 0]], pixels[rows[:, 1]]])[:, :m]
    return {
        "uniform": uniform,
        "gaussian mixture": mixture + rng.normal(size=(N_POINTS, m)) * 0.05,
        "pixels": two_pixels.astype(np.float64),
        "duplicated": np.repeat(uniform[: N_POINTS // 3], 3, axis=0),
        "offset 1e8": uniform + 1e8,
    }


def run() -> bool:
    """Print one line a case; tell whether all hold their limit."""
    rng = np.random.default_rng(0)
    held = True
    for m in range(1, 7):
        for name, points in kinds(m, rng).items():
            plain = weighted = 0.0
            for k in range(1, 7):
                n_moments = math.comb(m + k, k)
                if n_moments > MOST_MOMENTS:
                    continue
                target = max(n_moments, 300)
                equal = np.ones(len(points))
                kept = momentc.compress(points, k, target)
                plain = max(plain, moment_error(points, equal, kept, k))
                unequal = 10.0 ** rng.uniform(-15, 0, len(points))
                kept = momentc.compress(points, k, target, unequal)
                weighted = max(weighted, moment_error(points, unequal, kept, k))
            ok = max(plain, weighted) <= LIMIT
            held &= ok
            print(
                f"m={m} {name:17s} k=1..6  equal weights {plain:.1e}  "
                f"15 decades {weighted:.1e}  {'ok' if ok else 'ABOVE ' + str(LIMIT)}",
                flush=True,
            )
    for m, k in ((1, 40), (2, 15), (3, 10)):
        points = rng.uniform(-1, 1, (N_POINTS, m))
        weights = np.ones(len(points))
        kept = momentc.compress(points, k, math.comb(m + k, k) + 50, weights)
        error = moment_error(points, weights, kept, k)
        ok = error <= HIGH_ORDER_LIMIT
        held &= ok
        print(
            f"m={m} uniform           k={k:<4d} {error:.1e}  {'ok' if ok else 'ABOVE'}", flush=True
        )
    return held


if __name__ == "__main__":
    sys.exit(0 if run() else 1)
