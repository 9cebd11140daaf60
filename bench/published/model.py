"""The published model as one module: encoder, denoiser and loss, executed as the authors' code does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsda.bench.published.vector import VectorBackbone, VectorEncoder
from diffsda.bench.published.video import VideoBackbone, VideoEncoder
from diffsda.errors import InputError
from diffsda.recipe import Recipe

# What the authors' code cannot do; timing it under such a recipe would compare two different things.
_ABSENT = {"encoder.causal": False, "backbone.zero_init": False, "noise.per_frame": True}


class Published(nn.Module):
    """D(x; sigma, a) and its loss around ``backbone`` and ``encoder``.

    Source: the authors' code (EDM's preconditioning).
    """

    def __init__(self, recipe: Recipe, backbone: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.recipe = recipe
        self.backbone = backbone
        self.encoder = encoder

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return s (B, S), d (B, V, D) and the condition a = [d | s].

        Shapes: x (B, V, C, H, W) gives a (B * V, D + S); x (B, V, F) gives a (B, V, D + S).
        """
        return self.encoder(x)

    def denoise(self, x: Tensor, sigma: float | Tensor, a: Tensor) -> Tensor:
        """Return D(x; sigma, a) for one noise level for all frames.

        The level goes into a Python list of B * V entries and from there into a tensor: a host copy an
        entry when it lives on a device, at every evaluation.
        Shapes: sigma a float or a tensor without axes; output (B * V, C, H, W) or (B, V, F).
        """
        rows = x.shape[0] * x.shape[1]
        sigmas = torch.as_tensor([sigma for _ in range(rows)], device=x.device).to(torch.float32)
        return self._precondition(x, sigmas, a)

    def forward(self, x: Tensor, mask: Tensor | None = None, noise: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return the training loss of clean clips x, a tensor without axes.

        The batch is repeated ``optim.draws`` times before the encoder sees it, so every copy is encoded.
        Shapes: x (B, V, ...); mask like x, 1 where a value is missing (its error counts as zero).
        ``noise`` replaces the draws by unit normals (levels (draws * B, V, 1, ...), values like repeated x).
        """
        draws = self.recipe.optim.draws
        if draws > 1:
            x = x.repeat(draws, *[1] * (x.ndim - 1))
            mask = mask if mask is None else mask.repeat(draws, *[1] * (mask.ndim - 1))
        if noise is None:
            level = torch.randn([*x.shape[:2], *[1] * (x.ndim - 2)], device=x.device)
            noise = level, torch.randn_like(x)
        data, settings = self.recipe.noise.sigma_data, self.recipe.noise
        sigma = (settings.P_mean + settings.P_std * noise[0]).exp()
        weight = (sigma**2 + data**2) / (sigma * data) ** 2
        noisy = x + noise[1] * sigma
        _, _, a = self.encoder(x)
        denoised = self._precondition(noisy, sigma.flatten(), a)
        loss = weight * (denoised.reshape(x.shape) - x) ** 2
        if mask is not None:
            loss = torch.where(mask == 1, torch.zeros_like(loss), loss)
        return loss.mean()

    def _precondition(self, x: Tensor, sigma: Tensor, a: Tensor) -> Tensor:
        """Apply EDM's scalings around F, one sigma a frame: sigma (B * V,)."""
        data = self.recipe.noise.sigma_data
        video = x.ndim == 5
        x = x.reshape(-1, *x.shape[2:]) if video else x
        level = sigma.reshape(-1, 1, 1, 1) if video else sigma.reshape(*x.shape[:2], 1)
        c_skip = data**2 / (level**2 + data**2)
        c_out = level * data / (level**2 + data**2).sqrt()
        c_in = 1 / (data**2 + level**2).sqrt()
        c_noise = sigma.log() / 4
        return c_skip * x + c_out * self.backbone(c_in * x, c_noise, a)


def build(recipe: Recipe) -> Published:
    """Make the published model a recipe describes, with freshly drawn weights, in training mode.

    Raises: InputError for a recipe that asks for what the authors' code does not have.
    """
    for name, needed in _ABSENT.items():
        part, setting = name.split(".")
        given = getattr(getattr(recipe, part), setting)
        if given != needed:
            raise InputError(f"{name}: got {given!r}, but the published code knows only {needed!r}")
    clips, net, enc = recipe.clips, recipe.backbone, recipe.encoder
    factors = enc.dynamic + enc.static
    tail = (enc.dropout, enc.hidden, enc.static, enc.dynamic, enc.shared_static)
    if net.kind == "mlp":
        return Published(
            recipe,
            VectorBackbone(clips.channels, factors, 4 * net.width, net.dropout),
            VectorEncoder(clips.channels, 4 * enc.width, *tail),
        )
    assert clips.size is not None, "a recipe with a U-Net has a frame size"
    shape = (net.width, net.multipliers, net.attention, net.blocks, net.dropout)
    levels = (enc.width, enc.multipliers, enc.attention, enc.blocks)
    return Published(
        recipe,
        VideoBackbone(clips.channels, factors, *shape),
        VideoEncoder(clips.channels, clips.size, *levels, *tail),
    )
