"""Who a figure is, by a ResNet-50 trained to find people again on Market-1501; weights from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from diffsda.evaluate.judges.kinds import Floats, Frames
from diffsda.evaluate.judges.weights import read, sha256

SIZE = (288, 144)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AT_ONCE = 16
WHAT = "net_last.pth: a ResNet-50 (ft_net, 751 people) trained on Market-1501"


class Market1501:
    """2048 numbers a figure: what the network's last pooling gives.

    Source: the AED of TaiChi-HD in the paper's Tables 2 and 3. Differs: pixels are divided by 255 once and the network
    is in evaluation mode; the published evaluation divides twice, so that its input is nearly constant, and normalises
    each frame by its own statistics. ``as_published`` does both.
    Raises: InputError if the file is missing or holds another network.
    """

    name = "market1501"
    substitute = False
    threshold = float("nan")

    def __init__(self, path: str | Path, device: str = "cpu", as_published: bool = False) -> None:
        path = Path(path)
        self.as_published = as_published
        self.version = f"weights {sha256(path)[:16]}" + (", as published" if as_published else "")
        self._device = torch.device(device)
        network = ResNet50()
        read(path, network, WHAT, ignore=r"(classifier|fc)\.", rename=r"model\.")
        self._network = network.to(self._device).train(as_published)

    @torch.no_grad()
    def embed(self, frames: Frames) -> Floats:
        """Return vectors (N, 2048) of frames (N, H, W, 3); every frame is taken to show somebody."""
        from PIL import Image

        at_once = 1 if self.as_published else AT_ONCE
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
        parts = []
        for start in range(0, len(frames), at_once):
            pictures = [
                np.asarray(Image.fromarray(frame).resize(SIZE[::-1], Image.Resampling.BICUBIC))
                for frame in frames[start : start + at_once]
            ]
            x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
            x = x / 255 if self.as_published else x
            parts.append(self._network(((x - mean) / std).to(self._device)).double().cpu().numpy())
        return np.concatenate(parts)


class ResNet50(nn.Module):
    """ResNet-50 without its last layer: (N, 3, H, W) to (N, 2048). Module names are those of published weights.

    Source: He et al. 2016, with the stride in the 3 x 3 convolution, as weights are usually published.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        held = 64
        for i, (wide, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
            blocks = [Block(held, wide, 1 if i == 1 else 2)]
            held = 4 * wide
            blocks += [Block(held, wide, 1) for _ in range(count - 1)]
            self.add_module(f"layer{i}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for i in range(1, 5):
            x = self.get_submodule(f"layer{i}")(x)
        return x.mean(dim=(2, 3))


class Block(nn.Module):
    """Three convolutions around a short cut: reduce, look, widen four times."""

    def __init__(self, held: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(held, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv2, self.bn2 = nn.Conv2d(wide, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv3, self.bn3 = nn.Conv2d(wide, 4 * wide, 1, bias=False), nn.BatchNorm2d(4 * wide)
        self.downsample: nn.Module | None = None
        if stride != 1 or held != 4 * wide:
            self.downsample = nn.Sequential(nn.Conv2d(held, 4 * wide, 1, stride, bias=False), nn.BatchNorm2d(4 * wide))

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + short)
