"""Networks for frames: sizes as published, values in range, starting weights, padding that norms never see."""

import pytest
import torch
from torch import nn

from diffsda.baselines.dbse.settings import VideoSettings
from diffsda.baselines.dbse.video import VideoDBSE
from diffsda.baselines.dcgan import (
    FrameEncoder,
    TransposedDecoder,
    UpsamplingDecoder,
    expect_frames,
    initialise_,
    real_frames_through,
)
from diffsda.baselines.frame_size import SIZES
from diffsda.baselines.lstm_prior import LSTMPrior
from diffsda.baselines.spyl.model import SPYL
from diffsda.baselines.spyl.settings import SPYLSettings
from diffsda.errors import InputError


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_published_sizes():
    with torch.device("meta"):
        assert count(FrameEncoder(3, 256)) == 4_856_384
        assert count(FrameEncoder(3, 128)) == 3_807_424
        assert count(TransposedDecoder(512, 3)) == 6_952_771
        assert count(TransposedDecoder(128, 3)) == 3_807_043
        assert count(TransposedDecoder(288, 3)) == 5_117_763
        assert count(LSTMPrior(256, 64)) == 82_432 + 33_280 + 2 * 16_640
        assert count(LSTMPrior(64, 256)) == 329_728 + 526_336 + 2 * 16_448


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("decoder", [TransposedDecoder, UpsamplingDecoder])
def test_there_and_back(decoder, size):
    x = torch.rand(2, 3, size, size)
    g = FrameEncoder(3, 5, 2, size)(x)
    assert g.shape == (2, 5)
    assert float(g.detach().abs().max()) <= 1
    drawn = decoder(5, 3, 2, size)(10 * g).detach()
    assert drawn.shape == x.shape
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1


def widths(network):
    return [m.out_channels for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]


def test_levels_are_counted_from_the_bottom():
    with torch.device("meta"):
        for size, reading, writing, upsampling in (
            (16, [32, 64], [64, 32], [64, 32, 16]),
            (32, [16, 32, 64], [64, 32, 16], [64, 32, 16, 16]),
            (64, [8, 16, 32, 64], [64, 32, 16, 8], [64, 32, 16, 16, 8]),
            (128, [8, 8, 16, 32, 64], [64, 32, 16, 8, 8], [64, 32, 16, 16, 8, 8]),
            (256, [8, 8, 8, 16, 32, 64], [64, 32, 16, 8, 8, 8], [64, 32, 16, 16, 8, 8, 8]),
        ):
            assert widths(FrameEncoder(3, 5, 8, size)) == [*reading, 5]
            assert widths(TransposedDecoder(5, 3, 8, size)) == [*writing, 3]
            assert widths(UpsamplingDecoder(5, 3, 8, size)) == [*upsampling, 3]
        for network in (FrameEncoder, TransposedDecoder, UpsamplingDecoder):
            plain, named = network(3, 5, 8), network(3, 5, 8, 64)
            assert {k: v.shape for k, v in plain.state_dict().items()} == {
                k: v.shape for k, v in named.state_dict().items()
            }


@pytest.mark.parametrize("size", [0, 4, 8, 48, 63, 96, 512])
def test_sizes_that_do_not_halve_down_to_four_are_refused(size):
    for make in (
        lambda: FrameEncoder(3, 5, 2, size),
        lambda: TransposedDecoder(5, 3, 2, size),
        lambda: VideoSettings(size=size),
        lambda: SPYLSettings(size=size),
    ):
        with pytest.raises(InputError, match=f"size: got {size}, expected one of 16, 32, 64, 128, 256"):
            make()


SMALL = {"width": 2, "features": 6, "hidden": 5, "static": 4, "dynamic": 3}


@pytest.mark.parametrize("size", [32, 128])
@pytest.mark.parametrize("system", ["dbse", "dbse upsampling", "spyl"])
def test_systems_of_other_sizes(system, size):
    how = {"decoder": "upsampling"} if "upsampling" in system else {}
    model = (
        SPYL(SPYLSettings(size=size, **SMALL))
        if system == "spyl"
        else VideoDBSE(VideoSettings(size=size, **SMALL, **how))
    )
    x = torch.rand(2, 3, 3, size, size)
    assert model.eval().reconstruct(x).shape == x.shape
    model.train().loss(x, generator=torch.Generator().manual_seed(0)).total.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert type(model.settings).from_dict(model.settings.to_dict()) == model.settings
    with pytest.raises(InputError, match=rf"expected \(B, V, 3, {size}, {size}\)"):
        model.encode(torch.rand(2, 3, 3, 64, 64))


def test_starting_weights():
    torch.manual_seed(0)
    before = TransposedDecoder(5, 3, 4)
    kept = [m.weight.clone() for m in before.modules() if isinstance(m, nn.ConvTranspose2d)]
    before.apply(initialise_)
    assert all(torch.equal(a, b.weight) for a, b in zip(kept, [m[0] for m in list(before)[1:]], strict=True))
    encoder = FrameEncoder(3, 32, 16).apply(initialise_)
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 5
    for layer in convolutions[1:]:
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
        assert not layer.bias.any()
    for norm in (m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)):
        assert bool((norm.weight == 1).all())
        assert not norm.bias.any()


def test_norms_never_see_padding():
    torch.manual_seed(0)
    net, again = (nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)) for _ in range(2))
    again.load_state_dict(net.state_dict())
    x, real = torch.randn(2, 3, 2, 4, 4), torch.tensor([[True, True, False], [True, False, False]])
    given = real_frames_through(net, x, real)
    wanted = again(x[real])
    assert torch.equal(given[real], wanted)
    assert not given[~real].any()
    assert torch.equal(net[1].running_mean, again[1].running_mean)
    given.square().sum().backward()
    wanted.square().sum().backward()
    assert torch.equal(net[0].weight.grad, again[0].weight.grad)


@pytest.mark.parametrize("shape", [(1, 2, 3, 32, 64), (1, 2, 1, 64, 64), (2, 3, 64, 64)])
def test_other_frames_are_refused(shape):
    with pytest.raises(InputError, match=r"expected \(B, V, 3, 64, 64\)"):
        expect_frames(torch.zeros(shape), 3)


def test_the_prior_is_two_cells_in_a_row():
    torch.manual_seed(0)
    prior, eps = LSTMPrior(3, 5), torch.randn(2, 4, 3)
    weights = dict(prior.lstm.named_parameters())
    cells = [nn.LSTMCell(3, 5), nn.LSTMCell(5, 5)]
    for layer, cell in enumerate(cells):
        cell.load_state_dict({k: weights[f"{k}_l{layer}"] for k in cell.state_dict()})
    run = prior.roll_out(2, 4, eps)
    for fed, given in ((run.codes, run.steps), (eps, prior.teacher_forced(eps))):
        states, code = [(torch.zeros(2, 5), torch.zeros(2, 5)) for _ in cells], torch.zeros(2, 3)
        for v in range(4):
            h = code
            for i, cell in enumerate(cells):
                states[i] = cell(h, states[i])
                h = states[i][0]
            assert torch.allclose(given.mean[:, v], prior.head(h).mean, atol=1e-6)
            assert torch.allclose(given.logvar[:, v], prior.head(h).logvar, atol=1e-6)
            code = fed[:, v]
    assert torch.allclose(run.codes, run.steps.mean + eps * (run.steps.logvar / 2).exp(), atol=1e-6)
    with pytest.raises(InputError, match=r"eps: got \(2, 4, 3\), expected \(2, 5, 3\)"):
        prior.roll_out(2, 5, eps)
