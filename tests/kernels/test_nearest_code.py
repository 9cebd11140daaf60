"""nearest_code's reference against the argmin of every distance in float64, and the switch around it."""

import pytest
import torch

from diffsda.errors import InputError
from diffsda.kernels import backend
from diffsda.kernels.launch import BackendError
from diffsda.kernels.nearest_code import cost, nearest_code, reference


def exact(x, codebook):
    return (x.double()[:, None] - codebook.double()).square().sum(2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("n", "k", "d"),
    [
        pytest.param(50, 33, 4, id="a first stage's width"),
        pytest.param(50, 33, 8, id="the widest compared directly"),
        pytest.param(50, 33, 9, id="the narrowest compared by products"),
        pytest.param(7, 1, 3, id="one code"),
        pytest.param(0, 5, 3, id="no rows"),
    ],
)
def test_every_distance(n, k, d, dtype):
    x, codebook = torch.randn(n, d).to(dtype), torch.randn(k, d).to(dtype)
    found = nearest_code(x, codebook)
    assert found.dtype == torch.int64
    assert torch.equal(found, exact(x, codebook).argmin(1))


def test_the_types_may_differ_and_the_wider_counts():
    x, codebook = torch.randn(40, 3), torch.randn(30, 3, dtype=torch.float64)
    assert torch.equal(nearest_code(x, codebook), exact(x, codebook).argmin(1))
    assert torch.equal(nearest_code(x.bfloat16(), codebook), exact(x.bfloat16(), codebook).argmin(1))


def test_the_lowest_of_equals():
    codebook = torch.tensor([[5.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert nearest_code(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), codebook).tolist() == [1, 1]


def test_large_means_do_not_hide_small_differences():
    """In float32, |x|^2 - 2 x c + |c|^2 cannot tell these codes apart."""
    codebook = 1000 + 0.01 * torch.arange(20.0)[:, None].expand(20, 3).contiguous()
    x = codebook[[3, 17, 0]] + 0.001
    assert nearest_code(x, codebook).tolist() == [3, 17, 0]
    expanded = x.square().sum(1, keepdim=True) - 2 * x @ codebook.t() + codebook.square().sum(1)
    assert expanded.argmin(1).tolist() != [3, 17, 0]


@pytest.mark.parametrize("d", [3, 12], ids=["direct", "products"])
def test_no_block_of_distances_is_larger_than_stated(d, monkeypatch):
    x, codebook = torch.randn(103, d), torch.randn(16, d)
    wanted = reference.nearest_code(x, codebook)
    sizes = []
    whole = reference._distances
    monkeypatch.setattr(reference, "MATRIX_BYTES", 16 * 4 * 10 + 5)
    monkeypatch.setattr(reference, "_distances", lambda *a: (sizes.append(whole(*a).numel() * 4), whole(*a))[1])
    assert torch.equal(reference.nearest_code(x, codebook), wanted)
    assert len(sizes) == 11
    assert max(sizes) == 640
    monkeypatch.setattr(reference, "MATRIX_BYTES", 1)  # less than a row: one at a time
    assert torch.equal(reference.nearest_code(x, codebook), wanted)


def test_autocast_does_not_lower_the_precision():
    x, codebook = torch.randn(200, 32), torch.randn(300, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest_code(x, codebook), exact(x, codebook).argmin(1))


def test_no_gradient_and_compiled():
    x = torch.randn(30, 4, requires_grad=True)
    codebook = torch.randn(9, 4, requires_grad=True)
    found = nearest_code(x, codebook)
    assert not found.requires_grad
    torch._dynamo.reset()
    compiled = torch.compile(nearest_code, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, codebook), found)


@pytest.mark.parametrize("which", ["torch", "triton"])
@pytest.mark.parametrize(
    ("x", "codebook"),
    [
        pytest.param(torch.zeros(3, 4), torch.zeros(5, 3), id="widths that differ"),
        pytest.param(torch.zeros(3, 4, 1), torch.zeros(5, 4), id="three dimensions"),
        pytest.param(torch.zeros(3, 4), torch.zeros(0, 4), id="no codes"),
        pytest.param(torch.zeros(3, 0), torch.zeros(5, 0), id="no columns"),
        pytest.param(torch.zeros(3, 4, dtype=torch.int64), torch.zeros(5, 4), id="integers"),
        pytest.param(torch.zeros(3, 4), torch.zeros(5, 4, device="meta"), id="two devices"),
    ],
)
def test_refusals(x, codebook, which):
    with backend(which), pytest.raises(InputError, match="nearest_code: got x"):
        nearest_code(x, codebook)


def test_our_kernel_asked_for_on_the_cpu_says_why_not(monkeypatch):
    monkeypatch.setattr("diffsda.kernels.launch.INTERPRETED", False)
    monkeypatch.setattr("diffsda.kernels.launch.INSTALLED", True)
    with backend(nearest_code="triton"), pytest.raises(BackendError, match="nearest_code: backend 'triton'"):
        nearest_code(torch.zeros(3, 4), torch.zeros(5, 4))


def test_the_cost_names_the_matrix_that_is_avoided():
    moved = cost.forward(1000, 512, 4, torch.float32)
    assert (moved.read, moved.written) == (1000 * 16 + 512 * 16, 8000)
    assert moved.flops == 3 * 1000 * 512 * 4
    assert cost.avoided(1000, 512) == 2_048_000
    # 16 programs of 64 rows walk through the codebook.
    assert moved.reread == 15 * 512 * 16
