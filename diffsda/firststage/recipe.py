"""What decides a first stage: an autoencoder of frames, as frozen plain data. No torch here."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from diffsda.errors import InputError

GROUPS = 32
"""Groups of every normalisation; all widths are multiples of it."""


@dataclass(frozen=True, kw_only=True)
class FirstStage:
    """An autoencoder of single frames: frames (channels, H, W) to latents (latent, H / factor, W / factor)."""

    kind: Literal["vq", "kl"] = "vq"
    """vq: latents are rounded to the nearest code before decoding; kl: latents are drawn from a Gaussian."""
    channels: int = 3
    """Channels of a frame."""
    size: int = 256
    """Height and width of the frames it is trained on; others work as well if ``factor`` divides them."""
    width: int = 128
    """Channels of the first level."""
    multipliers: tuple[int, ...] = (1, 2, 2, 4)
    """Width of each level as a multiple of ``width``; every level but the last halves the resolution."""
    blocks: int = 2
    """Residual blocks a level on the way down (one more on the way up)."""
    attention: tuple[int, ...] = (3,)
    """Levels with self-attention (the middle always has one)."""
    latent: int = 4
    """Channels of the latents."""
    codes: int = 256
    """Entries of the codebook; 0 for kl."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def factor(self) -> int:
        """Pixels a latent cell covers in height and in width."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any value."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Any) -> FirstStage:
        """Read what ``to_dict`` wrote.

        Raises: InputError for unknown settings and values no network can have.
        """
        if not isinstance(plain, dict):
            raise InputError(f"first stage: got {type(plain).__name__}, expected a table of settings")
        known = [f.name for f in dataclasses.fields(cls)]
        for name in plain:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(f"first stage: unknown setting {name!r}, expected one of {', '.join(known)}{hint}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return cls(**values)


# name -> smallest, largest: files of strangers hold these, and none may ask for a network without end.
_LIMITS = {
    "channels": (1, 1024),
    "size": (1, 8192),
    "width": (GROUPS, 4096),
    "blocks": (1, 16),
    "latent": (1, 4096),
    "codes": (0, 2**22),
}
_MOST_LEVELS, _MOST_MULTIPLIER = 10, 64


def _check(stage: FirstStage) -> None:
    if stage.kind not in ("vq", "kl"):
        raise InputError(f"first stage kind: got {stage.kind!r}, expected vq or kl")
    for name, (least, most) in _LIMITS.items():
        value = getattr(stage, name)
        if not _whole(value) or not least <= value <= most:
            raise InputError(f"first stage {name}: got {value!r}, expected a whole number from {least} to {most}")
    _check_levels(stage)
    if stage.width % GROUPS:
        raise InputError(f"first stage width: got {stage.width}, expected a multiple of {GROUPS}")
    if stage.size % stage.factor:
        raise InputError(f"first stage size: got {stage.size}, expected a multiple of {stage.factor}")
    if (stage.codes == 0) != (stage.kind == "kl"):
        expected = "at least 1 code for vq" if stage.kind == "vq" else "0 for kl"
        raise InputError(f"first stage codes: got {stage.codes}, expected {expected}")


def _check_levels(stage: FirstStage) -> None:
    levels = stage.multipliers
    right = isinstance(levels, tuple) and 1 <= len(levels) <= _MOST_LEVELS
    if not right or not all(_whole(m) and 1 <= m <= _MOST_MULTIPLIER for m in levels):
        raise InputError(
            f"first stage multipliers: got {levels!r:.80}, expected 1 to {_MOST_LEVELS} whole numbers from 1 to "
            f"{_MOST_MULTIPLIER}"
        )
    attention = stage.attention
    if not isinstance(attention, tuple) or not all(_whole(a) and 0 <= a < len(levels) for a in attention):
        raise InputError(f"first stage attention: got {attention!r:.80}, expected levels from 0 to {len(levels) - 1}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


CONFIGURATIONS = {
    # The three of the authors' release, with the sizes of the latent-diffusion models they come from.
    "vq4": FirstStage(multipliers=(1, 2, 4), attention=(), latent=3, codes=8192),
    "vq8": FirstStage(),
    "kl8": FirstStage(kind="kl", multipliers=(1, 2, 4, 4), attention=(), codes=0),
    # ours: small enough to fit on a processor in minutes
    "tiny": FirstStage(size=32, width=32, multipliers=(1, 1, 2), blocks=1, attention=(2,), codes=64),
}
"""First stages by name. Source: DiffSDA appendix B.2; the authors' vq_models (vq8ft has the sizes of vq8)."""


def configuration(name: str) -> FirstStage:
    """Return a first stage by name.

    Raises: InputError, with a near name.
    """
    if name not in CONFIGURATIONS:
        near = difflib.get_close_matches(name, CONFIGURATIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"first stage: got {name!r}, expected one of {', '.join(CONFIGURATIONS)}{hint}")
    return CONFIGURATIONS[name]
