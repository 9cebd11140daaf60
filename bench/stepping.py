"""Our training step as a training run does it, on the same clips again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffsda.model import DiffSDA
from diffsda.train.data import Batch, Ready
from diffsda.train.graph import GraphedStep, check_graph
from diffsda.train.optim import FusedAdamW
from diffsda.train.options import Options
from diffsda.train.parallel import Processes
from diffsda.train.precision import is_bf16, lay_out, products
from diffsda.train.recompute import recompute
from diffsda.train.step import TrainStep


def check(model_device: torch.device, recipe: Any, options: Options) -> None:
    """Refuse options that a training step cannot have there, before anything is built.

    Raises: InputError.
    """
    processes = Processes(0, 1, model_device)
    is_bf16(options, processes)
    check_graph(options, recipe, processes)


def stepping(model: DiffSDA, x: Tensor, options: Options) -> tuple[Callable[[], Tensor], dict[str, Any]]:
    """Return a call that does the next optimiser step on clips (B, V, ...) and returns its loss, and how it runs.

    The clips are on the device beforehand; noise is drawn anew at every step.
    """
    recipe, processes, steps = model.recipe, Processes(0, 1, x.device), iter(range(10**9))
    check(x.device, recipe, options)
    layout = lay_out(model, recipe, options, processes)
    if options.compile:
        backbone = model.denoiser.backbone
        backbone.network = torch.compile(backbone.network)  # type: ignore[method-assign]
        model.encoder.frame.compile()
    if options.recompute:
        recompute(model, torch_dropout=not options.graph)
    o, bf16 = recipe.optim, is_bf16(options, processes)
    adamw = FusedAdamW(model.parameters(), lr=o.lr, betas=o.betas, weight_decay=o.weight_decay)
    step = TrainStep(model, adamw, recipe, processes, bf16=bf16)
    run = GraphedStep(step) if options.graph else step
    ready = Ready.of(Batch(x), step.parts, x.device)

    def call() -> Tensor:
        with products(options, processes):
            return run(ready, next(steps), o.lr)[0]

    how = {
        "device": str(x.device),
        "precision": "bf16" if bf16 else "float32",
        "layout": layout,
        "route": "+".join(word for word in ("compile", "graph") if getattr(options, word)) or "eager",
    }
    return call, how
