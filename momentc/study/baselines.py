"""What ``bench`` times beside momentc, pair by pair on the same points.

=========== ============================================================== ==================
name        what                                                           for which cells
=========== ============================================================== ==================
svd         Algorithm 2 of the paper, literally: one SVD a removed point,  small ones
            of the first N + 1 points that are left
paper       its Appendix D, k-means rounds and greedy (``study/paper.py``) small ones
pyrecombine the C++ library behind PyRecombine (extra ``momentc[bench]``)  target = C(m+k, k)
=========== ============================================================== ==================
"""

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from momentc.errors import UsageError
from momentc.moments.multi_index import product_plan
from momentc.study.methods import Dataset
from momentc.study.paper import compress_as_published, null_space, own_box_features

__all__ = ["BASELINES", "Baseline", "check_baselines", "why_not"]

Array = NDArray[np.float64]
Baseline = Callable[[Array, Array, int, int], tuple[NDArray[np.int64], Array]]

# What the slow ones are given at most for all runs of a cell, in units of about 6 ns: a minute. A
# step takes N^3 of them, and so many whatever N is.
MOST_WORK: Final = 1.0e10
STEP_WORK: Final = 3.0e4


def _svd(points: Array, weights: Array, k: int, target: int) -> tuple[NDArray[np.int64], Array]:
    """Algorithm 2: a null vector, a step to the first weight that vanishes, again."""
    plan = product_plan(points.shape[1], k)
    size = plan.n_moments + 1
    mass = weights.copy()
    alive = list(range(len(points)))
    while len(alive) > target:
        members = np.array(alive[:size])
        vector = null_space(own_box_features(points[members], plan))[:, 0]
        if not np.any(vector > 0.0):
            vector = -vector
        up = np.flatnonzero(vector > 0.0)
        ratios = mass[members[up]] / vector[up]
        first = int(np.argmin(ratios))
        mass[members] = np.maximum(mass[members] - ratios[first] * vector, 0.0)
        gone = up[first]
        mass[members[gone]] = 0.0
        del alive[gone]
    kept = np.array(alive, dtype=np.int64)
    return kept, mass[kept]


def _paper(points: Array, weights: Array, k: int, target: int) -> tuple[NDArray[np.int64], Array]:
    data = Dataset(points, weights)
    return compress_as_published(data.local, data.weights, k, target, seed=0)


def _pyrecombine(
    points: Array, weights: Array, k: int, _target: int
) -> tuple[NDArray[np.int64], Array]:
    from pyrecombine import recombine

    kept, found = recombine(points, weights=weights, degree=k)
    return np.asarray(kept, dtype=np.int64), np.asarray(found, dtype=np.float64)


BASELINES: Final[dict[str, Baseline]] = {
    "svd": _svd,
    "paper": _paper,
    "pyrecombine": _pyrecombine,
}


def check_baselines(names: Sequence[str]) -> None:
    """Refuse names that are no baselines, and libraries that are not installed.

    Raises
    ------
    UsageError
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise UsageError(
            f"--baseline names {', '.join(unknown)}; expected a list of {', '.join(BASELINES)}"
        )
    if "pyrecombine" in names and find_spec("pyrecombine") is None:
        raise UsageError(
            "--baseline pyrecombine needs PyRecombine, which is not installed: "
            "pip install 'momentc[bench]'"
        )


def why_not(name: str, cell: Any, repeats: int) -> str | None:
    """Return why a baseline does not do a cell of ``bench``; None if it does.

    Parameters
    ----------
    name : str
    cell : momentc.study.timing.BenchCell
    repeats : int
        Runs that would be timed.
    """
    n_moments = math.comb(cell.m + cell.k, cell.k)
    if name == "pyrecombine":
        return None if cell.target == n_moments else "only for target = C(m+k, k)"
    work = repeats * float(cell.d - cell.target) * (STEP_WORK + float(n_moments) ** 3)
    return None if work <= MOST_WORK else "too slow for this size"
