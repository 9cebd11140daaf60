"""group_norm with slabs in shared memory, on a CUDA device: its twin's values, at the shapes that take that route."""

from __future__ import annotations

import pytest
import torch

from diffsda.kernels import backend, group_norm
from diffsda.kernels.group_norm import launches, reference

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")

# N, C, H, W, dtype: 48, 72, 64, 16 and 24 channels a slab.
SHAPES = [
    (160, 192, 32, 32, torch.bfloat16),
    (64, 576, 32, 32, torch.bfloat16),
    (160, 64, 32, 32, torch.bfloat16),
    (64, 64, 64, 64, torch.float16),
    (64, 192, 32, 32, torch.float32),
]


@pytest.mark.parametrize(("n", "c", "h", "w", "dtype"), SHAPES)
@pytest.mark.parametrize(("modulated", "shifted"), [(True, False), (False, False), (True, True)])
def test_it_computes_what_its_twin_does(monkeypatch, n, c, h, w, dtype, modulated, shifted):
    draw = torch.Generator(CUDA).manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=draw, device=CUDA)

    x = (normal(n, c, h, w) + 3).to(dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = normal(c), normal(c)
    modulation = {"scale": normal(n, c) + 1, "shift": normal(n, c)} if modulated else {}
    offset = 3 * normal(c) if shifted else None
    taken, real = [], launches._through_shared_memory
    monkeypatch.setattr(launches, "_through_shared_memory", lambda *a: taken.append(a) or real(*a))
    with backend(group_norm="gluon"):
        got = group_norm(x, weight, bias, groups=32, offset=offset, **modulation)
    assert taken, "the call did not go through shared memory"
    with backend("triton"):
        twin = group_norm(x, weight, bias, groups=32, offset=offset, **modulation)
    rows = slice(0, 4)
    few = {k: v[rows].double() for k, v in modulation.items()}
    few["offset"] = offset if offset is None else offset.double()
    exact = reference.group_norm(x[rows].double(), weight.double(), bias.double(), groups=32, **few)
    own = (twin[rows].double() - exact).norm()
    assert (got[rows].double() - exact).norm() <= 2 * own + 1e-6 * exact.norm()
    torch.testing.assert_close(got, twin, rtol=2e-2 if dtype == torch.bfloat16 else 2e-3, atol=1e-2)


def test_large_means_stay_accurate():
    x = (1e4 + 0.1 * torch.randn(160, 64, 32, 32, device=CUDA)).contiguous(memory_format=torch.channels_last)
    one, zero = torch.ones(64, device=CUDA), torch.zeros(64, device=CUDA)
    with backend(group_norm="gluon"):
        got = group_norm(x, one, zero, groups=32, act="none")
    exact = reference.group_norm(x[:4].double(), one.double(), zero.double(), groups=32, act="none")
    plain = reference.group_norm(x[:4], one, zero, groups=32, act="none")
    assert (got[:4] - exact).norm() <= 2 * (plain - exact).norm() + 1e-6 * exact.norm()


def test_a_training_pass_uses_it_forward():
    x = torch.randn(160, 192, 32, 32, device=CUDA).bfloat16().contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    one, zero = torch.ones(192, device=CUDA), torch.zeros(192, device=CUDA)
    grads = []
    for choice in ("triton", "gluon"):
        with backend(group_norm=choice):
            (dx,) = torch.autograd.grad(group_norm(x, one, zero, groups=32).float().square().sum(), x)
        grads.append(dx.float())
    assert (grads[0] - grads[1]).norm() <= 2e-2 * grads[0].norm()
