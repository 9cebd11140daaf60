"""A first stage as two graphs: frames to latents, and latents to frames by way of the nearest codes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from diffsda.errors import InputError
from diffsda.export.doubling import doubled
from diffsda.export.graphs import Graph
from diffsda.firststage.files import Model
from diffsda.firststage.vq import QuantisedAutoencoder
from diffsda.inference.execution import TYPES
from diffsda.inference.subpixel import phase_weights
from diffsda.recipe import Recipe

Double = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Nearest = Callable[[Tensor, Tensor], Tensor]
ENCODER, DECODER = "first_stage_encoder", "first_stage_decoder"
DIRECT = 8
"""Channels up to which distances to codes are sums of squared differences, as in the networks themselves."""


def stage_graphs(exact: Model, recipe: Recipe, precision: str) -> list[Graph]:
    """Return the graphs of a first stage, ``exact`` in float32 on the CPU, for the frames of a model's clips.

    Encoder: x (frames, C, H, W) in [-1, 1] -> latent (frames, c, h, w), before whitening. Decoder: latent, no longer
    whitened, -> x, which may lie a little outside [-1, 1].
    """
    clips, stage, rows, draw = recipe.clips, exact.stage, 2, torch.Generator().manual_seed(0)
    assert clips.size is not None
    side = clips.size * stage.factor
    x = (0.5 * torch.randn(rows, stage.channels, side, side, generator=draw)).clamp(-1, 1)
    latent = torch.randn(rows, stage.latent, clips.size, clips.size, generator=draw)
    dtype, row = TYPES[precision], ({0: "frames"},)
    # The finest level takes far more work than any other graph: few frames are tried.
    encoder = Graph(ENCODER, Encode(exact, dtype), exact.encode, ("x",), ("latent",), row, (x,), sizes=(1, 3))
    decoder = Graph(DECODER, Decode(exact, dtype), exact.decode, ("latent",), ("x",), row, (latent,), sizes=(1, 3))
    return [encoder, decoder]


def check(first_stage: Model, recipe: Recipe, provenance: Mapping[str, Any]) -> None:
    """Refuse a first stage that has other latents than a model's clips are. Raises: InputError."""
    clips, latent = recipe.clips, first_stage.stage.latent
    if not clips.latent or clips.size is None or clips.channels != latent:
        what = f"latents of {clips.channels} channels" if clips.latent else "clips that are no latents"
        raise InputError(f"first stage: got a model of {what}, expected one of latents of {latent} channels")
    wanted, given = provenance.get("first_stage"), first_stage.digest()
    if isinstance(wanted, str) and given != wanted:
        raise InputError(
            f"first stage: got {given[:12]}, expected the one the model's latents were made with ({wanted[:12]})"
        )


def about(first_stage: Model) -> dict[str, Any]:
    """Return what is to be known of a first stage besides its graphs, as plain data."""
    return {
        "encoder": "x (frames, C, H, W) in [-1, 1] -> latent (frames, c, h, w), before whitening",
        "decoder": "latent, no longer whitened, -> x, about in [-1, 1]"
        + (" (the nearest codes are found inside)" if first_stage.stage.kind == "vq" else ""),
        "digest": first_stage.digest(),
        "stage": first_stage.stage.to_dict(),
    }


class Encode(nn.Module):
    """Frames (N, C, H, W) -> latents (N, c, h, w), float32 in and out."""

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.model = copy.deepcopy(model).eval().requires_grad_(False).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.model.encode(x.to(self.dtype)).float()


class Decode(nn.Module):
    """Latents (N, c, h, w) -> frames (N, C, H, W), float32 in and out; codes are found in float32.

    ``double``: how images are doubled and convolved, as ``doubling.doubled`` does. ``nearest``: how the rows of a
    codebook that are nearest are found, as ``nearest`` does.
    """

    book: Tensor | None

    def __init__(
        self, model: Model, dtype: torch.dtype, double: Double = doubled, nearest: Nearest | None = None
    ) -> None:
        super().__init__()
        self.dtype, self.nearest = dtype, nearest or nearest_rows
        ready: Any = copy.deepcopy(model).eval().requires_grad_(False)
        level: Any
        for level in ready.decoder.up:
            if level.upsample is not None:
                level.upsample = Upsample(level.upsample.conv, double)
        self.model = ready.to(dtype)
        quantised = isinstance(model, QuantisedAutoencoder)
        self.register_buffer("book", model.quantize.embedding.weight.detach().clone() if quantised else None)  # type: ignore[union-attr, operator]

    def forward(self, latent: Tensor) -> Tensor:
        if self.book is None:
            return self.model.decode(latent.to(self.dtype)).float()
        rows = latent.permute(0, 2, 3, 1)  # (N, h, w, c)
        codes = embedding(self.nearest(rows, self.book), self.book).permute(0, 3, 1, 2)
        return self.model.decode_codes(codes.to(self.dtype)).float()


class Upsample(nn.Module):
    """Nearest-neighbour doubling and its convolution as one small convolution."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d, double: Double) -> None:
        super().__init__()
        self.doubling = double
        self.register_buffer("weight", phase_weights(conv.weight.detach()))
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.doubling(x, self.weight, self.bias)
        return y


def nearest_rows(rows: Tensor, book: Tensor) -> Tensor:
    """Return which rows of a codebook (K, D) are nearest to rows (..., D): (...), from all distances at once."""
    if book.shape[1] > DIRECT:
        return (book.square().sum(1) - 2 * rows @ book.t()).argmin(-1)
    total = torch.zeros(())
    for d in range(book.shape[1]):
        apart = rows[..., d : d + 1] - book[:, d]
        total = total + apart * apart
    return total.argmin(-1)
