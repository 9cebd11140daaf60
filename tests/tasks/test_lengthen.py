"""Longer clips: a clip's own frames stay what they are, new ones follow by the rule that was asked for."""

import numpy as np
import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.inference import Execution, Session
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior
from diffsda.tasks.lengthen import Windows, lengthen
from diffsda.tasks.reconstruct import reconstruct
from diffsda.tasks.traverse import starts

LENGTHS = np.array([6, 2, 4, 6, 3])
HOWS = ("hold", "loop", "pingpong", "resample", "prior")


@pytest.fixture
def model(randomise):
    return randomise(DiffSDA(preset("tiny_vector").replace(sampling={"steps": 3})))


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(1)
    made = LatentPrior(Prior(layers=3, width=2, sampling_steps=4), Sizes(static=8, dynamic=2, frames=6))
    return made.eval()


def clips(lengths=None):
    x = np.random.default_rng(0).normal(0, 0.5, size=(5, 6, 6)).astype(np.float32)
    return Clips(x, lengths=lengths)


def windows(how, prior, overlap=None):
    return Windows(prior, overlap) if how == "prior" else None


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("batch", [2, 64])
def test_nothing_to_add_is_exactly_the_reconstruction(model, prior, how, batch):
    made = lengthen(model, clips(), 6, how=how, windows=windows(how, prior), batch=batch)
    np.testing.assert_array_equal(made, reconstruct(model, clips(), batch=batch))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("how", ["hold", "loop", "pingpong", "prior"])
def test_a_clips_own_frames_are_exactly_its_reconstruction(model, prior, how, lengths):
    held = clips(lengths)
    made = lengthen(model, held, 15, how=how, windows=windows(how, prior, 1), batch=2)
    assert made.shape == (5, 15, 6)
    assert np.isfinite(made).all()
    back = reconstruct(model, held, batch=2)
    for i, n in enumerate([6] * 5 if lengths is None else lengths):
        own = n - 1 if how == "prior" else n
        np.testing.assert_array_equal(made[i, :own], back[i, :own])
        assert made[i, n:].any(axis=1).all()


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("hold", [0, 1, 2, 3, 3, 3, 3, 3, 3]),
        ("loop", [0, 1, 2, 3, 0, 1, 2, 3, 0]),
        ("pingpong", [0, 1, 2, 3, 2, 1, 0, 1, 2]),
    ],
)
def test_repeated_codes_repeat_frames(model, how, wanted):
    held = Clips(clips().x[:, :4])
    made = lengthen(model, held, 9, how=how, noise="repeat")
    back = reconstruct(model, held)
    np.testing.assert_allclose(made, back[:, wanted], rtol=1e-4, atol=1e-5)
    # Drawn for new frames, the start noise changes them; own ones stay.
    drawn = lengthen(model, held, 9, how=how)
    np.testing.assert_array_equal(drawn[:, :4], back)
    assert not np.allclose(drawn[:, 4:], made[:, 4:], atol=1e-2)


def test_resampled_dynamics_are_stretched_evenly(model):
    held = Clips(clips().x[:, :4])
    made = lengthen(model, held, 7, how="resample")
    f, codes = starts(model, held)
    d = torch.stack([f.dynamic[:, 0], (f.dynamic[:, 0] + f.dynamic[:, 1]) / 2, f.dynamic[:, 1]], 1)
    wanted = model.sample(Factors(f.static, d), codes[:, [0, 0, 1]])
    np.testing.assert_allclose(made[:, :3], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made[:, ::2], reconstruct(model, held), rtol=1e-4, atol=1e-5)


def test_fresh_noise_is_that_of_a_reconstruction_and_shared_noise_is_one_frames(model):
    made = lengthen(model, clips(), 6, how="loop", noise="fresh", seed=4)
    np.testing.assert_allclose(made, reconstruct(model, clips(), noise="fresh", seed=4), rtol=1e-4, atol=1e-5)
    still = lengthen(model, clips(), 9, how="hold", noise="shared")
    np.testing.assert_allclose(still[:, 6:], still[:, 5:6].repeat(3, axis=1), rtol=1e-4, atol=1e-5)
    moving = lengthen(model, clips(), 9, how="hold", noise="fresh")
    assert not np.allclose(moving[:, 7], moving[:, 8], atol=1e-2)


@pytest.mark.parametrize("how", HOWS)
def test_batches_and_tiles_change_nothing(model, prior, how):
    held, more = clips(LENGTHS), {"how": how, "windows": windows(how, prior, 1)}
    made = [lengthen(model, held, 11, tile=t, batch=n, **more) for t, n in ((512, 64), (2, 64), (4, 2), (11, 1))]
    made.append(lengthen(Session(model, Execution(tile=4)), held, 11, batch=3, **more))
    for other in made[1:]:
        np.testing.assert_allclose(other, made[0], rtol=1e-4, atol=1e-5)


def test_windows_are_joined_by_blending(prior):
    own = torch.randn(6, 2)
    joined = Windows(prior, 2).join([own, own[:4]], 13, 2, [7, 8])
    assert joined.shape == (2, 13, 2)
    assert torch.equal(joined[0, :4], own[:4])
    assert torch.equal(joined[1, :2], own[:2])
    # The first window of the first clip, past where it is blended in, is as the prior draws it.
    alone = Windows(prior, 0).join([own], 12, 0, [7])
    assert torch.equal(alone[0, :6], own)
    torch.testing.assert_close(joined[0, 6:8], alone[0, 8:10])
    for v, share in ((4, 1 / 3), (5, 2 / 3)):
        torch.testing.assert_close(joined[0, v], torch.lerp(own[v], alone[0, v + 2], share))
    # No clip's window is another's, nor the one before.
    assert not torch.allclose(joined[0, 6:8], joined[1, 4:6])
    assert not torch.allclose(joined[0, 6:8], joined[0, 10:12])


def test_overlap_is_bounded(prior):
    assert Windows(prior).blend(6) == 1
    assert Windows(prior, 3).blend(6) == 3
    for overlap, shortest in ((4, 6), (3, 2), (-1, 6)):
        with pytest.raises(InputError, match=f"overlap: got {overlap} frames"):
            Windows(prior, overlap).blend(shortest)


@pytest.mark.parametrize(
    ("frames", "more", "words"),
    [
        (5, {}, "frames: got 5, expected at least 6"),
        (9.5, {}, "frames: got 9.5"),
        (9, {"how": "stop"}, "how: got 'stop'"),
        (9, {"noise": "mixed"}, "noise: got 'mixed'"),
        (9, {"how": "resample", "noise": "own"}, "noise: got own for resample"),
        (9, {"how": "prior", "noise": "repeat"}, "noise: got repeat for prior"),
        (9, {"how": "prior"}, "how: got prior without a prior"),
        (9, {"tile": 1}, "tile: got 1"),
        (9, {"steps": 1}, "steps: got 1"),
    ],
)
def test_what_cannot_be_lengthened(model, frames, more, words):
    with pytest.raises(InputError, match=words):
        lengthen(model, clips(), frames, **more)


def test_a_prior_that_is_not_asked_for_or_not_the_models(model, prior):
    with pytest.raises(InputError, match="how: got loop with a prior"):
        lengthen(model, clips(), 9, how="loop", windows=Windows(prior))
    other = LatentPrior(Prior(layers=3, width=2), Sizes(static=8, dynamic=3, frames=6))
    with pytest.raises(InputError, match="got one of S 8 and D 3, expected S 8 and D 2"):
        lengthen(model, clips(), 9, how="prior", windows=Windows(other))


def test_a_static_factor_a_frame_has_none_for_new_frames():
    model = DiffSDA(preset("tiny_vector").replace(encoder={"shared_static": False}))
    with pytest.raises(InputError, match="new frames would have none"):
        lengthen(model, clips(), 9)


def test_numbers_drawn_on_the_way_do_not_repeat_from_tile_to_tile(model):
    recipe, model.recipe = model.recipe, model.recipe.replace(sampling={"S_churn": 2.0})
    try:
        made = lengthen(model, clips(), 10, how="hold", noise="shared", tile=2)
        kept = lengthen(model, clips(), 10, how="hold")
        np.testing.assert_array_equal(kept[:, :6], reconstruct(model, clips()))
    finally:
        model.recipe = recipe
    assert not np.allclose(made[:, 6], made[:, 8], atol=1e-3)


def test_progress_sees_every_step(model, prior):
    seen = []

    def track(total):
        seen.append(total)

        def watch(steps):
            for step in steps:
                seen.append(step)
                yield step

        return watch

    for how, noise in (("loop", "auto"), ("hold", "fresh"), ("resample", "auto"), ("prior", "own")):
        seen.clear()
        lengthen(model, clips(), 11, how=how, noise=noise, windows=windows(how, prior), tile=3, batch=2, track=track)
        totals = [one for one in seen if isinstance(one, int)]
        assert sum(totals) == len(seen) - len(totals)
