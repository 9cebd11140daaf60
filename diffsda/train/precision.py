"""What number types a run computes with, and how weights lie in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from diffsda.errors import InputError
from diffsda.recipe import AnyRecipe
from diffsda.train.options import Options
from diffsda.train.parallel import Processes

PRECISIONS = ("auto", "float32", "tf32", "bf16")
LAYOUTS = ("auto", "channels_last", "contiguous")


def is_bf16(options: Options, processes: Processes) -> bool:
    """Return whether the networks run under bf16 autocast.

    Raises: InputError for an unknown precision, or TF32 off CUDA.
    """
    if options.precision not in PRECISIONS:
        raise InputError(f"precision: got {options.precision!r}, expected {', '.join(PRECISIONS[:-1])} or bf16")
    cuda = processes.device.type == "cuda"
    if options.precision == "tf32" and not cuda:
        raise InputError(f"precision: got tf32 on {processes.device}, expected a CUDA device; use float32 or auto")
    return options.precision == "bf16" or (options.precision == "auto" and cuda)


@contextmanager
def products(options: Options, processes: Processes) -> Iterator[None]:
    """Multiply float32 by TF32 where asked for, and only there: torch's own default takes it for convolutions.

    On CUDA convolutions are also chosen by trial, since shapes repeat from step to step.
    """
    if processes.device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    tried, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
        torch.backends.cudnn.benchmark = tried


def lay_out(model: nn.Module, recipe: AnyRecipe, options: Options, processes: Processes) -> str:
    """Lay out a video model's weights, and with them its activations; return the layout.

    auto: channels_last on CUDA, where convolutions want it; contiguous on the CPU, where it gained nothing.
    Raises: InputError for an unknown layout, or channels_last for vectors.
    """
    video, layout = recipe.video, options.layout
    if layout not in LAYOUTS:
        raise InputError(f"layout: got {layout!r}, expected {', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]}")
    if layout == "channels_last" and not video:
        raise InputError(f"layout: got channels_last for {recipe.name}, expected a video recipe; use auto")
    if layout == "auto":
        layout = "channels_last" if video and processes.device.type == "cuda" else "contiguous"
    if layout == "channels_last":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return layout
