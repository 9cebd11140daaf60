"""The modulation of one layer, unfolded, as training on the CPU applies it."""

import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.nn.modulation import Modulate, fold


@pytest.fixture
def parts():
    return [torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (6, 6, 6, 2, 2)]  # three draws of two


def test_it_is_the_folded_map(parts):
    h, ts, tb, as_, ab = parts
    noise, factor = torch.cat([ts, tb], 1).unflatten(0, (3, 2)), torch.cat([as_, ab], 1)
    scale, shift = (t.flatten(0, 1) for t in fold(noise, factor))
    assert torch.allclose(Modulate.apply(*parts), h * scale + shift, rtol=1e-12)


def test_gradients(parts):
    assert torch.autograd.gradcheck(Modulate.apply, parts)


def test_training_on_unfolded_tables_is_training_on_folded_ones(monkeypatch, randomise):
    model = randomise(DiffSDA(preset("tiny_vector").replace(backbone={"dropout": 0.0}, encoder={"dropout": 0.0})))
    model = model.double()
    x = torch.randn(3, 7, 6, dtype=torch.float64)
    sigma, noise = torch.rand(6, 7, dtype=torch.float64) + 0.1, torch.randn(6, 7, 6, dtype=torch.float64)
    called = []
    own = type(model.denoiser.backbone).unfolded
    monkeypatch.setattr(type(model.denoiser.backbone), "unfolded", lambda *given: called.append(1) or own(*given))

    def gradients():
        model.zero_grad()
        model.loss(x, sigma, noise).backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    unfolded = gradients()
    assert called == [1]
    monkeypatch.setattr("diffsda.denoiser._trains_on_cpu", lambda *given: False)
    folded = gradients()
    assert called == [1]
    for name, wanted in folded.items():
        assert torch.allclose(unfolded[name], wanted, rtol=1e-9, atol=1e-12), name
