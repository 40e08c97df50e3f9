"""`momentc compress-layer`: a narrower network in a file, checked as written."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from momentc.errors import OutputError, UsageError, VerificationError
from momentc.io.safetensors import encode_tensors
from momentc.learn import checkpoint
from momentc.learn.checkpoint import compress_safetensors

from .conftest import Invoke, momentc_command

FACTS = """\
input         model.safetensors
output        model.momentc.safetensors
layer         fc1 -> fc2  (2 inputs, a bias, 1 outputs)
neurons       600 -> 100  (1 in 6.0)
moments       35 of order 0 to 3 (rank 4)
"""
COMMAND = ("compress-layer", "model.safetensors", "--layer", "fc1", "--k", "3", "--target", "100")

Tensors = dict[str, NDArray[Any]]


def network(width: int = 600) -> Tensors:
    rng = np.random.default_rng(0)
    return {
        "fc1.weight": rng.uniform(-1, 1, (width, 2)).astype(np.float32),
        "fc1.bias": rng.uniform(-1, 1, width).astype(np.float32),
        "fc2.weight": (rng.uniform(-1, 1, (1, width)) / width).astype(np.float32),
        "fc2.bias": np.array([0.25], np.float32),
        "head.weight": rng.normal(size=(3, 1)).astype(np.float32),
        "steps": np.array(12, np.int64),
    }


def output(tensors: Tensors, x: NDArray[np.float64]) -> NDArray[Any]:
    hidden = np.tanh(x @ tensors["fc1.weight"].T + tensors["fc1.bias"])
    result: NDArray[Any] = hidden @ tensors["fc2.weight"].T + tensors["fc2.bias"]
    return result


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(network(), path, {"format": "pt"})
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before, "the input was changed"
    left = [p.name for p in tmp_path.rglob("*") if "partial" in p.name or "lock" in p.name]
    assert not left, f"temporary files were left behind: {left}"


def test_the_table(invoke: Invoke, model: Path) -> None:
    outcome = invoke(*COMMAND)
    assert (outcome.code, outcome.stderr) == (0, "")
    facts, _, table = outcome.steady.partition("\n\n")
    unsteady = ("moment error", "rounding", "time", "peak memory")
    lines = [line for line in facts.splitlines() if not line.startswith(unsteady)]
    assert "\n".join(lines) + "\n" == FACTS
    assert "tolerance 1.0e-10: ok" in facts
    assert table.startswith("Error by order\n")


def test_the_network_computes_the_same(invoke: Invoke, model: Path, tmp_path: Path) -> None:
    outcome = invoke(*COMMAND, "-o", "small.safetensors", "--json")
    report = json.loads(outcome.text)
    assert report["ok"]
    assert report["n_kept"] == 100
    assert max(report["error"][:4]) < 1e-13
    assert 0.0 < report["rounding"] <= 2.0**-24
    whole, small = network(), safetensors.numpy.load_file(tmp_path / "small.safetensors")
    assert small.keys() == whole.keys()
    assert {name: array.shape for name, array in small.items()} == {
        "fc1.weight": (100, 2), "fc1.bias": (100,), "fc2.weight": (1, 100), "fc2.bias": (1,),
        "head.weight": (3, 1), "steps": (),
    }  # fmt: skip
    x = np.random.default_rng(1).uniform(-1, 1, (200, 2))
    miss = np.abs(output(small, x) - output(whole, x)).max()
    part: Tensors = {name: array[:100] for name, array in whole.items() if "fc1" in name}
    part |= {"fc2.weight": 6 * whole["fc2.weight"][:, :100], "fc2.bias": whole["fc2.bias"]}
    assert miss < 0.25 * np.abs(output(part, x) - output(whole, x)).max()


def test_the_file_records_neurons_and_weights(invoke: Invoke, model: Path, tmp_path: Path) -> None:
    assert invoke(*COMMAND, "-q").code == 0
    path = tmp_path / "model.momentc.safetensors"
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    record = json.loads(metadata["momentc:fc1"])
    index, c = record["index"], np.array(record["weights"])
    assert math.isclose(c.sum(), 600.0, rel_tol=1e-13)
    whole, small = network(), safetensors.numpy.load_file(path)
    assert np.array_equal(small["fc1.weight"], whole["fc1.weight"][index])
    assert np.array_equal(small["fc1.bias"], whole["fc1.bias"][index])
    folded = (whole["fc2.weight"][:, index].astype(np.float64) * c).astype(np.float32)
    assert np.array_equal(small["fc2.weight"], folded)
    for name in ("fc2.bias", "head.weight", "steps"):
        assert np.array_equal(small[name], whole[name])
    moment = np.sum(c * whole["fc1.weight"][index, 0].astype(float) ** 2 * whole["fc1.bias"][index])
    wanted = np.sum(whole["fc1.weight"][:, 0].astype(float) ** 2 * whole["fc1.bias"])
    assert math.isclose(moment, wanted, rel_tol=1e-10)


def test_the_same_command_gives_the_same_bytes(invoke: Invoke, model: Path, tmp_path: Path) -> None:
    for name, *more in (("a", "-T", "1"), ("b", "-T", "2"), ("c", "--seed", "1")):
        assert invoke(*COMMAND, "-q", "-o", f"{name}.safetensors", *more).code == 0
    a, b, c = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_exit_codes(invoke: Invoke, model: Path, tmp_path: Path) -> None:
    def fails(code: int, words: str, *args: str) -> None:
        outcome = invoke(*args)
        assert (outcome.code, outcome.stdout) == (code, b""), outcome.stderr
        assert words in outcome.stderr
        assert not (tmp_path / "model.momentc.safetensors").exists()

    fails(2, "has no tensor nope.weight; layers it could be: fc1, fc2, head", *COMMAND[:3], "nope")
    fails(
        2, "head.weight has shape (3, 1), expected (outputs, 600)", *COMMAND, "--outgoing", "head"
    )
    fails(2, "does not end in .safetensors", *COMMAND, "-o", "small.npz")
    fails(2, "expected the name of a .safetensors file", *COMMAND, "-o", "-")
    fails(2, "k must be at least 1", *COMMAND, "--k", "0")
    fails(3, "no.safetensors cannot be read", "compress-layer", "no.safetensors", "--layer", "fc1")
    fails(4, "2 inputs, a bias and 1 outputs, m = 4 columns", *COMMAND, "--k", "6")
    fails(4, "fc1 has 600 neurons; expected a target below that", *COMMAND, "--target", "600")
    fails(6, "is the input", *COMMAND, "-o", "model.safetensors", "--force")
    assert invoke(*COMMAND).code == 0
    again = invoke(*COMMAND)
    assert again.code == 6
    assert "exists" in again.stderr
    assert invoke(*COMMAND, "--force").code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc1.weight": np.ones((600, 2, 3, 3), np.float32)}, "convolutions cannot be compressed"),
        ({"fc1.weight": np.ones((600, 2), np.int64)}, "expected a matrix of F64, F32"),
        ({"fc1.bias": np.ones(5, np.float32)}, "expected (600,) numbers"),
        ({"fc1.weight": np.full((600, 2), np.nan, np.float32)}, "number 0 holds NaN"),
        ({"fc2.weight": np.full((1, 600), 6e4, np.float16)}, "beyond the range of F16"),
    ],
)
def test_tensors_that_will_not_do(
    invoke: Invoke, tmp_path: Path, change: Tensors, message: str
) -> None:
    safetensors.numpy.save_file(network() | change, tmp_path / "model.safetensors")
    outcome = invoke(*COMMAND, "--outgoing", "fc2")
    assert outcome.code == 3
    assert message in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_reader_is_found_or_asked_for(invoke: Invoke, tmp_path: Path) -> None:
    tensors = network()
    blocks = {f"blocks.{i}.{name}": array for i in range(2) for name, array in tensors.items()} | {
        "blocks.1.norm.weight": np.ones(600, np.float32)
    }
    safetensors.numpy.save_file(blocks, tmp_path / "model.safetensors")
    base = (*COMMAND[:2], "--k", "2", "--target", "50", "--json", "-f")
    first = invoke(*base, "--layer", "blocks.0.fc1")
    assert json.loads(first.text)["outgoing"] == "blocks.0.fc2"
    norm = invoke(*base, "--layer", "blocks.1.fc1")
    assert norm.code == 2
    assert "blocks.1.norm.weight has a number for each of 600" in norm.stderr
    assert invoke(*base, "--layer", "blocks.1.fc1", "--outgoing", "blocks.1.fc2").code == 0

    two = tensors | {"fc3.weight": tensors["fc2.weight"]}
    safetensors.numpy.save_file(two, tmp_path / "model.safetensors")
    several = invoke(*base, "--layer", "fc1")
    assert several.code == 2
    assert "Layers with as many inputs: fc2, fc3" in several.stderr


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("fc1.c_out", (600,), "fold it before"),
        ("fc2.c_in", (600,), "fold it before"),
        ("fc1.weight_scale", (600, 1), "no plain Linear layer"),
        ("fc1.lora_B.weight", (600, 4), "no plain Linear layer"),
        ("fc2.weight_mask", (1, 600), "no plain Linear layer"),
    ],
)
def test_layers_that_are_more_than_a_weight_and_a_bias(
    invoke: Invoke, tmp_path: Path, name: str, shape: tuple[int, ...], said: str
) -> None:
    """Left at their old size they would make another network, or none."""
    tensors = network() | {name: np.ones(shape, np.float32)}
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    outcome = invoke(*COMMAND, "--outgoing", "fc2")
    assert outcome.code == 2
    assert f"there is {name}" in outcome.stderr
    assert said in outcome.stderr
    assert not (tmp_path / "model.momentc.safetensors").exists()


def test_tensors_that_may_belong_to_the_neurons_are_named(invoke: Invoke, tmp_path: Path) -> None:
    tensors = network() | {
        "ln.scale": np.ones((1, 600), np.float32), "norm.ln.weight": np.ones(600, np.float32),
    }  # fmt: skip
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    outcome = invoke(*COMMAND)
    assert outcome.code == 0
    assert "ln.scale, norm.ln.weight: 600 numbers in a row or column" in outcome.stderr


def test_numbers_of_numpy(model: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "k": np.int64(3), "target": np.uint8(100), "random_state": np.int64(3),
        "tolerance": np.float32(1e-8),
    }  # fmt: skip
    report = compress_safetensors(model, "fc1", output=tmp_path / "small.safetensors", **options)
    assert (report["k"], report["target"], report["seed"]) == (3, 100, 3)
    for target in ("50", None, 50.0):
        with pytest.raises(UsageError, match="target must be an integer"):
            compress_safetensors(model, "fc1", 3, target, tmp_path / "no")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected the name of a file"):
        compress_safetensors(model, "fc1", 3, 100, "-")


def test_what_is_lost_to_the_type_is_told(tmp_path: Path) -> None:
    """Numbers below the least of the type count as well, in parts of the largest."""
    tensors = network()
    tensors["fc2.weight"] = np.full((1, 600), 1.4e-45, np.float32)
    safetensors.numpy.save_file(tensors, tmp_path / "m.safetensors")
    report = compress_safetensors(
        tmp_path / "m.safetensors", "fc1", 2, 80, tmp_path / "s.safetensors"
    )
    assert report["rounding"] > 1e-3


def test_the_index_of_a_checkpoint_in_several_files(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    outcome = invoke("compress-layer", "model.safetensors.index.json", "--layer", "fc1")
    assert outcome.code == 3
    assert "give the one that holds both layers" in " ".join(outcome.stderr.split())


def test_half_precision_and_no_bias(tmp_path: Path) -> None:
    """Rows stay as they are; only the folded columns are rounded, once, to their type."""
    import torch
    from safetensors.torch import load_file, save_file

    given = {name: torch.from_numpy(array) for name, array in network().items()}
    del given["fc1.bias"]
    given = {
        name: tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
        for name, tensor in given.items()
    }
    save_file(given, tmp_path / "m.safetensors")
    report = compress_safetensors(
        tmp_path / "m.safetensors", "fc1", 3, 80, tmp_path / "s.safetensors"
    )
    assert (report["rank"], report["has_bias"]) == (3, False)
    assert 2.0**-10 < report["rounding"] <= 2.0**-8
    small = load_file(tmp_path / "s.safetensors")
    assert small["fc1.weight"].dtype == torch.bfloat16
    assert small["fc2.weight"].shape == (1, 80)


def test_it_is_the_layer_that_the_module_gets(model: Path, tmp_path: Path) -> None:
    """The file and :func:`compress_layer` are two ways to the same network."""
    import torch
    from torch import nn

    from momentc.learn import compress_layer

    compress_safetensors(model, "fc1", 3, 100, tmp_path / "small.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "small.safetensors")
    net = nn.Sequential(nn.Linear(2, 600), nn.Tanh(), nn.Linear(600, 1))
    names = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    state = [torch.from_numpy(network()[name]) for name in names]
    net.load_state_dict(dict(zip(net.state_dict(), state, strict=True)))
    small = compress_layer(net, "0", k=3, target=100).module
    for name, value in zip(names, small.state_dict().values(), strict=True):
        assert np.array_equal(found[name], value.numpy())


def test_what_was_not_written_as_meant_gets_no_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(tensors: Any, metadata: Any) -> bytes:
        changed = dict(tensors)
        changed["fc1.weight"] = changed["fc1.weight"].rows(np.arange(100)[::-1])
        return encode_tensors(changed, metadata)

    def wrong_weights(tensors: Any, metadata: Any) -> bytes:
        record = json.loads(metadata["momentc:fc1"])
        record["weights"][0] *= 1.001
        return encode_tensors(tensors, metadata | {"momentc:fc1": json.dumps(record)})

    for encode in (wrong, wrong_weights):
        monkeypatch.setattr("momentc.learn.checkpoint.encode_tensors", encode)
        with pytest.raises(VerificationError, match="as written"):
            compress_safetensors(model, "fc1", 3, 100, tmp_path / "small.safetensors")
        assert not (tmp_path / "small.safetensors").exists()


def test_consistent_weights_that_miss_the_moments_get_no_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record and the folded columns agree with each other, and with nothing else."""

    def wrong(tensors: Any, metadata: Any) -> bytes:
        record = json.loads(metadata["momentc:fc1"])
        record["weights"][0] *= 1.001
        whole = network()["fc2.weight"].astype(np.float64)
        folded = tensors["fc2.weight"].rounded(whole[:, record["index"]] * record["weights"])
        return encode_tensors(
            tensors | {"fc2.weight": folded}, metadata | {"momentc:fc1": json.dumps(record)}
        )

    monkeypatch.setattr("momentc.learn.checkpoint.encode_tensors", wrong)
    with pytest.raises(VerificationError, match=r"fc1\.weight: the moments are off by"):
        compress_safetensors(model, "fc1", 3, 100, tmp_path / "small.safetensors")
    assert not (tmp_path / "small.safetensors").exists()


@pytest.mark.parametrize("how", ["itself", "symbolic link", "hard link"])
def test_the_input_is_never_replaced(model: Path, tmp_path: Path, how: str) -> None:
    """Not even by force; the fixture looks at its bytes."""
    output = model if how == "itself" else tmp_path / "small.safetensors"
    if how == "symbolic link":
        output.symlink_to(model)
    elif how == "hard link":
        output.hardlink_to(model)
    with pytest.raises(OutputError, match="Inputs are never replaced"):
        compress_safetensors(model, "fc1", 3, 100, output, force=True)
    assert output.samefile(model)


def test_torch_is_not_loaded(model: Path, tmp_path: Path) -> None:
    python, *code = momentc_command()
    done = subprocess.run(
        [python, "-X", "importtime", *code, *COMMAND, "-q"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "safetensors" in loaded
    assert "torch" not in loaded


def test_the_extra_may_be_missing() -> None:
    """Without torch and safetensors the messages name the extra."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None\n"
        "import momentc.learn\n"
        "try: momentc.learn.compress_layer\n"
        "except ImportError as error: print(error)\n"
        "from momentc.io.safetensors import decode_tensors\n"
        "try: decode_tensors(b'', 'm')\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(checkpoint.__file__).parents[2])},
        check=True,
    )
    assert done.stdout.count("pip install 'momentc[learn]'") == 2, done.stderr


def test_a_reader_in_another_module_is_not_guessed(invoke: Invoke, tmp_path: Path) -> None:
    tensors = {
        "encoder.fc.weight": np.random.default_rng(0).normal(size=(300, 2)),
        "norm.weight": np.ones(300),
        "head.weight": np.random.default_rng(1).normal(size=(1, 300)),
    }
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    command = (
        "compress-layer",
        "model.safetensors",
        "--layer",
        "encoder.fc",
        "-n",
        "60",
        "-k",
        "2",
    )
    outcome = invoke(*command)
    assert outcome.code == 2
    assert "Name it with outgoing (--outgoing). Layers with as many inputs: head" in outcome.stderr
    assert invoke(*command, "--outgoing", "head").code == 0


def test_a_vector_of_the_module_may_be_a_scale_of_its_neurons(
    invoke: Invoke, tmp_path: Path
) -> None:
    tensors = {f"mlp.{name}": value for name, value in network(300).items()}
    tensors["mlp.gamma"] = np.ones(300)
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    outcome = invoke("compress-layer", "model.safetensors", "--layer", "mlp.fc1", "-n", "100")
    assert outcome.code == 2
    assert "mlp.gamma has a number for each of 300 channels" in outcome.stderr


def test_a_bias_of_another_length_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    tensors = {**network(300), "fc2.bias": np.zeros(300, np.float32)}
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    outcome = invoke("compress-layer", "model.safetensors", "--layer", "fc1", "-n", "100")
    assert outcome.code == 3
    assert "fc2.bias has shape (300,), expected (1,)" in outcome.stderr


@pytest.mark.parametrize("name", [".", "/", ".."])
def test_a_folder_is_no_checkpoint(invoke: Invoke, model: Path, name: str) -> None:
    outcome = invoke("compress-layer", name, "--layer", "fc1", "-n", "100")
    assert outcome.code in {2, 3}
    assert "bug" not in outcome.stderr
