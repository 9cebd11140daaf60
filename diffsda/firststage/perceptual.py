"""The perceptual distance between frames: features of VGG16, weighted as people judge them (LPIPS).

Its weights are a download of their own. Read are: torchvision's vgg16 (``features.0.weight``), the linear heads of
LPIPS (``lin0.model.1.weight``), the whole of LPIPS (``net.slice1.0.weight``), and any latent-diffusion autoencoder's
checkpoint, which holds both.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.latent_diffusion import read_training_file

STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Convolutions of each stage by their number among VGG16's layers; a stage ends after its last ReLU."""
WIDTHS = (64, 128, 256, 512, 512)
_EPS = 1e-10
_NAME = re.compile(r"(?:loss\.)?(?:perceptual_loss\.)?(?:net\.slice\d\.(\d+)|features\.(\d+))\.(weight|bias)")
_HEAD = re.compile(r"(?:loss\.)?(?:perceptual_loss\.)?lin(\d)\.model\.\d+\.weight")


class Perceptual(nn.Module):
    """LPIPS: the weighted squared difference of normalised VGG16 features, averaged over positions, summed over stages.

    Shapes: a, b (N, 3, H, W) in [-1, 1] -> (N,).
    Source: Zhang et al. 2018, version 0.1 with VGG16, as latent diffusion trains its autoencoders.
    """

    # Of ImageNet's pixels, moved to [-1, 1]: constants, not weights.
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        before = 3
        self.stages = nn.ModuleList()
        for numbers, width in zip(STAGES, WIDTHS):
            stage = nn.ModuleDict()
            for number in numbers:
                stage[str(number)] = nn.Conv2d(before, width, 3, padding=1)
                before = width
            self.stages.append(stage)
        self.heads = nn.ParameterList(torch.zeros(width) for width in WIDTHS)
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        total = a.new_zeros(a.shape[0])
        a, b = (a - self.mean) / self.std, (b - self.mean) / self.std
        for i, (stage, head) in enumerate(zip(self.stages, self.heads)):
            assert isinstance(stage, nn.ModuleDict)
            if i:
                a, b = F.max_pool2d(a, 2), F.max_pool2d(b, 2)
            for convolution in stage.values():
                a, b = convolution(a).relu(), convolution(b).relu()
            apart = (_unit(a) - _unit(b)).square()
            total = total + (apart * head.view(-1, 1, 1)).sum(1).mean((1, 2))
        return total

    def digest(self) -> str:
        """Return the SHA-256 of the weights."""
        total = hashlib.sha256()
        for _, value in sorted(self.state_dict().items()):
            total.update(value.detach().cpu().contiguous().numpy().data)
        return total.hexdigest()


def load_perceptual(paths: Sequence[str | Path]) -> Perceptual:
    """Load the perceptual distance from one file or several that complete each other; frozen.

    Raises: CheckpointError if a file is damaged or hostile, or a weight is missing or of another size.
    """
    found: dict[str, Tensor] = {}
    for path in paths:
        for name, value in read_training_file(path).items():
            place = _place(name)
            if place is not None:
                found[place] = value.flatten() if place.startswith("heads") else value
    where = ", ".join(map(str, paths))
    with torch.device("meta"):
        model = Perceptual()
    for name, like in model.state_dict().items():
        given = found.get(name)
        if given is None or given.shape != like.shape:
            got = "none" if given is None else f"shape {tuple(given.shape)}"
            raise CheckpointError(
                f"{where}: perceptual weights: got {got} for {name}, expected {tuple(like.shape)}: VGG16's features "
                "and LPIPS's linear heads, in one file or two"
            )
    filled = Perceptual()
    filled.load_state_dict({name: found[name].to(torch.float32) for name in model.state_dict()})
    return filled.eval().requires_grad_(False)


def check_perceptual(channels: int, size: int) -> None:
    """Refuse frames that VGG16 cannot look at.

    Raises: InputError.
    """
    if channels != 3 or size < 2 ** (len(STAGES) - 1):
        raise InputError(
            f"--perceptual: got frames of {channels} channels and {size} pixels, expected 3 and at least "
            f"{2 ** (len(STAGES) - 1)}; leave it out"
        )


def _place(name: str) -> str | None:
    """Return our name of a tensor, or None for one that is not needed."""
    if head := _HEAD.fullmatch(name):
        return f"heads.{head[1]}"
    if part := _NAME.fullmatch(name):
        number = int(part[1] or part[2])
        for stage, numbers in enumerate(STAGES):
            if number in numbers:
                return f"stages.{stage}.{number}.{part[3]}"
    return None


def _unit(features: Tensor) -> Tensor:
    """Scale the features of every position to length 1."""
    # The tiny number is inside the root as well: its derivative at 0 is not finite.
    features = features.float()
    return features / (features.square().sum(1, keepdim=True) + _EPS**2).sqrt().add(_EPS)
