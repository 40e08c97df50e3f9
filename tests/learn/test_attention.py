"""Attention: heads are objects, and W_Q W_K is kept to machine precision (Appendix F)."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from momentc.errors import InputError, RequestError, UsageError
from momentc.learn import HeadSum, compress_heads, compress_query_key, fold
from momentc.learn.layers import Mode


def attention(n_heads: int = 1500) -> HeadSum:
    return HeadSum(
        1, 1, n_heads, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def tokens() -> Tensor:
    return torch.rand(8, 9, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_it_is_multi_head_attention() -> None:
    """Against torch's own, with the same matrices."""
    n, heads, dim = 6, 3, 2
    ours = HeadSum(n, n, heads, dim, causal=True, dtype=torch.float64)
    theirs = nn.MultiheadAttention(n, heads, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        joined = [part.reshape(heads * dim, n) for part in (ours.query, ours.key, ours.value)]
        theirs.in_proj_weight.copy_(torch.cat(joined))
        theirs.out_proj.weight.copy_(ours.out.permute(1, 0, 2).reshape(n, heads * dim))
    x = torch.randn(4, 5, n, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    wanted, _ = theirs(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)
    torch.testing.assert_close(ours(x), wanted)
    torch.testing.assert_close(ours(x, last=True), wanted[:, -1])


@pytest.mark.parametrize("mode", ["folded", "dynamic"])
def test_fewer_heads_compute_the_same(mode: Mode) -> None:
    whole = attention()
    before = copy.deepcopy(whole.state_dict())
    small = compress_heads(whole, k=3, target=400, mode=mode)
    assert all(torch.equal(before[name], value) for name, value in whole.state_dict().items())
    assert small.module.n_heads == len(small.index) == 400
    assert float(small.weights.sum()) == pytest.approx(1500.0)
    assert torch.equal(small.module.key, whole.key[small.index])
    wanted = whole(tokens())
    first = HeadSum(1, 1, 400, 2)
    for name in ("query", "key", "value", "out"):
        kept = getattr(whole, name)[:400]
        setattr(first, name, nn.Parameter(kept * 1500 / 400 if name == "out" else kept))
    miss = (small.module(tokens()) - wanted).abs().max()
    assert miss < 0.02 * (first(tokens()) - wanted).abs().max()


def test_weights_of_one_change_no_bit_of_the_training() -> None:
    whole = attention(40)
    small = compress_heads(whole, k=2, target=45, mode="dynamic").module
    for net in (whole, small):
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(10):
            optimizer.zero_grad()
            net(tokens(), last=True).square().mean().backward()
            optimizer.step()
    for a, b in zip(small.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


def test_heads_that_stand_for_copies_move_as_they_do() -> None:
    narrow, wide = attention(50), attention(150)
    with torch.no_grad():
        for name in ("query", "key", "value", "out"):
            getattr(wide, name).copy_(getattr(narrow, name).repeat(3, 1, 1))
    small = compress_heads(wide, k=1, target=50, mode="dynamic")
    folded = compress_heads(wide, k=1, target=50, mode="folded").module
    outputs = []
    for net in (wide, small.module, folded):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(10):
            optimizer.zero_grad()
            (net(tokens(), last=True) - 1.0).square().mean().backward()
            optimizer.step()
        outputs.append(net(tokens()).detach())
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-9, atol=1e-12)
    assert (outputs[2] - outputs[0]).abs().max() > 1e-3


@pytest.mark.parametrize("d", [500, 5000])
def test_query_and_key_compress_to_a_constant_size_exactly(d: int) -> None:
    """Eq. (92): the sanity check of the theory, at machine precision."""
    generator = torch.Generator().manual_seed(d)
    query = torch.randn(3, d, generator=generator, dtype=torch.float64)
    key = torch.randn(d, 2, generator=generator, dtype=torch.float64)
    q, k = compress_query_key(query, key)
    assert k.shape == (math.comb(3 + 2 + 2, 2), 2)
    size = torch.linalg.matrix_norm(query.abs() @ key.abs())
    assert torch.linalg.matrix_norm(q @ k - query @ key) < 1e-14 * size


def test_query_and_key_in_float32() -> None:
    query, key = torch.randn(2, 800), torch.randn(800, 2)
    q, k = compress_query_key(query, key, target=40)
    assert q.dtype == torch.float32
    assert q.shape == (2, 40)
    torch.testing.assert_close(q @ k, query @ key, rtol=1e-4, atol=1e-3)


def test_misuse_is_named() -> None:
    with pytest.raises(RequestError, match=r"heads of dimension 2 .* m = 8 .*C\(8\+3,3\) = 165"):
        compress_heads(attention(), k=3, target=100)
    with pytest.raises(UsageError, match="mode must be one of"):
        compress_heads(attention(9), mode="other")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"expected \(a, d\) and \(d, b\)"):
        compress_query_key(torch.ones(3, 4), torch.ones(3, 4))
    with pytest.raises(UsageError, match="n_heads must be at least 1"):
        HeadSum(1, 1, 0, 2)
    with pytest.raises(UsageError, match="n_inputs must be at least 1"):
        HeadSum(0, 1, 2, 2)
    with pytest.raises(UsageError, match=r"expected a momentc.learn.HeadSum"):
        compress_heads(nn.MultiheadAttention(4, 2))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected floating-point numbers"):
        compress_query_key(torch.ones(3, 40, dtype=torch.int64), torch.ones(40, 3))


def test_heads_beyond_the_range_of_the_type() -> None:
    heads = HeadSum(1, 1, 500, 1).half()
    with torch.no_grad():
        heads.out.copy_(20_000.0 * torch.sign(heads.out))
    with pytest.raises(InputError, match=r"folded heads are beyond the range of torch.float16"):
        compress_heads(heads, 1, 20)
    query = 30_000.0 * torch.sign(torch.randn(2, 400, generator=torch.Generator().manual_seed(1)))
    with pytest.raises(InputError, match="folded columns of W_Q are beyond the range"):
        compress_query_key(query.half(), torch.randn(400, 2).half())


def test_a_saved_state_of_weighted_heads() -> None:
    small = compress_heads(HeadSum(1, 1, 400, 1), 2, 50, mode="dynamic").module
    fresh = HeadSum(1, 1, 50, 1)
    fresh.c = torch.ones(50)
    fresh.load_state_dict(small.state_dict())
    tokens = torch.ones(2, 3, 1)
    assert torch.equal(fresh(tokens), small(tokens))


def test_fold_takes_in_the_weights_of_heads() -> None:
    class Block(nn.Module):
        def __init__(self, heads: HeadSum) -> None:
            super().__init__()
            self.heads = heads

        def forward(self, x: Tensor) -> Any:
            return x + self.heads(x)

    small = Block(compress_heads(attention(300), k=2, target=80, mode="dynamic").module)
    plain = fold(small)
    assert isinstance(plain.get_submodule("heads"), HeadSum)
    assert plain.get_submodule("heads").c is None
    assert small.heads.c is not None, "the original is not changed"
    torch.testing.assert_close(plain(tokens()), small(tokens()))


def test_heads_that_are_not_just_a_sum_are_refused() -> None:
    class Doubled(HeadSum):
        def forward(self, tokens: Tensor, *, last: bool = False) -> Tensor:
            return 2.0 * super().forward(tokens, last=last)

    with pytest.raises(UsageError, match=r"Doubled; expected a momentc\.learn\.HeadSum itself"):
        compress_heads(Doubled(1, 1, 200, 2), k=1, target=50)
    hooked = attention(200)
    hooked.register_forward_hook(lambda module, inputs, output: output / module.n_heads)
    with pytest.raises(UsageError, match="has hooks"):
        compress_heads(hooked, k=1, target=50)
    normed = nn.utils.parametrizations.weight_norm(attention(200), "out")
    with pytest.raises(UsageError, match=r"HeadSum itself"):
        compress_heads(normed, k=1, target=50)
    with pytest.raises(UsageError, match="on the meta device"):
        compress_heads(attention(200).to("meta"), k=1, target=50)
    with pytest.raises(UsageError, match="n_inputs must be an integer"):
        HeadSum(1.5, 1, 2, 2)  # type: ignore[arg-type]
