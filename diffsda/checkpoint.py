"""A model is one safetensors file: weights, and the recipe and statistics as JSON in its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

import diffsda
from diffsda import check
from diffsda.atomic import atomic_write
from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.whiten import Whitening
from diffsda.header import METADATA_KEY, compare, newest, read_header
from diffsda.model import DiffSDA
from diffsda.systems import build, recipe_from_dict
from diffsda.trainable import Trainable

FORMAT = 1


def save(
    model: Trainable, path: str | Path, *, overwrite: bool = True, weights: dict[str, Tensor] | None = None
) -> Path:
    """Write a model as one file; the old file, if any, stays until the new one is complete.

    ``weights`` replaces the model's own (an average of them, say).
    Raises: InputError if the file exists and ``overwrite`` is False; SaveError if it cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already, expected a new file (or --overwrite)")
    about: dict[str, Any] = {
        "format": FORMAT,
        "recipe": model.recipe.to_dict(),
        "digest": model.recipe.digest,
        "whitening": None if model.whitening is None else model.whitening.to_dict(),
        "provenance": {
            **model.provenance,
            "versions": {"diffsda": diffsda.__version__, "torch": str(torch.__version__)},
        },
    }
    state = model.state_dict() if weights is None else weights
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    data = safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(about)})
    atomic_write(path, lambda file: file.write(data))
    return path


def load(path: str | Path, *, device: str | torch.device = "cpu") -> Trainable:
    """Load a model from its file, or the newest one of a run folder; ready to use, dropout off.

    Raises: CheckpointError if the file is truncated, foreign, or its tensors do not fit its recipe (the first
    five differences are named).
    """
    path = newest(path)
    header = read_header(path)
    about = header.ours()
    if about is None or "recipe" not in about:
        raise CheckpointError(
            f"{path}: got a safetensors file without a recipe, expected a model saved by this program "
            "(authors' weights go through `diffsda import`)"
        )
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{path}: got format {about.get('format')!r}, expected {FORMAT}: use a newer diffsda")
    try:
        recipe = recipe_from_dict(about["recipe"])
        whitening = check.whitening(_whitening(about.get("whitening")), recipe)
    except InputError as error:
        raise CheckpointError(f"{path}: its recipe cannot be used: {error}") from None
    # Shapes are compared before anything is allocated: a hostile recipe cannot ask for memory.
    with torch.device("meta"):
        model = build(recipe, whitening)
    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    given = {k: shape for k, (_, shape) in header.tensors.items()}
    compare(given, wanted, str(path))
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    kinds = {k: v.dtype for k, v in model.state_dict().items()}
    model.load_state_dict({k: v.to(kinds[k]) for k, v in tensors.items()}, assign=True)
    provenance = about.get("provenance")
    model.provenance = provenance if isinstance(provenance, dict) else {}
    return model.to(device).eval()


def load_diffsda(path: str | Path, *, device: str | torch.device = "cpu", what: str = "this") -> DiffSDA:
    """Load a model as ``load`` does, for ``what`` only DiffSDA can do.

    Raises: InputError for a model of another system; CheckpointError as ``load``.
    """
    model = load(path, device=device)
    if not isinstance(model, DiffSDA):
        raise InputError(
            f"{path}: got a model of {model.recipe.system}, expected one of diffsda: {what} knows no other"
        )
    return model


def _whitening(plain: Any) -> Whitening | None:
    if plain is None:
        return None
    if not isinstance(plain, dict):
        raise InputError(f"whitening: got {type(plain).__name__}, expected mean and std")
    return Whitening.from_dict(plain)
