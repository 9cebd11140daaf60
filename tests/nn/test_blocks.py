"""Residual blocks, attention and the U-Net."""

import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.nn.blocks import AdaGNBlock, Attention, Downsample, EncoderBlock, Upsample
from diffsda.nn.mlp import MLPFrameEncoder
from diffsda.nn.unet import UNet, UNetBackbone

UNET = {"width": 32, "multipliers": (1, 2), "attention": (1,), "blocks": 1, "dropout": 0.1}


def test_attention_from_one_product_equals_the_textbook():
    net = Attention(32).double()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x = torch.randn(2, 32, 3, 4).double()
    h = torch.nn.functional.group_norm(x, 32, net.norm.weight, net.norm.bias).flatten(2)  # (N, C, L)
    q, k, v = (
        torch.einsum("oc,ncl->nol", w[:, :, 0, 0], h) + b[None, :, None]
        for w, b in zip(net.qkv.weight.chunk(3), net.qkv.bias.chunk(3), strict=True)
    )
    weights = torch.softmax(torch.einsum("nci,ncj->nij", q, k) / 32**0.5, dim=2)
    y = torch.einsum("nij,ncj->nci", weights, v)
    y = torch.einsum("oc,ncl->nol", net.proj.weight[:, :, 0, 0], y) + net.proj.bias[None, :, None]
    torch.testing.assert_close(net(x), x + y.reshape(x.shape))


@pytest.mark.parametrize(("channels", "out"), [(32, 32), (32, 64)])
def test_zero_init_makes_a_block_its_shortcut(channels, out):
    x, modulation = torch.randn(2, channels, 4, 4), torch.randn(2, 2, out)
    plain = AdaGNBlock(channels, out, attend=False, dropout=0.0)
    zero = AdaGNBlock(channels, out, attend=False, dropout=0.0, zero_init=True)
    for block in (plain, zero):
        torch.nn.init.normal_(block.norm3.bias)  # the last convolution has something to read
    assert not torch.allclose(plain(x, *modulation), plain.shortcut(x))
    assert torch.equal(zero(x, *modulation), zero.shortcut(x))
    encoder = EncoderBlock(channels, out, attend=False, dropout=0.0, zero_init=True)
    torch.nn.init.normal_(encoder.norm2.bias)
    assert torch.equal(encoder(x), encoder.shortcut(x))
    if channels == out:
        assert torch.equal(zero(x, *modulation), x)


def test_blocks_start_as_the_authors_do():
    for module in UNetBackbone(4, 5, **UNET).unet.modules():
        if isinstance(module, torch.nn.Conv2d) and module.out_channels != 4:
            outs = module.out_channels // (3 if module.out_channels == 3 * module.in_channels else 1)  # packed q, k, v
            cells = module.kernel_size[0] ** 2
            bound = (6 / (cells * (module.in_channels + outs))) ** 0.5
            assert 0.95 * bound < module.weight.abs().max().item() <= bound * 1.0001
            assert not module.bias.any()


def test_tails_start_tiny():
    torch.manual_seed(1)
    model = DiffSDA(preset("tiny_video"))
    for net in (model.denoiser.backbone.unet, model.encoder.frame):
        fans = 9 * (net.tail.in_channels + net.tail.out_channels)
        assert 0 < net.tail.weight.abs().max() <= 1e-5 * (6 / fans) ** 0.5 * 1.0001
        assert not net.tail.bias.any()
    x = torch.randn(1, 2, 3, 16, 16)
    f = model.eval().encode(x)
    sigma = 0.5
    start = model.denoise(x, sigma, f)  # F begins at nothing, so D at c_skip x
    torch.testing.assert_close(start, x * 0.25 / (sigma**2 + 0.25), rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [4, 5, 7, 8, 9, 13])
@pytest.mark.parametrize("multipliers", [(1,), (1, 2), (1, 1, 2)])
def test_any_size_comes_back_as_it_went_in(size, multipliers):
    net = UNet(EncoderBlock, 3, 2, **(UNET | {"multipliers": multipliers}))
    assert net(torch.randn(2, 3, size, size)).shape == (2, 2, size, size)
    assert net(torch.randn(1, 3, size, size + 3)).shape == (1, 2, size, size + 3)


def test_resampling():
    x = torch.randn(1, 32, 5, 4)
    assert Downsample(32)(x).shape == (1, 32, 3, 2)
    assert Upsample(32)(x).shape == (1, 32, 10, 8)


def test_frames_do_not_see_each_other():
    net = UNet(EncoderBlock, 3, 1, **UNET).eval()
    torch.nn.init.normal_(net.tail.weight)
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), rtol=1e-4, atol=1e-4)
    step = MLPFrameEncoder(5, width=12, dropout=0.1).eval()
    x = torch.randn(3, 5)
    torch.testing.assert_close(step(x)[1:2], step(x[1:2]))


def test_every_block_gets_its_own_modulation():
    net = UNetBackbone(3, 5, **UNET).eval()
    torch.nn.init.normal_(net.unet.tail.weight)
    blocks = net.blocks()
    assert len(blocks) == 2 * 1 + 2 + 2 * 2
    total = sum(b.channels for b in blocks)
    x, scale, shift = torch.randn(1, 3, 8, 8), torch.ones(1, total), torch.zeros(1, total)
    seen = []
    hooks = [b.norm2.register_forward_hook(lambda _m, given, _out: seen.append(given[1:])) for b in blocks]
    marks = torch.arange(total).float()[None]
    net.network(x, marks, -marks)
    for (s, t), part in zip(seen, net.modulation.slices(), strict=True):
        assert torch.equal(s, marks[:, part])
        assert torch.equal(t, -marks[:, part])
    for hook in hooks:
        hook.remove()
    plain = net.network(x, scale, shift)
    for part in net.modulation.slices():
        changed = shift.clone()
        changed[:, part] = 1.0
        assert not torch.allclose(net.network(x, scale, changed), plain)
