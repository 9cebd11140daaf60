"""What decides a latent prior and its training, as frozen plain data; free of torch."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from diffsda.errors import InputError
from diffsda.recipe import Optim

Rule = Literal["ddim", "ddpm", "published"]


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The network over z = [s | d_1 .. d_V], the noise it learns from, and how it is sampled.

    Source: DiffSDA appendix B.3 and Table 8, the authors' code. Differs: z is normalised by default (their code can,
    and never does), samples are drawn with DDIM proper.
    """

    layers: int = 10
    width: int = 4
    """Width of a layer as a multiple of M = S + V * D."""
    dropout: float = 0.1
    steps: int = 1000
    """Diffusion steps of the training."""
    betas: tuple[float, float] = (1e-5, 1e-2)
    """Variance added by the first and the last step, linear between; (0.008, 0.008) is the authors' constant one."""
    loss: Literal["mse", "l1"] = "mse"
    """The paper's text has l1, its code and its Table 8 mse."""
    normalise: bool = True
    """Model factors with mean 0 and deviation 1, measured on the training clips and kept with the prior. Samples start
    from unit noise, which only such factors end in: others come out shifted, by about 8 % of their mean."""
    split: bool = False
    """Two networks, one for s and one for d, that know nothing of each other: the paper's ablation (G.1)."""
    rule: Rule = "ddim"
    """ddim, ddpm (ancestral), or published: the authors' ddim, which is off by one step."""
    sampling_steps: int = 100
    """Steps a sample takes, evenly spaced over all; fewer are faster and less exact. Published takes them all."""
    eta: float | None = None
    """Noise of a ddim step as a share of an ancestral step's; left open, 0, and the authors' 0.01 for published."""

    def __post_init__(self) -> None:
        _whole("prior.layers", self.layers, 2, 100)
        _whole("prior.width", self.width, 1, 64)
        _number("prior.dropout", self.dropout, 0, 0.999)
        _whole("prior.steps", self.steps, 2, 100_000)
        for beta in _pair("prior.betas", self.betas):
            _number("prior.betas", beta, 1e-9, 0.999)
        _choice("prior.loss", self.loss, ("mse", "l1"))
        _choice("prior.rule", self.rule, get_args(Rule))
        _whole("prior.sampling_steps", self.sampling_steps, 1, 100_000)
        if self.eta is not None:
            _number("prior.eta", self.eta, 0, 1)
        for name in ("normalise", "split"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"prior.{name}: got {getattr(self, name)!r}, expected true or false")

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any value."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON."""
        return _plain(self)

    @classmethod
    def from_dict(cls, plain: Any) -> Prior:
        """Read what ``to_dict`` wrote; unknown names are refused, missing ones take their defaults."""
        if not isinstance(plain, dict):
            raise InputError(f"prior: got {type(plain).__name__}, expected a table of settings")
        known = [f.name for f in dataclasses.fields(cls)]
        for name in plain:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(f"prior: unknown setting {name!r}, expected one of {', '.join(known)}{hint}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a prior is trained: AdamW.

    Source: DiffSDA Table 8 (batch 128, 200 to 1000 epochs, 1e-4, weight decay 1e-5), clipping from the authors' code.
    Differs: a cosine a step at a time after a short warm-up; ``schedule='constant'`` is the paper's rate.
    """

    lr: float = 1e-4
    schedule: Literal["authors", "constant", "cosine"] = "cosine"
    warmup: int = 100
    """Steps of linear warm-up (not with ``authors``, which has its own)."""
    weight_decay: float = 1e-5
    clip: float = 1.0
    """Largest gradient norm."""
    batch: int = 128
    epochs: int = 500
    steps: int | None = None
    """Total optimiser steps; None takes them from ``epochs``."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, per step; None keeps none, as the authors."""
    seed: int = 0

    def __post_init__(self) -> None:
        _number("fit.lr", self.lr, 1e-12, 1e3)
        _choice("fit.schedule", self.schedule, ("authors", "constant", "cosine"))
        _whole("fit.warmup", self.warmup, 0)
        _number("fit.weight_decay", self.weight_decay, 0, 1e3)
        _number("fit.clip", self.clip, 1e-12, 1e30)
        _whole("fit.batch", self.batch, 1)
        _whole("fit.epochs", self.epochs, 1)
        _whole("fit.seed", self.seed, 0)
        if self.steps is not None:
            _whole("fit.steps", self.steps, 1)
        if self.ema is not None and not 0 < self.ema < 1:
            raise InputError(f"fit.ema: got {self.ema!r}, expected a decay between 0 and 1, or none")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON."""
        return _plain(self)

    @property
    def optim(self) -> Optim:
        """Return the same as a model's training settings, for the curves that are shared."""
        return Optim(lr=self.lr, schedule=self.schedule, warmup=self.warmup)


def _plain(value: Prior | Fit) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(value).items()}


def _whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        up_to = "" if most is None else f" and <= {most}"
        raise InputError(f"{name}: got {value!r}, expected a whole number >= {least}{up_to}")


def _number(name: str, value: Any, least: float, most: float) -> None:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not plain or not least <= value <= most:
        raise InputError(f"{name}: got {value!r}, expected a number from {least:g} to {most:g}")


def _pair(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple) or len(value) != 2:
        raise InputError(f"{name}: got {value!r}, expected two numbers")
    return value


def _choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name}: got {value!r}, expected one of {', '.join(known)}")
