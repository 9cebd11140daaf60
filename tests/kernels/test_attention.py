"""The small attention against a softmax written out in float64, gradients included; the switch around it."""

from types import SimpleNamespace

import pytest
import torch

from diffsda.errors import InputError
from diffsda.kernels import backend
from diffsda.kernels.attention import attention, cost, memory_efficient
from diffsda.kernels.launch import BackendError


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


@pytest.mark.parametrize("which", ["torch", "triton", "xformers"])
@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        pytest.param(*torch.zeros(3, 1, 9, 4)[:, :, :, :0], id="no channels"),
        pytest.param(*torch.zeros(3, 9, 4), id="two dimensions"),
        pytest.param(*torch.zeros(3, 2, 9, 4, dtype=torch.int64), id="integers"),
        pytest.param(torch.zeros(2, 9, 4), torch.zeros(2, 8, 4), torch.zeros(2, 8, 4), id="fewer keys than queries"),
        pytest.param(*torch.zeros(2, 2, 9, 4), torch.zeros(2, 9, 4).double(), id="two dtypes"),
        pytest.param(*torch.zeros(2, 2, 9, 4), torch.zeros(2, 9, 4, device="meta"), id="two devices"),
    ],
)
def test_refusals(q, k, v, which):
    with backend(attention=which), pytest.raises(InputError, match=r"attention: got q \("):
        attention(q, k, v)


def test_our_kernel_asked_for_on_the_cpu_says_why_not(monkeypatch):
    monkeypatch.setattr("diffsda.kernels.launch.INTERPRETED", False)
    monkeypatch.setattr("diffsda.kernels.launch.INSTALLED", True)
    q = torch.zeros(2, 9, 4)
    with backend(attention="triton"), pytest.raises(BackendError, match="attention: backend 'triton'"):
        attention(q, q, q)


def test_sdpa_is_another_name_for_torch():
    q = torch.randn(2, 9, 4)
    with backend("triton", attention="sdpa"):
        torch.testing.assert_close(attention(q, q, q), formula(q, q, q))


def test_xformers_on_the_cpu_says_that_it_has_no_kernel_for_it():
    q = torch.zeros(2, 9, 4)
    with backend(attention="xformers"), pytest.raises(BackendError, match=r"'xformers'.*has CUDA kernels only"):
        attention(q, q, q)
    with pytest.raises(BackendError, match="CUDA kernels only"):
        memory_efficient.operators(q, q, q)


class Inputs(SimpleNamespace):
    """The stand-in's record of a call, with the fields that xformers' has."""

    def __init__(self, query, key, value, attn_bias=None, p=0.0, scale=None):
        super().__init__(query=query, key=key, value=value, attn_bias=attn_bias, p=p, scale=scale)


@pytest.fixture
def stand_in(monkeypatch):
    """Put a module in xformers' place that notes calls and computes them with torch.

    It stands for the call conventions only (heads, scale, names of what is dispatched): which operator xformers
    takes, and what that computes, is for a GPU to say.
    """
    calls = []

    def memory_efficient_attention(query, key, value, attn_bias=None, p=0.0, scale=None):
        calls.append(Inputs(query, key, value, attn_bias, p, scale))
        if query.shape[-1] > 64:
            raise NotImplementedError("No operator found for\n  `memory_efficient_attention_forward`")
        one = [t.transpose(1, 2) for t in (query, key, value)]
        return torch.nn.functional.scaled_dot_product_attention(*one, scale=scale).transpose(1, 2)

    def forward(inputs, needs_gradient):
        calls.append(inputs)
        if inputs.query.shape[-1] > 64:
            raise NotImplementedError("No operator found")
        return SimpleNamespace(NAME="trainingF" if needs_gradient else "inferenceF")

    dispatch = SimpleNamespace(_dispatch_fw=forward, _dispatch_bw=lambda inputs, packed: SimpleNamespace(NAME="someB"))
    ops = SimpleNamespace(
        memory_efficient_attention=memory_efficient_attention, fmha=SimpleNamespace(dispatch=dispatch, Inputs=Inputs)
    )
    monkeypatch.setattr(memory_efficient, "package", lambda q: ops)
    return calls


@pytest.mark.parametrize("along", ["channels", "pixels"])
def test_call_conventions_of_xformers_with_a_stand_in(stand_in, along):
    packed = torch.randn(2, 9, 12) if along == "channels" else torch.randn(2, 12, 9).transpose(1, 2)
    q, k, v = packed.chunk(3, dim=-1)
    with backend(attention="xformers"):
        y = attention(q, k, v)
    torch.testing.assert_close(y, formula(q, k, v))
    (call,) = stand_in
    for given, mine in zip((call.query, call.key, call.value), (q, k, v), strict=True):
        assert given.shape == (2, 9, 1, 4)
        assert given.stride(-1) == 1
        assert (given.data_ptr() == mine.data_ptr()) == (along == "channels")  # a view where that will do
    assert (call.attn_bias, call.p, call.scale) == (None, 0.0, 0.5)


def test_dispatched_operators_by_name_with_a_stand_in(stand_in):
    q = torch.zeros(2, 9, 4)
    assert memory_efficient.operators(q, q, q) == ("inferenceF",)
    assert memory_efficient.operators(q, q, q, gradients=True) == ("trainingF", "someB")
    assert all(call.query.shape == (2, 9, 1, 4) and call.scale == 0.5 for call in stand_in)


def test_what_xformers_does_not_take_is_an_error_with_its_reason_with_a_stand_in(stand_in):
    q = torch.zeros(2, 9, 65)
    with backend(attention="xformers"), pytest.raises(BackendError, match=r"no operator for \(2, 9, 65\).*No operator"):
        attention(q, q, q)
    with pytest.raises(BackendError, match="No operator found"):
        memory_efficient.operators(q, q, q)


def test_cost():
    forward, backward = (count(160, 64, 384, torch.bfloat16) for count in (cost.forward, cost.backward))
    one = 160 * 64 * 384 * 2
    assert (forward.read, forward.written, forward.flops) == (3 * one, one, 4 * 160 * 64 * 64 * 384)
    assert (backward.read, backward.written, backward.flops) == (4 * one, 3 * one, 10 * 160 * 64 * 64 * 384)
    # One block of queries reads everything once; four read keys and values three times more.
    assert forward.reread == 160 * 64 * 4
    longer = cost.forward(1, 256, 128, torch.bfloat16)
    assert longer.reread == 3 * 2 * 256 * 128 * 2 + 256 * 4
