"""How noise levels are drawn."""

import pytest
import torch

from diffsda.edm.loss import draw_sigma
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
