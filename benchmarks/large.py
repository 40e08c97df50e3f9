"""Whole commands on a file of 10^8 rows, beside the least that reading it takes, in one run.

    python benchmarks/large.py [ROWS] [--folder DIR] [--threads INT]

Makes ROWS x 3 float64 rows in an .npy file, then the same in gzip chunks of an .h5 file, compresses
each with whole processes, and deletes all, whatever happens. The moments of every result are
compared with sums in long doubles that take nothing from momentc. 10^8 rows need 3 GB of disk.
"""

import argparse
import itertools
import json
import math
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

COLUMNS = 3
ORDER = 3
TARGET = 10_000
MEMORY = "1G"
FEWER_ROWS = 1_000_000
BLOCK_ROWS = 1 << 20
CHUNK_ROWS = 1 << 16
CLUSTERS = 50

# Bytes on the disk for each byte of the rows: one file at a time (random digits do not get shorter)
# and some room.
DISK = 1.25

Array = NDArray[Any]


def rows_of(n_rows: int) -> Iterator[Array]:
    """Rows in clusters of different widths, block by block; the first ones of any number."""
    rng = np.random.default_rng(2025)
    centres = rng.normal(size=(CLUSTERS, COLUMNS)) * 4.0
    widths = rng.uniform(0.05, 1.0, CLUSTERS)
    for start in range(0, n_rows, BLOCK_ROWS):
        n = min(BLOCK_ROWS, n_rows - start)
        cluster = rng.integers(0, CLUSTERS, BLOCK_ROWS)[:n]
        noise = rng.normal(size=(BLOCK_ROWS, COLUMNS))[:n]
        yield centres[cluster] + widths[cluster, None] * noise


def make_npy(path: Path, n_rows: int) -> None:
    array = np.lib.format.open_memmap(path, "w+", np.float64, (n_rows, COLUMNS))
    start = 0
    for block in rows_of(n_rows):
        array[start : start + len(block)] = block
        start += len(block)
    array.flush()


def make_hdf5(path: Path, n_rows: int) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "x", (n_rows, COLUMNS), np.float64, compression="gzip", compression_opts=1,
            shuffle=True, chunks=(min(CHUNK_ROWS, n_rows), COLUMNS),
        )  # fmt: skip
        start = 0
        for block in rows_of(n_rows):
            dataset[start : start + len(block)] = block
            start += len(block)


class Frame:
    """Centre and scale by their definition, from the rows themselves."""

    def __init__(self, n_rows: int) -> None:
        total = np.zeros(COLUMNS, np.longdouble)
        low, high = np.full(COLUMNS, np.inf), np.full(COLUMNS, -np.inf)
        for block in rows_of(n_rows):
            total += block.sum(axis=0, dtype=np.longdouble)
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        self.center = total / n_rows
        self.scale = np.maximum(high - self.center, self.center - low)

    def moments(self, rows: Array, weights: Array | None = None) -> Array:
        """Sums of all monomials up to ORDER, in long doubles; by degree."""
        local = (rows.astype(np.longdouble) - self.center) / self.scale
        mass = np.ones(len(rows), np.longdouble) if weights is None else weights
        return np.array(
            [
                (mass * local[:, list(columns)].prod(axis=1)).sum(dtype=np.longdouble)
                for degree in range(ORDER + 1)
                for columns in itertools.combinations_with_replacement(range(COLUMNS), degree)
            ]
        )


def reference(n_rows: int) -> tuple[Frame, Array]:
    frame = Frame(n_rows)
    total = sum(
        (frame.moments(block) for block in rows_of(n_rows)),
        np.zeros(math.comb(COLUMNS + ORDER, ORDER), np.longdouble),
    )
    return frame, np.asarray(total)


def error_of(path: Path, frame: Frame, expected: Array) -> float:
    """Largest difference of a normalised moment, of rows and weights as numpy reads them."""
    with np.load(path, allow_pickle=False) as file:
        rows, weights = file["w"], file["c"].astype(np.longdouble)
    found = frame.moments(rows, weights)
    total = abs(found[0] / expected[0] - 1)
    return float(max(total, np.abs(found / found[0] - expected / expected[0]).max()))


def timed(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def mean_of(path: Path) -> None:
    np.load(path, mmap_mode="r").mean(axis=0)


def read_hdf5(path: Path) -> None:
    with h5py.File(path) as file:
        dataset = file["x"]
        for start in range(0, len(dataset), BLOCK_ROWS):
            dataset[start : start + BLOCK_ROWS]


def compress(path: Path, output: Path, threads: int) -> tuple[float, dict[str, Any]]:
    """Run the whole command; seconds on the clock, and its report."""
    command = [
        sys.executable, "-m", "momentc", "compress", str(path), "-k", str(ORDER),
        "-n", str(TARGET), "--memory", MEMORY, "-T", str(threads), "-o", str(output),
        "--force", "--json",
    ]  # fmt: skip
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"momentc failed with exit code {done.returncode}: {done.stderr}")
    return seconds, json.loads(done.stdout)


def measure(folder: Path, n_rows: int, threads: int) -> dict[str, float]:
    """Measure both files of so many rows; print a line for each; seconds of momentc by format."""
    frame, expected = reference(n_rows)
    kinds: list[tuple[str, str, Callable[[Path, int], None], str, Callable[[Path], None]]] = [
        ("npy", "x.npy", make_npy, "numpy mean over the mapped file", mean_of),
        ("h5", "x.h5", make_hdf5, "h5py read", read_hdf5),
    ]
    seconds = {}
    for kind, name, make, what, plain in kinds:
        path, output = folder / name, folder / f"{kind}.momentc.npz"
        make(path, n_rows)
        size = path.stat().st_size
        least = timed(lambda path=path, plain=plain: plain(path))
        taken, report = compress(path, output, threads)
        seconds[kind] = taken
        streamed = "streamed" if report["streamed"] else "in memory"
        error = error_of(output, frame, expected)
        print(
            f"{kind:>4}  {n_rows:>11,} rows, {size / 1e9:.2f} GB, {streamed}: momentc "
            f"{taken:.2f} s, {what} {least:.2f} s, ratio {taken / least:.1f}; "
            f"{n_rows / taken / 1e6:.2f} million rows a second; peak memory "
            f"{report['peak_memory'] / 2**20:.0f} MiB of {MEMORY}; moment error {error:.1e}",
            flush=True,
        )
        if not error <= report["tolerance"]:
            raise SystemExit(f"the moments of {output.name} are wrong by {error:.1e}")
        path.unlink()
        output.unlink()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="?", type=lambda text: int(float(text)), default=10**8)
    parser.add_argument("--folder", type=Path, help="where to make the files; default: $TMPDIR")
    parser.add_argument("--threads", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.rows < 2:
        parser.error(f"rows is {chosen.rows}; expected 2 or more")
    # So that the files are deleted then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    needed = int(chosen.rows * COLUMNS * 8 * DISK)
    with tempfile.TemporaryDirectory(prefix="momentc-large-", dir=chosen.folder) as name:
        folder = Path(name)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise SystemExit(
                f"{chosen.rows:,} rows need {needed / 1e9:.1f} GB, {folder.parent} has "
                f"{free / 1e9:.1f} GB free; give another --folder, or fewer rows"
            )
        # The very first run compiles.
        make_npy(folder / "few.npy", 50_000)
        compress(folder / "few.npy", folder / "few.npz", chosen.threads)
        fewer = min(FEWER_ROWS, chosen.rows // 2)
        first = measure(folder, fewer, chosen.threads)
        second = measure(folder, chosen.rows, chosen.threads)
        for kind, seconds in second.items():
            exponent = math.log(seconds / first[kind]) / math.log(chosen.rows / fewer)
            print(f"{kind:>4}  exponent {exponent:.2f} from {fewer:,} to {chosen.rows:,} rows")


if __name__ == "__main__":
    main()
