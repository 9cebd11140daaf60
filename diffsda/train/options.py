"""How to run a training; free of torch, so that the command line can list it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run a training, as opposed to what is trained (the recipe)."""

    resume: bool = False
    """Go on with the run in the folder."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:N."""
    precision: str = "auto"
    """auto (bf16 on CUDA, float32 elsewhere), float32, tf32 (float32 with TF32 products, CUDA) or bf16."""
    layout: str = "auto"
    """How a video network's activations lie: auto (channels_last on CUDA), channels_last or contiguous."""
    compile: bool = False
    """Compile the denoiser and the frame encoder with torch.compile; the second start takes it from its cache."""
    graph: bool = False
    """CUDA: do a whole step as one captured graph, clips of varied lengths padded to the longest."""
    recompute: bool = False
    """Video: compute activations again in the backward pass. Less memory, about a third more work."""
    whiten: bool | None = None
    """Whiten the clips to standard deviation 0.5; left open, all but pixels are."""
    loader: Literal["auto", "dali", "pyav"] = "auto"
    """What decodes video while the model trains; auto takes DALI where it can decode what there is, else PyAV."""
    resident: bool | None = None
    """Keep stored frames (latents) on the device; left open, on CUDA where half the free memory is enough."""
    log_every: int = 20
    """Steps between records in log.jsonl."""
    save_every: int = 500
    """Steps between checkpoints."""
    until: int | None = None
    """Stop and save after this step, as if interrupted; the recipe's budget stays what it is."""
    tensorboard: bool = False
    """Log to TensorBoard as well."""
