"""attention's kernels in Triton's interpreter against the formula in float64, gradients included.

In float32 and float16 only: the interpreter's products of bfloat16 operands are garbage. That bfloat16 compiles is
checked ahead of time, what it computes on a GPU.
"""

import pytest
import torch
from counting import counting

from diffsda.errors import InputError
from diffsda.kernels import attention, backend
from diffsda.kernels.attention import cost, launches, op, reference
from diffsda.kernels.attention.plan import plan

EPS = {torch.float32: 2.0**-23, torch.float16: 2.0**-10}
HALF, SINGLE = torch.float16, torch.float32


def ours(q, k, v):
    with backend("triton"):
        return attention(q, k, v)


def draw(n, tokens, channels, dtype=SINGLE, size=1.0):
    return [(size * torch.randn(n, tokens, channels)).to(dtype) for _ in range(3)]


def values(function, leaves, cotangent):
    """Return the result and dq, dk, dv."""
    leaves = [t.detach().requires_grad_() for t in leaves]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, cotangent.to(y.dtype))]


def error(got, wanted):
    return ((got.double() - wanted).norm() / wanted.norm().clamp_min(1e-30)).item()


def compare(leaves):
    """Demand an error of at most twice the same-type reference's, gradients included."""
    dtype = leaves[0].dtype
    cotangent = torch.randn(leaves[0].shape).to(dtype)
    exact = values(reference.attention, [t.double() for t in leaves], cotangent)
    plain = values(reference.attention, leaves, cotangent)
    got = values(ours, leaves, cotangent)
    for name, a, b, wanted in zip(("y", "dq", "dk", "dv"), got, plain, exact, strict=True):
        assert a.dtype == dtype
        assert torch.isfinite(a).all(), name
        assert error(a, wanted) <= 2 * error(b, wanted) + EPS[dtype], name
    return got


SHAPES = [
    pytest.param(2, 16, 48, id="the coarsest level"),
    pytest.param(3, 64, 96, id="a level of 64 pixels, three chunks of channels"),
    pytest.param(1, 65, 32, id="one token more than a block"),
    pytest.param(1, 256, 32, id="the longest"),
    pytest.param(1, 200, 40, id="long, neither tokens nor channels a power of two"),
    pytest.param(2, 4, 7, id="fewer tokens and channels than a tile"),
    pytest.param(2, 1, 16, id="one token"),
    pytest.param(2, 5, 1, id="one channel"),
    pytest.param(1, 9, 530, id="wider than flash kernels take"),
]


@pytest.mark.parametrize("dtype", [SINGLE, HALF], ids=["float32", "float16"])
@pytest.mark.parametrize(("n", "tokens", "channels"), SHAPES)
def test_values_and_gradients(n, tokens, channels, dtype):
    compare(draw(n, tokens, channels, dtype))


def packed(n, tokens, channels):
    return torch.randn(n, tokens, 3 * channels).chunk(3, dim=-1)


def pixels_last(n, tokens, channels):
    return torch.randn(n, 3 * channels, tokens).transpose(1, 2).chunk(3, dim=-1)


def neither(n, tokens, channels):
    return [torch.randn(n, tokens, 2 * channels)[:, :, ::2] for _ in range(3)]


def mixed(n, tokens, channels):
    return [packed(n, tokens, channels)[0], pixels_last(n, tokens, channels)[1], neither(n, tokens, channels)[2]]


def same_key(n, tokens, channels):
    return [torch.randn(n, tokens, channels), *torch.randn(2, n, 1, channels).expand(2, n, tokens, channels)]


@pytest.mark.parametrize("layout", [packed, pixels_last, neither, mixed, same_key])
@pytest.mark.parametrize(("tokens", "channels"), [(16, 24), (100, 24)], ids=["one program", "blocks"])
def test_layouts(layout, tokens, channels):
    leaves = layout(2, tokens, channels)
    y, *gradients = compare(leaves)
    along_tokens = layout is pixels_last
    assert y.transpose(1, 2).is_contiguous() == along_tokens
    assert all(g.shape == leaves[0].shape for g in gradients)


def test_the_gradient_may_come_in_any_layout():
    leaves = draw(2, 20, 12)
    wanted = torch.randn(2, 12, 20).transpose(1, 2)
    for cotangent in (wanted, torch.ones(1, 1, 1).expand(2, 20, 12), torch.randn(2, 20, 24)[:, :, ::2]):
        got = values(ours, leaves, cotangent)
        for a, b in zip(got, values(reference.attention, leaves, cotangent), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [16, 90], ids=["one program", "blocks"])
def test_large_logits_stay_finite(tokens):
    q = torch.full((1, tokens, 8), 200.0)
    y, *gradients = values(ours, (q, q, q), torch.ones_like(q))
    torch.testing.assert_close(y, q)
    assert all(torch.isfinite(g).all() for g in gradients)
    # Scores of 1e4 and more, each query certain of one key.
    compare(draw(1, tokens, 8, size=100.0))


def test_everything_is_written(monkeypatch):
    """Fill what is allocated with NaN first."""
    new = torch.Tensor.new_empty

    def poisoned(self, *args, **options):
        empty = new(self, *args, **options)
        return empty.fill_(torch.nan) if empty.is_floating_point() else empty

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    monkeypatch.setattr(torch, "empty_like", lambda t: t.new_empty(t.shape))
    for tokens in (20, 70):
        for leaves in (draw(2, tokens, 9), [t.transpose(1, 2) for t in draw(2, 9, tokens)]):
            o, lse = launches.forward(*leaves)
            given = launches.backward(torch.ones_like(leaves[0]), *leaves, lse)
            assert all(torch.isfinite(t).all() for t in (o, lse, *given))


def test_two_runs_give_the_same_bits():
    leaves, cotangent = draw(2, 80, 20), torch.randn(2, 80, 20)
    first, second = (values(ours, leaves, cotangent) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_no_samples():
    leaves = draw(0, 16, 8)
    assert [t.shape for t in values(ours, leaves, torch.empty(0, 16, 8))] == [(0, 16, 8)] * 4


@pytest.mark.parametrize("tokens", [10, 70], ids=["one program", "blocks"])
@pytest.mark.parametrize("along", [True, False], ids=["channels", "tokens"])
def test_opcheck(tokens, along):
    leaves = draw(2, tokens, 6) if along else [t.transpose(1, 2) for t in draw(2, 6, tokens)]
    leaves = [t.detach().requires_grad_() for t in leaves]
    torch.library.opcheck(torch.ops.diffsda.attention.default, leaves)
    plain = [t.detach() for t in leaves]
    o, lse = torch.ops.diffsda.attention(*plain)
    torch.library.opcheck(torch.ops.diffsda.attention_backward.default, (torch.ones_like(o), *plain, lse))


def test_compiled_equals_eager():
    def step(x):
        q, k, v = x.chunk(3, dim=-1)
        with backend("triton"):
            return attention(q.sin(), k, v).cos()

    def pair(function):
        x = torch.linspace(-2, 2, 2 * 20 * 24).reshape(2, 20, 24).requires_grad_()
        y = function(x)
        return y.detach(), *torch.autograd.grad(y.sum(), x)

    torch._dynamo.reset()
    compiled = pair(torch.compile(step, fullgraph=True, backend="aot_eager"))
    assert all(torch.equal(a, b) for a, b in zip(compiled, pair(step), strict=True))


@pytest.mark.parametrize("dtype", [SINGLE, HALF], ids=["float32", "float16"])
def test_autocast_keeps_the_dtype_and_the_values(dtype):
    leaves, cotangent = draw(2, 20, 16, dtype), torch.randn(2, 20, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = values(ours, leaves, cotangent)
        wanted = values(reference.attention, leaves, cotangent)
    assert all(t.dtype == dtype for t in got)
    assert all(error(a, b.double()) < 2.0**-6 for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("tokens", [16, 64, 128], ids=["one block", "blocks forward", "blocks both ways"])
def test_bytes_are_what_the_cost_says(tokens):
    n, channels = 2, 48
    q, k, v = draw(n, tokens, channels)
    with counting() as traffic:
        o, lse = launches.forward(q, k, v)
    moved = cost.forward(n, tokens, channels, SINGLE)
    assert traffic.useful(q, k, v, o) == moved.useful
    assert traffic.moved == moved.moved
    do = torch.randn_like(o)
    with counting() as traffic:
        given = launches.backward(do, q, k, v, lse)
    moved = cost.backward(n, tokens, channels, SINGLE)
    assert traffic.useful(q, k, v, do, *given) == moved.useful
    assert traffic.moved == moved.moved
    assert (len(traffic.kernels) == 1) == (plan(tokens, channels, 4, backward=True).rows >= tokens)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        pytest.param((1, 257, 4), SINGLE, "257 tokens, expected at most 256", id="too long"),
        pytest.param((1, 16, 4), torch.float64, "float64, expected float32", id="a dtype kernels do not read"),
    ],
)
def test_refusals_of_our_kernel_only(shape, dtype, message):
    q = torch.randn(shape, dtype=dtype)
    with pytest.raises(InputError, match=message):
        ours(q, q, q)
    assert attention(q, q, q).shape == shape


def test_shapes_that_do_not_belong_together_are_refused():
    q = torch.randn(1, 16, 4)
    with pytest.raises(InputError, match=r"attention: got .*expected one shape"):
        ours(q, q[:, :5], q[:, :5])


def test_a_second_derivative_is_an_error():
    leaves = [t.requires_grad_() for t in draw(1, 8, 4)]
    y = ours(*leaves)
    (g,) = torch.autograd.grad(y.square().sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="attention_backward"):
        torch.autograd.grad(g.sum(), leaves[0])


class Taken(Exception):
    """Our kernel was chosen."""


@pytest.mark.parametrize("answer", ["compare", "triton"])
@pytest.mark.parametrize(
    ("shape", "dtype", "chosen"),
    [
        pytest.param((2, 16, 8), SINGLE, True, id="what our kernel takes"),
        pytest.param((1, 300, 8), SINGLE, False, id="too long"),
        pytest.param((2, 16, 8), torch.float64, False, id="float64"),
        pytest.param((0, 16, 8), SINGLE, False, id="nothing to compare"),
    ],
)
def test_auto_leaves_the_rest_to_the_reference(monkeypatch, answer, shape, dtype, chosen):
    monkeypatch.setattr(op, "resolve", lambda *_: answer)
    q = torch.randn(shape, dtype=dtype)
    wanted = reference.attention(q, q, q)
    torch.testing.assert_close(attention(q, q, q), wanted)

    def taken(*_):
        raise Taken

    monkeypatch.setattr(op, "_agrees", lambda *_: True)
    monkeypatch.setattr(op, "_fused", taken)
    if chosen:
        with pytest.raises(Taken):
            attention(q, q, q)
    else:
        torch.testing.assert_close(attention(q, q, q), wanted)


def test_a_kernel_that_disagrees_is_not_used(monkeypatch):
    monkeypatch.setattr(op, "resolve", lambda *_: "compare")
    monkeypatch.setattr(op, "_fused", lambda q, k, v: reference.attention(q, k, v) * 1.01)
    q = torch.randn(2, 11, 3)
    with pytest.warns(UserWarning, match="attention: our kernel differs"):
        torch.testing.assert_close(attention(q, q, q), reference.attention(q, q, q))
