"""Tasks over many clips: results do not depend on how they are batched."""

import numpy as np
import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.inference import Execution, Session
from diffsda.tasks.batches import lengths_of, seeds, slices
from diffsda.tasks.encode import encode
from diffsda.tasks.reconstruct import reconstruct
from diffsda.tasks.swap import pairs, swap

LENGTHS = np.array([6, 2, 4, 6, 3])


@pytest.fixture
def model(randomise):
    return randomise(DiffSDA(preset("tiny_vector")))


def clips(lengths=LENGTHS, seed=0):
    x = np.random.default_rng(seed).normal(0, 0.5, size=(5, 6, 6)).astype(np.float32)
    return Clips(x, lengths=lengths)


def agree(results):
    first, *others = results
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_encode_whatever_the_batch(model, lengths):
    made = [encode(model, clips(lengths), batch=b) for b in (1, 2, 64)]
    assert made[0].batch == 5
    assert not made[0].static.requires_grad
    agree([f.static for f in made])
    agree([f.dynamic for f in made])


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("noise", ["own", "fresh"])
def test_reconstruct_whatever_the_batch(model, noise, lengths):
    made = [reconstruct(model, clips(lengths), noise=noise, steps=3, seed=9, batch=b) for b in (1, 2, 64)]
    assert made[0].shape == (5, 6, 6)
    assert np.isfinite(made[0]).all()
    agree(made)
    if noise == "fresh":
        assert not np.allclose(made[0], reconstruct(model, clips(lengths), noise=noise, steps=3, seed=8))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("noise", ["dynamic", "static", "fresh", "shared"])
def test_swap_whatever_the_batch(model, noise, lengths):
    static, dynamic = clips(lengths), clips(lengths, seed=1)
    made = [swap(model, static, dynamic, noise=noise, steps=3, seed=9, batch=b) for b in (1, 2, 64)]
    assert made[0].shape == (5, 6, 6)
    agree(made)
    if lengths is not None:
        assert not made[0][1, 2:].any()


def test_progress_sees_every_step(model):
    seen = []

    def track(total):
        seen.append(total)

        def watch(steps):
            for step in steps:
                seen.append(step)
                yield step

        return watch

    for noise, times in (("own", 2), ("fresh", 1)):
        seen.clear()
        reconstruct(model, clips(), noise=noise, steps=3, batch=2, track=track)
        assert seen[0] == len(seen) - 1 == 3 * 3 * times
    for noise, times in (("dynamic", 2), ("static", 2), ("fresh", 1), ("shared", 1)):
        seen.clear()
        swap(model, clips(), clips(), noise=noise, batch=2, track=track)
        assert seen[0] == len(seen) - 1 == 3 * 18 * times


def test_pairs():
    def listed(*a, **k):
        return [p.tolist() for p in pairs(*a, **k)]

    assert listed(3, 3) == [[0, 1, 2], [0, 1, 2]]
    assert listed(1, 3) == [[0, 0, 0], [0, 1, 2]]
    assert listed(3, 1) == [[0, 1, 2], [0, 0, 0]]
    assert listed(2, 3, grid=True) == [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]
    with pytest.raises(InputError, match="2 static and 3 dynamic"):
        pairs(2, 3)


def test_slices_and_seeds():
    parts = list(slices(5, 2))
    assert parts == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert [s for part in parts for s in seeds(10, part)] == [10, 11, 12, 13, 14]
    assert lengths_of(clips(), parts[1]).tolist() == [4, 6]
    assert lengths_of(clips(None), parts[1]) is None
    assert list(slices(0, 2)) == []
    with pytest.raises(InputError, match="at least 1"):
        list(slices(5, 0))


def test_tasks_keep_the_model_as_it_was(model):
    model.train()
    swap(model, clips(), clips(), steps=2)
    reconstruct(model, clips(), steps=2)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_tasks_run_on_a_session_as_on_its_model(model, lengths):
    session = Session(model, Execution(tile=4))
    static, dynamic = clips(lengths), clips(lengths, seed=1)
    mine, its = (encode(runner, static, batch=2) for runner in (session, model))
    agree([mine.static, its.static])
    agree([mine.dynamic, its.dynamic])
    agree([reconstruct(runner, static, steps=3, seed=9, batch=2) for runner in (session, model)])
    agree([swap(runner, static, dynamic, noise="fresh", steps=3, seed=9) for runner in (session, model)])
