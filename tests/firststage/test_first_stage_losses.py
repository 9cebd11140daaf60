"""The parts of a first stage's loss against formulas written another way, and files of perceptual weights."""

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from diffsda.errors import CheckpointError, InputError
from diffsda.firststage import losses
from diffsda.firststage.build import build
from diffsda.firststage.discriminator import PatchDiscriminator, check_patches, hinge
from diffsda.firststage.perceptual import WIDTHS, check_perceptual, load_perceptual
from diffsda.firststage.recipe import FirstStage

VQ = FirstStage(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=3, codes=5)
KL = FirstStage(kind="kl", size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=2, codes=0)
# Convolutions of VGG16 by their number among its layers, with their widths.
LAYERS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512}


@pytest.fixture(scope="module")
def vgg():
    """Random weights of VGG16's convolutions and of the heads, by torchvision's names and LPIPS's."""
    draw, before = torch.Generator().manual_seed(0), 3
    features, heads = {}, {}
    for number, width in LAYERS.items():
        scale = (2 / (9 * before)) ** 0.5
        features[f"features.{number}.weight"] = torch.randn(width, before, 3, 3, generator=draw) * scale
        features[f"features.{number}.bias"] = torch.randn(width, generator=draw) * 0.1
        before = width
    for i, width in enumerate(WIDTHS):
        heads[f"lin{i}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=draw)
    return features, heads


def plain(vgg, a, b):
    """LPIPS as its paper states it, one layer after the other."""
    features, heads = vgg
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    taken = {2: 0, 7: 1, 14: 2, 21: 3, 28: 4}
    total = torch.zeros(len(a))
    h = [(x - shift[:, None, None]) / scale[:, None, None] for x in (a, b)]
    for number in LAYERS:
        if number in (5, 10, 17, 24):
            h = [F.max_pool2d(x, 2) for x in h]
        weight, bias = features[f"features.{number}.weight"], features[f"features.{number}.bias"]
        h = [F.relu(F.conv2d(x, weight, bias, padding=1)) for x in h]
        if number in taken:
            one, two = (F.normalize(x, dim=1) for x in h)
            total += F.conv2d((one - two) ** 2, heads[f"lin{taken[number]}.model.1.weight"]).mean((1, 2, 3))
    return total


@pytest.fixture(scope="module")
def files(vgg, tmp_path_factory):
    """The weights as torchvision and LPIPS publish them, and as a latent-diffusion checkpoint holds them."""
    folder = tmp_path_factory.mktemp("perceptual")
    features, heads = vgg
    classifier = {"classifier.6.weight": torch.zeros(2, 2)}
    torch.save({**features, **classifier}, folder / "vgg16.pth")
    torch.save(heads, folder / "vgg.pth")
    stage_of = {n: 1 + sum(n > last for last in (2, 7, 14, 21)) for n in LAYERS}
    inner = {f"loss.perceptual_loss.{k}": v for k, v in heads.items()}
    for name, value in features.items():
        number, kind = name.split(".")[1:]
        inner[f"loss.perceptual_loss.net.slice{stage_of[int(number)]}.{number}.{kind}"] = value
    torch.save({"state_dict": {**build(VQ).state_dict(), **inner}}, folder / "model.ckpt")
    safetensors.torch.save_file({**features, **heads}, folder / "both.safetensors")
    return folder


def test_the_perceptual_distance(vgg, files):
    a, b = torch.rand(2, 3, 32, 40) * 2 - 1, torch.rand(2, 3, 32, 40) * 2 - 1
    wanted = plain(vgg, a, b)
    model = load_perceptual([files / "vgg16.pth", files / "vgg.pth"])
    torch.testing.assert_close(model(a, b), wanted, rtol=1e-4, atol=1e-6)
    assert float(model(a, a).abs().max()) == 0
    assert not any(p.requires_grad for p in model.parameters())
    black = torch.zeros_like(a, requires_grad=True)
    model(a, black).sum().backward()
    assert bool(torch.isfinite(black.grad).all())
    assert float(black.grad.abs().max()) > 0


def test_every_kind_of_file_gives_the_same_weights(files):
    digests = {
        load_perceptual([files / name for name in names]).digest()
        for names in (["vgg16.pth", "vgg.pth"], ["model.ckpt"], ["both.safetensors"])
    }
    assert len(digests) == 1


def test_missing_or_misshapen_weights_are_named(files, vgg, tmp_path):
    with pytest.raises(CheckpointError, match=r"got none for heads\.0, expected \(64,\)"):
        load_perceptual([files / "vgg16.pth"])
    with pytest.raises(CheckpointError, match=r"got none for stages\.0\.0\.weight"):
        load_perceptual([files / "vgg.pth"])
    torch.save({**vgg[0], **vgg[1], "features.5.bias": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"got shape \(3,\) for stages\.1\.5\.bias, expected \(128,\)"):
        load_perceptual([tmp_path / "a.pth"])
    (tmp_path / "b.pth").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match=r"b\.pth"):
        load_perceptual([tmp_path / "b.pth"])


def test_frames_vgg_cannot_look_at():
    check_perceptual(3, 16)
    for channels, size in ((1, 64), (3, 15)):
        with pytest.raises(InputError, match="--perceptual"):
            check_perceptual(channels, size)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_discriminator_scores_patches(layers):
    size = 3 * 2**layers
    check_patches(size, layers)
    net = PatchDiscriminator(3, 8, layers)
    assert net(torch.randn(2, 3, size, size)).shape == (2, 1, 1, 1)
    assert net(torch.randn(2, 3, 64, 48)).shape == (2, 1, 64 // 2**layers - 2, 48 // 2**layers - 2)
    with pytest.raises(InputError, match=r"fit\.disc_layers: got"):
        check_patches(size - 1, layers)


def test_a_patch_sees_only_its_surroundings():
    net = PatchDiscriminator(1, 4, 2).eval()
    x = torch.zeros(1, 1, 64, 64)
    moved = x.clone()
    moved[..., 0, 0] = 1
    changed = (net(x) != net(moved))[0, 0]
    assert bool(changed[0, 0])
    assert not bool(changed[6:].any())


def test_hinge():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.0])
    assert float(hinge(real, fake)) == pytest.approx(0.5 * (0.25 + 0.5))


def test_gradients_pass_the_rounding_and_each_part_of_the_prior_moves_its_own():
    model, x = build(VQ), torch.randn(2, 3, 16, 16)
    passed = losses.run_quantised(model, x)
    torch.testing.assert_close(passed.back, model.decode(model.encode(x)), rtol=1e-4, atol=1e-5)
    passed.back.square().mean().backward()
    assert float(model.encoder.conv_in.weight.grad.abs().sum()) > 0
    assert model.quantize.embedding.weight.grad is None
    z = model.encode(x)
    codes = model.quantise(z)[0]
    torch.testing.assert_close(losses.run_quantised(model, x).prior, 1.25 * (z - codes).square().mean())
    model.zero_grad()
    losses.run_quantised(model, x).prior.backward()
    wanted = torch.autograd.grad((model.quantise(z)[0] - z.detach()).square().mean(), model.quantize.embedding.weight)
    torch.testing.assert_close(model.quantize.embedding.weight.grad, wanted[0])
    assert float(model.quant_conv.weight.grad.abs().sum()) > 0


def test_the_divergence_is_a_value_of_the_frames():
    model, x = build(KL), torch.randn(2, 3, 16, 16)
    passed = losses.run_variational(model, x, torch.Generator().manual_seed(3))
    torch.testing.assert_close(passed.prior, model.posterior(x).kl().mean() / (3 * 16 * 16))
    z = model.encode(x, torch.Generator().manual_seed(3))
    torch.testing.assert_close(passed.back, model.decode(z))


def test_the_adaptive_weight_balances_gradients():
    last = torch.ones(4, requires_grad=True)
    weight = losses.adaptive_weight((last * 3).sum(), (last * 0.5).sum(), last)
    assert float(weight) == pytest.approx(6, rel=1e-3)
    assert not weight.requires_grad
    assert float(losses.adaptive_weight((last * 3e6).sum(), (last * 0).sum(), last)) == 1e4


def test_psnr():
    x = torch.zeros(1, 3, 4, 4)
    assert float(losses.psnr(x, x + 0.2)) == pytest.approx(20, abs=1e-3)
    assert float(losses.psnr(x + 1, x + 7)) > 120  # what lies beyond white is white
