"""How noise levels are drawn and errors averaged."""

import pytest
import torch

from diffsda.edm.loss import draw_sigma, weighted_error
from diffsda.recipe import Noise

CPU = torch.device("cpu")


@pytest.mark.parametrize(("mean", "deviation"), [(-0.4, 1.0), (-1.2, 1.2)])
def test_log_of_sigma_is_normal(mean, deviation):
    log = draw_sigma(400, 100, Noise(P_mean=mean, P_std=deviation), device=CPU).log()
    assert log.shape == (400, 100)
    assert log.mean().item() == pytest.approx(mean, abs=5 * deviation / 200)
    assert log.std().item() == pytest.approx(deviation, abs=0.02)
    standard = (log - mean) / deviation
    assert (standard**3).mean().item() == pytest.approx(0, abs=0.06)
    assert (standard**4).mean().item() == pytest.approx(3, abs=0.15)


def test_frames_draw_their_own_or_share_one():
    each = draw_sigma(3, 50, Noise(), device=CPU)
    assert each.shape == (3, 50)
    assert each.unique().numel() == 150
    assert draw_sigma(3, 50, Noise(per_frame=False), device=CPU).shape == (3, 1)


def test_a_generator_decides():
    first, second = (
        draw_sigma(2, 3, Noise(), device=CPU, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_by_hand():
    clean, denoised = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    weight = torch.tensor([1.0, 0.5])
    assert weighted_error(denoised, clean, weight).item() == pytest.approx((14 + 0.5 * 77) / 6)
    mask = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert weighted_error(denoised, clean, weight, mask=mask).item() == pytest.approx((13 + 0.5 * 41) / 6)
    real = torch.tensor([True, False])
    assert weighted_error(denoised, clean, weight, real=real).item() == pytest.approx(14 / 3)
    assert weighted_error(denoised, clean, weight, real=real, mask=mask).item() == pytest.approx(13 / 3)
    assert weighted_error(denoised, clean, weight, real=real, count=7.0).item() == pytest.approx(2)


def test_half_precision_is_averaged_in_float32_and_float64_stays():
    clean, weight = torch.zeros(8, 1000), torch.ones(8)
    half = torch.full((8, 1000), 3.0, dtype=torch.bfloat16)
    error = weighted_error(half, clean.to(torch.bfloat16), weight)
    assert error.dtype == torch.float32
    assert error.item() == 9
    double = weighted_error(torch.full((8, 1000), 1 + 1e-12).double(), torch.ones(8, 1000).double(), weight.double())
    assert double.dtype == torch.float64


def test_values_that_are_masked_or_padded_have_no_gradient():
    denoised = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    weighted_error(denoised, torch.zeros(2, 3), torch.ones(2), mask=mask, real=torch.tensor([True, False])).backward()
    assert (denoised.grad != 0).tolist() == [[False, True, True], [False, False, False]]
