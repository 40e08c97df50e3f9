"""Training sets: the loss and its gradient are kept, and batches draw by weight."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader

from momentc.errors import InputError, RequestError, UsageError
from momentc.learn import CompressedDataset, WeightedSampler, compress_dataset, weighted_mean


def samples(d: int = 3000) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = 2.0 * torch.rand(d, 2, generator=generator) - 1.0
    y = torch.sin(3.0 * x[:, :1]) + x[:, 1:] ** 2 + 0.3 * torch.randn(d, 1, generator=generator)
    return x, y


@pytest.fixture
def kept() -> CompressedDataset:
    return compress_dataset(*samples(), k=3, target=200)


def test_a_dataset_says_what_it_is_in_a_line(kept: CompressedDataset) -> None:
    """Torch writes out tensors of up to a thousand numbers."""
    assert repr(kept) == (
        "<CompressedDataset: 200 samples, x (200, 2) torch.float32, y (200, 1) torch.float32, "
        "total weight 3000>"
    )


def test_samples_are_rows_of_the_original(kept: CompressedDataset) -> None:
    x, y = samples()
    assert len(kept) == 200
    assert torch.equal(kept.x, x[kept.index])
    assert torch.equal(kept.y, y[kept.index])
    assert kept.x.dtype == torch.float32
    assert kept.weights.dtype == torch.float64
    assert math.isclose(float(kept.weights.sum()), 3000.0, rel_tol=1e-13)
    assert max(kept.error[:4]) < 1e-13


def test_the_loss_of_a_linear_model_is_exact(kept: CompressedDataset) -> None:
    """The squared error of a model of degree 1 is a polynomial of degree 2 in (x, y)."""
    x, y = samples()
    model = nn.Linear(2, 1).double()
    whole = ((model(x.double()) - y) ** 2).mean()
    losses = (model(kept.x.double()) - kept.y) ** 2
    few = weighted_mean(losses, kept.weights)
    wanted = torch.autograd.grad(whole, list(model.parameters()))
    found = torch.autograd.grad(few, list(model.parameters()))
    assert torch.isclose(few, whole, rtol=1e-12)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_training_follows_the_whole_set_and_not_a_random_part() -> None:
    """Full batches, as in Fig. 3: after the same steps, the same network (section 4)."""
    x, y = samples()
    kept = compress_dataset(x, y, k=4, target=300)
    part = torch.randperm(len(x))[:300]

    def trained(inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            loss = weighted_mean((model(inputs) - targets) ** 2, weights)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return model(x).detach()  # type: ignore[no-any-return]

    whole = trained(x, y, torch.ones(len(x)))
    few = trained(kept.x, kept.y, kept.weights)
    random = trained(x[part], y[part], torch.ones(300))
    assert (few - whole).abs().mean() < 0.01 * (random - whole).abs().mean()


def test_batches_draw_by_weight_and_by_seed(kept: CompressedDataset) -> None:
    def draws(seed: int) -> list[int]:
        sampler = WeightedSampler(kept.weights, 40_000, torch.Generator().manual_seed(seed))
        assert len(sampler) == 40_000
        return list(sampler)

    first = draws(7)
    assert first == draws(7)
    assert first != draws(8)
    counts = torch.bincount(torch.tensor(first), minlength=200)
    shares = kept.weights / kept.weights.sum()
    deviation = (counts - 40_000 * shares) / (40_000 * shares * (1 - shares)).sqrt()
    assert deviation.abs().max() < 4.5
    assert 0.8 < float(deviation.pow(2).mean()) < 1.25


def test_a_loader_takes_them(kept: CompressedDataset) -> None:
    def batches(whole_batches: bool) -> list[Tensor]:
        sampler = WeightedSampler(kept.weights, 64, torch.Generator().manual_seed(0))
        if whole_batches:
            batch_sampler = BatchSampler(sampler, 16, drop_last=False)
            loader = DataLoader(kept, sampler=batch_sampler, batch_size=None)
        else:
            loader = DataLoader(kept, sampler=sampler, batch_size=16)
        return [x for x, _ in loader]

    one_by_one, at_once = batches(False), batches(True)
    assert [tuple(x.shape) for x in one_by_one] == [(16, 2)] * 4
    assert all(torch.equal(a, b) for a, b in zip(one_by_one, at_once, strict=True))


def test_weights_come_in_and_shapes_stay() -> None:
    x = torch.randn(500, 1, 2, dtype=torch.float64)
    y = torch.randint(0, 5, (500,))
    given = torch.rand(500) + 0.5
    kept = compress_dataset(x, y, k=2, target=40, weights=given)
    assert kept.x.shape == (40, 1, 2)
    assert kept.y.shape == (40,)
    assert kept.y.dtype == torch.int64
    whole = (given.double() * x[:, 0, 0] * y).sum()
    few = (kept.weights * kept.x[:, 0, 0] * kept.y).sum()
    assert torch.isclose(few, whole, rtol=1e-12)


def test_weighted_mean() -> None:
    losses = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    found = weighted_mean(losses, torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(0.25 * 2.0 + 0.75 * 6.0)
    assert weighted_mean(losses, torch.ones(2)).item() == losses.mean().item()


def test_misuse_is_named() -> None:
    x, y = samples(400)
    with pytest.raises(RequestError, match=r"2 inputs and 1 targets, m = 3 .*C\(3\+5,5\) = 56"):
        compress_dataset(x, y, k=5, target=50)
    with pytest.raises(UsageError, match="x has 400 samples and y has 399"):
        compress_dataset(x, y[1:], k=2, target=50)
    with pytest.raises(UsageError, match="expected real numbers"):
        compress_dataset(x.to(torch.complex64), y, k=2, target=50)
    x[3, 1] = float("nan")
    with pytest.raises(InputError):
        compress_dataset(x, y, k=2, target=50)
    with pytest.raises(UsageError, match="reduction='none'"):
        weighted_mean(torch.tensor(1.0), torch.ones(2))
    for bad in (torch.zeros(3), torch.tensor([1.0, -1.0, 1.0]), torch.ones(2, 2)):
        with pytest.raises(UsageError, match="weights must be"):
            WeightedSampler(bad, 10)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64])
def test_integers_that_float64_does_not_hold(dtype: torch.dtype) -> None:
    """Rounded, their moments would be those of other numbers."""
    x, _ = samples(500)
    y = (torch.arange(500) + 2**60).to(dtype)
    with pytest.raises(InputError, match=r"y holds integers .* subtract what they have in common"):
        compress_dataset(x, y, k=1, target=60)
    with pytest.raises(InputError, match="weights holds integers"):
        compress_dataset(x, x, k=1, target=60, weights=y)
    with pytest.raises(InputError, match="y holds integers"):
        compress_dataset(x, torch.full((500,), 2**63 - 1, dtype=dtype), k=1, target=60)
    few = (torch.arange(500) + 2**50).to(dtype)
    assert len(compress_dataset(x, few, k=1, target=60)) == 60


def test_what_is_no_tensor_of_numbers() -> None:
    x, y = samples(100)
    for bad, said in (
        (x.numpy(), "x is a ndarray"), ([[1.0, 2.0]], "x is a list"), (x[:0], "has shape"),
        (x.to_sparse(), "layout"), (x.to("meta"), "meta device"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            compress_dataset(bad, y[: len(bad)], k=1, target=10)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"weights has type torch.complex64"):
        compress_dataset(x, y, k=1, target=10, weights=torch.ones(100, dtype=torch.complex64))
    with pytest.raises(UsageError, match="weights is a ndarray"):
        WeightedSampler(x[:, 0].abs().numpy(), 10)  # type: ignore[arg-type]
    for losses in (torch.ones(3, dtype=torch.int64), torch.ones(3, 0)):
        with pytest.raises(UsageError, match="expected floating-point numbers"):
            weighted_mean(losses, torch.ones(3))


@pytest.mark.parametrize(
    "light", [slice(0, 1), slice(0, 1500), slice(0, 3000, 3), slice(2000, 3000)]
)
def test_samples_of_weight_0_count_for_nothing_wherever_they_stand(light: slice) -> None:
    x, y = samples()
    weights = torch.linspace(1.0, 2.0, 3000, dtype=torch.float64)
    weights[light] = 0.0
    kept = compress_dataset(x, y, k=2, target=100, weights=weights)
    assert torch.equal(kept.x, x[kept.index])
    assert bool((weights[kept.index] > 0.0).all())
    z, kept_z = torch.cat([x, y], 1).double(), torch.cat([kept.x, kept.y], 1).double()
    for power in (1, 2):
        wanted = weights @ z**power
        assert torch.allclose(kept.weights @ kept_z**power, wanted, rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64])
def test_weights_of_small_types_are_added_up_in_a_larger_one(dtype: torch.dtype) -> None:
    weights = torch.arange(1, 201).repeat(400).to(dtype)
    losses = torch.arange(80_000.0)
    exact = float((weights.double() @ losses.double()) / weights.double().sum())
    assert float(weighted_mean(losses, weights)) == pytest.approx(exact, rel=1e-5)


@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning")
def test_quantized_samples_are_refused() -> None:
    x = torch.quantize_per_tensor(samples()[0], 0.1, 0, torch.qint8)
    with pytest.raises(UsageError, match="x is quantized"):
        compress_dataset(x, samples()[1], k=1, target=10)
