"""A prior is one safetensors file: weights and statistics, and in its metadata the recipe and whose prior it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

import diffsda
from diffsda.atomic import atomic_write
from diffsda.errors import CheckpointError, InputError
from diffsda.header import METADATA_KEY, read_header
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.owner import Owner
from diffsda.prior.recipe import Prior

FORMAT = 1
KIND = "prior"
NAME = "prior.safetensors"
"""What the prior of a run is called, in the run's folder."""


def save_prior(
    prior: LatentPrior, path: str | Path, *, overwrite: bool = True, weights: dict[str, torch.Tensor] | None = None
) -> Path:
    """Write a prior as one file; the old file, if any, stays until the new one is complete.

    ``weights`` replaces the prior's own (an average of them, say).
    Raises: InputError if the file exists and ``overwrite`` is False; SaveError if it cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already, expected a new file (or --overwrite)")
    sizes, owner = prior.sizes, prior.owner
    about = {
        "format": FORMAT,
        "kind": KIND,
        "prior": prior.recipe.to_dict(),
        "digest": prior.recipe.digest,
        "sizes": {"static": sizes.static, "dynamic": sizes.dynamic, "frames": sizes.frames},
        "model": None if owner is None else owner.to_dict(),
        "provenance": {
            **prior.provenance,
            "versions": {"diffsda": diffsda.__version__, "torch": str(torch.__version__)},
        },
    }
    state = prior.state_dict() if weights is None else weights
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    data = safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(about)})
    atomic_write(path, lambda file: file.write(data))
    return path


def load_prior(path: str | Path, *, owner: Owner | None = None, device: str | torch.device = "cpu") -> LatentPrior:
    """Load a prior, or the one in a run folder; ready to use, dropout off.

    ``owner``: the model it is to be used with (see ``owner_of``).
    Raises: CheckpointError if the file is missing, truncated, foreign, or its tensors do not fit its recipe;
    InputError if it belongs to another model, which is named.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    header = read_header(path)
    about = header.ours()
    if about is None or about.get("kind") != KIND:
        raise CheckpointError(f"{path}: got a file that is no prior, expected one made by `diffsda train-prior`")
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{path}: got format {about.get('format')!r}, expected {FORMAT}: use a newer diffsda")
    try:
        recipe, sizes = Prior.from_dict(about.get("prior")), _sizes(about.get("sizes"))
        own = None if about.get("model") is None else Owner.from_dict(about["model"])
    except InputError as error:
        raise CheckpointError(f"{path}: what it says of itself cannot be used: {error}") from None
    if owner is not None and own is not None and not own.is_of(owner):
        raise InputError(
            f"{path}: is the prior of {own}, got {owner}; train one for this model with `diffsda train-prior`, or "
            "name the model it belongs to"
        )
    # Shapes are compared before anything is allocated: a hostile recipe cannot ask for memory.
    with torch.device("meta"):
        prior = LatentPrior(recipe, sizes)
    wanted = {k: tuple(v.shape) for k, v in prior.state_dict().items()}
    given = {k: shape for k, (_, shape) in header.tensors.items()}
    if wrong := [k for k in {**wanted, **given} if wanted.get(k) != given.get(k)]:
        listed = "; ".join(f"{k} is {given.get(k, 'missing')}, expected {wanted.get(k, 'none')}" for k in wrong[:5])
        raise CheckpointError(f"{path}: tensors do not fit the prior: {listed}")
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    prior.load_state_dict({k: v.to(torch.float32) for k, v in tensors.items()}, assign=True)
    if not bool(torch.isfinite(prior.mean).all() and torch.isfinite(prior.std).all() and (prior.std > 0).all()):
        raise CheckpointError(f"{path}: got statistics that are not finite or not positive; train the prior again")
    prior.owner = own
    provenance = about.get("provenance")
    prior.provenance = provenance if isinstance(provenance, dict) else {}
    return prior.to(device).eval()


def _sizes(plain: Any) -> Sizes:
    if not isinstance(plain, dict) or set(plain) != {"static", "dynamic", "frames"}:
        raise InputError(f"sizes: got {plain!r}, expected static, dynamic and frames")
    return Sizes(**plain)
