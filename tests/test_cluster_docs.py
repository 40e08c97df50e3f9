"""The job array of docs/cluster.md, run as it stands with stand-ins for what Slurm provides."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from momentc.cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cluster.md"
SCRIPTS = dict(
    re.findall(r"<!-- ([a-z]+\.sh) -->\n```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
)

# Each writes down what it was asked to do; momentc itself is then run in this process.
STAND_INS = {
    "sbatch": """
for word in "$@"; do printf '%s\\0' "$word"; done >> queue
printf '\\n' >> queue
[ "$1" = --parsable ] && echo "4711;cluster"
exit 0
""",
    "srun": 'exec "$@"',
    "scontrol": 'echo "$@" >> requeued',
    "momentc": """
for word in "$@"; do printf '%s\\0' "$word"; done >> commands
printf '\\n' >> commands
exit "${EXIT_CODE:-0}"
""",
}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a script of the page with bash, in a folder with a small big.h5; give its exit code."""
    monkeypatch.chdir(tmp_path)
    for name, text in SCRIPTS.items():
        Path(name).write_text(text)
    Path("bin").mkdir()
    for name, text in STAND_INS.items():
        path = Path("bin", name)
        path.write_text(f"#!/bin/bash\n{text}")
        path.chmod(0o755)

    def run(name: str, **variables: Any) -> int:
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        environment |= {key: str(value) for key, value in variables.items()}
        done = subprocess.run(["bash", name], env=environment, timeout=30, check=False)
        return done.returncode

    return run


def written(name: str) -> list[list[str]]:
    """Return the commands that a stand-in has written down, and forget them."""
    lines = Path(name).read_text().splitlines()
    Path(name).unlink()
    return [line.split("\0")[:-1] for line in lines]


def momentc(args: list[str]) -> Any:
    done = CliRunner().invoke(app, args, prog_name="momentc")
    assert done.exit_code == 0, done.stderr
    return done


def header(name: str, option: str) -> str:
    """Return the value of an #SBATCH line."""
    (value,) = re.findall(rf"^#SBATCH --{option}=(.*)$", SCRIPTS[name], re.MULTILINE)
    return str(value)


def test_all_scripts_are_found() -> None:
    assert list(SCRIPTS) == ["part.sh", "merge.sh", "submit.sh"]
    for script in SCRIPTS.values():
        done = subprocess.run(
            ["bash", "-n"], input=script, text=True, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_from_submission_to_the_result(shell: Callable[..., int], tmp_path: Path) -> None:
    points = np.random.default_rng(1).normal(size=(20_000, 3))
    with h5py.File("big.h5", "w") as file:
        file["x"] = points
    assert shell("submit.sh") == 0
    first, second = written("queue")
    assert first == ["--parsable", "part.sh"]
    assert second == ["--dependency=afterok:4711", "merge.sh"]

    low, high = map(int, header("part.sh", "array").split("-"))
    for task in reversed(range(low, high + 1)):
        code = shell(
            "part.sh",
            SLURM_ARRAY_TASK_ID=task,
            SLURM_ARRAY_TASK_COUNT=high - low + 1,
            SLURM_ARRAY_JOB_ID=4711,
        )
        assert code == 0
    for command in written("commands"):
        momentc([*command, "-q"])
    assert len(list(Path("parts").glob("*.h5"))) == 16
    assert shell("merge.sh") == 0
    (command,) = written("commands")
    momentc([*command, "-q"])
    verdict = json.loads(momentc(["verify-moments", "big.h5", "big.momentc.h5", "--json"]).stdout)
    assert verdict["ok"] is True
    assert verdict["made_from_original"] is True
    assert verdict["n_points"] == [20_000, 1000]
    assert not Path("requeued").exists()


def test_a_task_that_runs_out_of_time_is_requeued(shell: Callable[..., int]) -> None:
    task = {
        "SLURM_ARRAY_TASK_ID": 3, "SLURM_ARRAY_TASK_COUNT": 16, "SLURM_ARRAY_JOB_ID": 4711,
    }  # fmt: skip
    assert shell("part.sh", **task, EXIT_CODE=143) == 143
    assert Path("requeued").read_text() == "requeue 4711_3\n"
    Path("requeued").unlink()
    assert shell("part.sh", **task, EXIT_CODE=3) == 3
    assert not Path("requeued").exists()


def test_some_tasks_are_repeated(shell: Callable[..., int]) -> None:
    """Slurm counts two tasks then; the parts are still sixteen."""
    assert "`PARTS=16 sbatch --array=3,7 part.sh`" in PAGE.read_text("utf-8")
    for task in (3, 7):
        code = shell(
            "part.sh", SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT=2,
            SLURM_ARRAY_JOB_ID=4712, PARTS=16,
        )  # fmt: skip
        assert code == 0
    shards = [command[command.index("--shard") + 1] for command in written("commands")]
    assert shards == ["3/16", "7/16"]


def test_arrays_that_count_from_zero() -> None:
    text = "$((SLURM_ARRAY_TASK_ID + 1))/16"
    assert f"--shard {text}`" in PAGE.read_text("utf-8")
    done = subprocess.run(
        ["bash", "-c", f'echo "{text}"'], env={"SLURM_ARRAY_TASK_ID": "0"}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == "1/16\n"
