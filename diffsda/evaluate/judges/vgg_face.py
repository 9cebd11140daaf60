"""Whose face it is, by VGG-Face through the package deepface: the paper's judge of identity."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np

from diffsda.errors import MissingPackage
from diffsda.evaluate.judges.catalogue import VGG
from diffsda.evaluate.judges.frames import enlarged
from diffsda.evaluate.judges.kinds import Floats, Frames

SIDE = 256
WIDTH = 4096


class VGGFace:
    """Vectors of VGG-Face of the first face that OpenCV's detector finds, aligned by the eyes.

    1.17 apart is where the package draws the line between people for unit vectors.
    Source: the AED of the paper's Tables 2 and 3 and the verification of Tables 10 and 11. Differs: frames of less
    than 256 pixels are enlarged before a face is looked for; where none is found the row is NaN (the authors' code
    adds a distance of 0).
    Raises: MissingPackage without the package or, when first used, without its weights.
    """

    name = "vgg-face"
    substitute = False
    threshold = 1.17

    def __init__(self) -> None:
        try:
            from deepface import DeepFace
        except (ImportError, ValueError) as error:  # ValueError: TensorFlow without tf-keras
            raise MissingPackage(f"vgg-face: judging faces needs deepface ({error}): {VGG}") from None
        self._deepface: Any = DeepFace
        self.version = f"deepface {importlib.metadata.version('deepface')}, euclidean, side {SIDE}"
        try:
            DeepFace.build_model("VGG-Face")
        except Exception as error:  # whatever the package raises when a download fails
            raise MissingPackage(f"vgg-face: its weights could not be had ({error}): {VGG}") from None

    def embed(self, frames: Frames) -> Floats:
        """Return unit vectors (N, 4096) of frames (N, H, W, 3); NaN where no face was found."""
        out = np.full((len(frames), WIDTH), np.nan)
        for i, frame in enumerate(frames):
            large, _ = enlarged(frame, SIDE)
            try:
                found = self._deepface.represent(
                    img_path=np.ascontiguousarray(large[..., ::-1]),  # it reads blue first
                    model_name="VGG-Face",
                    detector_backend="opencv",
                    enforce_detection=True,
                    align=True,
                )
            except ValueError:  # how it says that it found no face
                continue
            if found:
                vector = np.asarray(found[0]["embedding"], np.float64)
                out[i] = vector / np.linalg.norm(vector)
        return out
