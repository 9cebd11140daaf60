"""The small attention against a softmax written out in float64, gradients included."""

import torch

from diffsda.kernels.attention import attention


def formula(q, k, v):
    logits = torch.einsum("nic,njc->nij", q, k) / q.shape[2] ** 0.5
    weights = torch.exp(logits) / torch.exp(logits).sum(2, keepdim=True)
    return torch.einsum("nij,njc->nic", weights, v)


def test_formula():
    q, k, v = torch.randn(3, 2, 9, 6, dtype=torch.float64)
    torch.testing.assert_close(attention(q, k, v), formula(q, k, v))
    low = attention(q.float(), k.float(), v.float())
    torch.testing.assert_close(low.double(), formula(q, k, v), rtol=1e-5, atol=1e-5)


def test_gradients():
    inputs = [torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(attention, inputs)


def test_large_logits_stay_finite():
    q = torch.full((1, 4, 8), 200.0)
    assert torch.isfinite(attention(q, q, q)).all()


def test_strided_views_of_one_product():
    packed = torch.randn(2, 9, 12, dtype=torch.float64)
    q, k, v = packed.chunk(3, dim=-1)
    assert not q.is_contiguous()
    torch.testing.assert_close(attention(q, k, v), formula(q, k, v))
