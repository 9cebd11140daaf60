"""68 landmarks of a face by the package face_alignment, the paper's judge of faces that move."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np

from diffsda.errors import MissingPackage
from diffsda.evaluate.judges.catalogue import FAN
from diffsda.evaluate.judges.frames import enlarged, shrunk
from diffsda.evaluate.judges.kinds import Floats, Frames

SIDE = 256
POINTS = 68


class FaceAlignment:
    """The two-dimensional landmarks of the first face found in a frame.

    Source: the AKD of the paper's Tables 2 and 3. Differs: frames of less than 256 pixels are enlarged before a face
    is looked for, points are given in pixels of the frame that came.
    Raises: MissingPackage without the package or, when first used, without its weights.
    """

    name = "face-alignment"
    substitute = False

    def __init__(self, device: str = "cpu") -> None:
        try:
            import face_alignment
        except ImportError as error:
            raise MissingPackage(f"face-alignment: judging landmarks needs it ({error}): {FAN}") from None
        import torch

        kinds = face_alignment.LandmarksType
        # The name of the same kind changed between versions.
        kind = kinds.TWO_D if hasattr(kinds, "TWO_D") else kinds._2D
        self.version = f"face-alignment {importlib.metadata.version('face-alignment')}, side {SIDE}"
        keeps = torch.is_grad_enabled()
        try:
            self._find: Any = face_alignment.FaceAlignment(kind, flip_input=False, device=device)
        except OSError as error:  # no network, or no room for the weights
            raise MissingPackage(f"face-alignment: its weights could not be had ({error}): {FAN}") from None
        finally:
            torch.set_grad_enabled(keeps)

    def locate(self, frames: Frames) -> Floats:
        """Return points (N, 68, 2) in pixels of frames (N, H, W, 3); NaN where no face was found."""
        import torch

        out = np.full((len(frames), POINTS, 2), np.nan)
        keeps = torch.is_grad_enabled()
        try:
            for i, frame in enumerate(frames):
                large, times = enlarged(frame, SIDE)
                faces = self._find.get_landmarks_from_image(np.ascontiguousarray(large))
                if faces is not None and len(faces):
                    out[i] = shrunk(np.asarray(faces[0], np.float64)[:, :2], times)
        finally:
            # Some versions leave gradients switched off for everybody.
            torch.set_grad_enabled(keeps)
        return out
