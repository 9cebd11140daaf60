"""The four coefficients and the loss weight."""

import math

import pytest
import torch

from diffsda.edm.precondition import Precondition, c_noise

EDM = Precondition(0.5)
LEVELS = [1e-5, 0.002, 0.1, 0.5, 3.0, 80.0]


@pytest.mark.parametrize("sigma", LEVELS)
def test_input_and_target_of_the_network_have_unit_variance(sigma):
    assert EDM.c_in(sigma) ** 2 * (0.5**2 + sigma**2) == pytest.approx(1, rel=1e-12)
    # F has to produce (x - c_skip (x + n)) / c_out.
    variance = (1 - EDM.c_skip(sigma)) ** 2 * 0.5**2 + EDM.c_skip(sigma) ** 2 * sigma**2
    assert variance / EDM.c_out(sigma) ** 2 == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("sigma", LEVELS)
def test_weight_undoes_the_output_scale(sigma):
    assert EDM.weight(sigma) == pytest.approx(1 / EDM.c_out(sigma) ** 2, rel=1e-12)


def test_limits():
    assert EDM.c_skip(1e-9) == pytest.approx(1)
    assert EDM.c_out(1e-9) == pytest.approx(1e-9)
    assert EDM.c_skip(1e9) == pytest.approx(0, abs=1e-15)
    assert EDM.c_out(1e9) == pytest.approx(0.5)
    assert Precondition(1.0).c_skip(1.0) == 0.5


def test_tensors_and_numbers_alike():
    sigma = torch.tensor(LEVELS, dtype=torch.float64)
    for name in ("c_skip", "c_out", "c_in", "weight"):
        one = getattr(EDM, name)
        torch.testing.assert_close(one(sigma), torch.tensor([one(s) for s in LEVELS], dtype=torch.float64))
    assert c_noise(sigma)[-1].item() == pytest.approx(math.log(80) / 4)
