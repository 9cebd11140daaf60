"""Networks for frames: sizes as published, values in range, starting weights, padding that norms never see."""

import pytest
import torch
from torch import nn

from diffsda.baselines.dcgan import (
    FrameEncoder,
    TransposedDecoder,
    UpsamplingDecoder,
    expect_frames,
    initialise_,
    real_frames_through,
)
from diffsda.baselines.lstm_prior import LSTMPrior
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


@pytest.mark.parametrize("decoder", [TransposedDecoder, UpsamplingDecoder])
def test_there_and_back(decoder):
    x = torch.rand(2, 3, 64, 64)
    g = FrameEncoder(3, 5, 2)(x)
    assert g.shape == (2, 5)
    assert float(g.detach().abs().max()) <= 1
    drawn = decoder(5, 3, 2)(10 * g).detach()
    assert drawn.shape == x.shape
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1


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
