"""Walks along principal components: Eq. 6 to the letter, and nothing else moves."""

import numpy as np
import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.inference import Execution, Session
from diffsda.tasks.reconstruct import reconstruct
from diffsda.tasks.traverse import components, starts, traverse

LENGTHS = np.array([6, 2, 4, 6, 3])
ALPHAS = (-2.0, 0.0, 1.5)


@pytest.fixture
def model(randomise):
    return randomise(DiffSDA(preset("tiny_vector")))


def clips(lengths=None):
    x = np.random.default_rng(0).normal(0, 0.5, size=(5, 6, 6)).astype(np.float32)
    return Clips(x, lengths=lengths)


def pool(count=500, frames=4, seed=0):
    """Draw factors of which the first component is known: dimension 0 and 1 of s vary together."""
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(count, 8, generator=g)
    s[:, 1] = s[:, 0] + 0.1 * s[:, 1]
    s = s * torch.tensor([1.0, 50.0, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0]) + 5
    return Factors(s, torch.randn(count, frames, 2, generator=g))


def test_components_are_those_of_the_correlation():
    f = pool()
    found = components(f, "static", 8)
    z = (f.static.double() - f.static.double().mean(0)) / f.static.double().std(0, correction=0)
    values, vectors = np.linalg.eigh((z.T @ z / len(z)).numpy())
    np.testing.assert_allclose(found.explained, values[::-1] / 8, atol=1e-5)
    for v, w in zip(found.directions, vectors.T[::-1]):
        np.testing.assert_allclose(np.abs(v @ w), 1, atol=1e-3)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(8), atol=1e-9)
    # Scale does not matter, correlation does: the two that vary together come first.
    np.testing.assert_allclose(found.directions[0][:2], [0.707, 0.707], atol=0.02)
    assert found.explained[0] == pytest.approx(0.25, abs=0.01)
    assert found.explained.sum() == pytest.approx(1)
    assert (found.directions[np.arange(8), np.abs(found.directions).argmax(1)] > 0).all()


def test_the_move_is_equation_6():
    f = pool()
    found = components(f, "static", 3)
    s = f.static[:7].double()
    for component in range(3):
        for alpha in (-3.0, 0.5, 2.0):
            mean, std = torch.tensor(found.mean), torch.tensor(found.std)
            v = torch.tensor(found.directions[component])
            paper = ((s - mean) / std + alpha * v * np.sqrt(8)) * std + mean
            torch.testing.assert_close(found.move(s, component, alpha), paper, rtol=1e-9, atol=1e-9)
        assert torch.equal(found.move(f.static, component, 0.0), f.static)


def test_dynamic_components_are_of_single_frames_and_move_every_frame_alike():
    f = pool(frames=6)
    found = components(f, "dynamic", 2, lengths=np.full(500, 3))
    assert found.pool == 1500
    assert len(found.mean) == 2
    np.testing.assert_allclose(found.mean, f.dynamic[:, :3].double().mean((0, 1)), atol=1e-6)
    edited = found.edit(f[:2], 1, 2.0)
    assert torch.equal(edited.static, f.static[:2])
    step = edited.dynamic - f.dynamic[:2]
    torch.testing.assert_close(step, step[:1, :1].expand_as(step), rtol=1e-4, atol=1e-5)
    assert float(step.abs().max()) > 0.1
    still = components(f, "static", 2).edit(f[:2], 0, 2.0)
    assert torch.equal(still.dynamic, f.dynamic[:2])


def test_chunks_change_nothing(monkeypatch):
    whole = components(pool(), "static", 8)
    monkeypatch.setattr("diffsda.tasks.traverse._ROWS", 7)
    parts = components(pool(), "static", 8)
    np.testing.assert_allclose(parts.directions, whole.directions, atol=1e-7)
    np.testing.assert_allclose(parts.std, whole.std, rtol=1e-9)


def test_a_dimension_that_never_varies_stays():
    f = pool()
    f.static[:, 2] = 4.0
    found = components(f, "static", 8)
    assert np.isfinite(found.directions).all()
    assert found.explained.sum() == pytest.approx(1)
    assert torch.equal(found.move(f.static, 3, 2.0)[:, 2], f.static[:, 2])


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("batch", [2, 64])
def test_alpha_0_is_exactly_the_reconstruction(model, lengths, batch):
    held = clips(lengths)
    found = components(pool(), "static", 2)
    f, start = starts(model, held, steps=3, batch=batch)
    made = traverse(model, f, start, found, ALPHAS, lengths=held.lengths, steps=3, batch=batch)
    assert made.shape == (5, 2, 3, 6, 6)
    wanted = reconstruct(model, held, steps=3, batch=batch)
    for component in range(2):
        np.testing.assert_array_equal(made[:, component, 1], wanted)
        assert not np.allclose(made[:, component, 0], wanted, atol=1e-2)
    if lengths is not None:
        assert not made[1, :, :, 2:].any()


@pytest.mark.parametrize("factor", ["static", "dynamic"])
def test_every_cell_is_the_clip_with_that_edit_and_its_own_noise(model, factor):
    held, found = clips(), components(pool(), factor, 2)
    f, start = starts(model, held, steps=3)
    made = [traverse(model, f, start, found, ALPHAS, steps=3, batch=b) for b in (1, 4, 64)]
    session = Session(model, Execution(tile=4))
    made.append(traverse(session, *starts(session, held, steps=3), found, ALPHAS, steps=3, batch=3))
    for other in made[1:]:
        np.testing.assert_allclose(other, made[0], rtol=1e-4, atol=1e-5)
    for k in range(2):
        for a, alpha in enumerate(ALPHAS):
            wanted = model.sample(found.edit(f, k, alpha), start, 3).numpy()
            np.testing.assert_allclose(made[0][:, k, a], wanted, rtol=1e-4, atol=1e-5)


def test_noise_drawn_on_the_way_is_the_clips(model):
    model.recipe = model.recipe.replace(sampling={"S_churn": 2.0})
    found = components(pool(), "static", 1)
    f, start = starts(model, clips(), steps=3)
    made = [traverse(model, f, start, found, (0.0, 1.0), steps=3, seed=9, batch=b) for b in (2, 64)]
    np.testing.assert_allclose(made[1], made[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(made[1][:, 0, 0], reconstruct(model, clips(), steps=3, seed=9))


def test_progress_sees_every_step(model):
    seen = []

    def track(total):
        seen.append(total)

        def watch(steps):
            for step in steps:
                seen.append(step)
                yield step

        return watch

    f, start = starts(model, clips(), steps=3, batch=2, track=track)
    assert seen[0] == len(seen) - 1 == 3 * 3
    for alphas, calls in ((ALPHAS, 3 + 10), ((1.0,), 5), ((0.0,), 3)):
        seen.clear()
        traverse(model, f, start, components(pool(), "static", 2), alphas, steps=3, batch=2, track=track)
        assert seen[0] == len(seen) - 1 == 3 * calls


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: components(pool(), "both", 1), "factor: got 'both'"),
        (lambda: components(pool(), "static", 9), "got 9, expected 1 to 8"),
        (lambda: components(pool(), "static", 0), "got 0, expected 1 to 8"),
        (lambda: components(pool(8), "static", 1), "got 8 static factors of width 8, expected more than 8"),
    ],
)
def test_components_that_cannot_be_found(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("alphas", [(), (1.0, float("nan")), (float("inf"),)])
def test_alphas_nobody_can_walk(model, alphas):
    f = pool(2, 6)
    with pytest.raises(InputError, match="expected finite numbers"):
        traverse(model, f, torch.zeros(2, 6, 6), components(pool(), "static", 1), alphas)
