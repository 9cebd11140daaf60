"""heun's Triton kernels in the interpreter: against float64, in every layout, and in the sampler."""

import pytest
import torch

from diffsda import kernels
from diffsda.edm.precondition import Precondition
from diffsda.edm.sampler import heun
from diffsda.edm.schedule import inversion_plan, sampling_plan
from diffsda.kernels import first_use
from diffsda.kernels.heun import reference
from diffsda.recipe import Sampling

EDM = Precondition(0.5)
LAST = torch.channels_last
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
NUMBERS = {"keep": 0.9, "first": -0.31, "second": 0.7, "c_in": 1.3}


def error(given, wanted):
    """Return the relative error in the Euclidean norm."""
    return float((given.double() - wanted).norm() / wanted.norm().clamp_min(1e-30))


def tensors(shape, dtype, x_last=False, f_last=False):
    """Return a state and two network outputs."""
    x, f, f2 = torch.randn(shape), torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    f, f2 = (t.contiguous(memory_format=LAST) if f_last else t for t in (f, f2))
    return x.contiguous(memory_format=LAST) if x_last else x, f, f2


def fresh(like, dtype=None):
    return torch.full_like(like, float("nan"), dtype=dtype)


def close(ours, plain, exact):
    """Demand at most twice the error of plain torch in the same dtypes, or one unit in the last place of a term.

    Terms are of size 1 here; their sum may cancel where there is but one.
    """
    assert ours.shape == exact.shape
    size = exact.norm() + exact.numel() ** 0.5
    far, allowed = (float((t.double() - exact).norm() / size.clamp_min(1)) for t in (ours, plain))
    assert far <= max(2 * allowed, torch.finfo(ours.dtype).eps)


SHAPES = [
    pytest.param((1,), {}, id="one element, which Triton makes a constant"),
    pytest.param((7,), {}, id="less than a vector"),
    pytest.param((2, 512), {}, id="exactly a block"),
    pytest.param((3, 11, 67), {}, id="blocks and a rest of 3"),
    pytest.param((2, 3, 5, 7), {"x_last": True, "f_last": True}, id="channels last throughout"),
    pytest.param((2, 3, 5, 7), {"f_last": True}, id="state in planes, odd sizes"),
    pytest.param((2, 4, 16, 16), {"f_last": True}, id="state in planes, two tiles"),
    pytest.param((2, 19, 3, 1), {"f_last": True}, id="more channels than a tile holds"),
    pytest.param((3, 1, 4, 4), {"f_last": True}, id="one channel: both layouts are one"),
    pytest.param((0, 3), {}, id="nothing"),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "layout"), SHAPES)
def test_against_float64(shape, layout, dtype):
    x, f, f2 = tensors(shape, dtype, **layout)
    for second in (f2, None):
        for next_input in (True, False):
            results = []
            for backend, wide in (("triton", False), ("torch", False), ("torch", True)):
                cast = (lambda t: None if t is None else t.double()) if wide else (lambda t: t)
                state, out, guess = cast(x).clone(), fresh(cast(f)), fresh(cast(f))
                with kernels.backend(backend):
                    kernels.heun_predict(state, cast(f), guess, a=0.3, b=-1.7)
                    assert torch.equal(state, cast(x))
                    kernels.heun_correct(state, cast(f), cast(second), out if next_input else None, **NUMBERS)
                results.append((guess, state, out))
            for ours, plain, exact in zip(*results):
                if next_input or ours is not results[0][2]:
                    close(ours, plain, exact)
                else:
                    assert bool(torch.isnan(ours).all())


def test_other_dtypes_in_than_out():
    x, f, _ = tensors((3, 50), torch.float16)
    out = fresh(f, torch.bfloat16)
    with kernels.backend("triton"):
        kernels.heun_correct(x, f, f.float(), out, **NUMBERS)
    assert error(out, x.double() * 1.3) < torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize("op", ["heun_predict", "heun_correct"])
def test_opcheck(op):
    x, f, f2 = tensors((2, 3, 4, 5), torch.float32, f_last=True)
    if op == "heun_predict":
        arguments = [(x, f, f2, 0.3, -1.7)]
    else:
        arguments = [(x, f, a, b, 0.9, -0.3, 0.7, 1.1) for a in (f2, None) for b in (f.clone(), None)]
    for given in arguments:
        torch.library.opcheck(getattr(torch.ops.diffsda, op).default, given)


@pytest.mark.parametrize("backend", ["torch", "triton"])
@torch.no_grad()
def test_compiled_equals_eager(backend):
    def step(x, f, f2, out):
        kernels.heun_predict(x, f, out, a=0.3, b=-1.7)
        seen = out.clone()
        kernels.heun_correct(x, f, f2, out, **NUMBERS)
        return seen

    given = tensors((3, 40), torch.float32)
    results = []
    with kernels.backend(backend):
        for call in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
            x, f, f2 = (t.clone() for t in given)
            out = fresh(f)
            results.append((call(x, f, f2, out), x, out))
    for eager, compiled in zip(*results):
        assert torch.equal(eager, compiled)


def test_autocast_changes_nothing():
    x, f, f2 = tensors((3, 40), torch.bfloat16)
    results = []
    for enabled in (False, True):
        state, out = x.clone(), fresh(f)
        with kernels.backend("triton"), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            kernels.heun_correct(state, f, f2, out, **NUMBERS)
        results.append((state, out))
    for plain, cast in zip(*results):
        assert plain.dtype == cast.dtype
        assert torch.equal(plain, cast)


@pytest.mark.parametrize("good", [True, False])
def test_the_comparison_on_first_use(good, monkeypatch):
    monkeypatch.setattr(first_use, "_verdicts", {})
    monkeypatch.setattr("diffsda.kernels.heun.op.resolve", lambda operation, device: "compare")
    if not good:
        # What a miscompiled kernel would look like.
        monkeypatch.setattr(
            "diffsda.kernels.heun.op.correct", lambda x, f, f2, out, *rest: reference.heun_predict(x, f, x, a=1, b=1)
        )
    x, f, f2 = tensors((3, 40), torch.bfloat16)
    out = fresh(f)
    wanted, wanted_out = x.clone(), fresh(f)
    reference.heun_correct(wanted, f, f2, wanted_out, **NUMBERS)
    if good:
        kernels.heun_correct(x, f, f2, out, **NUMBERS)
        kernels.heun_predict(x.clone(), f, fresh(f), a=1.0, b=1.0)
        assert list(first_use.verdicts().values()) == [True, True]
    else:
        with pytest.warns(UserWarning, match="heun_correct: our kernel differs"):
            kernels.heun_correct(x, f, f2, out, **NUMBERS)
        assert list(first_use.verdicts().values()) == [False]
    torch.testing.assert_close(x, wanted)
    torch.testing.assert_close(out, wanted_out)


def network(scaled, level):
    """Return an F that is neither linear nor diagonal."""
    wide = scaled.float()
    return (torch.tanh(2 * wide.flip(-1) + 0.1 * level) - 0.4 * torch.sin(wide) * wide.roll(1, 0)).to(scaled.dtype)


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 4)], ids=["rows", "images"])
@pytest.mark.parametrize("kind", ["sampling", "inversion", "churn"])
@torch.no_grad()
def test_the_sampler_on_kernels_is_the_sampler(kind, shape):
    sampling = Sampling(steps=5, S_churn=3.0 if kind == "churn" else 0.0, S_min=0.01, S_max=40.0)
    plan = (inversion_plan if kind == "inversion" else sampling_plan)(sampling, EDM)
    x = 10 * torch.randn(shape)

    def solve(start, dtype=None):
        draw = torch.Generator().manual_seed(3)
        noise = lambda: torch.randn(shape, generator=draw, dtype=torch.float64).to(start.dtype)  # noqa: E731
        return heun(network, start, plan, fresh=noise, dtype=dtype)

    exact = heun_in_float64(plan, x, shape)
    plain, before = solve(x), x.clone()
    with kernels.backend("triton"):
        # Not bfloat16, which the interpreter rounds towards 0: that adds up.
        ours, narrow = solve(x), solve(x, torch.float16)
    assert torch.equal(x, before)
    assert error(ours, exact) <= max(2 * error(plain, exact), 1e-6)
    assert error(narrow, exact) <= max(2 * error(solve(x, torch.float16), exact), 1e-3)


def heun_in_float64(plan, x, shape):
    draw = torch.Generator().manual_seed(3)

    def wide(scaled, level):
        return torch.tanh(2 * scaled.flip(-1) + 0.1 * level) - 0.4 * torch.sin(scaled) * scaled.roll(1, 0)

    return heun(wide, x.double(), plan, fresh=lambda: torch.randn(shape, generator=draw, dtype=torch.float64))


@torch.no_grad()
def test_the_sampler_takes_the_kernels(monkeypatch):
    called = []
    for name in ("predict", "correct"):
        op = getattr(torch.ops.diffsda, f"heun_{name}")
        monkeypatch.setattr(
            torch.ops.diffsda, f"heun_{name}", lambda *a, op=op, name=name: (called.append(name), op(*a))
        )
    plan = sampling_plan(Sampling(steps=3), EDM)
    with kernels.backend(heun="triton"):
        heun(network, torch.randn(2, 3), plan)
    assert called == ["predict", "correct"] * 2 + ["correct"]
