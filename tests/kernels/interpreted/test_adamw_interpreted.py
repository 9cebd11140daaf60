"""adamw's Triton kernels in the interpreter: a hundred steps against float64, awkward tensors, registration."""

import importlib

import pytest
import torch
from adamw_runs import SETTINGS, by_adamw, by_torch, error

from diffsda import kernels
from diffsda.kernels import first_use
from diffsda.kernels.adamw import reference, table

OP = importlib.import_module("diffsda.kernels.adamw.op")


def close(given, plain, exact):
    """Demand at most twice the error of torch in float32, or one unit in the last place."""
    for name, values in exact.items():
        # The interpreter cuts bfloat16 off where torch rounds.
        ulp = torch.finfo(torch.bfloat16 if name == "copies" else torch.float32).eps
        assert error(given[name], values) <= max(2 * error(plain[name], values), ulp), name


@pytest.mark.parametrize(("steps", "clip"), [(100, 1.0), (10, None)], ids=["clipping at times", "no clipping"])
def test_a_hundred_steps_against_float64(steps, clip):
    with kernels.backend("triton"):
        given = by_adamw(steps, clip=clip)
    exact = by_torch(steps, clip=clip, dtype=torch.float64, foreach=False, fused=False)
    plain = by_torch(steps, clip=clip, dtype=torch.float32, fused=True)
    assert min(exact["norms"]) < 1 < max(exact["norms"])
    close(given, plain, exact)


@pytest.mark.parametrize("averaged", [True, False], ids=["averages and copies", "neither"])
@pytest.mark.parametrize("grads", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_other_gradients_and_less_to_do(grads, averaged):
    options = {"clip": 1.0, "averaged": averaged, "grads": grads}
    with kernels.backend("triton"):
        given = by_adamw(4, **options)
    exact = by_torch(4, dtype=torch.float64, foreach=False, fused=False, **options)
    plain = by_torch(4, dtype=torch.float32, fused=True, **options)
    close(given, plain, exact)


def test_numbers_on_the_device_are_read_when_the_kernels_run():
    with kernels.backend("triton"):
        numbers, tensors = by_adamw(6, clip=1.0), by_adamw(6, clip=1.0, numbers=torch.tensor)
    for name, values in numbers.items():
        # float32 holds 0.97 and the rates to one unit.
        assert error(tensors[name], values) <= (4e-7 if name != "copies" else 1e-3), name


def test_steps_in_whole_numbers_and_float64():
    results = []
    for kind in (torch.float32, torch.int64, torch.float64):
        p, g = [torch.ones(20)], [torch.full((20,), 0.5)]
        m, v = [torch.zeros(20)], [torch.zeros(20)]
        with kernels.backend("triton"):
            kernels.adamw(p, g, m, v, lr=0.1, step=torch.tensor(3, dtype=kind), **SETTINGS)
        results.append(p[0])
    assert all(torch.equal(p, results[0]) for p in results)


@pytest.mark.parametrize("beta", [0.0, 0.999999])
@pytest.mark.parametrize("step", [1, 2, 1000, 2**24])
def test_bias_corrections_far_and_near(beta, step):
    settings = {**SETTINGS, "betas": (beta, beta), "lr": 0.1, "step": step}
    results = []
    for backend, dtype in (("triton", torch.float32), ("torch", torch.float64)):
        p, g, m, v = ([torch.linspace(a, b, 20).to(dtype)] for a, b in ((-1, 1), (0.1, 2), (-2, 1), (0.1, 1)))
        with kernels.backend(backend):
            kernels.adamw(p, g, m, v, **settings)
        results.append(p)
    assert error(*results) < 3e-7


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9999, 1.0])
@pytest.mark.parametrize("kind", [float, torch.float32, torch.float64], ids=str)
def test_averages_from_either_end(decay, kind):
    number = decay if kind is float else torch.tensor(decay, dtype=kind)
    p, g, m, v = ([torch.randn(20)] for _ in range(4))
    v[0].square_()
    a = [torch.randn(20)]
    before = a[0].double()
    with kernels.backend("triton"):
        kernels.adamw(p, g, m, v, lr=0.1, step=2, averages=a, decay=number, **SETTINGS)
    exact = torch.lerp(before, p[0].double(), 1 - float(number))
    assert error(a, [exact]) < 1e-7
    assert torch.equal(a[0], p[0]) == (decay == 0)


def unaligned(n, offset):
    """Return n elements that start ``offset`` elements after a 16-byte boundary."""
    return torch.randn(n + 16)[offset : offset + n]


@pytest.mark.parametrize("column", range(6), ids=["params", "grads", "exp_avgs", "exp_avg_sqs", "averages", "copies"])
def test_one_list_off_the_16_byte_boundary(column):
    """As the gradients are where they are views of a bucket."""
    results = []
    for backend in ("torch", "triton"):
        torch.manual_seed(3)
        lists = [[unaligned(n, i + 1 if i == column else 0) for n in (33, 40)] for i in range(6)]
        lists[3] = [v.square_() for v in lists[3]]
        p, g, m, v, a, c = lists
        assert p[0].data_ptr() % 16 == (4 if column == 0 else 0)
        with kernels.backend(backend):
            norm = kernels.adamw(p, g, m, v, lr=0.1, step=2, clip=1.0, averages=a, decay=0.9, copies=c, **SETTINGS)
        results.append([norm, *p, *m, *v, *a, *c])
    assert error(*results[::-1]) < 3e-7


@pytest.mark.parametrize("size", [16, 64, 65, 79, 80, 130], ids=lambda n: f"{n} elements in chunks of 64")
def test_chunks_and_their_tails(size, monkeypatch):
    monkeypatch.setattr(table, "CHUNK", 64)
    monkeypatch.setattr(OP, "BLOCK", 32)
    monkeypatch.setattr(OP, "READ", 32)
    monkeypatch.setattr(OP, "SUMS", 2)
    options = {"clip": 1.0, "shapes": ((size,), (3,), (size, 1))}
    with kernels.backend("triton"):
        given = by_adamw(2, **options)
    exact = by_torch(2, dtype=torch.float64, foreach=False, fused=False, **options)
    close(given, by_torch(2, dtype=torch.float32, fused=True, **options), exact)


def test_neighbours_in_memory_are_left_alone():
    whole = [torch.full((64,), 7.0) for _ in range(5)]
    p, m, v, a, c = ([t[16:35]] for t in whole)
    g = [torch.ones(19)]
    with kernels.backend("triton"):
        kernels.adamw(p, g, m, v, lr=0.1, step=1, averages=a, decay=0.9, copies=c, **SETTINGS)
    for t in whole:
        assert bool((t[:16] == 7).all())
        assert bool((t[35:] == 7).all())
        assert not bool((t[16:35] == 7).any())


def test_gradients_stay_as_they_are_and_every_step_repeats_to_the_bit():
    torch.manual_seed(2)
    g = [torch.randn(1025), torch.randn(300)]
    before, results = [t.clone() for t in g], []
    for _ in range(2):
        p, m, v = ([torch.ones_like(t) for t in g] for _ in range(3))
        with kernels.backend("triton"):
            norm = kernels.adamw(p, g, m, v, lr=0.1, step=1, clip=0.5, **SETTINGS)
        results.append([norm, *p, *m, *v])
    assert all(torch.equal(a, b) for a, b in zip(g, before))
    assert all(torch.equal(a, b) for a, b in zip(*results))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_spreads_as_in_torch(bad):
    results = []
    for backend in ("torch", "triton"):
        p, m, v = ([torch.ones(20), torch.ones(3)] for _ in range(3))
        g = [torch.ones(20), torch.tensor([1.0, bad, 1.0])]
        with kernels.backend(backend):
            norm = kernels.adamw(p, g, m, v, lr=0.1, step=1, clip=1.0, **SETTINGS)
        results.append((norm, *p))
    for plain, ours in zip(*results):
        torch.testing.assert_close(ours, plain, equal_nan=True)
    assert not torch.isfinite(results[1][0])


def arguments(averaged=True, tensors=False, clip=1.0):
    torch.manual_seed(4)
    p, g, m, a = ([torch.randn(n) for n in (7, 33)] for _ in range(4))
    v = [torch.rand(n) for n in (7, 33)]
    c = [torch.zeros(n, dtype=torch.bfloat16) for n in (7, 33)]
    at = [torch.tensor(x) for x in (0.1, 2.0, 0.9)] if tensors else [None] * 3
    numbers = (0.1, at[0], 2.0, at[1], 0.1, at[2], 0.9, 0.999, 1e-8, 0.1, clip)
    return (p, g, m, v, a if averaged else [], c if averaged else [], *numbers)


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("averaged", [False, True])
def test_opcheck(averaged, tensors):
    given = arguments(averaged, tensors, clip=1.0 if tensors else None)
    torch.library.opcheck(torch.ops.diffsda.adamw.default, given)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compiled_equals_eager(backend):
    def step(p, g, m, v, a, c, lr, count):
        more = {"averages": a, "decay": 0.9, "copies": c}
        return kernels.adamw(p, g, m, v, lr=lr, step=count, clip=1.0, **more, **SETTINGS)

    results = []
    for call in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        p, g, m, v, a, c = arguments()[:6]
        with kernels.backend(backend):
            norm = call(p, g, m, v, a, c, torch.tensor(0.1), torch.tensor(2.0))
        results.append([norm, *p, *m, *v, *a, *c])
    if backend == "triton":
        assert all(torch.equal(x, y) for x, y in zip(*results))
    else:  # Compiled, the formula is written out.
        for eager, compiled in zip(*results):
            torch.testing.assert_close(compiled, eager, rtol=1e-6, atol=1e-6)


def test_autocast_changes_nothing():
    results = []
    for enabled in (False, True):
        p, g, m, v = arguments()[:4]
        with kernels.backend("triton"), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            norm = kernels.adamw(p, g, m, v, lr=0.1, step=1, clip=1.0, **SETTINGS)
        results.append([norm, *p, *m, *v])
    for plain, cast in zip(*results):
        assert plain.dtype == cast.dtype
        assert torch.equal(plain, cast)


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("averaged", [True, False])
def test_the_comparison_on_first_use(good, averaged, monkeypatch):
    monkeypatch.setattr(first_use, "_verdicts", {})
    monkeypatch.setattr(OP, "resolve", lambda operation, device: "compare")
    if not good:
        ours = OP.step_once
        # One wrong digit of eps, where the second moment is small.
        monkeypatch.setattr(OP, "step_once", lambda *a: ours(*a[:14], 1e-4, *a[15:]))
    p, g, m, v, a, c = arguments()[:6]
    wanted = [t.clone() for t in p]
    reference.adamw(
        wanted, [t.clone() for t in g], [t.clone() for t in m], [t.clone() for t in v], lr=0.1, step=2, **SETTINGS
    )
    more = {"averages": a, "decay": 0.9, "copies": c} if averaged else {}

    def step():
        kernels.adamw(p, g, m, v, lr=0.1, step=2, **more, **SETTINGS)

    if good:
        step()
    else:
        with pytest.warns(UserWarning, match="adamw: our kernel differs"):
            step()
    assert list(first_use.verdicts().values()) == [good]
    assert error(p, wanted) < 3e-7
