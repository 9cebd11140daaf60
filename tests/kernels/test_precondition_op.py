"""precondition's reference against the formula in float64, gradients included, and its refusals."""

import pytest
import torch

from diffsda.edm.precondition import Precondition
from diffsda.errors import InputError
from diffsda.kernels import backend
from diffsda.kernels.precondition import precondition
from diffsda.kernels.precondition.reference import precondition as reference


def inputs(*shape, grad=False):
    clean, noise = (torch.randn(shape, dtype=torch.float64, requires_grad=grad) for _ in range(2))
    return clean, noise, torch.rand(shape[0], dtype=torch.float64).mul(3).requires_grad_(grad)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4, 4), (2, 4, 6)])
def test_formula(shape):
    clean, noise, sigma = inputs(*shape)
    got = precondition(clean, noise, sigma, sigma_data=0.7)
    for row in range(shape[0]):
        s = sigma[row].item()
        wanted = (clean[row] + s * noise[row]) / (s * s + 0.49) ** 0.5
        torch.testing.assert_close(got[row], wanted)


def test_it_is_what_the_denoiser_does():
    clean, noise, sigma = (t.float() for t in inputs(4, 3, 8, 8))
    edm, column = Precondition(0.5), sigma.reshape(-1, 1, 1, 1)
    noisy = clean + column * noise
    assert torch.equal(precondition(clean, noise, sigma), (edm.c_in(column) * noisy).to(noisy.dtype))


def test_unit_variance():
    n = 200_000
    for s in (1e-3, 0.5, 80.0):
        y = precondition(0.5 * torch.randn(1, n), torch.randn(1, n), torch.tensor([s]))
        assert y.std().item() == pytest.approx(1, abs=0.01)


def test_type_and_layout():
    clean, noise, sigma = (t.float() for t in inputs(2, 3, 4, 6))
    y = precondition(clean, noise, sigma, dtype=torch.bfloat16, channels_last=True)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, precondition(clean, noise, sigma).to(torch.bfloat16))
    last = [t.contiguous(memory_format=torch.channels_last) for t in (clean, noise)]
    assert precondition(*last, sigma).is_contiguous()


def test_gradients():
    assert torch.autograd.gradcheck(reference, inputs(3, 2, 2, 3, grad=True))


def test_refusals():
    clean, noise, sigma = inputs(3, 4)
    with pytest.raises(InputError, match=r"noise \(3, 3\)"):
        precondition(clean, noise[:, 1:], sigma)
    with pytest.raises(InputError, match=r"sigma \(2,\), expected \(3,\)"):
        precondition(clean, noise, sigma[1:])
    with pytest.raises(InputError, match=r"expected \(N, C, H, W\)"):
        precondition(clean, noise, sigma, channels_last=True)
    with pytest.raises(InputError, match="one device"):
        precondition(clean, noise.to("meta"), sigma)
    with pytest.raises(InputError, match="rows"):
        precondition(sigma, sigma, sigma)


def test_the_reference_is_what_runs_on_a_cpu():
    clean, noise, sigma = inputs(3, 4)
    assert torch.equal(precondition(clean, noise, sigma), reference(clean, noise, sigma))
    with backend("triton"), pytest.raises(InputError, match="float64"):
        precondition(clean, noise, sigma)
