"""group_norm's constant a channel, in Triton's interpreter: values against float64, statistics, bytes, refusals."""

import itertools

import pytest
import torch
from counting import counting

from diffsda.errors import InputError
from diffsda.kernels import backend, first_use, group_norm
from diffsda.kernels.group_norm import cost, launches, op, reference
from diffsda.kernels.group_norm.plan import plan
from diffsda.kernels.launch import BackendError

ULP = {torch.float32: 2**-23, torch.float16: 2**-10, torch.bfloat16: 2**-7}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
SHAPES = {
    # id: (N, C, H, W, groups, channels of C that come from skip, processors to fill)
    "resident, padded slabs": (2, 192, 3, 5, 32, 0, 132),
    "one pixel, no slab of whole vectors": (3, 36, 1, 1, 6, 0, 132),
    "split over programs": (1, 16, 33, 41, 2, 0, 132),
    "read twice by one program": (2, 16, 33, 41, 2, 0, 1),
    "two sources, the seam inside a slab": (1, 48, 3, 5, 4, 20, 132),
    "two sources, split over programs": (1, 24, 33, 29, 4, 8, 132),
}


def given(n, c, h, w, groups, skip, *, dtype=torch.float32, layout=torch.channels_last, modulated=True, level=3.0):
    """Return inputs whose constants differ within every group, by name."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=draw)

    def clip(channels):
        return normal(n, channels, h, w).to(dtype).contiguous(memory_format=layout)

    made = {"x": clip(c - skip), "weight": normal(c), "bias": normal(c), "groups": groups}
    made["offset"] = level + level * normal(c)
    if skip:
        made["skip"] = clip(skip)
    if modulated:
        made |= {"scale": normal(n, c) + 1, "shift": normal(n, c)}
    return made


def changed(inputs, change):
    return {k: change(v) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}


def formula(inputs, act="silu"):
    """Return y in float64, the constant added element by element."""
    wide = changed(inputs, torch.Tensor.double)
    x = torch.cat([wide.pop("x"), *([wide.pop("skip")] if "skip" in wide else [])], 1)
    return reference.group_norm(x + wide.pop("offset")[:, None, None], act=act, **wide)


def hold(inputs, act="silu"):
    """Hold ours to at most twice the error of the reference in the same types, and one rounding."""
    exact = formula(inputs, act)
    # torch's channels_last norm on the CPU loses large means, ours must not.
    plain = changed(inputs, torch.Tensor.contiguous)
    same = reference.group_norm(**plain, act=act).double()
    before = changed(inputs, torch.Tensor.clone)
    with torch.no_grad(), backend("triton"):
        y = group_norm(**inputs, act=act)
    assert y.dtype == inputs["x"].dtype
    assert all(torch.equal(v, before[k]) for k, v in inputs.items() if isinstance(v, torch.Tensor))
    allowed = 2 * (same - exact).norm() + ULP[y.dtype] * exact.norm()
    assert (y.double() - exact).norm() <= allowed


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_values(shape, layout, monkeypatch):
    monkeypatch.setattr(launches, "processors", lambda device: shape[-1])
    hold(given(*shape[:-1], layout=LAYOUTS[layout]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("skip", [0, 20])
def test_half_precision(dtype, layout, skip):
    inputs = given(2, 48, 5, 7, 4, skip, dtype=dtype, layout=LAYOUTS[layout], modulated=bool(skip))
    hold(inputs, "none" if skip else "silu")


def test_the_shapes_reach_every_route():
    routes = set()
    for (n, c, h, w, groups, _, fill), last in itertools.product(SHAPES.values(), (True, False)):
        cut = plan(n, c, groups, h * w, last=last, backward=False, processors=fill, item=4)
        routes.add((last, cut.resident, cut.splits > 1))
    assert routes == {(last, *r) for last in (True, False) for r in ((True, False), (False, False), (False, True))}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 16, 8, 8, 2, 0), (1, 16, 40, 40, 2, 8)], ids=["resident", "split"])
def test_large_constants_cost_no_digits(shape, dtype):
    inputs = given(*shape, dtype=dtype, level=0.1)
    inputs["offset"] += 1e4
    hold(inputs)


def test_statistics_are_those_of_the_sum():
    for shape in ((2, 16, 4, 4, 4, 8), (1, 16, 33, 41, 4, 8)):
        inputs = given(*shape)
        options = (inputs["scale"], inputs["shift"], "silu", 1e-5, 0.0, inputs["skip"], None, 0, False)
        parts = (inputs["x"], inputs["weight"], inputs["bias"], inputs["groups"], *options)
        _, mean, rstd, _ = launches.forward(*parts, inputs["offset"])
        whole = torch.cat([inputs["x"], inputs["skip"]], 1).double() + inputs["offset"].double()[:, None, None]
        slab = whole.reshape(shape[0], 4, -1)
        torch.testing.assert_close(mean.double(), slab.mean(2), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(rstd.double(), (slab.var(2, unbiased=False) + 1e-5).rsqrt(), rtol=1e-6, atol=0)


def test_constants_of_other_types_and_in_views():
    inputs = given(2, 16, 3, 5, 4, 0)
    for offset in (inputs["offset"].bfloat16(), inputs["offset"].double(), torch.randn(16, 3)[:, 1]):
        hold(inputs | {"offset": offset})


def test_no_constant_and_one_of_zero_are_the_same():
    inputs = given(1, 48, 3, 5, 4, 20)
    with torch.no_grad(), backend("triton"):
        with_zero = group_norm(**inputs | {"offset": torch.zeros(48)})
        assert torch.equal(with_zero, group_norm(**inputs | {"offset": None}))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["split over programs", "two sources, the seam inside a slab", "read twice"])
def test_bytes(name, layout, monkeypatch):
    shape = SHAPES.get(name) or (2, 12, 48, 48, 4, 0, 1)
    n, c, h, w, groups, _, fill = shape
    monkeypatch.setattr(launches, "processors", lambda device: fill)
    inputs = given(*shape[:-1], dtype=torch.bfloat16, layout=LAYOUTS[layout])
    seen = []
    for offset in (inputs.pop("offset"), None):
        rest = (inputs["scale"], inputs["shift"], "silu", 1e-5, 0.0, inputs.get("skip"), None, 0, False, offset)
        with counting() as traffic:
            y, mean, rstd, _ = launches.forward(inputs["x"], inputs["weight"], inputs["bias"], groups, *rest)
        sizes = {"groups": groups, "last": layout == "channels_last", "processors": fill}
        expected = cost.forward(n, c, h * w, torch.bfloat16, **sizes, offset=offset is not None)
        small = [t for k, t in inputs.items() if isinstance(t, torch.Tensor) and t is not inputs["x"]]
        assert traffic.useful(inputs["x"], *small, offset, y, mean, rstd) == expected.useful
        assert traffic.moved == expected.moved
        seen.append(expected)
    assert seen[0].useful - seen[1].useful == 4 * c


def operands(**inputs):
    names = ("x", "weight", "bias", "groups", "scale", "shift")
    return (*(inputs[n] for n in names), "silu", 1e-5, 0.0, inputs["skip"], None, 0, False, inputs["offset"])


def test_it_is_a_proper_torch_operation():
    inputs = given(2, 16, 3, 3, 4, 4)
    torch.library.opcheck(torch.ops.diffsda.group_norm.default, operands(**inputs))
    inputs["x"].requires_grad_()
    with pytest.raises(BackendError, match="offset in inference only"):
        torch.ops.diffsda.group_norm(*operands(**inputs))


def test_compiled_whole():
    inputs = given(2, 16, 4, 4, 4, 4)
    groups = inputs.pop("groups")

    def call(inputs):
        return group_norm(**inputs, groups=groups) * 2

    with torch.no_grad(), backend("triton"):
        got = torch.compile(call, fullgraph=True, backend="aot_eager")(inputs)
        assert torch.equal(got, call(inputs))
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["x", "weight", "bias", "scale", "shift", "skip", "offset"])
def test_gradients_are_refused_not_wrong(name):
    inputs = given(2, 16, 3, 3, 4, 4)
    inputs[name].requires_grad_()
    with backend("triton"), pytest.raises(BackendError, match=r"use torch\.no_grad"):
        group_norm(**inputs)
    with backend("triton"), torch.inference_mode():
        assert group_norm(**inputs).isfinite().all()


@pytest.mark.parametrize("wrong", [torch.zeros(12), torch.zeros(1, 16), torch.zeros(16, dtype=torch.int64), 1.0])
def test_constants_that_do_not_fit_are_refused(wrong):
    inputs = given(2, 16, 3, 3, 4, 4)
    with backend("triton"), pytest.raises(InputError, match="offset"):
        group_norm(**inputs | {"offset": wrong})


def test_auto_compares_with_the_constant_and_leaves_gradients_to_torch(monkeypatch):
    monkeypatch.setattr(op, "resolve", lambda operation, device: "compare")
    monkeypatch.setattr(first_use, "_verdicts", {})
    inputs, real, seen = given(2, 16, 3, 3, 4, 4), launches.forward, []
    monkeypatch.setattr(launches, "forward", lambda *a: seen.append(a[-1]) or real(*a))
    inputs["offset"].requires_grad_()
    (gradient,) = torch.autograd.grad(group_norm(**inputs).square().sum(), inputs["offset"])
    assert gradient.norm() > 0
    assert not seen
    with torch.no_grad():
        group_norm(**inputs)
        assert list(first_use.verdicts().values()) == [True]
        assert [offset is not None for offset in seen] == [True, True]  # compared, then used
        group_norm(**inputs | {"offset": None})
        assert len(first_use.verdicts()) == 2


def test_a_kernel_that_forgets_the_constant_is_left(monkeypatch):
    monkeypatch.setattr(op, "resolve", lambda operation, device: "compare")
    monkeypatch.setattr(first_use, "_verdicts", {})
    inputs, real = given(2, 16, 3, 3, 4, 4), launches.forward
    monkeypatch.setattr(launches, "forward", lambda *a: real(*a[:-1], None))
    with torch.no_grad(), pytest.warns(UserWarning, match="the reference is used"):
        y = group_norm(**inputs)
    torch.testing.assert_close(y.double(), formula(inputs), rtol=1e-4, atol=1e-5)
