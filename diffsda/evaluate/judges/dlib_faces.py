"""Faces by dlib: 68 landmarks, and whose face it is; models and weights ship in packages."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.errors import MissingPackage
from diffsda.evaluate.judges.catalogue import FACE
from diffsda.evaluate.judges.frames import enlarged, shrunk
from diffsda.evaluate.judges.kinds import Floats, Frames

SIDE = 256
"""Shorter side below which frames are enlarged: the detector sees faces from 80 pixels on."""
POINTS, WIDTH = 68, 128


class _Dlib:
    """One face a frame: the one that the detector is surest of."""

    name = "dlib"
    substitute = True

    def __init__(self) -> None:
        dlib, models = _models()
        self._detect = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
        packages = ("dlib-bin", "face-recognition-models")
        self.version = ", ".join([*(f"{name} {_version(name)}" for name in packages), f"side {SIDE}"])

    def _face(self, frame: Frames) -> tuple[Frames, Any, Floats] | None:
        """Return the frame as it was looked at, the face's shape in it, and how many times it was enlarged."""
        large, times = enlarged(frame, SIDE)
        large = np.ascontiguousarray(large)
        found, scores, _ = self._detect.run(large, 0, 0.0)
        if not len(found):
            # Once more at twice the size, which is slow, for faces that do not fill the frame.
            found, scores, _ = self._detect.run(large, 1, 0.0)
        if not len(found):
            return None
        return large, self._predict(large, found[int(np.argmax(scores))]), times


class DlibLandmarks(_Dlib):
    """68 points of a face.

    Differs: the paper's are the 68 points of face_alignment, a network; the numbering is the same, the points are not.
    """

    def locate(self, frames: Frames) -> Floats:
        """Return points (N, 68, 2) in pixels of frames (N, H, W, 3); NaN where no face was found."""
        out = np.full((len(frames), POINTS, 2), np.nan)
        for i, frame in enumerate(frames):
            if (face := self._face(frame)) is not None:
                _, shape, times = face
                out[i] = shrunk(np.array([(p.x, p.y) for p in shape.parts()], np.float64), times)
        return out


class DlibFaces(_Dlib):
    """128 numbers of a face; 0.6 apart is where its authors draw the line between people.

    Differs: the paper's are of VGG-Face; distances are on another scale.
    """

    threshold = 0.6

    def __init__(self) -> None:
        super().__init__()
        dlib, models = _models()
        self._encode = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def embed(self, frames: Frames) -> Floats:
        """Return vectors (N, 128) of frames (N, H, W, 3); NaN where no face was found."""
        out = np.full((len(frames), WIDTH), np.nan)
        for i, frame in enumerate(frames):
            if (face := self._face(frame)) is not None:
                out[i] = np.array(self._encode.compute_face_descriptor(face[0], face[1]))
        return out


@functools.lru_cache(maxsize=1)
def _models() -> tuple[Any, Path]:
    """Return dlib and the folder of its weights.

    The package that brings the weights is not imported: it needs a module that new setuptools do not have.
    """
    try:
        import dlib
    except ImportError as error:
        raise MissingPackage(f"dlib: judging faces needs it ({error}): {FACE}") from None
    found = importlib.util.find_spec("face_recognition_models")
    for place in (found.submodule_search_locations if found else None) or ():
        if (folder := Path(place) / "models").is_dir():
            return dlib, folder
    raise MissingPackage(f"dlib: its weights are missing, the package face_recognition_models: {FACE}")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
