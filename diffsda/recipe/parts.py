"""The parts of a recipe: what a clip is, the networks, the noise, the solver, the optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
