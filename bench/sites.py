"""Where a preset's nets call an operation: shapes, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffsda.denoiser import build_backbone
from diffsda.encoder import SequenceEncoder
from diffsda.kernels import backend
from diffsda.kernels.launch import recording
from diffsda.recipe import Recipe


@dataclass(frozen=True, order=True)
class NormSite:
    """A group_norm call: channels from x and from skip, pixels a side, modulated or not, activated or not."""

    channels: int
    skipped: int
    size: int
    modulated: bool
    act: str

    @property
    def total(self) -> int:
        """All channels."""
        return self.channels + self.skipped


def norm_sites(recipe: Recipe, frames: int = 2) -> Counter[NormSite]:
    """Count the norms of one evaluation of the frame encoder and the denoising network of a video preset."""
    with torch.device("meta"):
        encoder, backbone = SequenceEncoder(recipe).frame.eval(), build_backbone(recipe).eval()
    size = recipe.clips.size
    x = torch.empty((frames, recipe.clips.channels, size, size), device="meta")
    folded = torch.empty((frames, sum(backbone.modulation.channels)), device="meta")
    with torch.no_grad(), recording(), backend("triton"), _Watch() as watch:
        encoder(x)
        backbone.network(x, folded, folded)
    return watch.sites


class _Watch(TorchDispatchMode):
    """Note the arguments of every group_norm; tensors without data get its fake."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: Counter[NormSite] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name == "diffsda::group_norm":
            names = [argument.name for argument in func._schema.arguments]
            given = dict(zip(names, args)) | (kwargs or {})
            x, skip = given["x"], given.get("skip")
            skipped = 0 if skip is None else skip.shape[1]
            self.sites[NormSite(x.shape[1], skipped, x.shape[2], given["scale"] is not None, given["act"])] += 1
        return func(*args, **(kwargs or {}))
