"""18 joints of a body by OpenPose's network, the paper's judge of bodies that move; weights from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsda.evaluate.judges.kinds import Floats, Frames
from diffsda.evaluate.judges.weights import read, sha256

JOINTS = 18
HEIGHT = 368
"""Pixels that a frame is enlarged or reduced to."""
LEAST = 0.1
"""Height below which a peak of a joint's map is none."""
# Left and right joints change places in a mirrored frame; the last map is the background.
MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16, 18)
WHAT = "pose_model.pth: the VGG-19 network of realtime multi-person pose estimation for 18 joints (COCO)"


class OpenPose:
    """The highest peak of every joint's map, where it is high enough.

    The mean is taken of the maps of a frame and of its mirror image, as the TaiChi evaluation does.
    Source: the AKD of TaiChi-HD in the paper's Tables 2 and 3 (pose-evaluation). Differs: joints are not joined to
    people by affinity fields: a clip shows one person, and peaks are told by their height.
    Raises: InputError if the file is missing or holds another network.
    """

    name = "openpose"
    substitute = False

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        path = Path(path)
        self.version = f"weights {sha256(path)[:16]}, height {HEIGHT}"
        self._device = torch.device(device)
        network = Network()
        read(path, network, WHAT)
        self._network = network.to(self._device).eval()

    @torch.no_grad()
    def locate(self, frames: Frames) -> Floats:
        """Return joints (N, 18, 2) in pixels of frames (N, H, W, 3); NaN for those that were not found."""
        return np.stack([self._joints(frame) for frame in frames])

    def _joints(self, frame: Frames) -> Floats:
        high, wide = frame.shape[:2]
        x = torch.from_numpy(np.ascontiguousarray(frame[..., ::-1])).to(self._device)  # blue first
        x = x.permute(2, 0, 1)[None].float() / 256 - 0.5
        size = (HEIGHT, max(8, round(wide * HEIGHT / high / 8) * 8))
        x = functional.interpolate(x, size, mode="bicubic", align_corners=False)
        maps = self._network(x)
        mirrored = self._network(x.flip(3)).flip(3)[:, list(MIRRORED)]
        heat = functional.interpolate((maps + mirrored) / 2, size, mode="bicubic", align_corners=False)[0, :JOINTS]
        top, where = heat.flatten(1).max(dim=1)
        rows, columns = where // size[1], where % size[1]
        points = torch.stack([(columns + 0.5) * wide / size[1], (rows + 0.5) * high / size[0]], dim=1) - 0.5
        out = points.double().cpu().numpy()
        out[top.cpu().numpy() < LEAST] = np.nan
        return out


class Network(nn.Module):
    """The first ten layers of VGG-19, then six stages with a branch for limbs and one for joints.

    Takes (N, 3, H, W) blue first in [-0.5, 0.5], returns the joints' maps (N, 19, H/8, W/8) of the last stage.
    Module names are those of the published weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model0 = _trunk()
        for branch, maps in ((1, 38), (2, 19)):
            for stage in range(1, 7):
                layers = _first(maps) if stage == 1 else _later(maps)
                self.add_module(f"model{stage}_{branch}", layers)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.model0(x)
        held = seen
        joints = seen
        for stage in range(1, 7):
            limbs = self.get_submodule(f"model{stage}_1")(held)
            joints = self.get_submodule(f"model{stage}_2")(held)
            held = torch.cat([limbs, joints, seen], dim=1)
        return joints


def _trunk() -> nn.Sequential:
    layers: list[nn.Module] = []
    held = 3
    for wide in (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 256, 128):
        if not wide:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers += [nn.Conv2d(held, wide, 3, 1, 1), nn.ReLU(inplace=True)]
        held = wide
    return nn.Sequential(*layers)


def _first(maps: int) -> nn.Sequential:
    return _convolutions([(128, 128, 3), (128, 128, 3), (128, 128, 3), (128, 512, 1), (512, maps, 1)])


def _later(maps: int) -> nn.Sequential:
    return _convolutions([(185, 128, 7), *[(128, 128, 7)] * 4, (128, 128, 1), (128, maps, 1)])


def _convolutions(sizes: list[tuple[int, int, int]]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for held, wide, side in sizes:
        layers += [nn.Conv2d(held, wide, side, 1, side // 2), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])  # maps may be below zero
