"""The compiled kernels, made ready on the first run in three parts, side by side.

numba compiles a kernel when it is first called and keeps it on the disk. One process compiles on
one core. So on a machine that has not compiled yet, two more processes take the tableau and what
stands around it, and this one everything else. Nothing depends on it: a kernel that is not ready
when it is needed is compiled then, as are the few of a line (``reduction/line.py``).
"""

import subprocess
import sys
from contextlib import suppress

import numpy as np

from momentc.clustering.duplicates import merge_duplicates
from momentc.clustering.greedy import SmallestGroups
from momentc.clustering.kmeans import kmeans_groups
from momentc.hybrid import most_compact
from momentc.moments.accumulate import Basis, accumulate_moments
from momentc.moments.features import legendre_features
from momentc.moments.frame_fit import fit_frame
from momentc.moments.multi_index import product_plan
from momentc.reduction.barycentre_pieces import compile_pieces
from momentc.reduction.compiled_apart import remove_points_address
from momentc.reduction.groups import compile_groups
from momentc.reduction.kernel_weights import kernel_matrix, kernel_sums

__all__ = ["compile_side_by_side"]

# Enough points for a barycentre tree and a few groups, of few moments.
POINTS = 400
ORDER = 1
BASES: tuple[Basis, ...] = ("monomial", "legendre")


def compile_side_by_side() -> None:
    """Compile what a compression calls, in this process and two others."""
    others: list[subprocess.Popen[bytes]] = []
    try:
        with suppress(OSError):  # no more processes allowed: compiled when they are needed
            others.extend(map(_start, PARTS))
        _compile_the_clustering_and_moments()
        for other in others:
            other.wait()
    finally:
        for other in others:
            other.kill()
            other.wait()


def _start(part: str) -> subprocess.Popen[bytes]:
    # Its garbage collector is off from the start: it ends before that could matter (see ``jit``).
    # Modules are looked for where this process found them, not in the current folder besides.
    code = (
        f"import gc, sys; gc.disable(); sys.path[:] = {sys.path!r}; "
        f"from momentc.kernels import PARTS; PARTS[{part!r}]()"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _compile_the_clustering_and_moments() -> None:
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (POINTS, 2))
    points[1] = points[0]
    weights = np.ones(POINTS)
    plan = product_plan(2, ORDER)
    seed = np.random.SeedSequence(0)
    # First what another process will come to as well.
    groups = kmeans_groups(points, 2.0 * plan.n_moments, plan.n_moments, seed)
    kmeans_groups(points, POINTS / 4.0, plan.n_moments, seed)  # in one leaf
    most_compact(points, groups, 1)
    merge_duplicates(points, weights)
    local = fit_frame(points, weights, k=1).apply(points)
    for basis in BASES:
        accumulate_moments(local, weights, ORDER, basis)
    legendre_features(local, plan)
    kernel_sums(local, local, weights, 1)
    kernel_matrix(local, 1)
    alive = np.arange(POINTS)
    SmallestGroups(local, alive, 1, plan.n_moments, seed).next(weights, 1)


def _compile_the_tableau_and_pieces() -> None:
    remove_points_address()
    # By now the others have compiled what the pieces share with them.
    compile_pieces()


# What the others take: a third of the work each.
PARTS = {"tableau": _compile_the_tableau_and_pieces, "groups": compile_groups}
