"""A recipe: everything that decides what a model is and how it is trained, as frozen plain data."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from diffsda.errors import InputError

Kind = Literal["unet", "mlp"]


@dataclass(frozen=True, kw_only=True)
class Clips:
    """The shape of a clip and what it holds."""

    modality: Literal["video", "audio", "series"] = "series"
    frames: int | None = None
    """Frames V the paper trains on; None when clips vary in length. Not enforced: V is free at run time."""
    channels: int = 1
    """Image channels C, or features F of a vector step."""
    size: int | None = None
    """Height and width of a frame in pixels (or latent cells); None for vectors."""
    latent: bool = False
    """Frames are first-stage latents, whitened to standard deviation 0.5."""
    stride: int = 1
    """Frames from one frame taken to the next, where clips are taken from longer videos; less in short ones."""
    window: Literal["run", "anywhere"] = "run"
    """What a training step takes of a longer video: a run of frames from a random start (the authors' code), or frames
    from anywhere in it, in order (the paper)."""
    flip: bool = False
    """Mirror half of the training clips."""
    reverse: bool = False
    """Play half of the training clips backwards."""
    jitter: float = 0.0
    """Largest share by which brightness, contrast, saturation and hue of a training clip are changed."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The denoising network F, one frame at a time."""

    kind: Kind = "mlp"
    width: int = 64
    """U-Net: channels of the first level. MLP: a quarter of the layer width (the paper's base channels)."""
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    """U-Net: width of each level as a multiple of ``width``. The MLP has five layers of 4 * width."""
    attention: tuple[int, ...] = (2,)
    """U-Net: levels with self-attention."""
    blocks: int = 2
    """U-Net: residual blocks a level on the way down (one more on the way up)."""
    dropout: float = 0.1
    zero_init: bool = False
    """Start the last convolution of every residual block at zero (not in the authors' code)."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The sequential semantic encoder: frames -> static and dynamic factors."""

    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    attention: tuple[int, ...] = (2,)
    blocks: int = 2
    dropout: float = 0.1
    hidden: int = 256
    """Hidden width of the recurrent networks."""
    static: int = 32
    """S, width of the static factor."""
    dynamic: int = 4
    """D, width of a dynamic factor."""
    shared_static: bool = True
    """One static factor a clip; False gives one a frame (the paper's ablation)."""
    causal: bool = False
    """Dynamics see only the past (paper Eq. 2). The authors' code is bidirectional, so that is the default."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The training distribution of noise levels and the preconditioning (EDM)."""

    P_mean: float = -0.4
    P_std: float = 1.0
    sigma_data: float = 0.5
    per_frame: bool = True
    """Draw sigma for every frame (the authors' code) or once a sequence (EDM's per-sample draw)."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Heun's method over EDM's noise schedule; ``steps`` T costs 2T - 1 network evaluations."""

    steps: int = 32
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    S_churn: float = 0.0
    S_min: float = 0.0
    S_max: float = float("inf")
    S_noise: float = 1.0
    shared_noise: bool = False
    """Start all frames of a clip from the same noise."""


@dataclass(frozen=True, kw_only=True)
class Optim:
    """Optimiser, budget and loss sampling."""

    lr: float = 1e-4
    schedule: Literal["authors", "constant", "cosine"] = "authors"
    """``authors``: lr, 2 lr, lr, then the cosine their code really follows, an epoch at a time;
    ``cosine``: linear warm-up over ``warmup`` steps, then half a cosine to zero, a step at a time."""
    warmup: int = 0
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    """Largest gradient norm."""
    batch: int = 16
    """Clips a step over all processes and accumulated parts."""
    accumulate: int = 1
    """Parts a batch is worked through in, to save memory; the gradient is that of the whole batch."""
    epochs: int = 100
    steps: int | None = None
    """Total optimiser steps; None takes them from ``epochs``."""
    window: float = 1.0
    """Train on random windows of at least this share of a clip's frames; 1 takes clips whole, as the authors."""
    draws: int = 1
    """Noise draws a clip and step, encoded once (the authors' time series use ten)."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, per step; None keeps none, as the authors."""
    seed: int = 0


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
        _check(self)

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any value but the name."""
        plain = self.to_dict()
        plain.pop("name")
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, fit for JSON (infinity is written as the string 'inf')."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Recipe:
        """Read what ``to_dict`` wrote; unknown names are refused, missing ones take their defaults."""
        return _build(cls, plain, "recipe")

    def replace(self, **parts: dict[str, Any] | Any) -> Recipe:
        """Return a copy with changes: ``recipe.replace(optim={'lr': 1e-3}, name='mine')``."""
        new: dict[str, Any] = {}
        for name, value in parts.items():
            old = getattr(self, name)
            if dataclasses.is_dataclass(old) and isinstance(value, dict):
                value = dataclasses.replace(old, **value)  # type: ignore[type-var]
            new[name] = value
        return dataclasses.replace(self, **new)


_PARTS = {
    "clips": Clips,
    "backbone": Backbone,
    "encoder": Encoder,
    "noise": Noise,
    "sampling": Sampling,
    "optim": Optim,
}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value


def _build(kind: type, plain: Any, where: str) -> Any:
    if not isinstance(plain, dict):
        raise InputError(f"{where}: got {type(plain).__name__}, expected a table of settings")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in plain:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{where}: unknown setting {name!r}, expected one of {', '.join(fields)}{hint}")
    values: dict[str, Any] = {}
    for name, value in plain.items():
        if kind is Recipe and name in _PARTS:
            value = _build(_PARTS[name], value, f"{where}.{name}")
        elif isinstance(value, list):
            value = tuple(value)
        elif value in ("inf", "-inf"):
            value = float(value)
        values[name] = value
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


# name -> (kind of number, smallest allowed, whether the smallest itself is allowed)
_LIMITS: dict[str, tuple[type, float, bool]] = {
    "clips.channels": (int, 1, True),
    "clips.stride": (int, 1, True),
    "clips.jitter": (float, 0, True),
    "backbone.width": (int, 1, True),
    "backbone.blocks": (int, 1, True),
    "backbone.dropout": (float, 0, True),
    "encoder.width": (int, 1, True),
    "encoder.blocks": (int, 1, True),
    "encoder.dropout": (float, 0, True),
    "encoder.hidden": (int, 1, True),
    "encoder.static": (int, 1, True),
    "encoder.dynamic": (int, 1, True),
    "noise.P_mean": (float, float("-inf"), False),
    "noise.P_std": (float, 0, False),
    "noise.sigma_data": (float, 0, False),
    "sampling.steps": (int, 2, True),
    "sampling.sigma_min": (float, 0, False),
    "sampling.sigma_max": (float, 0, False),
    "sampling.rho": (float, 0, False),
    "sampling.S_churn": (float, 0, True),
    "sampling.S_min": (float, 0, True),
    "sampling.S_max": (float, 0, True),
    "sampling.S_noise": (float, 0, True),
    "optim.lr": (float, 0, False),
    "optim.warmup": (int, 0, True),
    "optim.weight_decay": (float, 0, True),
    "optim.clip": (float, 0, False),
    "optim.batch": (int, 1, True),
    "optim.accumulate": (int, 1, True),
    "optim.epochs": (int, 1, True),
    "optim.window": (float, 0, False),
    "optim.draws": (int, 1, True),
    "optim.seed": (int, 0, True),
}

# Recipes come out of strangers' files too: none may ask for a network that takes minutes or terabytes to build.
_MOST = {
    "clips.channels": 65_536,
    "clips.jitter": 0.5,
    "backbone.width": 16_384,
    "backbone.blocks": 16,
    "encoder.width": 16_384,
    "encoder.blocks": 16,
    "encoder.hidden": 65_536,
    "encoder.static": 65_536,
    "encoder.dynamic": 65_536,
    "sampling.steps": 10_000,
    "optim.window": 1,
    "optim.draws": 10_000,
}
_MOST_PIXELS, _MOST_LEVELS, _MOST_MULTIPLIER, _MOST_FLOAT = 4096, 10, 64, 1e30


def _check(recipe: Recipe) -> None:
    """Refuse values no model or training can have, one line each."""
    _check_kinds(recipe)
    for path, (kind, least, inclusive) in _LIMITS.items():
        part, name = path.split(".")
        value = getattr(getattr(recipe, part), name)
        right_kind = isinstance(value, int) and not isinstance(value, bool) if kind is int else _is_number(value)
        if not right_kind or value < least or (value == least and not inclusive):
            what = "a whole number" if kind is int else "a number"
            raise InputError(f"{path}: got {value!r}, expected {what} {'>=' if inclusive else '>'} {least:g}")
        most = _MOST.get(path, float("inf") if kind is int or path == "sampling.S_max" else _MOST_FLOAT)
        if value > most:
            raise InputError(f"{path}: got {value!r}, expected at most {most:g}")
    for part in ("backbone", "encoder"):
        dropout = getattr(recipe, part).dropout
        if dropout >= 1:
            raise InputError(f"{part}.dropout: got {dropout!r}, expected a share below 1")
    if recipe.optim.ema is not None and not 0 < recipe.optim.ema < 1:
        raise InputError(f"optim.ema: got {recipe.optim.ema!r}, expected a decay between 0 and 1, or none")
    if recipe.optim.steps is not None and recipe.optim.steps < 1:
        raise InputError(f"optim.steps: got {recipe.optim.steps!r}, expected at least 1, or none")
    if recipe.sampling.sigma_min >= recipe.sampling.sigma_max:
        raise InputError(
            f"sampling: got sigma_min {recipe.sampling.sigma_min:g} and sigma_max "
            f"{recipe.sampling.sigma_max:g}, expected sigma_min < sigma_max"
        )
    if recipe.optim.batch % recipe.optim.accumulate:
        raise InputError(
            f"optim.accumulate: got {recipe.optim.accumulate} parts for a batch of {recipe.optim.batch}, "
            "expected a divisor of the batch"
        )
    if recipe.backbone.kind == "unet":
        _check_unet(recipe)


def _check_kinds(recipe: Recipe) -> None:
    """Refuse settings of another kind than they are declared as, where ``_LIMITS`` does not say it better."""
    if not isinstance(recipe.name, str):
        raise InputError(f"name: got {recipe.name!r}, expected a text")
    for part, kind in _PARTS.items():
        held = getattr(recipe, part)
        if not isinstance(held, kind):
            raise InputError(f"{part}: got {type(held).__name__}, expected a {kind.__name__}")
        for name, hint in _hints(kind).items():
            value = getattr(held, name)
            if f"{part}.{name}" not in _LIMITS and not _is(value, hint):
                shown = repr(value) if len(repr(value)) < 80 else f"{repr(value)[:80]}..."
                raise InputError(f"{part}.{name}: got {shown}, expected {_words(hint)}")


# Reading a class's annotations back from text is slow; there are six classes.
_hints = functools.cache(get_type_hints)


def _is(value: Any, kind: Any) -> bool:
    """Tell whether a value is of an annotated kind."""
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in inner
    if get_origin(kind) is tuple:
        right = isinstance(value, tuple) and all(_is(v, inner[0]) for v in value)
        return right and (Ellipsis in inner or len(value) == len(inner))
    if isinstance(kind, UnionType):
        return any(_is(value, k) for k in inner)
    if kind is float:
        return _is_number(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _words(kind: Any) -> str:
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(inner)}"
    if get_origin(kind) is tuple:
        return f"a list of {_words(inner[0])}s"
    if isinstance(kind, UnionType):
        return " or ".join(map(_words, inner))
    return {bool: "true or false", int: "whole number", float: "number", type(None): "none"}.get(kind, kind.__name__)


def _check_unet(recipe: Recipe) -> None:
    if recipe.clips.size is None or recipe.clips.size < 1:
        raise InputError("clips.size: got none, expected the height and width of a frame for a U-Net")
    if recipe.clips.size > _MOST_PIXELS:
        raise InputError(f"clips.size: got {recipe.clips.size}, expected at most {_MOST_PIXELS}")
    for part in ("backbone", "encoder"):
        net = getattr(recipe, part)
        if max(len(net.multipliers), len(net.attention)) > _MOST_LEVELS:
            raise InputError(
                f"{part}: got {len(net.multipliers)} multipliers and {len(net.attention)} levels with attention, "
                f"expected at most {_MOST_LEVELS}"
            )
        if any(not 1 <= m <= _MOST_MULTIPLIER for m in net.multipliers):
            raise InputError(
                f"{part}.multipliers: got {net.multipliers}, expected whole numbers from 1 to {_MOST_MULTIPLIER}"
            )
        if not net.multipliers or any(net.width * m % 32 for m in net.multipliers):
            raise InputError(
                f"{part}: got width {net.width} and multipliers {net.multipliers}, "
                "expected widths that 32 normalisation groups divide"
            )
