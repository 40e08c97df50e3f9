"""The first run: what is compiled side by side is what a compression needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = """
from numba.core import event

class Compiled(event.Listener):
    names = []
    def on_start(self, e):
        self.names.append(e.data["dispatcher"].py_func.__qualname__)
    def on_end(self, e):
        pass

import numpy as np
from momentc import compress, kernels

kernels.compile_side_by_side()
event.register("numba:compile", Compiled())
for m in (2, 3):
    points = np.random.default_rng(0).normal(size=(3000, m))
    points[7] = points[3]
    for target in (80, 700):
        compress(points, 2, target)
# So many that they are thinned by pieces.
compress(np.random.default_rng(0).normal(size=(20_000, 2)), 1, 3)
print(Compiled.names)
"""


@pytest.mark.skipif("MOMENTC_NIGHTLY" not in os.environ, reason="half a minute of compiling")
def test_nothing_is_left_to_compile(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PARTS], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]", done.stderr
