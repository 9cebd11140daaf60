"""The floor under any speed-up: the time of the convolutions and matrix products alone.

Fuse away norms, activations, modulation and repeated conditioning, and at best these are left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from diffsda.bench.published.operations import WHATS, Operation, What, flops, operations
from diffsda.recipe import Recipe

__all__ = ["Operation", "floor", "flops", "operations", "seconds"]


def seconds(
    listed: list[Operation],
    repeats: int = 5,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> float:
    """Time each distinct operation alone, warm, best of ``repeats``, and add up count times time.

    On a CUDA device calls replay from a graph, so launches from the host do not count. Operands may stay in
    cache between calls, as is right for a floor. Biases are left out.
    """
    known: dict[Operation, float] = {}
    total = 0.0
    for op in listed:
        once = replace(op, count=1)
        if once not in known:
            known[once] = _best(_runner(once, device, dtype, channels_last), repeats, device)
        total += op.count * known[once]
    return total


def floor(recipe: Recipe, batch: int, frames: int, repeats: int = 5, **where: object) -> dict[What, float]:
    """Return the floor in seconds of every ``what``; ``where`` goes to ``seconds``."""
    return {what: seconds(operations(recipe, what, batch, frames), repeats, **where) for what in WHATS}


def _runner(op: Operation, device: str, dtype: torch.dtype, channels_last: bool) -> Callable[[], None]:
    """Return a call that runs an operation, and the gradients it asks for, on random operands."""
    draw = partial(torch.randn, device=device, dtype=dtype)
    if op.kind == "product":
        count, m, k, n = op.shape
        multiply = torch.mm if count == 1 else torch.bmm
        lead = () if count == 1 else (count,)
        x, w, g = draw(*lead, m, k), draw(*lead, n, k).mT, draw(*lead, m, n)  # weights lie as in nn.Linear
        calls = [partial(multiply, x, w), partial(multiply, x.mT, g), partial(multiply, g, w.mT)]
        calls = calls[: {"none": 1, "weight": 2, "both": 3}[op.backward]]
    else:
        n, cin, height, width, cout, kernel, stride = op.shape
        layout = torch.channels_last if channels_last else torch.contiguous_format
        x = draw(n, cin, height, width).to(memory_format=layout)
        w = draw(cout, cin, kernel, kernel).to(memory_format=layout)
        how = ([stride] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], 1)
        forward = partial(torch.ops.aten.convolution, x, w, None, *how)
        calls = [forward]
        if op.backward != "none":
            mask = [op.backward == "both", True, False]
            back = torch.ops.aten.convolution_backward
            calls.append(partial(back, torch.randn_like(forward()), x, w, None, *how, mask))

    def run() -> None:
        for call in calls:
            call()

    return run


def _best(run: Callable[[], None], repeats: int, device: str) -> float:
    """Return seconds a call: the best of ``repeats`` series of calls, each long enough for the clock."""
    cuda = torch.device(device).type == "cuda"
    wait = torch.cuda.synchronize if cuda else (lambda: None)
    calls = 20
    for _ in range(3):
        run()
    wait()
    if cuda:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(calls):
                run()
        series = graph.replay
    else:
        start = time.perf_counter()
        run()
        calls = max(1, min(1000, int(2e-3 / max(time.perf_counter() - start, 1e-9))))

        def series() -> None:
            for _ in range(calls):
                run()

    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        series()
        wait()
        best = min(best, time.perf_counter() - start)
    return best / calls
