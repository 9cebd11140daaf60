"""precondition's kernels in Triton's interpreter against the formula in float64, gradients included."""

import pytest
import torch
from counting import counting

from diffsda import kernels
from diffsda.errors import InputError
from diffsda.kernels.precondition import cost, op, precondition, reference

EPS = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
LAST = torch.channels_last


def draw(*shape, dtype=torch.float32, layout=torch.contiguous_format):
    clean, noise = (torch.randn(shape).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    return clean, noise, torch.exp(2 * torch.randn(shape[0]))


def ours(*args, **options):
    with kernels.backend("triton"):
        return precondition(*args, **options)


def error(got, wanted):
    return ((got.double() - wanted).norm() / wanted.norm().clamp_min(1e-30)).item()


def compare(clean, noise, sigma, **options):
    """Demand the type and layout asked for, and an error of at most twice its own."""
    dtype = options.pop("dtype", None)
    got = ours(clean, noise, sigma, dtype=dtype, **options)
    plain = reference.precondition(clean, noise, sigma, dtype=dtype, **options)
    exact = reference.precondition(clean.double(), noise.double(), sigma.double(), **options)
    assert got.dtype == plain.dtype
    layout = LAST if options.get("channels_last") else torch.contiguous_format
    assert got.is_contiguous(memory_format=layout)
    assert plain.is_contiguous(memory_format=layout)
    assert torch.isfinite(got).all()
    assert error(got, exact) <= 2 * error(plain, exact) + EPS[got.dtype]
    return got


SHAPES = [
    pytest.param((5, 80), False, id="rows of whole runs"),
    pytest.param((12, 10), False, id="runs that lie across rows"),
    pytest.param((3, 7), False, id="an odd number of elements"),
    pytest.param((1, 1), False, id="one element"),
    pytest.param((700, 6), False, id="more than one program"),
    pytest.param((2, 3, 4, 6), False, id="planes that stay planes"),
    pytest.param((2, 3, 4, 6), True, id="three channels, whole runs of pixels"),
    pytest.param((3, 3, 20, 20), True, id="images that share a program"),
    pytest.param((2, 3, 5, 7), True, id="three channels, an odd number of pixels"),
    pytest.param((2, 4, 6, 6), True, id="four channels"),
    pytest.param((2, 5, 3, 1), True, id="a number of channels that is no power of two"),
    pytest.param((2, 1, 4, 4), True, id="one channel: both layouts are one"),
    pytest.param((2, 64, 7, 7), True, id="many channels, more than one tile"),
    pytest.param((2, 3, 2, 4, 3), False, id="five axes"),
]


@pytest.mark.parametrize(("shape", "channels_last"), SHAPES)
def test_formula(shape, channels_last):
    compare(*draw(*shape), channels_last=channels_last)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("network", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("clip", [torch.float32, torch.bfloat16, torch.float16])
def test_types(clip, network, channels_last):
    compare(*draw(2, 3, 4, 6, dtype=clip), dtype=network, channels_last=channels_last, sigma_data=0.7)


@pytest.mark.parametrize("channels_last", [True, False])
def test_layouts_that_come_in(channels_last):
    compare(*draw(2, 3, 4, 6, layout=LAST), channels_last=channels_last)
    clean, noise, sigma = draw(2, 3, 4, 6)
    compare(clean, noise.contiguous(memory_format=LAST), sigma, channels_last=channels_last)
    every_second = torch.randn(2, 3, 4, 12)[..., ::2]
    compare(every_second, noise, sigma.repeat_interleave(2)[::2], channels_last=channels_last)


@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 1e3, 1e6])
def test_extreme_levels(sigma):
    clean, noise, _ = draw(2, 40)
    compare(clean, noise, torch.full((2,), sigma))


def test_no_rows():
    assert ours(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0)).shape == (0, 4)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients(dtype, channels_last):
    clean, noise, sigma = draw(2, 3, 4, 6, dtype=dtype)
    cotangent = torch.randn(2, 3, 4, 6)

    def gradients(function, kind):
        leaves = [t.to(kind).requires_grad_() for t in (clean, noise)]
        y = function(*leaves, sigma.to(torch.promote_types(kind, torch.float32)), channels_last=channels_last)
        return torch.autograd.grad(y, leaves, cotangent.to(y.dtype))

    got, plain = gradients(ours, dtype), gradients(reference.precondition, dtype)
    exact = gradients(reference.precondition, torch.float64)
    for a, b, wanted in zip(got, plain, exact):
        assert a.dtype == dtype
        assert error(a, wanted) <= 2 * error(b, wanted) + EPS[dtype]


def test_one_gradient_alone():
    clean, noise, sigma = draw(3, 5)
    clean.requires_grad_()
    (got,) = torch.autograd.grad(ours(clean, noise, sigma).sum(), clean)
    torch.testing.assert_close(got, (1 / (sigma**2 + 0.25) ** 0.5)[:, None].expand(3, 5))


def test_the_output_is_written_whole(monkeypatch):
    calls = [(draw(*p.values[0]), p.values[1]) for p in SHAPES]
    wanted = [ours(*given, channels_last=last) for given, last in calls]
    empty = torch.empty
    monkeypatch.setattr(op.torch, "empty", lambda *a, **k: empty(*a, **k).fill_(float("nan")))
    for (given, last), y in zip(calls, wanted):
        assert torch.equal(ours(*given, channels_last=last), y)


def test_registration():
    for last in (True, False):
        clean, noise, sigma = draw(2, 3, 4, 2)
        for grad in (True, False):
            given = (clean.requires_grad_(grad), noise, sigma, 0.5, torch.bfloat16, last)
            torch.library.opcheck(torch.ops.diffsda.precondition.default, given)


def test_compiled_as_a_whole():
    clean, noise, sigma = draw(2, 3, 4, 6)
    clean.requires_grad_()

    def step(clean, noise, sigma):
        return precondition(clean, noise, sigma, dtype=torch.bfloat16, channels_last=True) * 2

    with kernels.backend("triton"):
        whole = torch.compile(step, fullgraph=True, backend="aot_eager")(clean, noise, sigma)
        eager = step(clean, noise, sigma)
    assert torch.equal(whole, eager)
    assert whole.stride() == eager.stride()
    assert torch.equal(*(torch.autograd.grad(y.float().sum(), clean)[0] for y in (whole, eager)))


def test_autocast_changes_nothing():
    given = draw(2, 3, 4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        got, plain = ours(*given), reference.precondition(*given)
    assert got.dtype == plain.dtype == torch.float32
    assert torch.equal(got, ours(*given))


def test_the_bytes_of_the_header():
    counted = cost.forward((160, 3, 64, 64), torch.float32, torch.bfloat16)
    n = 160 * 3 * 64 * 64
    assert (counted.read, counted.written, counted.reread) == (8 * n + 640, 2 * n, 0)


@pytest.mark.parametrize(("shape", "channels_last"), SHAPES)
def test_bytes_by_design(shape, channels_last):
    clean, noise, sigma = draw(*shape)
    with counting() as traffic:
        y = op.forward(clean, noise, sigma, 0.5, torch.bfloat16, channels_last)
    counted = cost.forward(shape, torch.float32, torch.bfloat16)
    assert traffic.useful(clean, noise, sigma, y) == counted.useful
    assert traffic.read(clean, noise).asked + traffic.written(y).asked == counted.moved - sigma.nbytes


def test_refusals():
    clean, noise, sigma = draw(2, 3, 4, 6)
    with pytest.raises(InputError, match=r"backend\('torch'\) has its gradient"):
        ours(clean, noise, sigma.requires_grad_())
    with torch.no_grad():
        ours(clean, noise, sigma)
    with pytest.raises(InputError, match=r"dtype torch\.float64"):
        ours(clean, noise, sigma.detach(), dtype=torch.float64)
    with pytest.raises(InputError, match="float64"):
        ours(clean, noise.double(), sigma.detach())
    wide = torch.zeros(1, 257, 2, 2)
    with pytest.raises(InputError, match="256 channels"):
        ours(wide, wide, torch.ones(1), channels_last=True)
    assert torch.equal(ours(wide, wide, torch.ones(1)), wide)
    huge = torch.zeros(1).expand(1, 2**30 + 1)
    with pytest.raises(InputError, match="elements a row"):
        ours(huge, huge, torch.ones(1))


def test_on_auto_it_is_compared_first(monkeypatch):
    monkeypatch.setattr(op, "resolve", lambda *_: "compare")
    monkeypatch.setattr("diffsda.kernels.first_use._verdicts", verdicts := {})
    given = draw(2, 3, 4, 6)
    for options in ({}, {"dtype": torch.bfloat16, "channels_last": True}):
        assert torch.equal(precondition(*given, **options), ours(*given, **options))
    assert list(verdicts.values()) == [True, True]
    clean, noise, sigma = given
    wide = torch.zeros(1, 257, 2, 2)
    refused = [
        ((clean.double(), noise, sigma), {}),
        ((clean, noise, sigma), {"dtype": torch.float64}),
        ((clean, noise, sigma.clone().requires_grad_()), {}),
        ((wide, wide, torch.ones(1)), {"channels_last": True}),
        ((clean[:0], noise[:0], sigma[:0]), {}),
    ]
    for given, options in refused:
        assert torch.equal(precondition(*given, **options), reference.precondition(*given, **options))
    assert len(verdicts) == 2
