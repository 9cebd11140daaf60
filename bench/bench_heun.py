"""heun's two halves, alone and as a whole step, against eager torch and a copy of as many bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffsda.bench.kernel_cases import EAGER, OURS, Case, Peers, copied
from diffsda.kernels import backend
from diffsda.kernels.heun import cost, heun_correct, heun_predict, reference

SHAPES = ((160, 4, 32, 32), (8192, 4, 32, 32))
HALVES = ("step", "predict", "correct")
# The state shrinks a little with every call: repeated calls stay among finite numbers.
PREDICT = {"a": 0.9, "b": -0.1}
CORRECT = {"keep": 0.9, "first": 0.05, "second": 0.05, "c_in": 1.1}


def cases() -> list[Case]:
    """Return steps and halves with a float32 state and a bf16 network."""
    found = []
    for shape in SHAPES:
        for half in HALVES:
            parts = {"predict": cost.predict(shape, torch.bfloat16), "correct": cost.correct(shape, torch.bfloat16)}
            moved = parts["predict"] + parts["correct"] if half == "step" else parts[half]
            small = shape == SHAPES[0]
            goals = ("heun_step",) if small and half == "step" else ()
            name = f"{half} {'x'.join(map(str, shape))}"
            setting = {"shape": shape, "half": half, "compile": half == "step"}
            found.append(Case("heun", name, "bfloat16", "forward", moved, setting, graph=small, goals=goals))
    return found


def peers(case: Case, device: torch.device) -> Peers:
    """Return everyone, each with a state of its own from the same start."""
    shape, half = case.setting["shape"], case.setting["half"]
    start = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
    f, f2 = (torch.randn_like(start).to(case.kind) for _ in range(2))

    def calls_of(
        predict: Callable[..., None], correct: Callable[..., None], kind: torch.dtype = torch.float32
    ) -> Callable[[], Sequence[Tensor]]:
        x = start.to(kind, copy=True)
        out = torch.empty_like(f, dtype=case.kind if kind == torch.float32 else kind)
        slopes = (f, f2) if kind == torch.float32 else (f.to(kind), f2.to(kind))

        @torch.no_grad()
        def run() -> Sequence[Tensor]:
            if half != "correct":
                predict(x, slopes[0], out, **PREDICT)
            if half != "predict":
                correct(x, *slopes, out, **CORRECT)
            return (out,) if half == "predict" else (x, out)

        return run

    def ours(call: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: Tensor, **numbers: float) -> None:
            with backend("triton"):
                call(*arguments, **numbers)

        return run

    def compiled():
        both = (torch.compile(c, dynamic=False) for c in (reference.heun_predict, reference.heun_correct))
        return calls_of(*both)

    calls = {
        OURS: calls_of(ours(heun_predict), ours(heun_correct)),
        EAGER: calls_of(reference.heun_predict, reference.heun_correct),
        "copy": copied(case.cost.useful, device),
    }
    return Peers(calls, lambda: calls_of(reference.heun_predict, reference.heun_correct, torch.float64)(), compiled)
