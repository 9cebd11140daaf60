"""film_layer_norm's kernels in Triton's interpreter against the formula in float64, gradients included."""

import numpy as np
import pytest
import torch
from philox_twin import kept

import diffsda.kernels as kernels
from diffsda.errors import InputError
from diffsda.kernels import dropout as numbers
from diffsda.kernels.film_layer_norm import cost, film_layer_norm, launches, op, reference

EPS = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
GRADIENTS = ("y", "dx", "dweight", "dbias", "dscale", "dshift")


def draw(rows, width, dtype=torch.float32, modulated=True, modulation=torch.float32):
    """Return leaves x, weight, bias and the wide tensor whose columns are scale and shift."""
    x = torch.randn(rows, width).to(dtype)
    wide = torch.randn(rows, 4 * width).to(modulation) + 0.5 if modulated else None
    return [None if t is None else t.requires_grad_() for t in (x, torch.randn(width), torch.randn(width), wide)]


def call(function, leaves, **options):
    x, weight, bias, wide = leaves
    if wide is None:
        return function(x, weight, bias, **options)
    width = x.shape[1]
    return function(x, weight, bias, scale=wide[:, width : 2 * width], shift=wide[:, 3 * width :], **options)


def values(function, leaves, cotangent, **options):
    """Return the result and the gradients of x, weight, bias and the wide tensor."""
    y = call(function, leaves, **options)
    given = [t for t in leaves if t is not None]
    return [y.detach(), *torch.autograd.grad(y, given, cotangent.to(y.dtype))]


def ours(*args, **options):
    with kernels.backend("triton"):
        return film_layer_norm(*args, **options)


def copies(leaves, dtype=None):
    return [None if t is None else t.detach().to(dtype or t.dtype).requires_grad_() for t in leaves]


def error(got, wanted):
    return ((got.double() - wanted).norm() / wanted.norm().clamp_min(1e-30)).item()


def same_type(leaves):
    """Return what the reference gets: torch's layer norm wants the parameters in x's type."""
    return copies(leaves, leaves[0].dtype)


def compare(leaves, **options):
    """Demand an error of at most twice the same-type reference's, gradients included."""
    cotangent = torch.randn(leaves[0].shape).to(leaves[0].dtype)
    exact = values(reference.film_layer_norm, copies(leaves, torch.float64), cotangent, **options)
    plain = values(reference.film_layer_norm, same_type(leaves), cotangent, **options)
    got = values(ours, leaves, cotangent, **options)
    for name, a, b, wanted in zip(GRADIENTS, got, plain, exact, strict=False):
        assert torch.isfinite(a).all(), name
        allowed = 2 * error(b, wanted) + EPS[a.dtype]
        assert error(a, wanted) <= allowed, name
    assert got[0].dtype == leaves[0].dtype
    return got


SHAPES = [
    pytest.param(1, 256, id="one row"),
    pytest.param(5, 7, id="narrower than a vector of eight"),
    pytest.param(3, 1, id="one column"),
    pytest.param(300, 16, id="more rows than a program takes"),
    pytest.param(9, 100, id="rows of four-element alignment"),
    pytest.param(6, 1024, id="the widest preset"),
    pytest.param(2, 804, id="a preset's width that is no power of two"),
    pytest.param(3, 4104, id="rows read twice in the backward"),
]


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_formula(rows, width):
    compare(draw(rows, width))


@pytest.mark.parametrize("act", ["silu", "none"])
@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_types_and_flags(dtype, modulated, act):
    compare(draw(10, 48, dtype, modulated), act=act)


def test_modulation_of_another_type():
    compare(draw(6, 32, torch.float32, modulation=torch.bfloat16))
    compare(draw(6, 32, torch.bfloat16, modulation=torch.bfloat16))


@pytest.mark.parametrize("width", [64, 5000])
def test_large_means(width):
    x, weight, bias, _ = draw(4, width, modulated=False)
    x = (1e4 + 0.1 * torch.randn(4, width)).requires_grad_()
    got = compare([x, weight, bias, None], act="none")
    exact = reference.film_layer_norm(x.double(), weight.double(), bias.double(), act="none")
    # Plain two-pass statistics lose half a hundredth here; the second centring does not.
    assert error(got[0], exact.detach()) < 3e-6


def test_constant_rows_give_the_bias():
    y = ours(torch.full((3, 40), 7.0), torch.randn(40), torch.arange(40.0), act="none")
    torch.testing.assert_close(y, torch.arange(40.0).expand(3, 40))


def test_strides():
    leaves = draw(6, 24)
    x = torch.randn(6, 48)[:, ::2]  # columns apart: copied
    rows = torch.randn(12, 24)[::2]  # rows apart: read where they lie
    for view in (x, rows):
        view = view.requires_grad_()
        compare([view, *leaves[1:]])
    expanded = torch.autograd.grad(call(ours, leaves).sum(), leaves[0])[0]
    whole = torch.autograd.grad(call(ours, leaves), leaves[0], torch.ones(6, 24))[0]
    assert torch.equal(expanded, whole)


def test_no_rows():
    leaves = draw(0, 16)
    y = call(ours, leaves, dropout=0.5)
    assert y.shape == (0, 16)
    gradients = torch.autograd.grad(y.sum(), leaves)
    assert [g.abs().sum().item() for g in gradients] == [0, 0, 0, 0]


def mask(rows, width, state, site, dropout):
    """Return which elements the kernels keep, and the factor, from the numpy twin."""
    runs = -(-width // 8)
    vectors = np.arange(rows * runs).reshape(rows, runs)
    seed, offset = state.tolist()
    stays = kept(seed, offset, site, vectors, numbers.threshold(dropout))[:, :width]
    return torch.from_numpy(stays), numbers.kept_scale(dropout)


@pytest.mark.parametrize("width", [20, 64, 4200])
def test_dropout_drops_what_the_generator_says(width):
    rows, site, dropout = 5, 3, 0.3
    state = torch.tensor([2**40 + 11, 2**33 + 5])
    leaves = draw(rows, width)
    cotangent = torch.randn(rows, width)
    got = values(ours, leaves, cotangent, dropout=dropout, state=state, site=site)
    stays, factor = mask(rows, width, state, site, dropout)
    assert 0.6 < stays.float().mean() < 0.8

    def formula(*args, **options):
        return reference.film_layer_norm(*args, **options) * stays * factor

    exact = values(formula, copies(leaves, torch.float64), cotangent.double())
    for name, a, wanted in zip(GRADIENTS, got, exact, strict=False):
        assert error(a, wanted) < 1e-6, name


def test_dropout_by_state_and_site():
    x, weight, bias, _ = draw(8, 64, modulated=False)
    bias = bias.detach() + 10  # nothing is zero by itself
    options = {"act": "none", "dropout": 0.5}

    def dropped(offset, site):
        return ours(x, weight * 0.1, bias, state=torch.tensor([9, offset]), site=site, **options) == 0

    first = dropped(0, 0)
    assert torch.equal(first, dropped(0, 0))
    for other in (dropped(1, 0), dropped(0, 1)):
        assert 0.3 < (first != other).float().mean() < 0.7
    torch.manual_seed(3)
    drawn = ours(x, weight * 0.1, bias, **options) == 0
    torch.manual_seed(3)
    assert torch.equal(drawn, ours(x, weight * 0.1, bias, **options) == 0)
    assert not torch.equal(drawn, ours(x, weight * 0.1, bias, **options) == 0)


def test_advancing_between_forward_and_backward_changes_nothing():
    state = numbers.DropoutState(5, "cpu")
    leaves = draw(4, 32)
    cotangent = torch.randn(4, 32)
    wanted = values(ours, leaves, cotangent, dropout=0.4, state=state.tensor.clone(), site=2)
    y = call(ours, leaves, dropout=0.4, state=state.tensor, site=2)
    state.advance()
    got = torch.autograd.grad(y, leaves, cotangent)
    for a, b in zip(got, wanted[1:]):
        assert torch.equal(a, b)


def test_outputs_are_written_whole(monkeypatch):
    leaves = draw(7, 4100)
    empty = torch.empty

    def poisoned(*args, **kwargs):
        made = empty(*args, **kwargs)
        return made.fill_(float("nan")) if made.is_floating_point() else made.fill_(-(2**60))

    wanted = values(ours, leaves, torch.ones(7, 4100))
    monkeypatch.setattr(launches.torch, "empty", poisoned)
    for a, b in zip(values(ours, leaves, torch.ones(7, 4100)), wanted):
        assert torch.equal(a, b)


def test_registration():
    x, weight, bias, wide = draw(3, 24)
    state = torch.tensor([1, 2])
    modulation = (wide.detach()[:, :24], wide.detach()[:, 24:48])
    for dropout in (0.0, 0.25):
        for scale, shift in ((None, None), modulation):
            args = (x, weight, bias, scale, shift, state, True, 1e-5, dropout, 1)
            torch.library.opcheck(torch.ops.diffsda.film_layer_norm.default, args)
    y, stats, drawn = torch.ops.diffsda.film_layer_norm(*args)
    back = (y.detach(), x.detach(), weight.detach(), bias.detach(), *modulation, stats.detach(), drawn, True, 0.25, 1)
    torch.library.opcheck(torch.ops.diffsda.film_layer_norm_backward.default, back)


def test_compiled_as_a_whole():
    leaves, state = draw(4, 32), torch.tensor([1, 2])

    def step(*leaves):
        return call(film_layer_norm, leaves, dropout=0.2, state=state, site=1) * 2

    with kernels.backend("triton"):
        whole = torch.compile(step, fullgraph=True, backend="aot_eager")(*leaves)
        eager = step(*leaves)
    assert torch.equal(whole, eager)
    for a, b in zip(torch.autograd.grad(whole.sum(), leaves), torch.autograd.grad(eager.sum(), leaves)):
        assert torch.equal(a, b)


def test_under_autocast_the_type_stays():
    leaves = draw(6, 40, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        got, plain = call(ours, leaves), call(reference.film_layer_norm, leaves)
    assert got.dtype == torch.bfloat16
    exact = call(reference.film_layer_norm, copies(leaves, torch.float64)).detach()
    assert error(got.detach(), exact) <= 2 * error(plain.detach(), exact) + EPS[torch.bfloat16]


def test_the_bytes_of_the_header():
    forward = cost.forward(1000, 256, torch.bfloat16, torch.float32)
    assert (forward.read, forward.written) == (1000 * 256 * (2 + 8) + 2048, 1000 * 256 * 2 + 12000)
    back = cost.backward(1000, 256, torch.bfloat16, torch.float32)
    assert (back.read, back.written) == (1000 * 256 * (4 + 8) + 12000 + 2048, 1000 * 256 * (2 + 8) + 2048)
    assert back.reread == 0
    assert cost.backward(10, 8192, torch.float32).reread == 2 * (10 * 8192 * 8 + 120)


def test_refusals():
    x, weight, bias, wide = (t.detach() for t in draw(4, 16))
    with pytest.raises(InputError, match="float64"):
        ours(x.double(), weight, bias)
    with pytest.raises(InputError, match="at most 16384"):
        ours(torch.zeros(1, 16385), torch.zeros(16385), torch.zeros(16385))
    with pytest.raises(InputError, match=r"dropout 1\.0"):
        ours(x, weight, bias, dropout=1.0)
    with pytest.raises(InputError, match="two int64"):
        ours(x, weight, bias, dropout=0.1, state=torch.zeros(2))
    with pytest.raises(InputError, match="no shift"):
        ours(x, weight, bias, scale=wide[:, :16])


def test_on_auto_it_is_compared_first(monkeypatch):
    monkeypatch.setattr(op, "resolve", lambda *_: "compare")
    monkeypatch.setattr("diffsda.kernels.first_use._verdicts", verdicts := {})
    leaves = draw(4, 24, torch.bfloat16)
    assert torch.equal(call(film_layer_norm, leaves), call(ours, leaves))
    assert list(verdicts.values()) == [True]
    for refused in (draw(4, 24, torch.float64), draw(1, 16385), draw(0, 24)):
        refused = same_type(refused)
        assert torch.equal(call(film_layer_norm, refused), call(reference.film_layer_norm, refused))
    assert len(verdicts) == 1
    broken = launches.forward
    monkeypatch.setattr(launches, "forward", lambda *a: (broken(*a)[0] * 1.1, *broken(*a)[1:]))
    leaves = draw(4, 32)
    with pytest.warns(UserWarning, match="film_layer_norm: our kernel differs"):
        y = call(film_layer_norm, leaves)
    assert torch.equal(y, call(reference.film_layer_norm, leaves))
