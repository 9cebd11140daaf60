"""Which model a prior belongs to: factors mean nothing to another encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from diffsda.errors import CheckpointError, InputError
from diffsda.header import newest, read_header

_PART = "encoder."
"""What the names of an encoder's weights begin with. Other systems do not keep theirs apart: all weights count."""


@dataclass(frozen=True)
class Owner:
    """A model by name: its recipe, and its encoder by content.

    ``encoder`` is the digest of the encoder's weights, or None where these cannot be looked at (an export).
    """

    name: str
    recipe: str
    encoder: str | None = None
    step: int | None = None

    def __str__(self) -> str:
        step = "" if self.step is None else f", step {self.step}"
        return f"{self.name} (recipe {self.recipe}{step})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Any) -> Owner:
        """Read what ``to_dict`` wrote.

        Raises: InputError if it is something else.
        """
        kinds = {"name": str, "recipe": str, "encoder": (str, type(None)), "step": (int, type(None))}
        if not isinstance(plain, dict) or not all(isinstance(plain.get(k), kind) for k, kind in kinds.items()):  # type: ignore[arg-type]
            raise InputError(f"model: got {plain!r}, expected name, recipe, encoder and step")
        return cls(**{name: plain[name] for name in kinds})

    def is_of(self, other: Owner) -> bool:
        """Tell whether both are the same encoder, as far as can be known.

        Where both encoders are known only they count: weights found again under another recipe are the same.
        """
        if self.encoder is not None and other.encoder is not None:
            return self.encoder == other.encoder
        return self.recipe == other.recipe and (None in (self.step, other.step) or self.step == other.step)


def owner_of(path: str | Path) -> Owner:
    """Return the owner in a model file, or the newest one of a run folder; only the weights that count are read.

    Raises: CheckpointError if there is no such file, it is damaged, or no model of this program.
    """
    path = newest(path)
    about = read_header(path).ours()
    recipe = about.get("recipe") if about else None
    if about is None or not isinstance(recipe, dict):
        raise CheckpointError(f"{path}: got a file without a recipe, expected a model saved by this program")
    try:
        with safetensors.safe_open(path, framework="pt") as held:
            weights = {name: held.get_tensor(name) for name in _named(held.keys())}
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    return described(str(recipe.get("name")), str(about.get("digest")), weights, about.get("provenance"))


def described(name: str, recipe: str, weights: Mapping[str, Tensor], provenance: Any) -> Owner:
    """Return the owner of a model in memory: its recipe's name and digest, its state dict, its provenance."""
    digest = hashlib.sha256()
    for key in _named(weights):
        value = weights[key].detach().cpu().float().contiguous()
        digest.update(f"{key} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().data)
    step = provenance.get("step") if isinstance(provenance, dict) else None
    return Owner(name, recipe, digest.hexdigest()[:16], step if isinstance(step, int) else None)


def _named(names: Iterable[str]) -> list[str]:
    """Return the names of the weights that factors come from."""
    ordered = sorted(names)
    return [name for name in ordered if name.startswith(_PART)] or ordered
