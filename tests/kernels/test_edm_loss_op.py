"""edm_loss's reference against EDM's weighted error, by hand and in float64, gradients included, and its refusals."""

import pytest
import torch

from diffsda.edm.precondition import Precondition
from diffsda.errors import InputError
from diffsda.kernels import backend
from diffsda.kernels.edm_loss import edm_loss
from diffsda.kernels.edm_loss.reference import edm_loss as reference


def inputs(*shape, grad=False, dtype=torch.float64):
    f, clean, noise = (torch.randn(shape, dtype=dtype, requires_grad=grad) for _ in range(3))
    return f, clean, noise, (torch.rand(shape[0], dtype=dtype) * 3 + 0.05).requires_grad_(grad)


def weighted_error(f, clean, noise, sigma, sigma_data=0.5, *, mask=None, real=None, count=None):
    """Return the loss by way of the denoised clip and EDM's weight."""
    edm, column = Precondition(sigma_data), sigma.reshape(-1, *(1,) * (clean.ndim - 1))
    denoised = edm.c_skip(column) * (clean + column * noise) + edm.c_out(column) * f
    counts = torch.ones_like(clean, dtype=torch.bool)
    if real is not None:
        counts = counts & real.reshape(column.shape)
    errors = (edm.weight(column) * (denoised.double() - clean.double()) ** 2)[
        counts & (mask != 1 if mask is not None else True)
    ]
    return errors.sum() / (counts.sum() if count is None else count)


def test_by_hand():
    # From a clip of zeros without noise, D is c_out F and the weight takes c_out away again: the mean of F^2.
    f, zero, sigma = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), torch.zeros(2, 3), torch.tensor([0.5, 2.0])
    mask, real = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), torch.tensor([True, False])

    def loss(**options):
        return reference(f, zero, zero, sigma, **options).item()

    assert loss() == pytest.approx((14 + 77) / 6)
    assert loss(mask=mask) == pytest.approx((13 + 41) / 6)
    assert loss(real=real) == pytest.approx(14 / 3)
    assert loss(real=real, mask=mask) == pytest.approx(13 / 3)
    assert loss(real=real, count=7.0) == pytest.approx(2)


def parts(shape):
    mask = (torch.rand(shape) < 0.3).double()
    real = torch.tensor([True, False, True, True])[: shape[0]]
    return {
        "whole": {},
        "mask": {"mask": mask},
        "real": {"real": real},
        "mask, real and a number": {"mask": mask, "real": real, "count": 17.0},
        "a count on the device": {"count": torch.tensor(12)},
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 4, 6)])
@pytest.mark.parametrize("options", parts((1,)).keys())
def test_it_is_the_weighted_error_of_the_denoised_clip(options, shape, dtype):
    given = inputs(*shape, dtype=dtype)
    given = (given[0], *(t if dtype == torch.float64 else t.float() for t in given[1:]))
    options = parts(shape)[options]
    for sigma_data in (0.5, 0.8):
        got = edm_loss(*given, sigma_data=sigma_data, **options)
        wanted = weighted_error(*given, sigma_data=sigma_data, **options)
        torch.testing.assert_close(got.double(), wanted.double(), rtol=2e-6, atol=0)


def test_formula():
    f, clean, noise, sigma = inputs(3, 4)
    total = 0.0
    for row in range(3):
        s = sigma[row].item()
        q = s * s + 0.25
        denoised = 0.25 / q * (clean[row] + s * noise[row]) + s * 0.5 / q**0.5 * f[row]
        total += q / (s * 0.5) ** 2 * ((denoised - clean[row]) ** 2).sum().item()
    assert edm_loss(f, clean, noise, sigma).item() == pytest.approx(total / 12)


def test_no_error_for_the_perfect_answer():
    _, clean, noise, sigma = inputs(4, 6)
    column = sigma[:, None]
    edm = Precondition(0.5)
    f = (clean - edm.c_skip(column) * (clean + column * noise)) / edm.c_out(column)
    assert edm_loss(f, clean, noise, sigma).item() < 1e-25


def test_gradients():
    assert torch.autograd.gradcheck(reference, inputs(3, 2, 2, 3, grad=True))
    mask = torch.tensor([1.0, 0, 0]).expand(3, 2, 2, 3)
    real = torch.tensor([True, False, True])
    assert torch.autograd.gradcheck(lambda *a: reference(*a, mask=mask, real=real), inputs(3, 2, 2, 3, grad=True))


def test_refusals():
    f, clean, noise, sigma = inputs(3, 4)
    with pytest.raises(InputError, match=r"got f \(2, 4\), expected \(3, 4\)"):
        edm_loss(f[1:], clean, noise, sigma)
    with pytest.raises(InputError, match=r"got mask \(3,\)"):
        edm_loss(f, clean, noise, sigma, mask=sigma)
    with pytest.raises(InputError, match=r"got sigma \(3, 1\), expected \(3,\)"):
        edm_loss(f, clean, noise, sigma[:, None])
    with pytest.raises(InputError, match=r"expected torch\.bool"):
        edm_loss(f, clean, noise, sigma, real=sigma)
    with pytest.raises(InputError, match="expected a scalar"):
        edm_loss(f, clean, noise, sigma, count=sigma)
    with pytest.raises(InputError, match="noise on meta"):
        edm_loss(f, clean, noise.to("meta"), sigma)
    with pytest.raises(InputError, match="rows"):
        edm_loss(sigma, sigma, sigma, sigma)


def test_the_reference_is_what_runs_on_a_cpu():
    given = inputs(3, 4)
    assert torch.equal(edm_loss(*given), reference(*given))
    with backend("triton"), pytest.raises(InputError, match="float64"):
        edm_loss(*given)
