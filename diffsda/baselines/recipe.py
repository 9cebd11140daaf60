"""The recipe of another system than DiffSDA, in the same form."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from diffsda.baselines.registry import settings_of
from diffsda.baselines.settings import Settings
from diffsda.errors import InputError
from diffsda.recipe import Clips, Optim, Sampling
from diffsda.recipe.checks import PARTS, check_parts
from diffsda.recipe.plain import build, digest, plain, replaced

_OURS = {name: PARTS[name] for name in ("clips", "sampling", "optim")}
_FOLLOWED = {
    "channels": ("clips", "channels"),
    "size": ("clips", "size"),
    "lr": ("optim", "lr"),
    "batch": ("optim", "batch"),
    "epochs": ("optim", "epochs"),
    "sampling_steps": ("sampling", "steps"),
}
"""Settings that say again what a part of the recipe says: the part counts."""


@dataclass(frozen=True, kw_only=True)
class SystemRecipe:
    """One model of a system and its training. ``digest`` names it; two recipes with one digest are the same.

    ``settings`` are the system's own. What they have in common with the other parts (channels, size, learning rate,
    batch, epochs, steps of the sampler, what a frame is) follows these.
    """

    system: str
    settings: Settings
    name: str = "custom"
    clips: Clips = field(default_factory=Clips)
    sampling: Sampling = field(default_factory=Sampling)
    optim: Optim = field(default_factory=Optim)

    def __post_init__(self) -> None:
        check_parts(self.name, {part: getattr(self, part) for part in _OURS})
        kind = settings_of(self.system)
        if not isinstance(self.settings, kind):
            raise InputError(
                f"settings: got {type(self.settings).__name__} for {self.system}, expected {kind.__name__}"
            )
        names = {f.name for f in dataclasses.fields(self.settings)}
        followed = {
            name: getattr(getattr(self, part), value)
            for name, (part, value) in _FOLLOWED.items()
            if name in names and getattr(getattr(self, part), value) is not None
        }
        if "kind" in names:
            followed["kind"] = "video" if self.video else "vector"
        object.__setattr__(self, "settings", self.settings.replace(**followed))
        self._check()

    @property
    def video(self) -> bool:
        """Whether frames are images."""
        return self.clips.modality == "video"

    @property
    def static(self) -> int:
        """S, width of the static code."""
        return int(self.settings.static)  # type: ignore[attr-defined]

    @property
    def dynamic(self) -> int:
        """D, width of a dynamic code."""
        return int(self.settings.dynamic)  # type: ignore[attr-defined]

    @property
    def shared_static(self) -> bool:
        """Whether a clip has one static code: in all of these systems."""
        return True

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any value but the name."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, fit for JSON (infinity is written as the string 'inf')."""
        parts = {name: plain(dataclasses.asdict(getattr(self, name))) for name in _OURS}
        return {"system": self.system, "name": self.name, **parts, "settings": plain(self.settings.to_dict())}

    @classmethod
    def from_dict(cls, given: Any) -> SystemRecipe:
        """Read what ``to_dict`` wrote; unknown names are refused, missing ones take their defaults.

        Raises: InputError for unknown names and unusable values, and a system that is not one of these.
        """
        if not isinstance(given, dict) or "system" not in given:
            raise InputError("recipe: got none of another system, expected a table of settings with its name as system")
        settings = settings_of(given["system"]).from_dict(given.get("settings", {}))
        out: SystemRecipe = build(cls, {**given, "settings": settings}, "recipe", _OURS)
        return out

    def replace(self, **parts: dict[str, Any] | Any) -> SystemRecipe:
        """Return a copy with changes: ``recipe.replace(optim={'lr': 1e-3}, name='mine')``."""
        out: SystemRecipe = replaced(self, parts)
        return out

    def _check(self) -> None:
        """Refuse what none of these systems has."""
        if self.system == "dbse-video" and not self.video:
            raise InputError(
                f"clips.modality: got {self.clips.modality} for dbse-video, expected video; vectors go to "
                "dbse-audio or dbse-series"
            )
        if self.system in ("dbse-audio", "dbse-series") and self.video:
            raise InputError(f"clips.modality: got video for {self.system}, expected audio or series, or dbse-video")
        if self.video and self.clips.size is None:
            raise InputError("clips.size: got none, expected the height and width of a frame for video")
        if self.clips.latent and self.system != "divid":
            raise InputError(
                f"clips.latent: got latents for {self.system}, whose decoder draws values from 0 to 1, expected pixels"
            )
        if self.optim.accumulate != 1:
            raise InputError(
                f"optim.accumulate: got {self.optim.accumulate} for {self.system}, expected 1: losses of these systems "
                "compare the clips of a batch, or take norms over it"
            )
        if self.optim.draws != 1:
            raise InputError(
                f"optim.draws: got {self.optim.draws} for {self.system}, expected 1"
                + ("; say settings.draws" if hasattr(self.settings, "draws") else "")
            )
