"""edm_loss's kernels in Triton's interpreter against the loss in float64, the gradient included."""

import pytest
import torch
from counting import counting

from diffsda import kernels
from diffsda.errors import InputError
from diffsda.kernels.edm_loss import cost, edm_loss, launches, op, reference

EPS = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
LAST = torch.channels_last


def draw(*shape, network=torch.float32, clip=torch.float32, last=False):
    """Return f, clean, noise and sigma; f in channels_last if asked."""
    f, clean, noise = (torch.randn(shape) for _ in range(3))
    f = f.to(network).contiguous(memory_format=LAST if last else torch.contiguous_format)
    return f.requires_grad_(), clean.to(clip), noise.to(clip), torch.exp(torch.randn(shape[0]))


def parts(shape):
    mask = (torch.rand(shape) < 0.3).float()
    real = torch.rand(shape[0]) < 0.6
    real[0] = True
    return {"mask": mask, "real": real}


def ours(*args, **options):
    with kernels.backend("triton"):
        return edm_loss(*args, **options)


def error(got, wanted):
    return ((got.double() - wanted).norm() / wanted.norm().clamp_min(1e-30)).item()


def values(function, given, weight=1.0, **options):
    loss = function(*given, **options)
    return loss.detach(), torch.autograd.grad(loss, given[0], torch.tensor(weight, dtype=loss.dtype))[0]


def wide(given):
    return [t.detach().double().requires_grad_(t.requires_grad) for t in given]


def compare(given, weight=1.0, **options):
    """Demand f's type and layout, and an error of at most twice the same-type reference's."""
    loss, df = values(ours, given, weight, **options)
    plain_loss, plain = values(reference.edm_loss, given, weight, **options)
    exact_loss, exact = values(reference.edm_loss, wide(given), weight, **options)
    f = given[0]
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert (df.dtype, df.stride()) == (f.dtype, f.stride())
    # One number: the reference may be right to the last bit by luck.
    assert error(loss, exact_loss) <= 2 * error(plain_loss, exact_loss) + 2 * EPS[torch.float32]
    assert error(df, exact) <= 2 * error(plain, exact) + EPS[f.dtype]
    return loss, df


SHAPES = [
    pytest.param((5, 80), False, id="rows of whole runs"),
    pytest.param((12, 10), False, id="runs that lie across rows"),
    pytest.param((3, 7), False, id="an odd number of elements"),
    pytest.param((1, 1), False, id="one element"),
    pytest.param((700, 6), False, id="more than one program"),
    pytest.param((3, 3, 4, 6), False, id="planes throughout"),
    pytest.param((3, 3, 4, 6), True, id="three channels, whole runs of pixels"),
    pytest.param((4, 3, 20, 20), True, id="images that share a program"),
    pytest.param((3, 3, 5, 7), True, id="three channels, an odd number of pixels"),
    pytest.param((3, 4, 6, 6), True, id="four channels"),
    pytest.param((3, 5, 3, 2), True, id="a number of channels that is no power of two"),
    pytest.param((2, 64, 7, 7), True, id="many channels, more than one tile"),
]


@pytest.mark.parametrize(("shape", "last"), SHAPES)
def test_formula(shape, last):
    given, options = draw(*shape, last=last), parts(shape)
    compare(given)
    compare(given, weight=3.0, sigma_data=0.8, **options)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("clip", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("network", [torch.float32, torch.bfloat16, torch.float16])
def test_types(network, clip, last):
    compare(draw(2, 3, 4, 6, network=network, clip=clip, last=last), **parts((2, 3, 4, 6)))


def test_more_tiles_than_programs(monkeypatch):
    monkeypatch.setattr(launches, "processors", lambda _: 1)
    monkeypatch.setattr(launches, "WAVES", 2)
    for shape, last in (((9, 900), False), ((9, 3, 40, 40), True), ((5, 5, 40, 40), True)):
        given, options = draw(*shape, last=last), parts(shape)
        loss, df = compare(given, **options)
        again = values(ours, given, **options)
        assert torch.equal(loss, again[0])
        assert torch.equal(df, again[1])


@pytest.mark.parametrize("last", [True, False])
def test_layouts_that_come_in(last):
    f, clean, noise, sigma = draw(2, 3, 4, 6, last=last)
    mask = (torch.rand(2, 3, 4, 6) < 0.5).float()
    compare((f, clean.contiguous(memory_format=LAST), noise, sigma), mask=mask)
    compare((f, *(t.contiguous(memory_format=LAST) for t in (clean, noise)), sigma), mask=mask)
    compare((f, *(t.contiguous(memory_format=LAST) for t in (clean, noise)), sigma))
    compare((f, torch.randn(2, 3, 4, 12)[..., ::2], noise, sigma.repeat_interleave(2)[::2]))
    strided = torch.randn(2, 3, 6, 4).transpose(2, 3).requires_grad_()
    got = values(ours, (strided, clean, noise, sigma))[1]
    wanted = values(reference.edm_loss, wide((strided, clean, noise, sigma)))[1]
    assert error(got, wanted) < 1e-6


@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("last", [True, False])
def test_extreme_levels_do_not_cancel(sigma, last):
    f, clean, noise, _ = draw(2, 3, 4, 6, last=last)
    given = (f, clean, noise, torch.full((2,), sigma))
    loss, df = values(ours, given)
    exact_loss, exact = values(reference.edm_loss, wide(given))
    assert error(loss, exact_loss) < 1e-6
    assert error(df, exact) < 1e-6


def test_a_nearly_perfect_answer():
    """The residual is a small difference of large numbers only where F itself is."""
    _, clean, noise, sigma = draw(4, 96)
    level = sigma.double()[:, None]
    root = (level**2 + 0.25) ** 0.5
    perfect = clean * (level / (0.5 * root)) - noise * (0.5 / root)
    given = ((perfect + 1e-3 * torch.randn(4, 96)).float().requires_grad_(), clean, noise, sigma)
    compare(given)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(
    "kind", [torch.float32, torch.bfloat16, torch.bool, torch.uint8, torch.int64, torch.int8, torch.float64]
)
def test_masks_of_every_type(kind, last):
    given = draw(2, 3, 4, 2, last=last)
    mask = torch.rand(2, 3, 4, 2) < 0.5
    wanted = values(ours, given, mask=mask.float())
    for a, b in zip(values(ours, given, mask=mask.to(kind)), wanted):
        assert torch.equal(a, b)
    assert torch.equal(wanted[1] == 0, mask)


@pytest.mark.parametrize("last", [True, False])
def test_missing_values_and_padding_may_be_anything(last):
    f, clean, noise, sigma = draw(3, 3, 4, 2, last=last)
    mask = torch.rand(3, 3, 4, 2) < 0.3
    real = torch.tensor([True, False, True])
    wanted = values(ours, (f, clean, noise, sigma), mask=mask, real=real)
    clean = clean.masked_fill(mask | ~real.reshape(3, 1, 1, 1), float("nan"))
    for a, b in zip(values(ours, (f, clean, noise, sigma), mask=mask, real=real), wanted):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "count",
    [7, 7.5, torch.tensor(7.5), torch.tensor(7)],
    ids=["int", "float", "tensor", "integer"],
)
def test_counts(count):
    given = draw(3, 10)
    compare(given, count=count)
    compare(given, count=count, real=torch.tensor([True, False, True]))


@pytest.mark.parametrize("last", [True, False])
def test_small_gradients_survive_float16(last):
    """A mean over millions of elements leaves gradients that float16 cannot hold until the loss is scaled."""
    given = draw(2, 3, 4, 2, network=torch.float16, last=last)
    count = 3e7
    _, df = values(ours, given, weight=2.0**20, count=count)
    exact = values(reference.edm_loss, wide(given), weight=2.0**20, count=count)[1]
    assert error(df, exact) < EPS[torch.float16]


def test_parts_of_a_batch_add_up():
    given = draw(4, 10)
    whole, half = (
        values(ours, given),
        [values(ours, [t[rows] for t in given], count=40.0)[0] for rows in (slice(2), slice(2, 4))],
    )
    torch.testing.assert_close(half[0] + half[1], whole[0])


def test_without_a_gradient_nothing_more_is_written():
    f, clean, noise, sigma = draw(3, 10)
    args = (f.detach(), clean, noise, sigma, None, None, None, None, 0.5)
    loss, residual, _ = launches.forward(*args, False)
    assert residual.numel() == 0
    assert torch.equal(loss, launches.forward(*args, True)[0])
    with torch.no_grad():
        assert torch.equal(ours(f, clean, noise, sigma), loss)
    assert not ours(f.detach(), clean, noise, sigma).requires_grad


def test_outputs_are_written_whole(monkeypatch):
    calls = [(draw(*p.values[0], last=p.values[1]), parts(p.values[0])) for p in SHAPES]
    wanted = [values(ours, given, **options) for given, options in calls]
    empty, like = torch.empty, torch.empty_like
    monkeypatch.setattr(launches.torch, "empty", lambda *a, **k: empty(*a, **k).fill_(float("nan")))
    monkeypatch.setattr(launches.torch, "empty_like", lambda *a, **k: like(*a, **k).fill_(float("nan")))
    for (given, options), pair in zip(calls, wanted):
        for a, b in zip(values(ours, given, **options), pair):
            assert torch.equal(a, b)


def test_registration():
    for last in (True, False):
        f, clean, noise, sigma = draw(2, 3, 4, 2, last=last)
        mask, real = parts((2, 3, 4, 2)).values()
        for rest in ((None, None, None, None, 0.5, True), (mask, real, torch.tensor(7.0), None, 0.5, True)):
            torch.library.opcheck(torch.ops.diffsda.edm_loss.default, (f, clean, noise, sigma, *rest))
        plain = (f.detach(), clean, noise, sigma, None, None, None, 9.0, 0.5, False)
        torch.library.opcheck(torch.ops.diffsda.edm_loss.default, plain)
        back = (torch.tensor(2.0), f.detach(), torch.tensor(0.5))
        torch.library.opcheck(torch.ops.diffsda.edm_loss_backward.default, back)


def test_compiled_as_a_whole():
    f, clean, noise, sigma = draw(2, 3, 4, 6, network=torch.bfloat16, last=True)
    mask, real = parts((2, 3, 4, 6)).values()

    def step(f, clean, noise, sigma):
        return edm_loss(f, clean, noise, sigma, mask=mask, real=real) * 2

    with kernels.backend("triton"):
        whole = torch.compile(step, fullgraph=True, backend="aot_eager")(f, clean, noise, sigma)
        eager = step(f, clean, noise, sigma)
    assert torch.equal(whole, eager)
    assert torch.equal(*(torch.autograd.grad(y, f)[0] for y in (whole, eager)))


def test_under_autocast():
    given = draw(2, 3, 4, 6, network=torch.bfloat16, last=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss, df = values(ours, given)
        plain = values(reference.edm_loss, given)[0]
    assert df.dtype == torch.bfloat16
    assert loss.dtype == plain.dtype == torch.float32
    exact = reference.edm_loss(*wide(given)).detach()
    assert error(loss, exact) <= 2 * error(plain, exact) + 2 * EPS[torch.float32]


def test_the_bytes_of_the_header():
    shape, n = (160, 3, 64, 64), 160 * 3 * 64 * 64
    plain = cost.forward(shape, torch.bfloat16)
    assert (plain.read, plain.written) == (10 * n + 640, 2 * n + 8)
    masked = cost.forward(shape, torch.bfloat16, mask=torch.float32, real=True, gradient=False)
    assert (masked.read, masked.written) == (14 * n + 800, 8)
    back = cost.backward(shape, torch.bfloat16)
    assert (back.read, back.written) == (2 * n + 8, 2 * n)


@pytest.mark.parametrize(("shape", "last"), SHAPES)
def test_bytes_by_design(shape, last):
    f, clean, noise, sigma = (t.detach() for t in draw(*shape, network=torch.bfloat16, last=last))
    mask, real = parts(shape).values()
    count = torch.tensor(7.0)
    with counting() as traffic:
        loss, residual, factor = launches.forward(f, clean, noise, sigma, mask, real, count, None, 0.5, True)
    counted = cost.forward(shape, torch.bfloat16, mask=torch.float32, real=True, count=True)
    assert traffic.useful(f, clean, noise, sigma, mask, real, count, loss, residual, factor) == counted.useful
    big = traffic.read(f, clean, noise, mask).asked + traffic.written(residual).asked
    assert big == counted.moved - sigma.nbytes - real.nbytes - 12
    with counting() as traffic:
        df = launches.backward(loss, residual, factor)
    assert traffic.useful(loss, residual, factor, df) == cost.backward(shape, torch.bfloat16).useful


def test_refusals():
    f, clean, noise, sigma = draw(2, 3, 4, 6)
    for index, name in ((1, "clean"), (2, "noise"), (3, "sigma")):
        given = [f, clean, noise, sigma]
        given[index] = given[index].clone().requires_grad_()
        with pytest.raises(InputError, match=rf"got {name} with requires_grad.*backend\('torch'\)"):
            ours(*given)
        with torch.no_grad():
            ours(*given)
    with pytest.raises(InputError, match="float64"):
        ours(f, clean.double(), noise, sigma)
    broad = torch.zeros(1, 257, 2, 2).contiguous(memory_format=LAST)
    with pytest.raises(InputError, match="256 channels"):
        ours(broad, broad, broad, torch.ones(1))


def test_on_auto_it_is_compared_first(monkeypatch):
    monkeypatch.setattr(op, "resolve", lambda *_: "compare")
    monkeypatch.setattr("diffsda.kernels.first_use._verdicts", verdicts := {})
    given, options = draw(2, 3, 4, 6, network=torch.bfloat16, last=True), parts((2, 3, 4, 6))
    for a, b in zip(values(edm_loss, given, **options), values(ours, given, **options)):
        assert torch.equal(a, b)
    assert list(verdicts.values()) == [True]
    f, clean, noise, sigma = draw(3, 10)
    broad = torch.randn(1, 257, 2, 2).contiguous(memory_format=LAST)
    refused = [
        (f.double(), clean, noise, sigma),
        (f, clean.clone().requires_grad_(), noise, sigma),
        (broad, broad, broad, torch.ones(1)),
    ]
    for one in refused:
        assert torch.equal(edm_loss(*one), reference.edm_loss(*one))
    assert edm_loss(f[:0], clean[:0], noise[:0], sigma[:0]).isnan()
    assert len(verdicts) == 1
