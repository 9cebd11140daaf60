"""Time GPU work: CUDA events with the L2 cache flushed before each call, and replays of a graph for tiny calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

Call = Callable[[], object]

FLUSHED = 256 * 2**20
"""Bytes written before a timed call, several times any L2 cache."""
ASLEEP = 2_000_000
"""Cycles the device waits first, about 1 ms: the host has then launched everything, and its speed does not count."""
CYCLES = 2e9
"""Cycles a second at most: for calls whose launching takes longer than that."""
IN_GRAPH = 20
"""Calls in a graph that is replayed."""


@dataclass(frozen=True)
class Times:
    """Milliseconds a call: the median over rounds, the fastest and the slowest."""

    median: float
    low: float
    high: float


class Timer(Protocol):
    """Anything that times one call."""

    def cold(self, call: Call) -> float:
        """Return milliseconds of one call, with nothing of its operands in the L2 cache."""
        ...

    def graph(self, call: Call) -> Callable[[], float]:
        """Return a function that gives milliseconds a call when replayed many times from a graph, caches warm."""
        ...


class CudaTimer:
    """Time on a CUDA device, all on one stream so that backward passes can be captured too."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        torch.cuda.set_stream(self.stream)
        self.flush = torch.empty(FLUSHED // 4, dtype=torch.float32, device=device)
        self.launching: dict[Call, float] = {}

    def cold(self, call: Call) -> float:
        """Return milliseconds between two events around a call; the launches wait in the queue beforehand."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        known = self.launching.get(call, 0.0)
        torch.cuda._sleep(max(ASLEEP, int(1.5 * known * CYCLES)))
        self.flush.zero_()
        self.flush.sum()  # Reading on writes back what zeroing left in the cache; nothing of that is timed.
        start.record()
        began = time.perf_counter()
        call()
        end.record()
        # A call that waits for the device itself would make the next one sleep longer and longer.
        self.launching[call] = min(time.perf_counter() - began, 0.05)
        end.synchronize()
        return start.elapsed_time(end)

    def graph(self, call: Call) -> Callable[[], float]:
        """Capture a run of calls once."""
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            for _ in range(IN_GRAPH):
                call()

        def replay() -> float:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(ASLEEP // 10)
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            return start.elapsed_time(end) / IN_GRAPH

        replay()
        return replay


def interleaved(calls: Mapping[str, Callable[[], float]], rounds: int = 7, warm: int = 2) -> dict[str, Times]:
    """Take every call's time in turn, round after round, so that a drift of the clock meets all alike.

    calls: functions that run something and return its milliseconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(warm + rounds):
        for name, call in calls.items():
            milliseconds = call()
            if i >= warm:
                taken[name].append(milliseconds)
    return {name: Times(statistics.median(v), min(v), max(v)) for name, v in taken.items()}
