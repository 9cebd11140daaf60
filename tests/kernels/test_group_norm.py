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


def test_refusals():
    x, weight, bias, scale, shift = inputs()
    with pytest.raises(ValueError, match="multiple of 3"):
        group_norm(x, weight, bias, groups=3)
    with pytest.raises(ValueError, match=r"expected \(3, 8\)"):
        group_norm(x, weight, bias, groups=4, scale=scale[:1], shift=shift)
    with pytest.raises(ValueError, match="relu"):
        group_norm(x, weight, bias, groups=4, act="relu")
