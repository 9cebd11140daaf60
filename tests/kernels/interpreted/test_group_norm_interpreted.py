"""group_norm's kernels in Triton's interpreter: values and every gradient against float64, on awkward shapes."""

import itertools

import pytest
import torch
from philox_twin import kept

from diffsda.errors import InputError
from diffsda.kernels import backend, group_norm
from diffsda.kernels.dropout import DropoutState, kept_scale, threshold
from diffsda.kernels.group_norm import launches, reference
from diffsda.kernels.group_norm.plan import plan

ULP = {torch.float32: 2**-23, torch.float16: 2**-10, torch.bfloat16: 2**-7}

SHAPES = {
    # id: (N, C, H, W, groups, channels of C that come from skip)
    "groups of two channels": (2, 64, 4, 4, 32, 0),
    "groups of six channels, padded slabs": (1, 192, 3, 5, 32, 0),
    "eighteen channels a group": (1, 576, 2, 3, 32, 0),
    "pixels not a multiple of anything": (2, 16, 7, 19, 4, 0),
    "one pixel": (3, 24, 1, 1, 4, 0),
    "one channel a group": (1, 8, 5, 5, 8, 0),
    "one group": (2, 20, 3, 3, 1, 0),
    "no slab of whole vectors": (1, 36, 5, 3, 6, 0),
    "many pixels: tiles in a loop, split over programs": (1, 16, 33, 41, 2, 0),
    "two sources, the seam inside a slab": (1, 48, 3, 5, 4, 20),
    "two sources, the seam between slabs": (1, 96, 4, 4, 32, 32),
}


def tensors(n, c, h, w, skip=0, modulated=True, seed=0):
    """Return x, weight, bias, scale, shift, skip and dy in float64."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    scale, shift = (normal(n, c) + 1, normal(n, c)) if modulated else (None, None)
    return normal(n, c - skip, h, w), normal(c), normal(c), scale, shift, normal(n, skip, h, w) if skip else None


def results(call, given, dy, types, **options):
    """Return y and the gradients in float64; ``types`` are those of the clip and of the parameters."""
    clip, parameter = types
    of = [clip, parameter, parameter, parameter, parameter, clip]
    x, weight, bias, scale, shift, skip = (
        None if t is None else t.detach().to(kind).requires_grad_() for t, kind in zip(given, of)
    )
    y = call(x, weight, bias, scale=scale, shift=shift, skip=skip, **options)
    y.backward(dy.to(y.dtype))
    grads = [t.grad for t in (x, weight, bias, scale, shift, skip) if t is not None]
    return [y.detach().double(), *(g.double() for g in grads)]


def relative(got, wanted):
    return float((got - wanted).norm() / wanted.norm())


def as_layout(given, last):
    if not last:
        return given
    return tuple(t.contiguous(memory_format=torch.channels_last) if t is not None and t.ndim == 4 else t for t in given)


def magnitudes(given, dy, groups, act):
    """Return the size of what is added up in y and in every gradient: rounding is relative to that."""
    x, weight, bias, scale, shift, skip = given
    x = x if skip is None else torch.cat([x, skip], 1)
    n, c, h, w = x.shape

    def spread(t):
        return t[..., None, None]

    xh = torch.nn.functional.group_norm(x, groups)
    scale, shift = (torch.ones(n, c), torch.zeros(n, c)) if scale is None else (scale, shift)
    offset = spread(bias * scale + shift)
    z = (xh * spread(weight * scale) + offset).requires_grad_()
    y = torch.nn.functional.silu(z) if act == "silu" else z * 1
    (dz,) = torch.autograd.grad(y, z, dy)
    s0, s1 = dz.abs().sum((2, 3)), (dz * xh).abs().sum((2, 3))
    g = (dz * spread(weight * scale)).reshape(n, groups, -1)
    flat = xh.reshape(n, groups, -1)
    rstd = 1 / (x.reshape(n, groups, -1).var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    dx = rstd * (g.abs() + g.abs().mean(2, keepdim=True) + flat.abs() * (g * flat).abs().mean(2, keepdim=True))
    dx = dx.reshape(n, c, h, w)
    sums = [(scale.abs() * s1).sum(0), (scale.abs() * s0).sum(0)]
    modulation = [] if given[3] is None else [weight.abs() * s1 + bias.abs() * s0, s0]
    first = given[0].shape[1]
    sources = ([dx[:, :first]], [dx[:, first:]]) if skip is not None else ([dx], [])
    return [y.detach(), *sources[0], *sums, *modulation, *sources[1]]


def compare(given, dtype, *, parameter=None, groups, act="silu"):
    """Hold ours to at most twice the error of the reference in the same types, and one rounding of what is added."""
    dy = torch.randn(given[0].shape[0], given[1].shape[0], *given[0].shape[2:], dtype=torch.float64)
    parameter = parameter or torch.float32
    options = {"groups": groups, "act": act}
    exact = results(reference.group_norm, given, dy, (torch.float64, torch.float64), **options)
    plain = results(reference.group_norm, given, dy, (dtype, dtype), **options)
    with backend("triton"):
        ours = results(group_norm, given, dy, (dtype, parameter), **options)
    names = ["y", "dx", "dweight", "dbias", *(["dscale", "dshift"] if given[3] is not None else []), "dskip"]
    for name, got, same, wanted, size in zip(names, ours, plain, exact, magnitudes(given, dy, groups, act)):
        allowed = 2 * (same - wanted).norm() + ULP[dtype] * size.norm()
        assert (got - wanted).norm() <= allowed, name


@pytest.mark.parametrize("last", [True, False], ids=["channels_last", "contiguous"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_values_and_gradients(shape, last):
    n, c, h, w, groups, skip = shape
    compare(as_layout(tensors(n, c, h, w, skip), last), torch.float32, groups=groups)


@pytest.mark.parametrize("last", [True, False], ids=["channels_last", "contiguous"])
def test_a_slab_in_a_loop_by_one_program(last, monkeypatch):
    monkeypatch.setattr(launches, "processors", lambda device: 1)
    compare(as_layout(tensors(2, 16, 33, 41, 4), last), torch.float32, groups=2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("act", ["silu", "none"])
def test_half_precision_with_float32_parameters(dtype, modulated, act):
    given = as_layout(tensors(2, 64, 5, 7, modulated=modulated), True)
    compare(given, dtype, groups=32, act=act)
    if act == "silu" and modulated:
        compare(given, dtype, parameter=dtype, groups=32, act=act)


def test_the_shapes_above_reach_every_route():
    routes = set()
    both = (True, False)
    for (n, c, h, w, groups, _), last, backward, few in itertools.product(SHAPES.values(), both, both, both):
        cut = plan(n, c, groups, h * w, last=last, backward=backward, processors=1 if few else 132)
        assert cut.slab % (c // groups) == 0
        assert c % cut.slab == 0
        assert cut.width >= cut.slab
        assert cut.splits * cut.chunk >= h * w > (cut.splits - 1) * cut.chunk
        routes.add((cut.resident, cut.splits > 1))
    assert routes == {(True, False), (False, False), (False, True)}


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("size", [8, 40], ids=["resident", "split"])
def test_large_means_cost_no_digits(last, size):
    x, weight, bias, scale, shift, _ = tensors(1, 8, size, size)
    given = as_layout((1e4 + 0.1 * x, weight, bias, scale, shift, None), last)
    given = (given[0].float().double(), *given[1:])  # what float32 can hold is the question put
    compare(given, torch.float32, groups=2)


def test_one_outlier_among_small_values():
    x, *rest = tensors(1, 8, 40, 40)
    x[0, :, 20, 17] = 1e4
    compare((x.float().double(), *rest), torch.float32, groups=2)


def test_nothing_crosses_from_group_to_group():
    x, weight, bias, *_ = (None if t is None else t.float() for t in tensors(1, 16, 3, 3))
    x[0, 5] = float("nan")
    with backend("triton"):
        y = group_norm(x, weight, bias, groups=4)
    assert y[0, 4:8].isnan().all()
    assert y[0, :4].isfinite().all()
    assert y[0, 8:].isfinite().all()


@pytest.mark.parametrize("view", ["rows of a wider table", "transposed x", "every other sample"])
def test_views(view):
    x, weight, bias, scale, shift, _ = (None if t is None else t.float() for t in tensors(4, 16, 3, 5))
    if view == "rows of a wider table":
        wide = torch.randn(4, 50)
        scale, shift = wide[:, 3:19], wide[:, 30:46]
    elif view == "transposed x":
        x = x.transpose(2, 3)
    else:
        x, scale, shift = x.repeat(2, 1, 1, 1)[::2], scale.repeat(2, 1)[::2], shift.repeat(2, 1)[::2]
    wanted = reference.group_norm(x, weight, bias, groups=4, scale=scale, shift=shift)
    with backend("triton"):
        torch.testing.assert_close(group_norm(x, weight, bias, groups=4, scale=scale, shift=shift), wanted)


def test_every_element_is_written(monkeypatch):
    real = torch.empty

    def poisoned(*args, **kwargs):
        out = real(*args, **kwargs)
        return out.fill_(float("nan")) if out.is_floating_point() else out

    monkeypatch.setattr(torch, "empty", poisoned)
    given = as_layout(tensors(1, 96, 33, 9, 32), True)
    dy = torch.ones(1, 96, 33, 9, dtype=torch.float64)
    with backend("triton"):
        ours = results(group_norm, given, dy, (torch.float32, torch.float32), groups=32)
    assert all(t.isfinite().all() for t in ours)


def dropped(state, site, x, p, *, groups=4, **options):
    with backend("triton"):
        one, zero = torch.ones(x.shape[1]), torch.zeros(x.shape[1])
        return group_norm(x, one, zero, groups=groups, act="none", dropout=p, state=state, site=site, **options)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("shape", [(2, 16, 4, 5), (1, 36, 3, 3), (1, 8, 33, 41)])
def test_dropout_drops_exactly_what_the_counter_says(shape, last):
    n, c, h, w = shape
    (x,) = as_layout((torch.randn(shape),), last)
    state = torch.tensor([1234567890123, 2**33 + 5])
    y = dropped(state, 3, x, 0.3)
    whole = reference.group_norm(x, torch.ones(c), torch.zeros(c), groups=4, act="none")
    pixels = h * w
    if last:
        vectors = torch.arange(n * pixels)[:, None] * -(-c // 8) + torch.arange(-(-c // 8))
    else:
        vectors = torch.arange(n * c)[:, None] * -(-pixels // 8) + torch.arange(-(-pixels // 8))
    keep = torch.from_numpy(kept(1234567890123, 2**33 + 5, 3, vectors.numpy(), threshold(0.3)))
    if last:
        keep = keep[:, :c].reshape(n, h, w, c).permute(0, 3, 1, 2)
    else:
        keep = keep[:, :pixels].reshape(n, c, h, w)
    assert 0.2 < (~keep).float().mean() < 0.4
    torch.testing.assert_close(y, torch.where(keep, whole * kept_scale(0.3), 0.0), rtol=1e-5, atol=1e-6)


def test_dropout_of_the_backward_pass_is_that_of_the_forward_pass():
    state = DropoutState(7, "cpu")
    x = torch.randn(1, 8, 33, 41, requires_grad=True)
    y = dropped(state.tensor, 0, x, 0.5, groups=2)
    state.advance()  # What comes after must not change what was.
    (dx,) = torch.autograd.grad(y.sum(), x)
    keep = y.detach() != 0
    z = reference.group_norm(x, torch.ones(8), torch.zeros(8), groups=2, act="none")
    (wanted,) = torch.autograd.grad((z * keep * 2).sum(), x)
    torch.testing.assert_close(dx, wanted, rtol=1e-4, atol=1e-5)


def test_steps_sites_and_seeds_drop_different_elements_and_a_recomputation_the_same():
    x = torch.randn(1, 16, 8, 8)
    state = DropoutState(7, "cpu")
    first = dropped(state.tensor, 0, x, 0.5) == 0
    assert torch.equal(first, dropped(state.tensor, 0, x, 0.5) == 0)
    elsewhere = dropped(state.tensor, 1, x, 0.5) == 0
    other_rank = dropped(DropoutState(8, "cpu").tensor, 0, x, 0.5) == 0
    state.advance()
    later = dropped(state.tensor, 0, x, 0.5) == 0
    masks = [first, elsewhere, other_rank, later]
    for a, b in itertools.combinations(masks, 2):
        assert 0.35 < (a != b).float().mean() < 0.65  # independent halves differ in half the places
    state.seek(7, 0)
    assert torch.equal(first, dropped(state.tensor, 0, x, 0.5) == 0)


def test_without_a_state_dropout_follows_torchs_seed():
    x = torch.randn(1, 16, 8, 8)
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(dropped(None, 0, x, 0.5) == 0)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_dropout_share_and_scale():
    x = torch.randn(8, 32, 16, 16)
    y = dropped(DropoutState(0, "cpu").tensor, 0, x, 0.1, groups=1)
    whole = reference.group_norm(x, torch.ones(32), torch.zeros(32), groups=1, act="none")
    assert (y == 0).float().mean().item() == pytest.approx(0.1, abs=4 * (0.09 / x.numel()) ** 0.5)
    torch.testing.assert_close(y[y != 0], whole[y != 0] / 0.9, rtol=2e-5, atol=1e-6)


def operands(**options):
    x, weight, bias, scale, shift, skip = (None if t is None else t.float() for t in tensors(2, 16, 3, 3, 4))
    x, weight, bias, scale, shift, skip = (t.requires_grad_() for t in (x, weight, bias, scale, shift, skip))
    return (x, weight, bias, 4, scale, shift, "silu", 1e-5, options.get("p", 0.0), skip, options.get("state"), 0, False)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_it_is_a_proper_torch_operation(p):
    state = torch.tensor([3, 4]) if p else None
    torch.library.opcheck(torch.ops.diffsda.group_norm.default, operands(p=p, state=state))
    x, weight, bias, groups, scale, shift, act, _, p, skip, _, site, _ = operands(p=p)
    mean, rstd = torch.randn(2, 4), torch.rand(2, 4) + 0.5
    dy, used = torch.randn(2, 16, 3, 3), torch.tensor([3, 4])
    arguments = (dy, x, weight, bias, groups, scale, shift, act, p, skip, used, site, mean, rstd)
    detached = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments]
    torch.library.opcheck(torch.ops.diffsda.group_norm_backward.default, tuple(detached))


def test_compiled_whole():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.conv = torch.nn.GroupNorm(4, 16), torch.nn.Conv2d(16, 16, 3, padding=1)

        def forward(self, x, scale, shift):
            y = group_norm(x, self.norm.weight, self.norm.bias, groups=4, scale=scale, shift=shift)
            return x + self.conv(y)

    block, (x, _, _, scale, shift, _) = Block(), (None if t is None else t.float() for t in tensors(2, 16, 4, 4))
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    with backend("triton"):
        for call in (block, compiled):
            block.zero_grad()
            call(x, scale, shift).square().sum().backward()
            grads = [p.grad.clone() for p in block.parameters()]
            if call is block:
                wanted = grads
    for got, want in zip(grads, wanted):
        torch.testing.assert_close(got, want)
    torch._dynamo.reset()


def test_under_autocast_the_clips_type_stays():
    x, weight, bias, scale, shift, _ = (None if t is None else t.float() for t in tensors(2, 16, 4, 4))
    half = x.to(torch.bfloat16)
    wanted = reference.group_norm(x, weight, bias, groups=4, scale=scale, shift=shift)
    with torch.autocast("cpu", torch.bfloat16), backend("triton"):
        y = group_norm(half, weight, bias, groups=4, scale=scale, shift=shift)
        whole = group_norm(x, weight, bias, groups=4, scale=scale, shift=shift)
    assert (y.dtype, whole.dtype) == (torch.bfloat16, torch.float32)
    assert relative(y.double(), wanted.double()) < 1e-2
    torch.testing.assert_close(whole, wanted)


def test_an_empty_batch():
    x, weight = torch.randn(0, 8, 3, 3, requires_grad=True), torch.ones(8, requires_grad=True)
    with backend("triton"):
        y = group_norm(x, weight, torch.zeros(8), groups=2)
        y.sum().backward()
    assert y.shape == x.shape
    assert torch.equal(weight.grad, torch.zeros(8))


def test_what_the_kernels_cannot_do_is_refused():
    weight = torch.ones(8)
    with backend("triton"):
        with pytest.raises(InputError, match="float64"):
            group_norm(torch.randn(1, 8, 2, 2, dtype=torch.float64), weight, weight, groups=2)
        huge = torch.empty(1, 1, 1, 1).expand(1, 8, 2**15, 2**15)
        with pytest.raises(InputError, match=r"2\^31"):
            group_norm(huge, weight, weight, groups=2)
        with pytest.raises(InputError, match="multiple of 3"):
            group_norm(torch.randn(1, 8, 2, 2), weight, weight, groups=3)
        with pytest.raises(InputError, match="both or neither"):
            group_norm(torch.randn(1, 8, 2, 2), weight, weight, groups=2, scale=torch.ones(1, 8))
    assert launches.is_last(torch.randn(2, 3, 4, 5)[:, :, ::2])  # neither layout: made channels_last


def test_a_second_derivative_is_refused_not_wrong():
    x = torch.randn(1, 8, 2, 2, requires_grad=True)
    with backend("triton"):
        y = group_norm(x, torch.ones(8), torch.zeros(8), groups=2)
        (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="group_norm_backward"):
            dx.sum().backward()
