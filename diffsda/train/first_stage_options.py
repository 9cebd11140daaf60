"""How a first stage is fitted and run; free of torch, so that the command line can list it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from diffsda.errors import InputError
from diffsda.firststage.recipe import FirstStage


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Budget, optimiser and losses of a first stage."""

    steps: int = 500_000
    batch: int = 4
    """Frames a step."""
    lr: float = 4.5e-6
    """Learning rate a frame of the batch: Adam's is this times ``batch``."""
    perceptual: float = 1.0
    """Weight of the perceptual distance, beside 1 for L1, where its weights are given."""
    codebook: float = 1.0
    """vq: weight of the distance between latents and codes."""
    revive: int = 500
    """vq: every so many steps, codes not used since move onto latents, all at first; 0, as the authors: never."""
    kl: float = 1e-6
    """kl: weight of the divergence from a unit Gaussian, summed over a frame beside the sum of its errors."""
    disc_start: int = 250_001
    """Step from which a discriminator is fitted and fooled."""
    disc_weight: float = 0.75
    """Weight of fooling it, on top of what balances its gradient with the reconstruction's; 0 leaves it out."""
    disc_layers: int = 3
    """Layers of the discriminator; its patches are about 2^(layers + 3) pixels wide."""
    disc_width: int = 64
    """Channels of its first layer."""
    flip: bool = False
    """Mirror half of the frames."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (kind, least, most) in _LIMITS.items():
            value = getattr(self, name)
            right = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
            if not right or not least <= value <= most:
                what = "a whole number" if kind is int else "a number"
                raise InputError(f"fit.{name}: got {value!r}, expected {what} from {least:g} to {most:g}")
        if self.lr == 0:
            raise InputError("fit.lr: got 0, expected a number above 0")


_LIMITS: dict[str, tuple[type, float, float]] = {
    "steps": (int, 1, 2**53),
    "batch": (int, 1, 2**20),
    "lr": (float, 0, 1),
    "perceptual": (float, 0, 1e6),
    "codebook": (float, 0, 1e6),
    "revive": (int, 0, 2**53),
    "kl": (float, 0, 1e6),
    "disc_start": (int, 0, 2**53),
    "disc_weight": (float, 0, 1e6),
    "disc_layers": (int, 1, 8),
    "disc_width": (int, 1, 4096),
    "seed": (int, 0, 2**62),
}

FITS = {
    "vq4": Fit(disc_start=0, batch=8),
    "vq8": Fit(),
    "kl8": Fit(disc_start=50_001, disc_weight=0.5, batch=12),
    # ours: a few minutes on a processor
    "tiny": Fit(steps=4000, batch=16, lr=6e-5, disc_start=2000, disc_weight=0.2, disc_layers=2, disc_width=32),
}
"""How each configuration is fitted. Source: the latent-diffusion configurations; ``steps`` and ``revive`` are ours."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides what a run computes; ``digest`` names it, and a run is only resumed under its own."""

    name: str
    stage: FirstStage
    fit: Fit
    begun_from: str | None = None
    """Digest of the first stage whose weights it starts with."""
    perceptual: str | None = None
    """Digest of the perceptual weights."""

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, fit for JSON."""
        return {
            "name": self.name,
            "net": self.stage.to_dict(),
            "fit": dataclasses.asdict(self.fit),
            "weights": {"begun_from": self.begun_from, "perceptual": self.perceptual},
        }

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any value but the name."""
        plain = self.to_dict()
        plain.pop("name")
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class FirstStageOptions:
    """How to run the fit of a first stage, as opposed to what is fitted."""

    resume: bool = False
    """Go on with the run in the folder."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:N."""
    precision: str = "auto"
    """auto (bf16 on CUDA, float32 elsewhere), float32 or bf16."""
    log_every: int = 50
    """Steps between records in log.jsonl."""
    save_every: int = 1000
    """Steps between checkpoints."""
    until: int | None = None
    """Stop and save after this step, as if interrupted; the budget stays what it is."""
    tensorboard: bool = False
    """Log to TensorBoard as well."""
