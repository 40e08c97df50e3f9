"""Checkpoints: bytes pass through, other programs read what is written, pickles are refused."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from momentc.errors import InputError
from momentc.io.safetensors import StoredTensor, decode_tensors, encode_tensors, read_tensors


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "a.weight": rng.normal(size=(5, 3)).astype(np.float32),
        "half": rng.normal(size=7).astype(np.float16),
        "double": rng.normal(size=(2, 2)),
        "steps": np.array(7, np.int64),
        "mask": np.array([True, False, True]),
        "none": np.zeros((0, 4), np.float32),
    }


def test_both_ways_through_the_package(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(tensors(), path, {"format": "pt", "note": "naïve"})
    file = read_tensors(path)
    assert file.metadata == {"format": "pt", "note": "naïve"}
    written = encode_tensors(file.tensors, file.metadata)
    found = safetensors.numpy.load(written)
    assert found.keys() == tensors().keys()
    for name, array in tensors().items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    again = decode_tensors(written, "again")
    assert again.metadata == file.metadata
    shuffled = dict(reversed(again.tensors.items()))
    assert encode_tensors(shuffled, dict(reversed(again.metadata.items()))) == written


def test_types_that_numpy_does_not_have_pass_through(tmp_path: Path) -> None:
    from safetensors.torch import load, save_file

    given = {
        "brain": torch.randn(4, 3).to(torch.bfloat16),
        "tiny": torch.randn(5).to(torch.float8_e4m3fn),
        "odd": torch.arange(3, dtype=torch.uint8),
    }
    path = tmp_path / "m.safetensors"
    save_file(given, path)
    file = read_tensors(path)
    found = load(encode_tensors(file.tensors, {}))
    for name, tensor in given.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].view(torch.uint8), tensor.view(torch.uint8))
    assert np.array_equal(file.tensors["brain"].as_float64(), given["brain"].double().numpy())
    assert not file.tensors["tiny"].is_float


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("F64", torch.float64),
        ("F32", torch.float32),
        ("F16", torch.float16),
        ("BF16", torch.bfloat16),
    ],
)
def test_numbers_are_rounded_as_torch_does(name: str, dtype: torch.dtype) -> None:
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0)).double()
    values = torch.cat([values, torch.tensor([0.0, -0.0, 1e-8, 1.00390625, 1.01171875, -65504.0])])
    wanted = values.float().to(dtype) if name == "BF16" else values.to(dtype)
    like = StoredTensor(name, (0,), b"")
    rounded = like.rounded(values.numpy())
    assert rounded.dtype == name
    assert rounded.data == wanted.view(torch.uint8).numpy().tobytes()
    assert np.array_equal(rounded.as_float64(), wanted.double().numpy())


def test_overflow_is_infinite() -> None:
    for name in ("F16", "BF16", "F32"):
        rounded = StoredTensor(name, (0,), b"").rounded(np.array([1e300, -1e300]))
        assert np.array_equal(rounded.as_float64(), [np.inf, -np.inf])


def test_rows_are_taken_bit_for_bit() -> None:
    array = tensors()["a.weight"]
    tensor = StoredTensor("F32", (5, 3), array.tobytes())
    kept = tensor.rows(np.array([0, 3]))
    assert kept.shape == (2, 3)
    assert kept.data == array[[0, 3]].tobytes()


def test_a_header_of_any_length_is_read() -> None:
    """A length whose lowest byte is that of a pickle is no pickle."""
    for size in range(200):
        data = encode_tensors({"x" * (size + 1): StoredTensor("U8", (1,), b"7")}, {})
        assert len(decode_tensors(data, "m").tensors) == 1


def test_bad_files_are_named(tmp_path: Path) -> None:
    good = safetensors.numpy.save(tensors())
    bad = tmp_path / "bad.safetensors"
    for data in (b"", b"x", good[:50], good[:-1], good + b"x", b"\xff" * 100):
        bad.write_bytes(data)
        with pytest.raises(InputError, match=r"bad\.safetensors is not a valid safetensors file"):
            read_tensors(bad)
    torch.save({"a": torch.ones(3)}, bad)
    with pytest.raises(InputError, match=r"torch\.save, which is a pickle"):
        read_tensors(bad)
    with pytest.raises(InputError, match=r"nope\.safetensors cannot be read: No such file"):
        read_tensors(tmp_path / "nope.safetensors")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_tensors(tmp_path)
