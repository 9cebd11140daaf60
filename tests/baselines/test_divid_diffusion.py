"""DiViD's schedules and DDIM, and its attention to two tokens, against formulas and torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from divid_models import VECTOR, built, clips

from diffsda.baselines.divid.attention import CodeAttention
from diffsda.baselines.divid.diffusion import (
    chosen_steps,
    first_step,
    inversion_plan,
    noised,
    run,
    sampling_plan,
    signal,
)
from diffsda.baselines.divid.encoder import positions
from diffsda.baselines.divid.settings import DiViDSettings
from diffsda.errors import InputError

PAPER = DiViDSettings()


def test_the_cosine_schedule():
    level = signal(PAPER)
    t = np.arange(1, 1001) / 1000
    wanted = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert np.allclose(level[:-1], wanted[:-1], rtol=1e-9)
    # The last step would leave nothing; a step replaces 0.999 of the variance at most.
    assert level[-1] == pytest.approx(level[-2] * 0.001)
    assert (np.diff(level) < 0).all()


def test_the_linear_schedule():
    level = signal(PAPER.replace(schedule="linear"))
    assert level[0] == pytest.approx(1 - 1e-4)
    assert level[-1] == pytest.approx(np.exp(np.log1p(-np.linspace(1e-4, 2e-2, 1000)).sum()))
    assert 3e-5 < level[-1] < 5e-5


def test_noise_keeps_the_variance():
    level, x = signal(PAPER), torch.ones(3, 2, 4000)
    noise = torch.randn(3, 1, 4000)
    z = noised(x, torch.tensor([0, 400, 999]), noise, level)
    for row, t in zip(z, (0, 400, 999)):
        assert float(row.mean()) == pytest.approx(level[t] ** 0.5, abs=0.06)
        assert float(row.std()) == pytest.approx((1 - level[t]) ** 0.5, abs=0.03)
    assert torch.equal(z[:, 0], z[:, 1])


def test_steps_are_spread_over_those_with_signal():
    level = signal(PAPER)
    last = first_step(PAPER, level)
    assert level[last] >= 1e-3 > level[last + 1]
    chosen = chosen_steps(PAPER, level)
    assert len(chosen) == 50
    assert chosen[-1] == last
    assert set(np.diff(chosen)) <= {19, 20}
    assert chosen_steps(PAPER, level, 1000) == list(range(last + 1))
    few = chosen_steps(PAPER, level, 7)
    assert len(few) == 7
    assert [move.t for move in sampling_plan(PAPER, level, 7)] == few[::-1]
    # On the way to more noise the network reads clips where they are, not where they are going.
    assert [move.t for move in inversion_plan(PAPER, level, 7)] == [0, *few[:-1]]
    with pytest.raises(InputError, match="least_signal"):
        first_step(PAPER.replace(least_signal=0.5, steps=2, sampling_steps=2), np.array([0.4, 0.1]))
    for steps in (0, 1001, 2.5, True):
        with pytest.raises(InputError, match="steps"):
            chosen_steps(PAPER, level, steps)


def gaussian_noise(level, variance):
    """Return the best prediction of noise in data N(0, variance)."""

    def predict(z, t):
        return z * float(np.sqrt(1 - level[t]) / (level[t] * variance + 1 - level[t]))

    return predict


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_samples_have_the_datas_variance(schedule):
    settings = PAPER.replace(schedule=schedule)
    level = signal(settings)
    predict = gaussian_noise(level, 0.25)
    start = torch.randn(1, 1, 4000, dtype=torch.float64)
    x = run(predict, start, sampling_plan(settings, level, 500), level)
    assert float(x.std() / start.std()) == pytest.approx(0.5, rel=0.01)


def test_inversion_leads_back():
    level = signal(PAPER)
    predict = gaussian_noise(level, 0.25)
    x = torch.randn(1, 1, 50, dtype=torch.float64) / 2
    noise = run(predict, x, inversion_plan(PAPER, level, 500), level)
    assert float(noise.std() / x.std()) == pytest.approx(2, rel=0.01)
    back = run(predict, noise, sampling_plan(PAPER, level, 500), level)
    assert torch.allclose(back, x, rtol=0.02)


def test_a_bound_holds_clean_frames():
    level = signal(PAPER)
    plan = sampling_plan(PAPER, level, 10)
    start = torch.randn(1, 1, 500, dtype=torch.float64)

    def nothing(z, t):
        return torch.zeros_like(z)

    assert float(run(nothing, start, plan, level).abs().max()) > 10
    assert float(run(nothing, start, plan, level, 1.5).abs().max()) == pytest.approx(1.5)
    exact = gaussian_noise(level, 0.01)
    free, held = (run(exact, start, plan, level, bound) for bound in (None, 9.0))
    assert torch.allclose(free, held, atol=1e-8)


@torch.no_grad()
def test_inverted_noise_is_each_frames_own(randomise):
    model = built(randomise, VECTOR)
    x = clips(torch.randn, VECTOR)
    noise = model.invert(x, model.encode(x), steps=20)
    assert noise.shape == x.shape
    assert not torch.allclose(noise[:, 0], noise[:, 1])
    with pytest.raises(InputError, match="factors"):
        model.invert(x[:, :3], model.encode(x))


def test_two_tokens_are_attention():
    layer = CodeAttention(6, 8, 2)
    y, tokens = torch.randn(3, 5, 6), torch.randn(3, 2, 8)

    def heads(rows):
        return rows.unflatten(2, (2, 4)).transpose(1, 2)

    q, k, v = heads(layer.query(y)), heads(layer.key(tokens)), heads(layer.value(tokens))
    wanted = layer.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    assert torch.allclose(layer(y, tokens), wanted, atol=1e-6)
    shares = torch.softmax(q @ k.transpose(2, 3) / 2, dim=-1)[..., 0].transpose(1, 2)
    assert torch.allclose(layer.share(y, tokens), shares, atol=1e-6)


def test_positions():
    given = positions(3, 5)
    assert torch.equal(given[0], torch.tensor([0.0, 1, 0, 1, 0]))
    assert float(given[2, 0]) == pytest.approx(np.sin(2))
    assert float(given[2, 3]) == pytest.approx(np.cos(2 / 10_000**0.4))
