"""``auto``'s comparison on first use: what agrees is used, what does not is left, once and with a warning."""

import warnings

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from diffsda.kernels import first_use, group_norm
from diffsda.kernels.group_norm import launches, op


@pytest.fixture(autouse=True)
def comparing(monkeypatch):
    """Pretend to be on a GPU without a record, and forget all verdicts."""
    monkeypatch.setattr(op, "resolve", lambda operation, device: "compare")
    monkeypatch.setattr(first_use, "_verdicts", {})


def call(x=None):
    x = torch.randn(2, 8, 3, 3) if x is None else x
    return group_norm(x, torch.ones(8), torch.zeros(8), groups=2)


def test_a_kernel_that_agrees_is_used(monkeypatch):
    calls, real = [], launches.forward
    monkeypatch.setattr(launches, "forward", lambda *a: calls.append(a) or real(*a))
    call()
    assert list(first_use.verdicts().values()) == [True]
    before = len(calls)
    call()
    assert len(calls) == before + 1  # no second comparison
    assert len(first_use.verdicts()) == 1
    call(torch.randn(2, 8, 5, 5))
    assert len(first_use.verdicts()) == 2


@pytest.mark.parametrize("what", ["value", "gradient", "nan"])
def test_a_kernel_that_does_not_is_left_with_a_warning(monkeypatch, what):
    real_forward, real_backward = launches.forward, launches.backward

    def forward(*arguments):
        y, *rest = real_forward(*arguments)
        return (y * 1.01 if what == "value" else y * float("nan") if what == "nan" else y, *rest)

    def backward(*arguments):
        dx, *rest = real_backward(*arguments)
        return (dx * 1.01 if what == "gradient" else dx, *rest)

    monkeypatch.setattr(launches, "forward", forward)
    monkeypatch.setattr(launches, "backward", backward)
    x = torch.randn(2, 8, 3, 3)
    with pytest.warns(UserWarning, match="the reference is used"):
        y = call(x)
    wanted = torch.nn.functional.silu(torch.nn.functional.group_norm(x, 2))
    torch.testing.assert_close(y, wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # no second warning
        assert torch.equal(call(x), y)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_comparison_inside_a_checkpoint_is_none_of_its_business(reentrant):
    x = torch.randn(2, 8, 3, 3, requires_grad=True)
    checkpoint(call, x, use_reentrant=reentrant).square().sum().backward()
    assert list(first_use.verdicts().values()) == [True]
    again = x.detach().requires_grad_()
    call(again).square().sum().backward()
    torch.testing.assert_close(x.grad, again.grad)


def test_a_comparison_without_memory_is_no_verdict(monkeypatch):
    real, full = launches.forward, [True]

    def forward(*arguments):
        if full:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments)

    monkeypatch.setattr(launches, "forward", forward)
    x = torch.randn(2, 8, 3, 3)
    y = call(x)
    assert first_use.verdicts() == {}
    full.clear()
    torch.testing.assert_close(call(x), y)
    assert list(first_use.verdicts().values()) == [True]


def test_the_comparison_leaves_no_trace():
    x = torch.randn(2, 8, 3, 3, requires_grad=True)
    weight = torch.ones(8, requires_grad=True)
    before = torch.get_rng_state()
    with torch.no_grad():
        group_norm(x, weight, torch.zeros(8), groups=2)
    assert x.grad is None
    assert weight.grad is None
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_is_compared_while_a_graph_is_compiled(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    call()
    assert not first_use.verdicts()


def test_a_correct_kernel_in_bfloat16_is_not_condemned_by_rounding():
    """Sums over many samples nearly cancel: what is compared must be the kernel, not how its cotangent is rounded."""
    from diffsda.kernels.group_norm import reference

    def rounded(x, weight, bias):
        y = reference.group_norm(x.float(), weight, bias, groups=8)
        return y.to(x.dtype)

    def plain(x, weight, bias):
        return reference.group_norm(x, weight, bias, groups=8)

    x = torch.randn(64, 16, 32, 32).bfloat16()
    error = first_use._difference(rounded, plain, [x, torch.ones(16), torch.zeros(16)], True)
    assert error < 0.5 * first_use.TOLERANCE[torch.bfloat16]


def test_it_works_in_inference_mode():
    with torch.inference_mode():
        call()
    assert list(first_use.verdicts().values()) == [True]


def test_a_kernel_that_cannot_run_is_left_with_a_warning(monkeypatch):
    def broken(*_):
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(launches, "forward", broken)
    with pytest.warns(UserWarning, match="no C compiler"):
        y = call()
    assert y.isfinite().all()


def test_what_is_not_finite_is_no_verdict():
    x = torch.randn(2, 8, 3, 3)
    x[0, 0, 0, 0] = float("inf")
    call(x)
    assert not first_use.verdicts()
    call(torch.randn(2, 8, 3, 3))
    assert list(first_use.verdicts().values()) == [True]
