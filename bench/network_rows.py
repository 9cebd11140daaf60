"""Time contestants of the network benches and print a JSON line a row, for ``diffsda.bench.gpu_network`` to keep.

A process of its own: whoever breaks its CUDA context, or never ends, takes this process only. A line says who is
about to start, so that the caller knows whom to leave out of the next one. Exit status 3: the context is lost.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.bench import executions, network_cases, pixels
from diffsda.bench.cases import STEPS, Case, sample
from diffsda.bench.failing import caught, in_a_line
from diffsda.bench.floor import Floor, Operation, flops, operations
from diffsda.bench.kernel_cases import device_is_lost
from diffsda.bench.network_cases import (
    FLOOR_PLAIN,
    FLOOR_TUNED,
    FLOORS,
    GRAPH,
    OURS,
    PUBLISHED,
    SETTINGS,
    TIME_OVER,
    Setting,
)
from diffsda.bench.profiled import profile
from diffsda.inference.execution import Precision
from diffsda.train.graph import WARM_UP

LOST = 3
MARGIN = 5.0
"""Seconds kept for the rounds beyond what they are expected to take."""
ROUNDS = 5
CALM = 0.02
"""Seconds that a timed run of short calls lasts at least."""
WRONG = 5e-2
"""Relative error, root mean square, beyond which a contestant computes something else and gets no time."""
TUNED = 6
"""Operations, the most expensive ones, for which Inductor searches kernels of its own: each takes it many seconds."""
EXACT, ROUNDED = 1e-4, 2e-2
"""Bounds of a sample in float32 (largest difference by the largest value) and in bf16 (root mean squares)."""

Row = dict[str, Any]
Say = Callable[[Row], None]


def timed_rows(
    name: str, setting: Setting, peers: Sequence[str], one: Case, say: Say, left: Callable[[], float], rounds: int
) -> Iterator[Row]:
    """Check everyone, time those that are right in turn, round after round, and yield a row each.

    ``by_anchor``: the median over rounds of a time by that of the same round of the first of ours that works.
    """
    clocks: dict[str, Callable[[], float]] = {}
    about: dict[str, Row] = {}

    def starting(who: str) -> None:
        say({"starting": who, "case": name})

    expected = Expected(setting, one, starting)
    # Floors are many small graphs and take longest to prepare: where time is short, everybody else has one.
    for who in sorted(peers, key=FLOORS.__contains__):
        row: Row = {"case": name, "peer": who}
        if clocks and left() < _rounds_take(clocks, rounds):
            yield row | {"skipped": TIME_OVER}
            continue
        starting(who)
        try:
            clock, found = (
                (_floor(who, setting, one), {}) if who in FLOORS else _contestant(who, setting, one, expected)
            )
        except network_cases.Absent as reason:
            yield row | {"skipped": str(reason)}
        except Exception as reason:
            if device_is_lost(reason):
                raise
            yield row | {"failed": in_a_line(reason)}
            _clean()
        else:
            if clock is None:
                yield row | found | {"wrong": True}
                continue
            clocks[who], about[who] = clock, row | found
    taken, lost = interleaved(clocks, rounds, left, starting)
    yield from (about[who] | {"failed": words} for who, words in lost.items())
    anchor = next((who for who in OURS if taken.get(who)), None)
    work = flops(operations(one.model.recipe, setting.what, one.batch, one.clips.shape[1]))
    for who, times in taken.items():
        row = about[who] | figures(times, setting, one, work)
        if anchor is not None:
            row |= {"anchor": anchor, "by_anchor": statistics.median(a / b for a, b in zip(times, taken[anchor]))}
        if who in FLOORS:
            row |= {"operations": clocks[who].table()[:10]}  # type: ignore[attr-defined]
        yield row


class Expected:
    """What the published execution computes, worked out when the first result is to be compared with it."""

    def __init__(self, setting: Setting, one: Case, starting: Callable[[str], None]) -> None:
        self.setting, self.one, self.starting = setting, one, starting
        self.value: Tensor | None = None

    def error(self, who: str, got: Tensor) -> float:
        """Return the relative error of someone's result."""
        if self.value is None:
            self.starting(PUBLISHED)
            self.value = network_cases.make(PUBLISHED, self.setting, self.one)().detach().clone()
            _clean()
            self.starting(who)
        return network_cases.relative(got, self.value)


def _contestant(who: str, setting: Setting, one: Case, expected: Expected) -> tuple[Stopwatch | None, Row]:
    """Make a contestant ready; return its stopwatch, or None if it computes something else, and what was found."""
    began = time.perf_counter()
    call = network_cases.make(who, setting, one)
    got = call()
    wait(one.place)
    found = {"ready_seconds": time.perf_counter() - began, **getattr(call, "seconds", {})}
    found["error"] = expected.error(who, got)
    del got
    if not found["error"] <= WRONG:
        return None, found
    settle(call, setting)
    return stopwatch(call, one.place), found


def settle(call: Callable[[], object], setting: Setting) -> None:
    """Do the first steps of a training run, after which ours captures its graph: that is not to be timed."""
    for _ in range(WARM_UP + 1 if setting.what == "train" else 0):
        call()


class _Floor:
    """A floor as milliseconds a round."""

    def __init__(self, floor: Floor) -> None:
        self.floor, self.table = floor, floor.table
        self.seconds = floor()  # A round takes longer than what it finds; this is the least.

    def __call__(self) -> float:
        return 1e3 * self.floor()


def _rounds_take(clocks: Mapping[str, Callable[[], float]], rounds: int) -> float:
    """Return the seconds that all rounds of those who are ready will take, and a margin."""
    return (1 + rounds) * sum(getattr(clock, "seconds", 0.0) for clock in clocks.values()) + MARGIN


def _floor(who: str, setting: Setting, one: Case) -> _Floor:
    listed = operations(one.model.recipe, setting.what, one.batch, one.clips.shape[1])
    cuda = one.place.type == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float32
    flags = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, benchmark=True, allow_tf32=False)
    with flags, torch.no_grad():
        floor = Floor(listed, device=one.place, dtype=dtype, plain=who == FLOOR_PLAIN)
        if who == FLOOR_TUNED:
            floor()
            dear = {op for op, _ in sorted(floor.costs().items(), key=lambda item: -item[1])[:TUNED]}

            def ways(op: Operation, device: torch.device, dtype: torch.dtype) -> list[Mapping[str, executions.Call]]:
                return executions.tuned(op, device, dtype) if op in dear else [{}, {}, {}]

            floor = Floor(listed, device=one.place, dtype=dtype, ways=ways)
        return _Floor(floor)


def interleaved(
    clocks: dict[str, Callable[[], float]],
    rounds: int,
    left: Callable[[], float],
    starting: Callable[[str], object] = lambda who: None,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return everyone's milliseconds, round by round, and who fell out, with the reason.

    The first round warms up, and no further one begins when time is over. Beside others memory may run out.
    ``starting`` is told who is about to run.
    """
    taken: dict[str, list[float]] = {who: [] for who in clocks}
    lost: dict[str, str] = {}
    for i in range(1 + rounds):
        if i > 1 and left() < 0:
            break
        for who in list(taken):
            starting(who)
            try:
                milliseconds = clocks[who]()
            except Exception as reason:
                if device_is_lost(reason):
                    raise
                lost[who] = in_a_line(reason)
                del taken[who], clocks[who]
                _clean()
                continue
            if i:
                taken[who].append(milliseconds)
    return taken, lost


def stopwatch(call: Callable[[], object], device: torch.device) -> Stopwatch:
    """Return a function that gives milliseconds a call over a run of calls that lasts a moment."""
    return Stopwatch(call, device)


class Stopwatch:
    """Milliseconds a call, over a run of calls that lasts ``seconds``."""

    def __init__(self, call: Callable[[], object], device: torch.device) -> None:
        self.call, self.device = call, device
        began = time.perf_counter()
        call()
        wait(device)
        once = time.perf_counter() - began
        self.calls = max(1, min(20, round(CALM / max(once, 1e-6))))
        self.seconds = self.calls * once

    def __call__(self) -> float:
        if self.device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            self._run()
            end.record()
            end.synchronize()
            return start.elapsed_time(end) / self.calls
        began = time.perf_counter()
        self._run()
        return 1e3 * (time.perf_counter() - began) / self.calls

    def _run(self) -> None:
        for _ in range(self.calls):
            self.call()


def figures(times: Sequence[float], setting: Setting, one: Case, work: int) -> Row:
    """Return a row's numbers: milliseconds, useful operations a second (those of the plain network), clips a second."""
    median = statistics.median(times)
    row = {
        "milliseconds": median,
        "low": min(times),
        "high": max(times),
        "rounds": len(times),
        "flops": work,
        "flops_per_s": work / median * 1e3,
    }
    return row if setting.what == "denoise" else row | {"clips_per_s": one.batch / median * 1e3}


def memory_row(name: str, setting: Setting, who: str, one: Case) -> Row:
    """Return the most memory that one contestant needs, weights and preparation included; nobody else is there."""
    row = {"case": f"memory {name}", "peer": who}
    # Kernels are compared with their references, and convolutions tried, once a process: that is not what runs need.
    first = network_cases.make(who, setting, one)
    first()
    settle(first, setting)
    del first
    wait(one.place)
    _clean()
    torch.cuda.reset_peak_memory_stats()
    call = network_cases.make(who, setting, one)
    for _ in range(3):
        call()
    settle(call, setting)
    wait(one.place)
    return row | {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved()}


def ready_row(name: str, setting: Setting, who: str, one: Case) -> Row:
    """Return the seconds from a loaded model to the first result of one contestant."""
    _ = one.factors
    wait(one.place)
    began = time.perf_counter()
    network_cases.make(who, setting, one)()
    wait(one.place)
    return {"case": f"ready {name}", "peer": who, "ready_seconds": time.perf_counter() - began}


def profile_row(name: str, setting: Setting, who: str, one: Case, folder: Path | None) -> Row:
    """Return the ten longest kernels of one contestant's call; leave a trace in ``folder``."""
    call = network_cases.make(who, setting, one)
    trace = None if folder is None else folder / f"{name.replace('/', '-')}-{who}.json"
    return {"case": f"profile {name}", "peer": who, **profile(call, one.place, trace)}


def equality_rows(one: Case, say: Say) -> Iterator[Row]:
    """Yield how far samples of our routes lie from the published execution's in exact float32."""
    flags = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, benchmark=False, allow_tf32=False)
    with flags:
        expected = sample(one, PUBLISHED)()
    routes = ("eager", GRAPH) if one.place.type == "cuda" else ("eager",)
    precisions: tuple[Precision, ...] = ("float32", "bf16")
    for precision in precisions:
        for who in routes:
            say({"starting": who, "case": "equality"})
            row = {"case": f"equality {precision}", "peer": who}
            yield caught(row, partial(_equality, one, who, precision, expected))


def _equality(one: Case, who: str, precision: Precision, expected: Tensor) -> Row:
    got = network_cases.session(one, who, precision).sample(one.factors, one.noise)
    largest = float((got - expected).abs().max() / expected.abs().max())
    error = largest if precision == "float32" else network_cases.relative(got, expected)
    bound = EXACT if precision == "float32" else ROUNDED
    return {"error": error, "bound": bound, "wrong": not error <= bound}


def pixels_row(one: Case, say: Say) -> Row:
    """Return the row of a whole job from pixels to pixels."""
    about = {"case": pixels.CASE, "peer": network_cases.INFER}
    say({"starting": about["peer"], "case": about["case"]})
    return caught(about, lambda: pixels.row(one, say=lambda words: say({"at": words})))


def wait(device: torch.device) -> None:
    """Wait for a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _clean() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def rows_of(options: argparse.Namespace, say: Say, left: Callable[[], float]) -> Iterator[Row]:
    """Yield the rows that the options ask for."""
    for name in options.cases:
        if name == pixels.CASE:
            yield pixels_row(Case(options.preset, 1, options.frames, options.device, options.steps), say)
            continue
        if name == "equality":
            yield from equality_rows(Case(options.preset, 1, options.frames, options.device, options.steps), say)
            continue
        known = SETTINGS[name]
        setting = Setting(known.what, known.clips, options.frames or known.frames, options.steps)
        one = setting.case(options.preset, options.device)
        if options.kind == "time":
            yield from timed_rows(name, setting, options.peers, one, say, left, options.rounds)
        for who in options.peers if options.kind != "time" else ():
            say({"starting": who, "case": name})
            make = {
                "memory": partial(memory_row, name, setting, who, one),
                "ready": partial(ready_row, name, setting, who, one),
                "profile": partial(profile_row, name, setting, who, one, options.trace),
            }[options.kind]
            yield caught({"case": f"{options.kind} {name}", "peer": who}, make)
        del one
        _clean()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print rows as JSON lines."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m diffsda.bench.network_rows", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="voxceleb")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cases", nargs="+", choices=[*SETTINGS, "equality", pixels.CASE], required=True)
    parser.add_argument("--peers", nargs="*", default=[])
    parser.add_argument("--kind", choices=("time", "memory", "ready", "profile"), default="time")
    parser.add_argument("--frames", type=int, help="frames of a clip, instead of the case's or the preset's own")
    parser.add_argument("--steps", type=int, default=STEPS, help="solver steps of a sample")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--trace", type=Path, help="folder for traces")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + options.seconds
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        for row in rows_of(options, _say, lambda: deadline - time.monotonic()):
            _say({"row": row})
    except Exception as reason:
        _say({"broken": in_a_line(reason)})
        return LOST
    return 0


def _say(message: Row) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
