"""One case of a kernel bench, who takes part in it, and how its rows come about."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffsda.bench.timing import Timer, Times, interleaved
from diffsda.kernels import first_use
from diffsda.kernels.cost import Cost

BENCHES = (
    *("group_norm", "heun", "attention", "adamw", "precondition", "edm_loss", "film_layer_norm", "nearest_code"),
)
"""Operations with a bench, in the order their goals matter."""
OURS, COPY, COMPILED, EAGER = "ours", "copy", "compile", "eager"
UNCHECKED = (COPY, "native_nhwc", "native_nchw", "liger_nchw")
"""Peers that compute something else, or a part of it: a yardstick each."""
TOLERANCE = {str(dtype).removeprefix("torch."): error for dtype, error in first_use.TOLERANCE.items()}
"""Largest relative error in the Euclidean norm; a row beyond it is wrong and no speed."""

WORST = 1e30
"""The error of what is no number: finite, as records are plain JSON."""

Row = dict[str, Any]
Result = Sequence[Tensor]


@dataclass(frozen=True)
class Case:
    """What is timed: an operation at a shape.

    cost: what any implementation must move; graph: time replays of a graph too, as for tiny calls;
    count: how often the site occurs in the net it is taken from; goals: the goals it speaks for;
    setting: whatever the bench's ``peers`` needs.
    """

    op: str
    name: str
    dtype: str
    direction: str
    cost: Cost
    setting: Mapping[str, Any] = field(default_factory=dict)
    graph: bool = False
    count: int = 1
    goals: tuple[str, ...] = ()

    @property
    def kind(self) -> torch.dtype:
        """The dtype as torch has it."""
        return getattr(torch, self.dtype)


@dataclass
class Peers:
    """Who takes part, on the same inputs; each call returns what it computed.

    exact: the result in float64 (or float32 where that is too large), None where chance decides;
    compiled: makes the compiled reference. missing: who cannot take part, and why.
    seen: turns a result into what is compared, where different results can be equally right.
    """

    calls: dict[str, Callable[[], Result]]
    exact: Callable[[], Result] | None
    compiled: Callable[[], Callable[[], Result]] | None = None
    missing: dict[str, str] = field(default_factory=dict)
    seen: Callable[[Result], Result] = lambda result: result


def bench(op: str) -> Any:
    """Return the bench file of an operation, a module with ``cases()`` and ``peers(case, device)``."""
    return importlib.import_module(f"diffsda.bench.bench_{op}")


def rows(case: Case, peers: Peers, timer: Timer, copy_rate: float, rounds: int = 7) -> Iterator[Row]:
    """Check everyone's result, time those that are right, and yield a row each.

    copy_rate: bytes a second of the large copy measured in the same run.
    """
    exact = [t.double() for t in peers.exact()] if peers.exact else None
    good: dict[str, Callable[[], Result]] = {}
    about: dict[str, Row] = {}
    for name, call in peers.calls.items():
        about[name] = blank(case, name)
        try:
            got = call()
            error = None if exact is None or name in UNCHECKED else difference(peers.seen(got), exact)
            del got
        except Exception as reason:
            if device_is_lost(reason):
                raise
            yield about[name] | {"failed": f"{type(reason).__name__}: {reason}".splitlines()[0][:300]}
            continue
        about[name]["error"] = error
        if error is not None and not error <= TOLERANCE[case.dtype]:
            yield about[name] | {"wrong": True}
            continue
        good[name] = call
    del exact
    for name, words in peers.missing.items():
        yield blank(case, name) | {"skipped": words}
    cold = interleaved({name: _cold(timer, call) for name, call in good.items()}, rounds)
    yield from (about[name] | figures(case, times, copy_rate) for name, times in cold.items())
    if case.graph:
        replays = {name: replay for name, call in good.items() if (replay := _replay(timer, call))}
        warm = interleaved(replays, rounds)
        yield from (about[n] | figures(case, times, copy_rate) | {"timing": "graph"} for n, times in warm.items())


def compiled_rows(
    case: Case, peers: Peers, timer: Timer, copy_rate: float, seconds: float, rounds: int = 7
) -> Iterator[Row]:
    """Time the compiled reference beside ours, both in the same rounds; compiling may take ``seconds``."""
    if peers.compiled is None or peers.exact is None or OURS not in peers.calls:
        return
    row = blank(case, COMPILED)
    try:
        with limited(seconds):
            call = peers.compiled()
            error = difference(peers.seen(call()), [t.double() for t in peers.exact()])
            ours = peers.calls[OURS]
            ours()
    except Exception as reason:
        if device_is_lost(reason):
            raise
        yield row | {"failed": f"{type(reason).__name__}: {reason}".splitlines()[0][:300]}
        return
    row["error"] = error
    if not error <= TOLERANCE[case.dtype]:
        yield row | {"wrong": True}
        return
    both = {COMPILED: call, OURS: ours}
    times = interleaved({name: _cold(timer, one) for name, one in both.items()}, rounds)
    found = row | figures(case, times[COMPILED], copy_rate)
    yield found | {"ours_milliseconds": times[OURS].median, "ratio": times[COMPILED].median / times[OURS].median}
    if case.graph:
        replays = {name: _replay(timer, one) for name, one in both.items()}
        if all(replays.values()):
            warm = interleaved({n: r for n, r in replays.items() if r}, rounds)
            found = row | figures(case, warm[COMPILED], copy_rate) | {"timing": "graph"}
            ratio = warm[COMPILED].median / warm[OURS].median
            yield found | {"ours_milliseconds": warm[OURS].median, "ratio": ratio}


def difference(got: Result, expected: Result) -> float:
    """Return the largest relative error of the results, in the Euclidean norm; ``WORST`` if one is not finite."""
    worst = 0.0
    assert len(got) == len(expected), f"{len(got)} results, expected {len(expected)}"
    for a, b in zip(got, expected):
        error = float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-30))
        worst = max(worst, error if error < WORST else WORST)  # NaN is not smaller either
    return worst


def figures(case: Case, times: Times, copy_rate: float) -> Row:
    """Return a row's numbers: useful bytes a second, and their share of the copy."""
    rate = case.cost.useful / (times.median * 1e-3)
    return {
        "timing": "cold",
        "milliseconds": times.median,
        "low": times.low,
        "high": times.high,
        "gb_per_s": rate / 1e9,
        "share": rate / copy_rate,
    }


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Interrupt what runs longer.

    Raises: TimeoutError.
    """

    def late(*_: object) -> None:
        raise TimeoutError(f"not done within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def differentiable(
    case: Case,
    functions: Mapping[str, tuple[Callable[..., Tensor], Sequence[Tensor | None]]],
    exact: tuple[Callable[..., Tensor], Sequence[Tensor | None]],
    device: torch.device,
) -> Peers:
    """Make the peers of an operation with one result: its value, the gradients of all inputs, or ``both`` at once.

    functions: by name, a function and its inputs; the one named eager is what is compiled. A backward call goes
    over a graph that is kept, so that it is the backward pass alone.
    """
    forward = case.direction == "forward"
    drawn: list[Tensor] = []

    def cotangent(y: Tensor) -> Tensor:
        if not drawn:
            drawn.append(torch.randn(y.shape, device=device).to(case.kind))
        last = y.ndim == 4 and y.is_contiguous(memory_format=torch.channels_last)
        return drawn[0].to(y.dtype).contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)

    def call_of(function: Callable[..., Tensor], inputs: Sequence[Tensor | None]) -> Callable[[], Result]:
        if forward:

            @torch.no_grad()
            def run() -> Result:
                return (function(*inputs),)

            return run
        if case.direction == "both":

            def both() -> Result:
                leaves = [t if t is None else t.detach().requires_grad_(t.is_floating_point()) for t in inputs]
                y = function(*leaves)
                wanted = [t for t in leaves if t is not None and t.requires_grad]
                return (y.detach(), *torch.autograd.grad(y, wanted, cotangent(y)))

            return both
        leaves = [t if t is None else t.detach().requires_grad_(t.is_floating_point()) for t in inputs]
        wanted = [t for t in leaves if t is not None and t.requires_grad]
        y = function(*leaves)
        dy = cotangent(y)
        return lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True)

    peers = Peers({}, lambda: call_of(exact[0], [_double(t) for t in exact[1]])())
    for name, (function, inputs) in functions.items():
        try:
            peers.calls[name] = call_of(function, inputs)
        except Exception as reason:
            if device_is_lost(reason):
                raise
            peers.calls[name] = _failing(reason)
    peers.calls[COPY] = copied(case.cost.useful, device)
    function, inputs = functions[EAGER]
    peers.compiled = lambda: call_of(torch.compile(function, dynamic=False), inputs)
    return peers


def _failing(reason: Exception) -> Callable[[], Result]:
    """Return a call that fails as its making did, so that its row says why."""

    def call() -> Result:
        raise reason

    return call


def _double(t: Tensor | None) -> Tensor | None:
    return t.double() if t is not None and t.is_floating_point() else t


def copied(useful: int, device: torch.device) -> Callable[[], Result]:
    """Return a call of the plain Triton copy that moves as many bytes, half in and half out."""
    from diffsda.kernels import fused_copy
    from diffsda.kernels.launch import launch

    n = -(-useful // 128) * 16  # float32 elements, whole vectors
    source = torch.randn(n, device=device)
    target = torch.empty_like(source)
    block = 4096 if n >= 2**20 else 1024

    def call() -> Result:
        arguments = {"source": source, "target": target, "n": n}
        launch(fused_copy.copy, (-(-n // block),), arguments, {"BLOCK": block}, warps=block // 512 if n >= 2**20 else 4)
        return (target,)

    return call


def library(name: str) -> Any | None:
    """Return an optional package's module, or None where it is not there or does not load."""
    try:
        return importlib.import_module(name) if importlib.util.find_spec(name.partition(".")[0]) else None
    except Exception:
        return None


def blank(case: Case, peer: str) -> Row:
    """Return what a row says before anything is measured."""
    return {
        "op": case.op,
        "case": case.name,
        "dtype": case.dtype,
        "direction": case.direction,
        "peer": peer,
        "bytes": case.cost.useful,
        "count": case.count,
        "goals": list(case.goals),
    }


def _cold(timer: Timer, call: Callable[[], Result]) -> Callable[[], float]:
    return lambda: timer.cold(call)


def _replay(timer: Timer, call: Callable[[], Result]) -> Callable[[], float] | None:
    """Return the replay, or None for what cannot be captured."""
    try:
        return timer.graph(call)
    except Exception as reason:
        if device_is_lost(reason):
            raise
        return None


def device_is_lost(reason: Exception) -> bool:
    """Whether the CUDA context is beyond use: then only a new process goes on."""
    words = str(reason)
    known = "CUDA error" in words or "Triton Error [CUDA]" in words
    return known and any(w in words for w in ("illegal", "misaligned", "launch failure", "assert"))
