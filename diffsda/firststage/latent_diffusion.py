"""The latent-diffusion files: their tensors without their baggage, and the configuration their shapes tell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.recipe import FirstStage
from diffsda.foreign import read_tensors, refuse_bomb

PREFIX = "first_stage_model."
"""Where a whole latent-diffusion model keeps its first stage."""
OURS = ("encoder.", "decoder.", "quantize.embedding.", "quant_conv.", "post_quant_conv.")
"""What a first stage is made of."""
LEFT_OUT = ("loss.", "model_ema.", "discriminator.", "perceptual_loss.", "logvar", "quantize.used", "colorize")
"""What training leaves in a file besides: discriminator, perceptual network, averages."""
TRAINERS = ("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "numpy", "typing")
"""Packages a training script's file may name; what is named is neither imported nor run."""


def read_latent_diffusion(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """Read the tensors of a first stage, and the names that were left out, from .ckpt, .pth, .pt or .safetensors.

    The file may be an autoencoder's or a whole latent-diffusion model's. Nothing in it is executed.
    Raises: CheckpointError if it is missing, damaged, wants to run code, or holds tensors that belong to neither a
    first stage nor its training.
    """
    held = read_training_file(path)
    inner = {name.removeprefix(PREFIX): value for name, value in held.items() if name.startswith(PREFIX)}
    others = [name for name in held if not name.startswith(PREFIX)] if inner else []
    tensors: dict[str, Tensor] = {}
    for name, value in (inner or held).items():
        if name.startswith(OURS):
            if not value.is_floating_point():
                raise CheckpointError(f"{path}: {name} holds {value.dtype}, expected floating-point weights")
            tensors[name] = value
        elif name.startswith(LEFT_OUT):
            others.append(name)
        else:
            raise CheckpointError(
                f"{path}: got the tensor {name} {tuple(value.shape)}, expected a latent-diffusion first stage "
                f"({', '.join(part.rstrip('.') for part in OURS)})"
            )
    return tensors, others


def read_training_file(path: str | Path) -> dict[str, Tensor]:
    """Read all tensors of a file that may hold objects of a training framework beside its state dict.

    Raises: CheckpointError as ``read_latent_diffusion``.
    """
    path = Path(path)
    if path.is_file():
        refuse_bomb(path)  # Finding out what it names unpacks a part of it.
    with _stand_ins(path):
        return read_tensors(path)


def stage_of(shapes: dict[str, tuple[int, ...]], where: str) -> FirstStage:
    """Return the configuration that tensors of these shapes have; its ``size`` is a guess, no tensor tells it.

    Raises: CheckpointError if a telling tensor is missing or of no use.
    """

    def size(name: str, axis: int, axes: int = 4) -> int:
        shape = shapes.get(name)
        if shape is None or len(shape) != axes or 0 in shape:
            got = "no tensor" if shape is None else f"shape {shape}"
            raise CheckpointError(f"{where}: got {got} for {name}, expected the weights of a first stage")
        return shape[axis]

    def count(pattern: str) -> int:
        number = 0
        while pattern.format(number) in shapes:
            number += 1
        return number

    width = size("encoder.conv_in.weight", 0)
    latent = size("decoder.conv_in.weight", 1)
    levels = count("encoder.down.{}.block.0.conv1.weight")
    ends = [size(f"encoder.down.{i}.block.0.conv1.weight", 0) for i in range(levels)]
    kind: dict[str, Any] = {"kind": "kl", "codes": 0}
    if any(name.startswith("quantize.") for name in shapes):
        kind = {"kind": "vq", "codes": size("quantize.embedding.weight", 0, 2)}
    try:
        return FirstStage(
            channels=size("encoder.conv_in.weight", 1),
            size=max(256, 2 ** (levels - 1)) if levels else 256,
            width=width,
            multipliers=tuple(end // width for end in ends),
            blocks=count("encoder.down.0.block.{}.conv1.weight"),
            attention=tuple(i for i in range(levels) if f"encoder.down.{i}.attn.0.norm.weight" in shapes),
            latent=latent,
            **kind,
        )
    except InputError as error:
        raise CheckpointError(f"{where}: its shapes are not those of a first stage: {error}") from None


class _StandIn:
    """Takes the place of whatever a trainer's class would have been, and does nothing."""

    def __new__(cls, *given: Any) -> _StandIn:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


@contextlib.contextmanager
def _stand_ins(path: Path) -> Iterator[None]:
    """Let the tensor reader pass over the objects that training scripts put beside the weights."""
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:
        named = []  # No archive of torch's, or one damaged in whichever way: the reader itself says so better.
    # A kind of dictionary of its own; filling one needs a real dictionary.
    known = [(dict if n.endswith(".AttributeDict") else _StandIn, n) for n in named if n.split(".")[0] in TRAINERS]
    with torch.serialization.safe_globals(known):  # type: ignore[arg-type]
        yield
