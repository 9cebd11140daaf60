"""DiffSDA's recipe: everything that decides what a model is and how it is trained, as frozen plain data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from diffsda.recipe.checks import PARTS, check_parts, check_unet
from diffsda.recipe.parts import Backbone, Clips, Encoder, Noise, Optim, Sampling
from diffsda.recipe.plain import build, digest, plain, replaced


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model and its training. ``digest`` names it; two recipes with one digest are the same."""

    name: str = "custom"
    clips: Clips = field(default_factory=Clips)
    backbone: Backbone = field(default_factory=Backbone)
    encoder: Encoder = field(default_factory=Encoder)
    noise: Noise = field(default_factory=Noise)
    sampling: Sampling = field(default_factory=Sampling)
    optim: Optim = field(default_factory=Optim)

    def __post_init__(self) -> None:
        check_parts(self.name, {part: getattr(self, part) for part in PARTS})
        if self.video:
            check_unet(self)

    @property
    def system(self) -> str:
        """The system's name."""
        return "diffsda"

    @property
    def video(self) -> bool:
        """Whether frames are images."""
        return self.backbone.kind == "unet"

    @property
    def static(self) -> int:
        """S, width of the static factor."""
        return self.encoder.static

    @property
    def dynamic(self) -> int:
        """D, width of a dynamic factor."""
        return self.encoder.dynamic

    @property
    def shared_static(self) -> bool:
        """Whether a clip has one static factor, or one a frame."""
        return self.encoder.shared_static

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any value but the name."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, fit for JSON (infinity is written as the string 'inf')."""
        out: dict[str, Any] = plain(dataclasses.asdict(self))
        return out

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Recipe:
        """Read what ``to_dict`` wrote; unknown names are refused, missing ones take their defaults."""
        out: Recipe = build(cls, given, "recipe", PARTS)
        return out

    def replace(self, **parts: dict[str, Any] | Any) -> Recipe:
        """Return a copy with changes: ``recipe.replace(optim={'lr': 1e-3}, name='mine')``."""
        out: Recipe = replaced(self, parts)
        return out
