"""Priors as the verbs open them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diffsda.errors import InputError

if TYPE_CHECKING:
    import torch

    from diffsda.cli.units import Units
    from diffsda.prior.latent import LatentPrior
    from diffsda.prior.owner import Owner


def place(model: str, given: Path | None) -> Path:
    """Return where a model's prior is: as given, or ``prior.safetensors`` in its run folder."""
    from diffsda.prior.file import NAME

    folder = Path(model) if Path(model).is_dir() else Path(model).parent
    path = folder if given is None else given
    return path / NAME if path.is_dir() else path


def open_prior(model: str, given: Path | None, device: torch.device) -> LatentPrior:
    """Load the prior of a model.

    Raises: InputError if there is none, or it is another model's; CheckpointError if it cannot be read.
    """
    from diffsda.prior.file import load_prior

    path = place(model, given)
    if not path.is_file():
        raise InputError(f"--prior: there is no {path}; make it with `diffsda train-prior {model} --data ...`")
    return load_prior(path, owner=owner(model), device=device)


def drawable(units: Units) -> None:
    """Refuse a figure of what no one can look at, before any work is done."""
    form = units.recipe.clips
    if units.recipe.video and units.space is None and form.channels not in (1, 3):
        raise InputError(
            f"--figure: got a model of {form.channels} channels, expected 1 or 3 to draw; name the --first-stage its "
            "latents were made with"
        )


def owner(model: str) -> Owner:
    """Say which model this is, for its prior: a model file, a run folder or an exported one."""
    from diffsda.export import manifest
    from diffsda.prior.owner import Owner, owner_of

    if not (Path(model) / manifest.NAME).is_file():
        return owner_of(model)
    # The weights are in graphs, whose tensors have other names.
    held = manifest.read(model)
    step = held.provenance.get("step")
    return Owner(held.recipe.name, held.recipe.digest, None, step if isinstance(step, int) else None)
