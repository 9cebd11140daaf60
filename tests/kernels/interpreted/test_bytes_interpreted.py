"""Bytes by design: what kernels touch, counted lane by lane, against what cost.py says and benches divide by."""

from __future__ import annotations

import pytest
import torch
from counting import counting

from diffsda.kernels import backend, fused_copy
from diffsda.kernels.cost import Cost
from diffsda.kernels.launch import launch

BF16, F32 = torch.bfloat16, torch.float32


def check(traffic, cost, big, small=(), rest=0):
    """Compare: compulsory bytes exactly, all bytes of the big tensors exactly, the others up to ``rest``.

    big: tensors of the size of the problem; small: the other inputs and outputs (per channel, per row);
    rest: bytes allowed for small tensors and workspaces, which programs read again and benches leave out.
    """
    assert traffic.useful(*big, *small) == cost.useful
    asked = traffic.read(*big).asked + traffic.written(*big).asked
    assert asked == cost.moved - traffic.useful(*small)
    assert traffic.moved - asked <= rest


def copied(n, block=256):
    x = torch.randn(n)
    y = torch.full_like(x, torch.nan)
    launch(fused_copy.copy, (-(-n // block),), {"source": x, "target": y, "n": n}, {"BLOCK": block}, warps=4)
    assert torch.equal(x, y)
    return x, y


def test_a_copy_reads_and_writes_once():
    with counting() as traffic:
        x, y = copied(1000)
    check(traffic, Cost(read=4000, written=4000), (x, y))
    assert traffic.kernels == ["copy"]


@pytest.mark.parametrize(
    "wrong",
    [
        Cost(read=4000, written=4000, reread=4),
        Cost(read=3996, written=4000),
        Cost(read=8000, written=4000),
        Cost(read=4000, written=4004),
    ],
    ids=["a second read that is not made", "an element forgotten", "two reads for one", "a store that is not made"],
)
def test_a_wrong_cost_is_noticed(wrong):
    with counting() as traffic:
        x, y = copied(1000)
    with pytest.raises(AssertionError):
        check(traffic, wrong, (x, y))


def test_reading_again_is_moved_and_not_useful():
    with counting() as traffic:
        x, y = copied(1000)
        launch(fused_copy.copy, (4,), {"source": x, "target": y, "n": 1000}, {"BLOCK": 256}, warps=4)
    assert traffic.useful(x, y) == 8000
    assert traffic.moved == 16000


@pytest.mark.parametrize("modulated", [True, False], ids=["modulated", "plain"])
@pytest.mark.parametrize(("rows", "width"), [(6, 128), (3, 257)], ids=["whole vectors", "odd rows"])
def test_film_layer_norm(rows, width, modulated):
    from diffsda.kernels.film_layer_norm import cost, launches

    x = torch.randn(rows, width).to(BF16)
    scale, shift = (torch.randn(rows, width) for _ in range(2)) if modulated else (None, None)
    weight, bias = torch.randn(width), torch.randn(width)
    kind = F32 if modulated else None
    with counting() as traffic:
        y, stats, drawn = launches.forward(x, weight, bias, scale, shift, None, True, 1e-5, 0.0, 0)
    big = (x, scale, shift, y)
    # Every program reads the parameters.
    programs = rows
    small = (weight, bias, stats)
    check(traffic, cost.forward(rows, width, BF16, kind), big, small, rest=8 * width * programs + stats.nbytes)
    dy = torch.randn(rows, width).to(BF16)
    with counting() as traffic:
        grads = launches.backward(dy, x, weight, bias, scale, shift, stats, drawn, True, 0.0, 0)
    dx, dweight, dbias, dscale, dshift = grads
    big = (x, dy, scale, shift, dx, dscale if modulated else None, dshift if modulated else None)
    small = (weight, bias, stats, dweight, dbias)
    # Two float32 rows a program are written, read and added up; parameters and their gradients are small too.
    rest = 8 * width * programs + 16 * width * programs + 8 * width + stats.nbytes
    check(traffic, cost.backward(rows, width, BF16, kind), big, small, rest=rest)


@pytest.mark.parametrize("mixed", [False, True], ids=["one layout", "mixed layouts"])
@pytest.mark.parametrize("network", [BF16, F32], ids=["bf16", "fp32"])
def test_heun(network, mixed):
    from diffsda.kernels.heun import cost, heun_correct, heun_predict

    shape = (3, 4, 5, 7)  # 420 elements: not a multiple of 16
    x = torch.randn(shape)
    layout = torch.channels_last if mixed else torch.contiguous_format
    f, f2, out = (torch.randn(shape).to(network).contiguous(memory_format=layout) for _ in range(3))
    with backend("triton"), torch.no_grad():
        with counting() as traffic:
            heun_predict(x, f, out, a=0.5, b=-1.0)
        check(traffic, cost.predict(shape, network), (x, f, out))
        numbers = {"keep": 1.0, "first": 0.5, "second": 0.5, "c_in": 2.0}
        with counting() as traffic:
            heun_correct(x, f, f2, out, **numbers)
        check(traffic, cost.correct(shape, network), (x, f, f2, out))
        with counting() as traffic:
            heun_correct(x, f, None, None, **numbers)
        check(traffic, cost.correct(shape, network, second=False, out=False), (x, f))


@pytest.mark.parametrize("averaged", [True, False], ids=["averages and copies", "neither"])
def test_adamw(averaged):
    from diffsda.kernels.adamw import adamw, cost

    sizes = (33, 256, 1)
    params, grads, exp_avgs = ([torch.randn(n) for n in sizes] for _ in range(3))
    exp_avg_sqs = [torch.rand(n) for n in sizes]
    averages = [torch.randn(n) for n in sizes] if averaged else None
    copies = [torch.empty(n, dtype=BF16) for n in sizes] if averaged else None
    settings = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1, "step": 2, "clip": 1.0}
    with backend("triton"), counting() as traffic:
        decay = 0.9 if averaged else None
        adamw(params, grads, exp_avgs, exp_avg_sqs, **settings, averages=averages, decay=decay, copies=copies)
    big = (*params, *grads, *exp_avgs, *exp_avg_sqs, *(averages or ()), *(copies or ()))
    expected = cost.step(sizes, averaged=averaged, copies=BF16 if averaged else None)
    # Tables of addresses, a sum a chunk, eight settings read by every program.
    check(traffic, expected, big, rest=1024 * len(sizes))


@pytest.mark.parametrize("modulated", [True, False], ids=["modulated", "plain"])
@pytest.mark.parametrize("last", [True, False], ids=["nhwc", "nchw"])
@pytest.mark.parametrize(
    ("n", "c", "size", "groups", "processors"),
    [(3, 64, 4, 32, 132), (1, 16, 48, 2, 132), (2, 12, 48, 4, 1)],
    ids=["resident", "split over programs", "read twice"],
)
def test_group_norm(n, c, size, groups, processors, last, modulated, monkeypatch):
    from diffsda.kernels.group_norm import cost, launches
    from diffsda.kernels.group_norm.plan import plan

    monkeypatch.setattr(launches, "processors", lambda device: processors)
    layout = torch.channels_last if last else torch.contiguous_format
    x, dy = (torch.randn(n, c, size, size).to(BF16).contiguous(memory_format=layout) for _ in range(2))
    weight, bias = torch.randn(c), torch.randn(c)
    scale, shift = (torch.randn(n, c) for _ in range(2)) if modulated else (None, None)
    sizes = {"groups": groups, "modulated": modulated, "last": last, "processors": processors}
    with counting() as traffic:
        y, mean, rstd, used = launches.forward(
            x, weight, bias, groups, scale, shift, "silu", 1e-5, 0.0, None, None, 0, False
        )
    expected = cost.forward(n, c, size**2, BF16, **sizes)
    assert traffic.useful(x, y, weight, bias, scale, shift, mean, rstd) == expected.useful
    assert traffic.moved == expected.moved  # small tensors and partial sums included
    with counting() as traffic:
        grads = launches.backward(dy, x, weight, bias, groups, scale, shift, "silu", 0.0, None, used, 0, mean, rstd)
    dx, *_, dscale, dshift = grads
    expected = cost.backward(n, c, size**2, BF16, **sizes)
    big = (x, dy, dx)
    # dweight and dbias get a cast of the sums' last launch from torch: 8 bytes a channel that no kernel stores there.
    assert traffic.useful(*big, weight, bias, scale, shift, mean, rstd, dscale, dshift) + 8 * c == expected.useful
    asked = traffic.read(*big).asked + traffic.written(*big).asked
    again = 0 if asked == 3 * x.nbytes else 2 * x.nbytes
    assert asked == 3 * x.nbytes + again
    sums = 4 * 4 * n * c
    assert expected.reread == again + sums
    # Rows of C numbers that a split of a sample reads (parameters, modulation, once for either pass) or leaves for
    # the others; over_samples reads scale once more.
    cut = plan(n, c, groups, size**2, last=last, backward=True, processors=processors)
    rows = n * (16 * cut.splits + 2 * cut.splits**2) + 8
    assert 0 <= traffic.moved - expected.moved + 8 * c <= 4 * c * rows


@pytest.mark.parametrize("tokens", [16, 5, 80], ids=["one block", "few", "blocks of queries"])
def test_attention(tokens):
    from diffsda.kernels.attention import cost, launches

    n, channels = 2, 24
    q, k, v = (torch.randn(n, tokens, channels) for _ in range(3))
    with counting() as traffic:
        o, lse = launches.forward(q, k, v)
    # Our own statistic is in ``reread``.
    check_attention(traffic, cost.forward(n, tokens, channels, F32), (q, k, v, o), (lse,))
    do = torch.randn_like(o)
    with counting() as traffic:
        dq, dk, dv = launches.backward(do, q, k, v, lse)
    check_attention(traffic, cost.backward(n, tokens, channels, F32), (q, k, v, do, dq, dk, dv), (lse,))


def check_attention(traffic, cost, big, small):
    """Compare: compulsory bytes exactly; all that is asked for exactly, statistics included."""
    assert traffic.useful(*big) == cost.useful
    assert traffic.moved == cost.moved


@pytest.mark.parametrize("last", [True, False], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("channels", [3, 4, 5])
def test_precondition(channels, last):
    from diffsda.kernels.precondition import cost, precondition

    shape = (3, channels, 4, 6)
    clean, noise, sigma = torch.randn(shape), torch.randn(shape), torch.rand(3)
    with backend("triton"), torch.no_grad(), counting() as traffic:
        y = precondition(clean, noise, sigma, dtype=BF16, channels_last=last)
    # Every program, and every lane where rows share a tile, reads its sigma.
    check(traffic, cost.forward(shape, F32, BF16), (clean, noise, y), (sigma,), rest=4 * y.numel())


@pytest.mark.parametrize("gradient", [True, False], ids=["with gradient", "value alone"])
@pytest.mark.parametrize("last", [True, False], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("channels", [3, 5])
def test_edm_loss(channels, last, gradient):
    from diffsda.kernels.edm_loss import cost, launches

    shape = (3, channels, 4, 4)
    layout = torch.channels_last if last else torch.contiguous_format
    f = torch.randn(shape).to(BF16).contiguous(memory_format=layout)
    clean, noise, sigma = torch.randn(shape), torch.randn(shape), torch.rand(3) + 0.1
    with counting() as traffic:
        loss, residual, factor = launches.forward(f, clean, noise, sigma, None, None, None, None, 0.5, gradient)
    expected = cost.forward(shape, BF16, gradient=gradient)
    # sigma once a lane at most; a sum a program, written and read.
    rest = 4 * f.numel() + 8 * 132 * 8 + 8
    check(traffic, expected, (f, clean, noise, residual), (sigma, loss, factor), rest=rest)
    if gradient:
        dloss = torch.ones(())
        with counting() as traffic:
            df = launches.backward(dloss, residual, factor)
        check(traffic, cost.backward(shape, BF16), (residual, df), (dloss, factor), rest=8 * 16)


@pytest.mark.parametrize(("rows", "codes", "width"), [(70, 40, 4), (5, 70, 12)], ids=["narrow", "wide"])
def test_nearest_code(rows, codes, width):
    from diffsda.kernels.nearest_code import cost, nearest_code

    x, book = torch.randn(rows, width), torch.randn(codes, width)
    with backend("triton"), counting() as traffic:
        index = nearest_code(x, book)
    expected = cost.forward(rows, codes, width, F32)
    assert traffic.read(x).distinct + traffic.written(index).asked == x.nbytes + index.nbytes
    assert expected.useful == x.nbytes + book.nbytes + index.nbytes
    # The codebook is read through a turned copy, and its norms beside it where rows are wide.
    norms = 4 * codes * -(-rows // 64)
    assert expected.moved <= traffic.moved <= expected.moved + norms
