"""The figures of algorithm.md that are not printed by momentc itself.

    python docs/measure.py stages         what the limits between the stages do to the error
    python docs/measure.py basis          condition of the features, monomials and Legendre products

With momentc installed.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import momentc
from momentc import hybrid
from momentc.io.source import open_source
from momentc.moments.features import legendre_features
from momentc.moments.multi_index import product_plan

PHOTOGRAPH = Path(__file__).parent.parent / "sample_data" / "photograph.h5"
FAMILIES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sigmoid(2x)": lambda x: 1.0 / (1.0 + np.exp(-2.0 * x)),
    "cos(6x)": lambda x: np.cos(6.0 * x),
    "max(x, 0)": lambda x: np.maximum(x, 0.0),
    "share x > 0": lambda x: (x > 0.0).astype(float),
}

# A constant of the hybrid, the share of the points that is kept, and values of the constant.
LIMITS: tuple[tuple[str, float, tuple[float, ...]], ...] = (
    ("GREEDY_FROM", 0.05, (1.1, 1.5, 2.5, 4.0)),
    ("CELLS_UNTIL", 0.02, (1, 2, 4, 1000)),
)


def say(line: str) -> None:
    """Write one line as soon as it is known."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_pixels() -> NDArray[Any]:
    """Return the pixels of the sample photograph, (273280, 3) uint8."""
    with open_source(str(PHOTOGRAPH)) as source:
        return source.take(np.arange(source.n_rows))


def means(points: NDArray[Any], weights: NDArray[Any], directions: NDArray[Any]) -> list[Any]:
    """Return the weighted mean of each family along each direction."""
    x = points @ directions
    return [(weights / weights.sum()) @ family(x) for family in FAMILIES.values()]


def data_sets() -> list[NDArray[np.float64]]:
    """Return five sets of 20,000 points in [-1, 1]^m: uniform, mixtures, pixels."""
    rng = np.random.default_rng(0)
    n = 20_000
    sets = [rng.uniform(-1.0, 1.0, (n, m)) for m in (2, 3)]
    for m in (2, 3):
        centres = rng.normal(size=(20, m))
        sets.append(centres[rng.integers(0, 20, n)] + 0.2 * rng.normal(size=(n, m)))
    pixels = read_pixels()
    sets.append(pixels[np.sort(rng.choice(len(pixels), n, replace=False))].astype(float))
    return [2.0 * (x - x.min(axis=0)) / np.ptp(x, axis=0) - 1.0 for x in sets]


def stages() -> None:
    """Geometric mean over sets and seeds of the error, relative to the setting in use."""
    sets = data_sets()

    def errors(share: float) -> NDArray[Any]:
        logs = []
        for x in sets:
            directions = np.random.default_rng(5).normal(size=(x.shape[1], 20))
            exact = means(x, np.ones(len(x)), directions)
            for seed in range(3):
                kept = momentc.compress(
                    x, k=4, target=int(share * len(x)), random_state=seed, effort="low"
                )
                found = means(kept.points, kept.weights, directions)
                logs.append([
                    np.log(np.sqrt(np.mean((a - b) ** 2)) + 1e-17)
                    for a, b in zip(found, exact, strict=True)
                ])  # fmt: skip
        return np.asarray(np.mean(logs, axis=0))

    say("| setting | " + " | ".join(FAMILIES) + " |\n| --- |" + " --- |" * len(FAMILIES))
    for name, share, values in LIMITS:
        in_use = getattr(hybrid, name)
        reference = errors(share)
        for value in values:
            setattr(hybrid, name, value)
            ratios = np.exp(errors(share) - reference)
            mark = " (in use)" if value == in_use else ""
            say(f"| `{name}` {value}{mark} | " + " | ".join(f"{r:.2f}" for r in ratios) + " |")
        setattr(hybrid, name, in_use)


def basis() -> None:
    """Condition of the features of 2N random points of a box, as in a group of a round."""
    say("| m | k | N | powers in [0, 1] | powers in [-1, 1] | Legendre |\n|" + " --- |" * 6)
    rng = np.random.default_rng(0)
    for m, k in ((1, 5), (1, 15), (1, 40), (2, 15), (3, 5), (3, 10)):
        plan = product_plan(m, k)
        found = []
        unit = rng.uniform(0.0, 1.0, (2 * plan.n_moments, m))
        for x in (unit, 2.0 * unit - 1.0):
            powers = np.prod(x[:, None, :] ** plan.exponents[None], axis=2)
            found.append(np.linalg.cond(powers))
        box = 2.0 * (unit - unit.min(axis=0)) / np.ptp(unit, axis=0) - 1.0
        found.append(np.linalg.cond(legendre_features(box, plan)))
        say(f"| {m} | {k} | {plan.n_moments} | " + " | ".join(f"{c:.0e}" for c in found) + " |")


if __name__ == "__main__":
    WAYS = {"stages": stages, "basis": basis}
    if len(sys.argv) != 2 or sys.argv[1] not in WAYS:
        sys.exit(f"usage: python docs/measure.py {' | '.join(WAYS)}")
    WAYS[sys.argv[1]]()
