"""group_norm against its formula written out in float64, gradients included."""

import pytest
import torch

from diffsda.kernels.group_norm import group_norm


def formula(x, weight, bias, groups, scale=None, shift=None, act="silu", eps=1e-5):
    n, c, h, w = x.shape
    slab = x.reshape(n, groups, -1)
    mean = slab.sum(2, keepdim=True) / slab.shape[2]
    variance = ((slab - mean) ** 2).sum(2, keepdim=True) / slab.shape[2]  # the biased one
    y = ((slab - mean) / (variance + eps) ** 0.5).reshape(n, c, h, w)
    y = y * weight.view(1, c, 1, 1) + bias.view(1, c, 1, 1)
    if scale is not None:
        y = y * scale.view(n, c, 1, 1) + shift.view(n, c, 1, 1)
    return y / (1 + torch.exp(-y)) if act == "silu" else y


def inputs(grad=False):
    shapes = [(3, 8, 3, 5), (8,), (8,), (3, 8), (3, 8)]
    return [torch.randn(s, dtype=torch.float64, requires_grad=grad) for s in shapes]


@pytest.mark.parametrize("act", ["silu", "none"])
@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("groups", [1, 4, 8])
def test_formula(act, modulated, groups):
    x, weight, bias, scale, shift = inputs()
    modulation = {"scale": scale, "shift": shift} if modulated else {}
    wanted = formula(x, weight, bias, groups, act=act, **modulation)
    before = x.clone()
    torch.testing.assert_close(group_norm(x, weight, bias, groups=groups, act=act, **modulation), wanted)
    assert torch.equal(x, before)
    single = [t.float() for t in (x, weight, bias)]
    low = group_norm(*single, groups=groups, act=act, **{k: v.float() for k, v in modulation.items()})
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("act", ["silu", "none"])
def test_gradients(act):
    def call(x, weight, bias, scale, shift):
        return group_norm(x, weight, bias, groups=4, scale=scale, shift=shift, act=act)

    assert torch.autograd.gradcheck(call, inputs(True))
    x, weight, bias = inputs(True)[:3]
    assert torch.autograd.gradcheck(lambda *a: group_norm(*a, groups=2, act=act), (x, weight, bias))


def test_modulation_in_float32_of_a_half_precision_clip_keeps_its_type():
    x, weight, bias, scale, shift = inputs()
    half = [t.to(torch.bfloat16) for t in (x, weight, bias)]
    y = group_norm(*half, groups=4, scale=scale.float(), shift=shift.float())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), formula(x, weight, bias, 4, scale, shift), rtol=0.1, atol=0.1)


def test_dropout_drops_its_share_and_keeps_the_mean():
    x = torch.randn(4, 32, 32, 32)
    whole = group_norm(x, torch.ones(32), torch.full((32,), 2.0), groups=4, act="none")
    dropped = group_norm(x, torch.ones(32), torch.full((32,), 2.0), groups=4, act="none", dropout=0.25)
    zeros = (dropped == 0).float().mean().item()
    assert zeros == pytest.approx(0.25, abs=0.01)
    torch.testing.assert_close(dropped[dropped != 0], whole[dropped != 0] / 0.75)


@pytest.mark.parametrize("joined", [False, True], ids=["one source", "two sources"])
def test_a_constant_a_channel_is_added_first(joined):
    x, weight, bias, scale, shift = inputs(True)
    offset = torch.linspace(-3, 3, 8, dtype=torch.float64, requires_grad=True)
    wanted = formula(x + offset[:, None, None], weight, bias, 4, scale, shift)

    def call(x, weight, bias, scale, shift, offset):
        sources = {"skip": x[:, 5:]} if joined else {}
        first = x[:, :5] if joined else x
        return group_norm(first, weight, bias, groups=4, scale=scale, shift=shift, offset=offset, **sources)

    given = (x, weight, bias, scale, shift, offset)
    torch.testing.assert_close(call(*given), wanted)
    assert torch.autograd.gradcheck(call, given)


def test_a_large_constant_is_not_rounded_to_half_precision():
    x, weight, bias, *_ = inputs()
    half = x.to(torch.bfloat16)
    offset = torch.full((8,), 300.0)  # bfloat16 counts in twos there
    y = group_norm(half, weight.float(), bias.float(), groups=4, offset=offset)
    assert y.dtype == torch.bfloat16
    exact = formula(half.double() + 300, weight, bias, 4)
    assert (y - exact).norm() < 1e-2 * exact.norm()
    rounded = formula((half + offset.bfloat16()[:, None, None]).double(), weight, bias, 4)
    assert (rounded - exact).norm() > 0.1 * exact.norm()


def test_a_constant_a_channel_compiles_whole():
    x, weight, bias, scale, shift = (t.float() for t in inputs())
    offset = torch.randn(8, requires_grad=True)

    def call(x, offset):
        return group_norm(x, weight, bias, groups=4, scale=scale, shift=shift, offset=offset)

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, offset), call(x, offset))
    torch._dynamo.reset()


def test_refusals():
    x, weight, bias, scale, shift = inputs()
    for offset in (torch.zeros(7), torch.zeros(3, 8), torch.zeros(8, dtype=torch.int64), torch.zeros(8, device="meta")):
        with pytest.raises(ValueError, match=r"got offset .*, expected \(8,\) of a floating-point type"):
            group_norm(x, weight, bias, groups=4, offset=offset)
    with pytest.raises(ValueError, match="got offset of type float"):
        group_norm(x, weight, bias, groups=4, offset=0.5)
    with pytest.raises(ValueError, match="multiple of 3"):
        group_norm(x, weight, bias, groups=3)
    with pytest.raises(ValueError, match=r"expected \(3, 8\)"):
        group_norm(x, weight, bias, groups=4, scale=scale[:1], shift=shift)
    with pytest.raises(ValueError, match="relu"):
        group_norm(x, weight, bias, groups=4, act="relu")
