"""First stages on disk: our own safetensors files, and those of latent diffusion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

import diffsda
from diffsda.atomic import atomic_write
from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.build import build
from diffsda.firststage.kl import VariationalAutoencoder
from diffsda.firststage.latent_diffusion import read_latent_diffusion, stage_of
from diffsda.firststage.recipe import FirstStage
from diffsda.firststage.vq import QuantisedAutoencoder
from diffsda.header import METADATA_KEY, Header, compare, newest, read_header

FORMAT = 1
KEY = "first_stage"
"""Under which our metadata holds the configuration."""

Model = QuantisedAutoencoder | VariationalAutoencoder


def save_first_stage(model: Model, path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a first stage as one safetensors file, whole or not at all.

    Raises: InputError if the file exists and ``overwrite`` is False; SaveError if it cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already, expected a new file (or --overwrite)")
    about: dict[str, Any] = {
        "format": FORMAT,
        KEY: model.stage.to_dict(),
        "digest": model.digest(),
        "provenance": {
            **model.provenance,
            "versions": {"diffsda": diffsda.__version__, "torch": str(torch.__version__)},
        },
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    data = safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(about)})
    atomic_write(path, lambda file: file.write(data))
    return path


def load_first_stage(path: str | Path, *, device: str | torch.device = "cpu") -> Model:
    """Load a first stage, ready to use: ours, the newest of a run folder, or a latent-diffusion file.

    The latter (.ckpt, .pth or .safetensors; an autoencoder or a whole model) may hold its discriminator, loss and
    averages besides; they are left out, and named in ``provenance``. Its configuration comes from its shapes.
    Raises: CheckpointError if the file is truncated, foreign or hostile, or its tensors do not fit (the first five
    differences are named).
    """
    path = newest(path)
    header = read_header(path) if path.suffix == ".safetensors" else None
    about = None if header is None else header.ours()
    model = _theirs(path) if header is None or about is None else _ours(path, header, about)
    return model.to(device).eval().requires_grad_(False)


def digest(path: str | Path) -> str:
    """Return the SHA-256 by which latents and models name the first stage of a file; see ``Autoencoder.digest``."""
    return load_first_stage(path).digest()


def _ours(path: Path, header: Header, about: dict[str, Any]) -> Model:
    if KEY not in about:
        what = "a model" if "recipe" in about else "a file"
        raise CheckpointError(f"{path}: got {what} of this program that is no first stage, expected a first stage")
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{path}: got format {about.get('format')!r}, expected {FORMAT}: use a newer diffsda")
    try:
        stage = FirstStage.from_dict(about[KEY])
    except InputError as error:
        raise CheckpointError(f"{path}: its configuration cannot be used: {error}") from None
    model = _empty(stage, {name: shape for name, (_, shape) in header.tensors.items()}, str(path))
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    _fill(model, tensors, str(path))
    if model.digest() != about.get("digest"):
        raise CheckpointError(f"{path}: its weights are not those it was saved with; the file is damaged")
    provenance = about.get("provenance")
    model.provenance = provenance if isinstance(provenance, dict) else {}
    return model


def _theirs(path: Path) -> Model:
    tensors, left_out = read_latent_diffusion(path)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    model = _empty(stage_of(shapes, str(path)), shapes, str(path))
    _fill(model, tensors, str(path))
    model.provenance = {"source": path.name, "left_out": left_out[:5], "left_out_count": len(left_out)}
    return model


def _empty(stage: FirstStage, shapes: dict[str, tuple[int, ...]], where: str) -> Model:
    """Return the network without memory for its weights, once it is sure that the tensors fit."""
    with torch.device("meta"):
        model = build(stage)
    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    compare(shapes, wanted, where, "first stage")
    return model


def _fill(model: Model, tensors: dict[str, Tensor], where: str) -> None:
    """Give a network its weights, float32 and of its own memory."""
    wide = {k: v.to(torch.float32, memory_format=torch.contiguous_format, copy=True) for k, v in tensors.items()}
    for name, value in wide.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{where}: {name} holds values that are not finite; the file is damaged")
    model.load_state_dict(wide, assign=True)
