"""One step: parts add up to the batch, each clip gets its own noise, the data arrive as they should."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from training_runs import clips, vector, video

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.firststage.whiten import Whitening
from diffsda.model import DiffSDA
from diffsda.train.data import Source, fits, whitening_for
from diffsda.train.parallel import Processes
from diffsda.train.step import TrainStep, draw, parts

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)


def one_step(recipe, data, accumulate, step=3):
    """Do one step; return loss, gradient norm, gradients and weights."""
    recipe = recipe.replace(optim={"accumulate": accumulate})
    torch.manual_seed(0)
    model = DiffSDA(recipe)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    batch = Source(data, None).batch(np.arange(recipe.optim.batch))
    loss, norm = TrainStep(model, optimizer, recipe, ALONE)(batch, step, 1e-3)
    gradients = {k: p.grad.clone() for k, p in model.named_parameters()}
    return loss, norm, gradients, model


@pytest.mark.parametrize("kind", [{}, {"lengths": True}, {"mask": True}, {"lengths": True, "mask": True}])
@pytest.mark.parametrize("draws", [1, 3])
def test_parts_add_up_to_the_whole_batch(kind, draws):
    recipe = vector(dropout=0.0, batch=8, draws=draws, clip=1e9)
    data = clips(recipe, 8, **kind)
    whole = one_step(recipe, data, 1)
    for accumulate in (2, 4, 8):
        in_parts = one_step(recipe, data, accumulate)
        torch.testing.assert_close(in_parts[:2], whole[:2], rtol=1e-6, atol=1e-6)
        for name, gradient in whole[2].items():
            torch.testing.assert_close(in_parts[2][name], gradient, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: n + m)


def test_parts_add_up_for_video():
    recipe = video(dropout=0.0, clip=1e9)
    data = clips(recipe, 4, lengths=True, frames=4)
    whole, in_parts = one_step(recipe, data, 1), one_step(recipe, data, 2)
    torch.testing.assert_close(in_parts[:2], whole[:2], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(in_parts[2], whole[2], rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_mean_over_real_values_of_the_whole_batch():
    recipe = vector(dropout=0.0, batch=4)
    data = clips(recipe, 4, lengths=True)
    loss, *_ = one_step(recipe, data, 2)
    torch.manual_seed(0)
    model = DiffSDA(recipe)
    batch = Source(data, None).batch(np.arange(4))
    draws = draw(recipe, batch.x.shape, 3, CPU)
    by_hand = total = 0.0
    with torch.no_grad():
        for i, length in enumerate(data.lengths):
            x, sigma, noise = batch.x[i : i + 1, :length], draws.sigma[0, i, :length], draws.noise[0, i, :length]
            # A clip on its own, cut to its length: nothing is padded.
            loss_of_clip = model.loss(x, sigma[None], noise[None])
            by_hand += float(loss_of_clip) * x.numel()
            total += x.numel()
    assert float(loss) == pytest.approx(by_hand / total, rel=1e-5)


def test_the_gradient_is_clipped_and_its_norm_told_unclipped():
    recipe = vector(dropout=0.0, clip=1e-3)
    _, norm, gradients, _ = one_step(recipe, clips(recipe), 1)
    clipped = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients.values()]))
    assert float(clipped) == pytest.approx(1e-3, rel=1e-3)
    assert float(norm) > 1e-2


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_clip_is_worked_on_once(world, accumulate):
    recipe = vector(batch=8, accumulate=accumulate)
    rows = [list(range(8))[part] for rank in range(world) for part in parts(recipe, Processes(rank, world, CPU))]
    assert [row for part in rows for row in part] == list(range(8))
    assert {len(part) for part in rows} == {8 // (world * accumulate)}


@pytest.mark.parametrize(("batch", "world", "accumulate"), [(8, 3, 1), (6, 2, 2), (2, 4, 1)])
def test_a_batch_that_does_not_divide_is_refused(batch, world, accumulate):
    recipe = vector(batch=batch * accumulate if batch % accumulate else batch, accumulate=accumulate)
    with pytest.raises(InputError, match=rf"optim\.batch: got .* for {world} processes and {accumulate} parts, expect"):
        parts(recipe, Processes(0, world, CPU))


@pytest.mark.parametrize("per_frame", [True, False])
def test_noise_is_decided_by_seed_and_step(per_frame):
    recipe = vector(draws=3).replace(noise={"per_frame": per_frame})
    shape = torch.Size((4, 6, 6))
    one, again, later = (draw(recipe, shape, step, CPU) for step in (5, 5, 6))
    assert one.sigma.shape == (3, 4, 6 if per_frame else 1)
    assert one.noise.shape == (3, 4, 6, 6)
    assert torch.equal(one.noise, again.noise)
    assert torch.equal(one.sigma, again.sigma)
    assert not torch.equal(one.noise, later.noise)
    other = draw(recipe.replace(optim={"seed": 1}), shape, 5, CPU)
    assert not torch.equal(one.noise, other.noise)
    sigma, noise = one.rows(slice(1, 3))
    assert torch.equal(noise, torch.cat([one.noise[k, 1:3] for k in range(3)])), "draw after draw"
    assert sigma.shape == (6, one.sigma.shape[2])


def test_noise_is_not_the_stream_the_weights_began_with():
    recipe = vector()
    from diffsda.train.order import seed_for

    torch.manual_seed(seed_for(recipe.optim.seed))
    initial = torch.randn(24)
    assert not torch.allclose(draw(recipe, torch.Size((4, 6, 6)), 0, CPU).sigma.flatten().log() + 0.4, initial)


def test_a_batch_is_cut_to_its_longest_clip():
    x = np.random.default_rng(0).normal(size=(3, 6, 6)).astype(np.float32)
    mask = np.zeros_like(x)
    mask[0, 1, 2] = 1
    source = Source(Clips(x, np.array([3, 4, 6]), mask), None)
    batch = source.batch(np.array([1, 0]))
    assert batch.x.shape == batch.mask.shape == (2, 4, 6)
    assert batch.lengths.tolist() == [4, 3]
    assert batch.elements == 7 * 6
    assert not batch.x[1, 3].any(), "padding is 0"
    assert batch.x[1, 1, 2] == 0, "a missing value is 0"
    assert torch.equal(batch.x[0], torch.from_numpy(x[1, :4]))
    half = batch.rows(slice(1, 2))
    assert half.x.shape == (1, 4, 6)
    assert half.lengths.tolist() == [3]
    assert half.elements == 3 * 6
    whole = Source(Clips(x), None).batch(np.array([0]))
    assert whole.lengths is whole.mask is None
    assert whole.elements == 36


def test_padding_stays_0_when_whitened():
    recipe = vector()
    data = clips(recipe, lengths=True, mask=True)
    data = dataclasses.replace(data, x=data.x + 100)
    source = Source(data, whitening_for(data, recipe, None))
    for i, length in enumerate(data.lengths):
        assert not source.x[i, length:].any()
    assert not source.x[torch.from_numpy(data.mask) == 1].any()
    real = torch.arange(6)[None] < torch.from_numpy(data.lengths)[:, None]
    kept = source.x[real[..., None] & (torch.from_numpy(data.mask) == 0)]
    assert float(kept.mean()) == pytest.approx(0, abs=1e-3)
    assert float(kept.std()) == pytest.approx(0.5, abs=0.02)


def test_what_is_whitened_by_default():
    series, pixels = vector(), video()
    latents = pixels.replace(clips={"latent": True})
    assert whitening_for(clips(pixels), pixels, None) is None
    assert isinstance(whitening_for(clips(latents), latents, None), Whitening)
    assert isinstance(whitening_for(clips(series), series, None), Whitening)
    assert whitening_for(clips(series), series, False) is None
    assert isinstance(whitening_for(clips(pixels), pixels, True), Whitening)


@pytest.mark.parametrize(
    ("recipe", "shape", "words"),
    [
        (vector(), (4, 6, 5), r"expected \(N, V, 6\) for recipe tiny_vector; change clips.channels or the data"),
        (vector(), (4, 6, 3, 8, 8), r"expected \(N, V, 6\)"),
        (video(), (4, 6, 3, 16, 16), r"expected \(N, V, 3, 8, 8\) .* clips.channels or clips.size or the data"),
        (video(), (4, 6, 6), r"got \(4, 6, 6\), expected \(N, V, 3, 8, 8\)"),
    ],
)
def test_clips_of_another_kind_are_refused(recipe, shape, words):
    with pytest.raises(InputError, match=words):
        fits(Clips(np.zeros(shape, np.float32)), recipe)


def test_the_network_runs_in_bf16_and_the_backward_pass_outside_of_autocast():
    seen = []

    class Watch(nn.Linear):
        def training_draws(self, shape, seed, device):
            return draw(recipe, shape, 0, device)

        def forward(self, x, *rest, count, **given):
            y = super().forward(x.flatten(2)[..., :6])
            seen.append(("forward", y.dtype))
            y.register_hook(lambda g: seen.append(("backward", torch.is_autocast_enabled("cpu"))))
            return (y.float() ** 2).sum() / count

    recipe = vector()
    model = Watch(6, 2)
    step = TrainStep(model, torch.optim.SGD(model.parameters()), recipe, ALONE, bf16=True)
    loss, _ = step(Source(clips(recipe), None).batch(np.arange(4)), 0, 1e-3)
    assert seen == [("forward", torch.bfloat16), ("backward", False)]
    assert loss.dtype == torch.float32
