"""Walks between clips: exact ends, arcs that keep lengths, noise that stays noise."""

import numpy as np
import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.inference import Execution, Session
from diffsda.tasks.interpolate import interpolate, slerp
from diffsda.tasks.reconstruct import reconstruct
from diffsda.tasks.swap import swap

VARIED = (np.array([6, 2, 4, 6, 3]), np.array([3, 6, 4, 2, 5]))


@pytest.fixture
def models(randomise):
    recipe = preset("tiny_vector").replace(sampling={"steps": 3})
    return {shared: randomise(DiffSDA(recipe.replace(encoder={"shared_static": shared}))) for shared in (True, False)}


@pytest.fixture
def model(models):
    return models[True]


def clips(seed, lengths=None, frames=6):
    x = np.random.default_rng(seed).normal(0, 0.5, size=(5, frames, 6)).astype(np.float32)
    return Clips(x, lengths=lengths)


@pytest.mark.parametrize("lengths", [(None, None), VARIED])
@pytest.mark.parametrize("batch", [2, 64])
@pytest.mark.parametrize("path", ["linear", "slerp"])
def test_both_ends_are_exactly_the_reconstructions(model, lengths, batch, path):
    a, b = clips(0, lengths[0]), clips(1, lengths[1])
    walk = interpolate(model, a, b, between=2, path=path, batch=batch)
    assert walk.x.shape == (5, 4, 6, 6)
    np.testing.assert_array_equal(walk.x[:, 0], reconstruct(model, a, batch=batch))
    np.testing.assert_array_equal(walk.x[:, -1], reconstruct(model, b, batch=batch))
    assert not np.allclose(walk.x[:, 1], walk.x[:, 0], atol=1e-2)
    assert walk.shares.tolist() == [0, 1 / 3, 2 / 3, 1]


def test_clips_of_other_lengths_than_each_other(model):
    a, b = clips(0, frames=3), clips(1, frames=6)
    walk = interpolate(model, a, b, between=2)
    assert walk.lengths.tolist() == [[3, 4, 5, 6]] * 5
    np.testing.assert_array_equal(walk.x[:, 0, :3], reconstruct(model, a))
    np.testing.assert_array_equal(walk.x[:, -1], reconstruct(model, b))
    for k, n in enumerate((3, 4, 5)):
        assert not walk.x[:, k, n:].any()
        assert walk.x[:, k, n - 1].any()


@pytest.mark.parametrize("lengths", [(None, None), VARIED])
def test_one_factor_goes_from_the_reconstruction_to_the_swap(model, lengths):
    a, b = clips(0, lengths[0]), clips(1, lengths[1])
    walk = interpolate(model, a, b, between=1, factor="static")
    np.testing.assert_array_equal(walk.x[:, 0], reconstruct(model, a))
    np.testing.assert_array_equal(walk.x[:, -1], swap(model, b, a))
    assert (walk.lengths == np.asarray([6] * 5 if lengths[0] is None else lengths[0])[:, None]).all()
    walk = interpolate(model, a, b, between=1, factor="dynamic")
    np.testing.assert_array_equal(walk.x[:, 0], reconstruct(model, a))
    np.testing.assert_array_equal(walk.x[:, -1], swap(model, a, b))


def test_the_middle_is_what_lies_between(model):
    a, b = clips(0), clips(1)
    walk = interpolate(model, a, b, between=1, noise="a")
    f, g = (model.encode(c.x).detach() for c in (a, b))
    start = model.invert(a.x, f)
    half = type(f)((f.static + g.static) / 2, (f.dynamic + g.dynamic) / 2)
    np.testing.assert_allclose(walk.x[:, 1], model.sample(half, start).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(walk.x[:, 0], reconstruct(model, a))
    # From A's noise the far end is not B's reconstruction, from B's it is.
    assert not np.allclose(walk.x[:, 2], reconstruct(model, b), atol=1e-3)
    theirs = interpolate(model, a, b, between=0, noise="b")
    assert theirs.x.shape[1] == 2
    np.testing.assert_array_equal(theirs.x[:, 1], reconstruct(model, b))
    assert not np.allclose(theirs.x[:, 0], reconstruct(model, a), atol=1e-3)


@pytest.mark.parametrize("shared", [False, True])
def test_fresh_noise_is_one_draw_a_pair(model, shared):
    model.recipe = model.recipe.replace(sampling={"shared_noise": shared})
    a = clips(0)
    walk = interpolate(model, a, a, between=2, noise="fresh", seed=3)
    wanted = reconstruct(model, a, noise="fresh", seed=3)
    for k in range(4):
        np.testing.assert_allclose(walk.x[:, k], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", ["auto", "fresh"])
def test_batches_and_tiles_change_nothing(model, noise):
    a, b = clips(0, VARIED[0]), clips(1, VARIED[1])
    made = [interpolate(model, a, b, between=3, noise=noise, batch=n).x for n in (1, 4, 64)]
    made.append(interpolate(Session(model, Execution(tile=4)), a, b, between=3, noise=noise, batch=3).x)
    for other in made[1:]:
        np.testing.assert_allclose(other, made[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", ["static", "dynamic", "both"])
def test_a_static_factor_a_frame_is_stretched_too(models, factor):
    a, b = clips(0, frames=4), clips(1)
    walk = interpolate(models[False], a, b, between=2, factor=factor)
    np.testing.assert_array_equal(walk.x[:, 0, :4], reconstruct(models[False], a))
    assert walk.lengths[0].tolist() == ([4] * 4 if factor == "static" else [4, 5, 5, 6])
    assert np.isfinite(walk.x).all()


def test_an_arc_keeps_lengths_and_turns_evenly():
    a, b = torch.tensor([[2.0, 0, 0]]), torch.tensor([[0.0, 2, 0]])
    for share in (0.25, 0.5, 0.75):
        wanted = 2 * torch.tensor([[np.cos(share * np.pi / 2), np.sin(share * np.pi / 2), 0]])
        torch.testing.assert_close(slerp(a, b, share), wanted.float())
    torch.testing.assert_close(slerp(a, 2 * b, 0.5).norm(), torch.tensor(3.0))
    z = torch.randn(2, 50_000)
    assert float(slerp(z[0], z[1], 0.5).std()) == pytest.approx(1, abs=0.01)
    assert float(torch.lerp(z[0], z[1], 0.5).std()) == pytest.approx(0.707, abs=0.01)


def test_where_there_is_no_angle_the_way_is_straight():
    a = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    torch.testing.assert_close(slerp(a, 3 * a, 0.5), 2 * a)
    torch.testing.assert_close(slerp(a[1:], a[:1], 0.25), a[:1] / 4)
    for one, other, words in ((a[:1], -a[:1], "opposite vectors"), (a[..., :1], a[..., :1], "vectors of one number")):
        with pytest.raises(InputError, match=words):
            slerp(one, other, 0.5)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"factor": "all"}, "factor: got 'all', expected one of static, dynamic, both"),
        ({"path": "curve"}, "path: got 'curve'"),
        ({"noise": "own"}, "noise: got 'own'"),
        ({"between": -1}, "between: got -1"),
        ({"between": True}, "between: got True"),
        ({"steps": 1}, "steps: got 1"),
    ],
)
def test_walks_nobody_can_take(model, more, words):
    with pytest.raises(InputError, match=words):
        interpolate(model, clips(0), clips(1), **more)


def test_as_many_of_each(model):
    with pytest.raises(InputError, match="got 5 clips A and 2 clips B"):
        interpolate(model, clips(0), clips(1).select([0, 1]))


def test_progress_sees_every_step(model):
    seen = []

    def track(total):
        seen.append(total)

        def watch(steps):
            for step in steps:
                seen.append(step)
                yield step

        return watch

    for noise in ("auto", "fresh", "a"):
        seen.clear()
        interpolate(model, clips(0), clips(1), between=3, noise=noise, batch=2, track=track)
        totals = [one for one in seen if isinstance(one, int)]
        assert sum(totals) == len(seen) - len(totals)
