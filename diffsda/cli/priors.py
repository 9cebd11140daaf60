"""Priors as the verbs open them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diffsda.errors import InputError

if TYPE_CHECKING:
    import torch

    from diffsda.cli.units import Units
    from diffsda.disentangler import Disentangler
    from diffsda.prior.latent import LatentPrior
    from diffsda.prior.owner import Owner
    from diffsda.tasks.own_prior import FactorPrior, OwnPrior


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


def open_drawing(model: str, given: Path | None, session: Disentangler, frames: int | None = None) -> FactorPrior:
    """Load the prior of a model, or take the system's own: where there is no other, or ``given`` is the word own.

    ``frames`` of the clips it is to draw; left open, those the recipe says. Only a system's own prior has a choice.
    Raises: InputError if there is neither, or as ``open_prior``.
    """
    from diffsda.tasks.own_prior import OWN

    recipe, own = session.recipe, given is not None and str(given) == OWN
    if not own and (given is not None or recipe.system == "diffsda" or place(model, None).is_file()):
        return open_prior(model, given, session._like().device)
    why = "diffsda has none" if recipe.system == "diffsda" else session.cannot.get("sample_static")
    if why is not None:
        raise InputError(
            f"--prior: {recipe.system} has no prior of its own ({why}) and there is no {place(model, None)}; make one "
            f"with `diffsda train-prior {model} --data ...`"
        )
    prior = own_prior(session, recipe.clips.frames if frames is None else frames)
    if prior is None:
        raise InputError(f"--frames: got {frames}, expected at least 2 for {recipe.system}'s own prior to draw")
    return prior


def own_prior(session: Disentangler, frames: int | None) -> OwnPrior | None:
    """Return a system's own prior over clips of so many frames, where it has one and they are known."""
    from diffsda.tasks.own_prior import OwnPrior

    if session.recipe.system == "diffsda" or "sample_static" in session.cannot or frames is None or frames < 2:
        return None
    return OwnPrior(session, frames)


def prior_words(model: str, given: Path | None, prior: FactorPrior) -> str:
    """Return where a prior is from: its file, or own."""
    from diffsda.tasks.own_prior import OWN, OwnPrior

    return OWN if isinstance(prior, OwnPrior) else str(place(model, given))


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
