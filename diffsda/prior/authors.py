"""The authors' names for the tensors of the latent prior, and ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from diffsda.errors import CheckpointError, InputError
from diffsda.foreign import read_tensors
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.network import PriorNetwork
from diffsda.prior.owner import Owner
from diffsda.prior.recipe import Prior

_PREFIXES = ("module.", "backbone.")


def load_authors_prior(path: str | Path, *, static: int, dynamic: int, owner: Owner | None = None) -> LatentPrior:
    """Load a prior trained with the authors' code (.pth or .safetensors), dropout off.

    M, layers and width are read off the tensors; S and D, which are not in them, are the model's. Their codes are not
    normalised. ``rule='published'`` samples as theirs does, the default as it should be.
    Raises: CheckpointError if the file cannot be trusted or read, or its tensors do not fit; InputError if M is not
    S + V * D for any V.
    """
    tensors = read_tensors(path)
    size, layers, width = size_of(tensors)
    frames, rest = divmod(size - static, dynamic)
    if frames < 1 or rest:
        raise InputError(f"{path}: got z of {size} numbers, expected {static} + V * {dynamic} with V a whole number")
    with torch.device("meta"):
        recipe = Prior(layers=layers, width=width, normalise=False)
        prior = LatentPrior(recipe, Sizes(static=static, dynamic=dynamic, frames=frames))
    network = prior.networks["joint"]
    assert isinstance(network, PriorNetwork)
    network.load_state_dict(to_ours(tensors, network, str(path)), assign=True)
    prior.mean, prior.std = torch.zeros(size), torch.ones(size)
    prior.owner, prior.provenance = owner, {"source": "authors' state dict"}
    return prior.eval()


def to_ours(theirs: Mapping[str, Tensor], network: PriorNetwork, where: str = "prior") -> dict[str, Tensor]:
    """Gather the state dict of ``network`` (float32) from the authors' tensors.

    Keys may begin with ``module.`` and ``backbone.``. The scale of a layer is stored under two names,
    ``cond_layers.1`` and ``linear_emb``; either will do, and both must agree.
    Raises: CheckpointError, with the first differences, for tensors that do not fit.
    """
    plain = {_bare(name): value for name, value in theirs.items()}
    for name in [name for name in plain if ".linear_emb." in name]:
        twin = name.replace(".linear_emb.", ".cond_layers.1.")
        if not torch.equal(plain.setdefault(twin, plain[name]), plain[name]):
            raise CheckpointError(f"{where}: {name} differs from {twin}, expected the same tensor twice")
        del plain[name]
    wanted = {name: tuple(value.shape) for name, value in to_theirs(network.state_dict(), network).items()}
    given = {name: tuple(value.shape) for name, value in plain.items()}
    odd = [f"{name} is {given.get(name, 'missing')}, expected {wanted.get(name, 'nothing of that name')}"
           for name in {**wanted, **given} if given.get(name) != wanted.get(name)]  # fmt: skip
    if odd:
        raise CheckpointError(f"{where}: tensors do not fit the prior: {'; '.join(odd[:5])}")
    plain = {name: value.detach().float() for name, value in plain.items()}
    scales = range(network.layers - 1)
    ours = {our: plain[name] for name, our in _single(network)}
    for kind in ("weight", "bias"):
        ours[f"modulation.{kind}"] = torch.cat([plain[f"layers.{i}.cond_layers.1.{kind}"] for i in scales])
    return ours


def to_theirs(ours: Mapping[str, Tensor], network: PriorNetwork) -> dict[str, Tensor]:
    """Spread a state dict of ours over the authors' names, each tensor under one name."""
    theirs = {name: ours[our] for name, our in _single(network)}
    for kind in ("weight", "bias"):
        for i, part in enumerate(ours[f"modulation.{kind}"].chunk(network.layers - 1)):
            theirs[f"layers.{i}.cond_layers.1.{kind}"] = part
    return theirs


def size_of(theirs: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Return M, the number of layers and the width (as a multiple of M) of the authors' tensors.

    Raises: CheckpointError if these are not the tensors of a prior.
    """
    plain = {_bare(name): value for name, value in theirs.items()}
    try:
        hidden, size = plain["layers.0.linear.weight"].shape
    except (KeyError, ValueError):
        found = ", ".join(list(theirs)[:3]) or "none"
        raise CheckpointError(
            f"prior: got tensors {found} ..., expected layers.0.linear.weight (width * M, M)"
        ) from None
    if hidden % size:
        raise CheckpointError(f"prior: got layers of {hidden} over z of {size}, expected a multiple of that")
    return size, sum(name.endswith(".linear.weight") for name in plain), hidden // size


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _single(network: PriorNetwork) -> list[tuple[str, str]]:
    """List the tensors that are the same in both, theirs first."""
    pairs = [("time_embed.0", "time_in"), ("time_embed.2", "time_out")]
    pairs += [(f"layers.{i}.linear", f"linears.{i}") for i in range(network.layers)]
    pairs += [(f"layers.{i}.norm", f"norms.{i}") for i in range(network.layers - 1)]
    return [(f"{theirs}.{kind}", f"{ours}.{kind}") for theirs, ours in pairs for kind in ("weight", "bias")]
