"""Clip features of I3D, the network behind the paper's FVD, from the TorchScript file it is published as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from diffsda.errors import InputError
from diffsda.evaluate.judges.kinds import Array, Floats
from diffsda.evaluate.judges.weights import sha256

FRAMES = 10
"""Fewest frames that its halvings in time leave anything of."""
AT_ONCE = 8


class I3D:
    """400 numbers a clip: the last layer of I3D trained on Kinetics-400, before the softmax.

    The file is the one that StyleGAN-V's and others' FVD uses; it takes (N, C, V, H, W), resizes to 224 pixels and
    rescales itself.
    Source: the FVD of the paper's Table 13 and appendix G.1.
    Raises: InputError if the file is missing or not such a network.
    """

    name = "i3d"
    substitute = False

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        path = Path(path)
        self.version = f"torchscript {sha256(path)[:16]}"
        self._device = torch.device(device)
        try:
            self._network = torch.jit.load(str(path), map_location=self._device).eval()
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{path}: got no TorchScript file ({str(error).splitlines()[0]}), expected i3d_torchscript.pt"
            ) from None

    @torch.no_grad()
    def describe(self, clips: Array) -> Floats:
        """Return features (N, 400) of clips (N, V, C, H, W) in [-1, 1], grey or RGB.

        Raises: InputError for other shapes or fewer than ten frames.
        """
        clips = np.ascontiguousarray(clips, np.float32)
        if clips.ndim != 5 or clips.shape[2] not in (1, 3) or clips.shape[1] < FRAMES:
            raise InputError(
                f"i3d: got clips {clips.shape}, expected video (N, V, C, H, W), grey or RGB, of {FRAMES} frames or more"
            )
        parts = []
        for start in range(0, len(clips), AT_ONCE):
            x = torch.from_numpy(clips[start : start + AT_ONCE]).to(self._device)
            x = ((x.clamp(-1, 1) + 1) * 127.5).expand(-1, -1, 3, -1, -1).movedim(1, 2).contiguous()  # (N, 3, V, H, W)
            parts.append(self._network(x, rescale=True, resize=True, return_features=True).double().cpu().numpy())
        return np.concatenate(parts)
