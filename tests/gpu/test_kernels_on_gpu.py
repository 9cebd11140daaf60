"""Every operation on a CUDA device: values, gradients, dropout, the same bits twice, captured graphs."""

from __future__ import annotations

import contextlib

import pytest
import torch
from kernel_calls import CALLS, compare, relative

from diffsda.kernels import backend, film_layer_norm, first_use, group_norm
from diffsda.kernels.dropout import DropoutState, kept_scale
from diffsda.kernels.heun import heun_correct, heun_predict

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@contextlib.contextmanager
def poisoned():
    """Fill whatever is allocated with NaN: an element nobody wrote shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    try:
        assert torch.empty(3, device=CUDA).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients(name, kind):
    compare(CALLS[name](CUDA, DTYPES[kind]), DTYPES[kind])


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize(("n", "c", "size", "skip"), [(160, 192, 32, 0), (160, 384, 8, 192), (1, 576, 32, 192)])
def test_group_norm_with_a_constant_a_channel(n, c, size, skip, kind):
    draw = torch.Generator(CUDA).manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=draw, device=CUDA)

    def clip(channels):
        return normal(n, channels, size, size).to(DTYPES[kind]).contiguous(memory_format=torch.channels_last)

    x, other = clip(c - skip), clip(skip) if skip else None
    small = {"scale": normal(n, c) + 1, "shift": normal(n, c), "offset": 3 + 3 * normal(c)}
    weight, bias = normal(c), normal(c)

    def plain(dtype):
        given = {k: v if v is None else v.to(dtype) for k, v in (small | {"skip": other}).items()}
        with torch.no_grad(), backend("torch"):
            return group_norm(x.to(dtype), weight.to(dtype), bias.to(dtype), groups=32, **given)

    exact = plain(torch.float64)
    with torch.no_grad(), backend("triton"):
        got = group_norm(x, weight, bias, groups=32, skip=other, **small)
    allowed = {"fp32": 2e-6, "bf16": 6e-3, "fp16": 8e-4}[kind] + 2 * relative(plain(torch.float32), exact)
    assert relative(got, exact) <= allowed


@pytest.mark.parametrize("name", CALLS)
def test_everything_is_written_and_the_same_bits_come_twice(name):
    call = CALLS[name](CUDA, torch.bfloat16)
    plain = call.run("triton")
    with poisoned():
        again = call.run("triton")
    for a, b in zip(plain, again):
        assert torch.isfinite(b).all()
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", CALLS)
def test_a_captured_graph_computes_the_same(name):
    call = CALLS[name](CUDA, torch.bfloat16)
    with torch.no_grad():
        inputs = [t.clone() for t in call.inputs]
        with backend("triton"):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                call.function(*inputs, **call.fixed)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                y = call.function(*inputs, **call.fixed)
        for t in inputs:
            t.mul_(-0.5)
        graph.replay()
        call.inputs = inputs
        (expected,) = call.run("triton", gradients=False)
    assert torch.equal(y, expected)


def kept_of(operation, state, dropout, site=0, device=CUDA):
    """Return which elements stay: those of a constant 1 that are not 0."""
    ones = torch.ones
    with backend("triton"), torch.no_grad():
        if operation == "group_norm":
            x, c = torch.randn(8, 64, 32, 32, device=device).to(memory_format=torch.channels_last), 64
            options = {"groups": 32}
            call = group_norm
        else:
            x, c, options, call = torch.randn(2048, 256, device=device), 256, {}, film_layer_norm
        weight, bias = 0 * ones(c, device=device), ones(c, device=device)
        y = call(x, weight, bias, act="none", dropout=dropout, state=state, site=site, **options)
    survivors = y[y != 0]
    assert torch.allclose(survivors, torch.full_like(survivors, kept_scale(dropout)))
    return y != 0


@pytest.mark.parametrize("operation", ["group_norm", "film_layer_norm"])
@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_everywhere(operation, dropout):
    state = DropoutState(7, CUDA)
    kept = kept_of(operation, state.tensor, dropout).double()
    n = kept.numel()
    spread = (dropout * (1 - dropout)) ** 0.5
    assert abs(kept.mean() - (1 - dropout)) < 5 * spread / n**0.5
    # By row and by column too: 6 sigma over at most 2048 of either.
    flat = kept.flatten(1)
    for means, count in ((flat.mean(1), flat.shape[1]), (flat.mean(0), flat.shape[0])):
        assert (means - (1 - dropout)).abs().max() < 6.5 * spread / count**0.5 + 1 / count
    # Neighbours do not know of each other.
    a, b = flat[:, :-1] - (1 - dropout), flat[:, 1:] - (1 - dropout)
    assert abs((a * b).mean()) < 6 * spread**2 / n**0.5


@pytest.mark.parametrize("operation", ["group_norm", "film_layer_norm"])
def test_dropout_follows_state_and_site(operation):
    state = DropoutState(7, CUDA)
    first = kept_of(operation, state.tensor, 0.5)
    assert torch.equal(first, kept_of(operation, state.tensor, 0.5))
    other_site = kept_of(operation, state.tensor, 0.5, site=1)
    state.advance()
    advanced = kept_of(operation, state.tensor, 0.5)
    state.seek(8, 0)
    other_seed = kept_of(operation, state.tensor, 0.5)
    for other in (other_site, advanced, other_seed):
        assert 0.49 < (first == other).double().mean() < 0.51
    state.seek(7, 0)
    assert torch.equal(first, kept_of(operation, state.tensor, 0.5))


def test_backward_drops_what_forward_dropped_though_the_state_has_moved():
    state = DropoutState(3, CUDA)
    x = torch.randn(512, 256, device=CUDA)
    weight = torch.zeros(256, device=CUDA)
    bias = torch.ones(256, device=CUDA, requires_grad=True)
    with backend("triton"):
        y = film_layer_norm(x, weight, bias, act="none", dropout=0.3, state=state.tensor)
        state.advance()
        (dbias,) = torch.autograd.grad(y, bias, torch.ones_like(y))
    assert relative(dbias, y.detach().double().sum(0)) < 1e-5


def test_replays_of_a_graph_drop_other_elements():
    state = DropoutState(5, CUDA)
    x = torch.randn(256, 256, device=CUDA)
    weight, bias = torch.zeros(256, device=CUDA), torch.ones(256, device=CUDA)

    def step():
        y = film_layer_norm(x, weight, bias, act="none", dropout=0.5, state=state.tensor)
        state.advance()
        return y

    with backend("triton"), torch.no_grad():
        step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = step()
        state.seek(5, 0)
        masks = []
        for _ in range(3):
            graph.replay()
            masks.append((y != 0).clone())
        state.seek(5, 0)
        eager = [step() != 0 for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(masks, eager))
    assert not torch.equal(masks[0], masks[1])
    assert int(state.tensor[1]) == 3


@pytest.mark.parametrize("last", [True, False], ids=["one layout", "mixed layouts"])
@pytest.mark.parametrize("network", [torch.float32, torch.bfloat16, torch.float16])
def test_heun_steps(network, last):
    shape = (160, 4, 32, 32)
    x = torch.randn(shape, device=CUDA)
    x = x.to(memory_format=torch.channels_last) if last else x
    f, f2 = (torch.randn(shape, device=CUDA).to(network).to(memory_format=torch.channels_last) for _ in range(2))
    results = {}
    for which, kind in (("torch", torch.float64), ("triton", torch.float32)):
        state, out = x.to(kind, copy=True), torch.empty_like(f, dtype=kind if which == "torch" else network)
        slopes = [t.to(kind) for t in (f, f2)] if which == "torch" else [f, f2]
        with backend(which), torch.no_grad():
            heun_predict(state, slopes[0], out, a=0.75, b=-1.5)
            first = out.clone()
            heun_correct(state, *slopes, out, keep=0.5, first=-0.25, second=1.5, c_in=2.0)
        results[which] = (first, state, out)
    for got, exact, kind in zip(results["triton"], results["torch"], (network, torch.float32, network)):
        assert relative(got, exact) < {torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}[kind]


@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
def test_adamw_gives_the_references_weights_after_100_steps(captured):
    from diffsda.kernels.adamw import adamw

    shapes = [(64, 33), (1,), (7, 5, 3), (1000,), (128, 64, 3, 3)]
    results = {}
    for which in ("torch", "triton"):
        draw = torch.Generator(CUDA).manual_seed(0)
        params = [torch.randn(s, device=CUDA, generator=draw) for s in shapes]
        moments, squares = ([torch.zeros_like(p) for p in params] for _ in range(2))
        averages = [p.clone() for p in params]
        copies = [torch.empty_like(p, dtype=torch.bfloat16) for p in params]
        grads = [torch.empty_like(p) for p in params]
        number = torch.zeros((), device=CUDA)

        def update(lists=(params, grads, moments, squares), a=averages, c=copies, number=number):
            number.add_(1)
            options = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "step": number}
            return adamw(*lists, **options, clip=1.0, averages=a, decay=0.99, copies=c)

        def draw_gradients(i, grads=grads):
            source = torch.Generator(CUDA).manual_seed(i)
            for g in grads:
                g.copy_(torch.randn(g.shape, device=CUDA, generator=source))

        graph = None
        with backend(which):
            for i in range(100):
                draw_gradients(i)
                if which == "triton" and captured and i == 1:
                    torch.cuda.synchronize()
                    graph = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(graph):
                        update()
                update() if graph is None else graph.replay()
        results[which] = [*params, *moments, *squares, *averages, *copies]
    for i, (got, wanted) in enumerate(zip(results["triton"], results["torch"])):
        # Copies may round to either side.
        allowed = 4e-3 if got.dtype == torch.bfloat16 else 2e-5
        assert relative(got, wanted) < allowed, i


def test_auto_compares_once_and_then_uses_ours(recwarn):
    first_use._verdicts.clear()
    call = CALLS["group_norm plain"](CUDA, torch.bfloat16)
    with backend("auto"):
        call.function(*call.inputs)
        found = first_use.verdicts()
        call.function(*call.inputs)
    assert len(found) == 1
    assert all(found.values())
    assert first_use.verdicts() == found
    assert not [w for w in recwarn if "differs from its reference" in str(w.message)]


def test_auto_takes_the_reference_where_ours_disagrees(monkeypatch):
    first_use._verdicts.clear()
    monkeypatch.setattr(first_use, "TOLERANCE", dict.fromkeys(first_use.TOLERANCE, -1.0))
    call = CALLS["film_layer_norm plain"](CUDA, torch.float32)
    with backend("auto"), pytest.warns(UserWarning, match="differs from its reference"):
        y = call.function(*call.inputs)
    assert torch.equal(y, call.run("torch", gradients=False)[0])
    first_use._verdicts.clear()
