"""DiViD's decoder with seeds, lengths and progress: padding influences nothing and comes back 0."""

import pytest
import torch
from divid_models import KINDS, VECTOR, built, clips
from small_dbse import clips as dbse_clips
from small_dbse import made

from diffsda.baselines.spyl.model import SPYL
from diffsda.baselines.spyl.settings import SPYLSettings
from diffsda.errors import InputError
from diffsda.factors import Factors

LENGTHS = torch.tensor([4, 2, 3])


@pytest.fixture(params=list(KINDS))
def model(request, randomise):
    # In float64: a few steps with random weights multiply rounding by thousands.
    return built(randomise, KINDS[request.param]).double()


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def padded(model, filling):
    x = clips(drawn, model.settings, 3)
    for row, length in zip(x, LENGTHS):
        row[length:] = filling
    return x


def counted(steps):
    """Return a progress that notes how far it is."""

    def progress(moves):
        for move in moves:
            steps.append(move)
            yield move

    return progress


@torch.no_grad()
def test_each_clip_can_have_a_seed_of_its_own(model):
    f = model.encode(clips(drawn, model.settings, 3))
    rising, same = model.decode(f, seed=4), model.decode(f, seed=[4, 5, 6])
    assert torch.equal(rising, same)
    alone = model.decode(f[1], seed=[9])
    assert torch.allclose(model.decode(f, seed=[4, 9, 4])[1:2], alone, atol=1e-8)
    assert not torch.allclose(rising[1:2], alone, atol=1e-3)
    for seed in ([1, 2], [1, 2, -3], -1):
        with pytest.raises(InputError, match="seed: got"):
            model.decode(f, seed=seed)


@torch.no_grad()
def test_padded_frames_come_back_as_nothing(model):
    x = padded(model, 0.0)
    other = x.clone()
    for row, length in zip(other, LENGTHS):
        row[length:] = 5.0
    noise = torch.randn_like(x[:, :1])
    for start in ("drawn", "inverted"):
        how = {"start": start} | ({"noise": noise} if start == "drawn" else {})
        y, again = (model.reconstruct(clip, LENGTHS, **how) for clip in (x, other))
        assert torch.allclose(y, again, atol=1e-8)
        for i, length in enumerate(LENGTHS.tolist()):
            assert not y[i, length:].any()
            own = how | ({"noise": noise[i : i + 1]} if start == "drawn" else {})
            alone = model.reconstruct(x[i : i + 1, :length], **own)
            assert torch.allclose(y[i : i + 1, :length], alone, atol=1e-8)


@torch.no_grad()
def test_noise_found_again_has_no_padding(model):
    x = padded(model, 3.0)
    f = model.encode(x, LENGTHS)
    noise = model.invert(x, f, lengths=LENGTHS)
    assert not noise[1, 2:].any()
    alone = model.invert(x[1:2, :2], Factors(f.static[1:2], f.dynamic[1:2, :2]))
    assert torch.allclose(noise[1:2, :2], alone, atol=1e-8)


@torch.no_grad()
def test_equal_frames_stay_equal_both_ways(model):
    """Equal frames with equal codes go to equal noise, and equal noise to equal frames, bit for bit or nearly."""
    x = clips(drawn, model.settings, 2)[:, :1].repeat_interleave(3, 1)
    code = model.encode(x)
    f = Factors(code.static, code.dynamic[:, :1].repeat_interleave(3, 1))
    noise = model.invert(x, f)
    y = model.decode(f, noise)
    for found in (noise, y, model.decode(f, seed=3)):
        assert torch.allclose(found, found[:, :1].expand_as(found), atol=1e-8)
        assert not torch.allclose(found[0], found[1], atol=1e-2)


@torch.no_grad()
def test_swaps_are_as_long_as_the_lender_of_the_dynamics(model):
    x, other = padded(model, 0.0), padded(model, 0.0).flip(0)
    turned = LENGTHS.flip(0)
    for start in ("drawn", "inverted"):
        y = model.swap(x, other, lengths_static=LENGTHS, lengths_dynamic=turned, start=start)
        for i, length in enumerate(turned.tolist()):
            assert not y[i, length:].any()
            pair = x[i : i + 1, : LENGTHS[i]], other[i : i + 1, :length]
            alone = model.swap(*pair, start=start, seed=i)
            assert torch.allclose(y[i : i + 1, :length], alone, atol=1e-8), (start, i)


@torch.no_grad()
def test_progress_is_told_of_every_step(model):
    x, steps = clips(drawn, model.settings), []
    model.decode(model.encode(x), progress=counted(steps))
    assert [move.t for move in steps] == sorted((move.t for move in steps), reverse=True)
    assert len(steps) == model.settings.sampling_steps
    steps.clear()
    model.reconstruct(x, steps=2, start="inverted", progress=counted(steps))
    assert len(steps) == 4
    assert torch.equal(model.reconstruct(x, progress=counted(steps)), model.reconstruct(x))


@torch.no_grad()
def test_dropout_is_off_whatever_the_mode(randomise):
    model = built(randomise, VECTOR.replace(dropout=0.5, temporal_dropout=0.5))
    x = clips(torch.randn, VECTOR)
    wanted, f = model.reconstruct(x), model.encode(x)
    y, noise = model.decode(f), model.invert(x, f)
    model.train()
    assert torch.equal(model.reconstruct(x), wanted)
    assert torch.equal(model.swap(x, x), wanted)
    assert torch.equal(model.decode(f), y)
    assert torch.equal(model.invert(x, f), noise)
    assert model.training


@torch.no_grad()
@pytest.mark.parametrize("kind", ["video", "audio", "series"])
def test_systems_that_decode_at_once_take_seeds_too(kind):
    model = made(kind)
    f = model.encode(dbse_clips(kind))
    assert torch.equal(model.decode(f, seed=[2, 3, 4]), model.decode(f, seed=2))
    assert torch.equal(model.decode(f, seed=[7, 8, 1]), model.decode(f, seed=2)) is (kind != "series")
    if kind == "series":
        assert torch.allclose(model.decode(f, seed=[7, 8, 1])[1:2], model.decode(f[1], seed=8), atol=1e-6)


@torch.no_grad()
def test_spyl_takes_seeds():
    model = SPYL(SPYLSettings(kind="vector", channels=5, width=4, features=8, hidden=6, static=4, dynamic=3))
    f = model.encode(torch.randn(2, 3, 5))
    assert torch.equal(model.decode(f, seed=[5, 1]), model.decode(f))
