"""Clips from the prior, and unconditional swaps: whose factors, whose noise, whatever the batch."""

import numpy as np
import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.data.clip import Clips
from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.inference import Execution, Session
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior
from diffsda.tasks.generate import generate, unconditional_swap
from diffsda.tasks.reconstruct import reconstruct

SIZES = Sizes(static=8, dynamic=2, frames=6)


@pytest.fixture
def model(randomise):
    return randomise(DiffSDA(preset("tiny_vector")))


@pytest.fixture
def prior(randomise):
    return randomise(LatentPrior(Prior(layers=3, width=2, sampling_steps=6), SIZES))


def clips(lengths=None, frames=6):
    x = np.random.default_rng(0).normal(0, 0.5, size=(5, frames, 6)).astype(np.float32)
    return Clips(x, lengths=lengths)


def agree(results):
    first, *others = results
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", ["recipe", "fresh", "shared"])
def test_clips_do_not_depend_on_the_batch(model, prior, noise):
    f = prior.sample(5, 3)
    made = [generate(model, f, noise=noise, steps=3, seed=3, batch=b) for b in (1, 2, 64)]
    assert made[0].shape == (5, 6, 6)
    agree(made)
    agree([generate(model, prior.sample(2, 6), noise=noise, steps=3, seed=6), made[0][3:]])
    agree([generate(Session(model, Execution(tile=4)), f, noise=noise, steps=3, seed=3, batch=2), made[0]])


def test_the_start_noise_is_the_one_asked_for(model, prior):
    f = prior.sample(2)
    for noise, shared in (("fresh", False), ("shared", True), ("recipe", False)):
        start = SampleNoise(4, (2, 6, 6), like=torch.empty(0), shared=shared)()
        agree([generate(model, f, noise=noise, steps=3, seed=4), model.sample(f, start, 3).numpy()])
    model.recipe = model.recipe.replace(sampling={"shared_noise": True})
    agree([generate(model, f, steps=3, seed=4), generate(model, f, noise="shared", steps=3, seed=4)])


@pytest.mark.parametrize("replace", ["static", "dynamic"])
@pytest.mark.parametrize("noise", ["auto", "own", "fresh", "shared"])
def test_a_swap_replaces_one_factor_and_nothing_else(model, prior, replace, noise):
    held = clips()
    made = [unconditional_swap(model, prior, held, replace, noise=noise, steps=3, seed=7, batch=b) for b in (1, 2, 64)]
    agree(made)
    theirs, drawn = model.encode(held.x).detach(), prior.sample(5, 7)
    mixed = Factors(drawn.static, theirs.dynamic) if replace == "static" else Factors(theirs.static, drawn.dynamic)
    own = noise == "own" or (noise == "auto" and replace == "static")
    if own:
        start = model.invert(held.x, theirs, 3)
    else:
        start = SampleNoise(7, held.x.shape, like=torch.empty(0), shared=noise == "shared")()
    agree([made[2], model.sample(mixed, start, 3).numpy()])
    assert not np.allclose(made[2], reconstruct(model, held, steps=3), atol=1e-2)


def test_clips_of_any_length_may_get_a_new_static_factor(model, prior):
    lengths = np.array([9, 2, 4, 6, 3])
    made = [unconditional_swap(model, prior, clips(lengths, 9), "static", steps=3, batch=b) for b in (1, 64)]
    agree(made)
    assert not made[0][1, 2:].any()
    assert made[0][1, :2].all()


def test_new_dynamics_need_as_many_frames_as_the_prior_has(model, prior):
    with pytest.raises(InputError, match="of 9 frames, expected 6 frames"):
        unconditional_swap(model, prior, clips(frames=9), "dynamic", steps=3)
    with pytest.raises(InputError, match="of varied lengths, expected 6 frames"):
        unconditional_swap(model, prior, clips(np.array([6, 2, 4, 6, 3])), "dynamic", steps=3)
    assert unconditional_swap(model, prior, clips(), "dynamic", steps=3).shape == (5, 6, 6)


def test_progress_sees_every_step(model, prior):
    seen = []

    def track(total):
        seen.append(total)

        def watch(steps):
            for step in steps:
                seen.append(step)
                yield step

        return watch

    generate(model, prior.sample(5), steps=3, batch=2, track=track)
    assert seen[0] == len(seen) - 1 == 3 * 3
    for noise, times in (("own", 2), ("fresh", 1)):
        seen.clear()
        unconditional_swap(model, prior, clips(), "static", noise=noise, steps=3, batch=2, track=track)
        assert seen[0] == len(seen) - 1 == 3 * 3 * times


def test_words_that_are_not_known(model, prior):
    with pytest.raises(InputError, match="noise: got 'own', expected one of recipe, fresh, shared"):
        generate(model, prior.sample(1), noise="own")
    with pytest.raises(InputError, match="swap: got 'both'"):
        unconditional_swap(model, prior, clips(), "both")
    with pytest.raises(InputError, match="noise: got 'loud'"):
        unconditional_swap(model, prior, clips(), "static", noise="loud")
    with pytest.raises(InputError, match="widths S 7"):
        generate(model, Factors(torch.zeros(1, 7), torch.zeros(1, 6, 2)))
