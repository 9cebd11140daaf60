"""How a session runs a model: precision, layout, route and tile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch

from diffsda.errors import InputError
from diffsda.recipe import Recipe

Precision = Literal["auto", "float32", "bf16", "fp16"]
Layout = Literal["auto", "channels_last", "contiguous"]
Route = Literal["auto", "eager", "graph", "compile"]

TYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

FASTER: dict[tuple[str, str], Route] = {}
"""Preset and device name -> the route its record in bench/records found fastest; a graph where there is none."""

ROWS_ON_CUDA = {"unet": 160, "mlp": 65536}
"""Frames in a tile on a GPU: 160 frames of the largest video preset need under 2 GB."""
ROWS_ON_CPU = {"unet": 16, "mlp": 2048}
"""Frames in a tile on a CPU: few enough for activations to stay in the last cache between operations."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How to run a model. What is ``auto`` (or None) is settled by ``resolve`` for a device.

    ``precision``: of the networks; the solver's state, norms and embeddings stay float32. auto is float32 on the
    CPU and for vector networks, bf16 for video on CUDA. ``layout``: of video activations. ``route``: ``eager``;
    ``graph``, one CUDA graph over a whole sample; ``compile``, networks through torch.compile (inside a graph on
    CUDA). ``tile``: frames worked on at once.
    """

    precision: Precision = "auto"
    layout: Layout = "auto"
    route: Route = "auto"
    tile: int | None = None

    def __post_init__(self) -> None:
        for name, kind in (("precision", Precision), ("layout", Layout), ("route", Route)):
            given: Any = getattr(self, name)
            if given not in get_args(kind):
                raise InputError(f"{name}: got {given!r}, expected one of {', '.join(get_args(kind))}")
        if self.tile is not None and (type(self.tile) is not int or self.tile < 1):
            raise InputError(f"tile: got {self.tile!r}, expected a number of frames of at least 1")

    @property
    def dtype(self) -> torch.dtype:
        """The networks' type; a resolved execution has one."""
        return TYPES[self.precision]

    def resolve(self, device: torch.device, recipe: Recipe) -> Execution:
        """Return this with nothing left open.

        Raises: InputError for a route the device does not have.
        """
        cuda, kind = device.type == "cuda", recipe.backbone.kind
        video = kind == "unet"
        precision, layout, route = self.precision, self.layout, self.route
        if precision == "auto":
            precision = "bf16" if cuda and video else "float32"
        if layout == "channels_last" and not video:
            raise InputError(f"layout: got channels_last for the vector recipe {recipe.name}, expected auto: no images")
        if layout == "auto":
            layout = "channels_last" if cuda else "contiguous"
        if route == "auto":
            named = (recipe.name, torch.cuda.get_device_name(device)) if cuda else (recipe.name, "cpu")
            route = FASTER.get(named, "graph" if cuda else "eager")
        if route == "graph" and not cuda:
            raise InputError(f"route: got 'graph' on {device}, expected eager or compile: graphs need a CUDA device")
        tile = self.tile or (ROWS_ON_CUDA if cuda else ROWS_ON_CPU)[kind]
        return replace(self, precision=precision, layout=layout, route=route, tile=tile)
