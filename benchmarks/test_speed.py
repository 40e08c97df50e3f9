"""How long the main operations take; every result that is timed is also checked.

``make bench`` times them, ``make test`` runs each once. The three sizes are cells of the paper's
Fig. 6; its own code takes 96 s, 86 s and 270 s for them on two cores.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from momentc.options import CompressOptions
from momentc.pipeline.points import compress_points

ROOT = Path(__file__).resolve().parent.parent
LARGEST_ERROR = 1e-12


@pytest.mark.parametrize(
    ("m", "k", "n_points", "target"),
    [(1, 5, 128_000, 12_800), (3, 5, 32_000, 3_200), (5, 5, 2_000, 252)],
    ids=["m1-k5-d128000", "m3-k5-d32000", "m5-k5-d2000"],
)
def test_compress_points(benchmark: Any, m: int, k: int, n_points: int, target: int) -> None:
    points = np.random.default_rng(m).uniform(size=(n_points, m))
    weights = np.ones(n_points)
    options = CompressOptions(k=k, target=target)
    result = benchmark.pedantic(
        compress_points, args=(points, weights, options), rounds=3, warmup_rounds=1
    )
    assert len(result.support) == target
    assert max(result.error[: k + 1]) <= LARGEST_ERROR


def run(*arguments: str | Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from momentc.cli import main; main()"
    command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def test_command_on_the_photograph(benchmark: Any, tmp_path: Path) -> None:
    """273,280 x 3 bytes to 1,000; exit code 0 says that the written file was verified."""
    command = ("compress", ROOT / "sample_data" / "photograph.h5", "-o", tmp_path / "o.h5", "-qf")
    benchmark.pedantic(run, args=command, rounds=3, warmup_rounds=1)


def test_command_on_a_small_file(benchmark: Any, tmp_path: Path) -> None:
    """2,000 x 3: mostly the time that the libraries take to load."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2_000, 3)))
    command = ("compress", tmp_path / "x.npy", "-n", "200", "-o", tmp_path / "o.h5", "-qf")
    benchmark.pedantic(run, args=command, rounds=3, warmup_rounds=1)


def test_help(benchmark: Any) -> None:
    benchmark.pedantic(run, args=("--help",), rounds=5, warmup_rounds=1)
