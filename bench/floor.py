"""The floor under any speed-up: the time of the convolutions and matrix products alone.

Fuse away norms, activations, modulation and repeated conditioning, and at best these are left. Every operation is
timed alone, in the fastest of the ways to run it (``bench.executions``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from diffsda.bench.executions import Call, parts
from diffsda.bench.published.operations import WHATS, Operation, What, flops, operations
from diffsda.recipe import Recipe

__all__ = ["Floor", "Operation", "Part", "floor", "flops", "operations", "seconds"]

IN_GRAPH = 20
"""Calls in a graph that is replayed on a CUDA device."""
Ways = Callable[[Operation, torch.device, torch.dtype], list[Mapping[str, Call]]]


@dataclass(frozen=True)
class Part:
    """An operation's forward pass or a part of its backward pass: how often, the way chosen, its stopwatch.

    ``first``: seconds of every way when they were compared.
    """

    operation: Operation
    number: int
    way: str
    series: Callable[[], float]
    first: Mapping[str, float]


class Floor:
    """Operations ready to be timed together, round by round, so that a floor can be interleaved with others.

    Calls give the seconds of one round: of every part in the fastest way known, count times time, added up. Operands
    may stay in cache between calls, as is right for a floor. Biases are left out.
    """

    def __init__(
        self,
        listed: list[Operation],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        plain: bool = False,
        least: float = 4e-3,
        ways: Ways | None = None,
    ) -> None:
        """Choose the fastest way of every distinct operation.

        ``least``: seconds that a series of calls lasts on the CPU. ``plain``: convolutions as the authors' network has
        them, none of them as another product or without the doubled pixels. ``ways``: other ways besides.
        """
        self.counts: dict[Operation, int] = {}
        for op in listed:
            once = replace(op, count=1)
            self.counts[once] = self.counts.get(once, 0) + op.count
        self.parts: list[Part] = []
        device = torch.device(device)
        for op in self.counts:
            own = parts(op, device, dtype, plain=plain)
            others = ways(op, device, dtype) if ways else [{}] * len(own)
            for number, (calls, further) in enumerate(zip(own, others)):
                self.parts.append(_fastest(op, number, {**calls, **further}, device, least))
        self.best = [float("inf")] * len(self.parts)

    def __call__(self) -> float:
        """Time every part once more; return the seconds of this round."""
        total = 0.0
        for i, part in enumerate(self.parts):
            taken = part.series()
            self.best[i] = min(self.best[i], taken)
            total += self.counts[part.operation] * taken
        return total

    @property
    def seconds(self) -> float:
        """The best round of every part, added up."""
        return sum(self.counts[part.operation] * best for part, best in zip(self.parts, self.best))

    def costs(self) -> dict[Operation, float]:
        """Return the seconds of every distinct operation, all its occurrences and parts together."""
        found: dict[Operation, float] = {}
        for part, best in zip(self.parts, self.best):
            found[part.operation] = found.get(part.operation, 0.0) + self.counts[part.operation] * best
        return found

    def table(self) -> list[dict[str, object]]:
        """Return what each part costs and which way won, the most expensive first."""
        rows = [
            {
                "operation": f"{p.operation.kind} {'x'.join(map(str, p.operation.shape))}",
                "part": ("forward", "backward", "backward of x")[p.number],
                "way": p.way,
                "count": self.counts[p.operation],
                "milliseconds": 1e3 * best,
                "all_milliseconds": 1e3 * best * self.counts[p.operation],
                "ways": {name: 1e3 * taken for name, taken in p.first.items()},
            }
            for p, best in zip(self.parts, self.best)
        ]
        return sorted(rows, key=lambda r: -float(str(r["all_milliseconds"])))


def seconds(listed: list[Operation], repeats: int = 5, **where: object) -> float:
    """Return the floor of operations, warm: the best of ``repeats`` rounds of each; ``where`` goes to ``Floor``."""
    every = Floor(listed, **where)
    for _ in range(repeats):
        every()
    return every.seconds


def floor(recipe: Recipe, batch: int, frames: int, repeats: int = 5, **where: object) -> dict[What, float]:
    """Return the floor in seconds of every ``what``; ``where`` goes to ``Floor``."""
    return {what: seconds(operations(recipe, what, batch, frames), repeats, **where) for what in WHATS}


def _fastest(op: Operation, number: int, calls: Mapping[str, Call], device: torch.device, least: float) -> Part:
    """Compare the ways to run a part and keep the fastest; a way that cannot run takes no part."""
    known: dict[str, tuple[float, Callable[[], float]]] = {}
    reasons = []
    for name, call in calls.items():
        try:
            series = stopwatch(call, device, least)
            known[name] = (min(series() for _ in range(3 if len(calls) > 1 else 1)), series)
        except (RuntimeError, TypeError) as reason:
            if "CUDA error" in str(reason):
                raise
            reasons.append(reason)
    if not known:
        raise reasons[0]
    way = min(known, key=lambda name: known[name][0])
    return Part(op, number, way, known[way][1], {name: taken for name, (taken, _) in known.items()})


def stopwatch(call: Call, device: torch.device, least: float) -> Callable[[], float]:
    """Return a function that gives seconds a call over a series of calls, which it runs.

    On a CUDA device calls replay from a graph, so launches from the host do not count.
    """
    if device.type == "cuda":
        return _replay(call)
    call()
    start = time.perf_counter()
    call()
    calls = max(1, min(1000, round(least / max(time.perf_counter() - start, 1e-9))))

    def series() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls

    return series


def _replay(call: Call) -> Callable[[], float]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(IN_GRAPH):
            call()

    def series() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return 1e-3 * start.elapsed_time(end) / IN_GRAPH

    series()
    return series
