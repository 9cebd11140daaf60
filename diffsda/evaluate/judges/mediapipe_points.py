"""Points of faces and bodies by mediapipe; the models ship in its package."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np

from diffsda.errors import MissingPackage
from diffsda.evaluate.judges.catalogue import POSE
from diffsda.evaluate.judges.frames import enlarged
from diffsda.evaluate.judges.kinds import Floats, Frames

SIDE = 256
"""Shorter side below which frames are enlarged."""
SEEN = 0.5
"""Visibility below which a joint counts as not found."""


class FaceMesh:
    """468 points of a face.

    Differs: the paper's landmarks are 68 others; distances are means over points, but not of the same points.
    """

    name = "mediapipe"
    substitute = True
    POINTS = 468

    def __init__(self) -> None:
        solutions = _solutions()
        self.version = f"mediapipe {importlib.metadata.version('mediapipe')}, mesh, side {SIDE}"
        # Every frame stands for itself: tracking would let its neighbours decide.
        self._find: Any = solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=False)

    def locate(self, frames: Frames) -> Floats:
        """Return points (N, 468, 2) in pixels of frames (N, H, W, 3); NaN where no face was found."""
        out = np.full((len(frames), self.POINTS, 2), np.nan)
        for i, frame in enumerate(frames):
            large, _ = enlarged(frame, SIDE)
            faces = self._find.process(np.ascontiguousarray(large)).multi_face_landmarks
            if faces:
                out[i] = _pixels(faces[0].landmark, frame.shape)
        return out


class Pose:
    """33 points of a body; those it does not see well are not found.

    Differs: the paper's are OpenPose's 18 joints.
    """

    name = "mediapipe"
    substitute = True
    POINTS = 33

    def __init__(self) -> None:
        solutions = _solutions()
        self.version = f"mediapipe {importlib.metadata.version('mediapipe')}, pose full, side {SIDE}, seen {SEEN}"
        # The full model: the heavy and the light one are not in the package.
        self._find: Any = solutions.pose.Pose(static_image_mode=True, model_complexity=1)

    def locate(self, frames: Frames) -> Floats:
        """Return points (N, 33, 2) in pixels of frames (N, H, W, 3); NaN for those that were not found."""
        out = np.full((len(frames), self.POINTS, 2), np.nan)
        for i, frame in enumerate(frames):
            large, _ = enlarged(frame, SIDE)
            body = self._find.process(np.ascontiguousarray(large)).pose_landmarks
            if body is not None:
                out[i] = _pixels(body.landmark, frame.shape)
                out[i, [point.visibility < SEEN for point in body.landmark]] = np.nan
        return out


def _pixels(points: Any, shape: tuple[int, ...]) -> Floats:
    """Return points that are given as shares of the picture in pixels; the centre of the first one is 0."""
    shares = np.array([(point.x, point.y) for point in points], np.float64)
    return shares * np.array([shape[1], shape[0]]) - 0.5


def _solutions() -> Any:
    """Return the part of mediapipe with models of its own."""
    try:
        import mediapipe
    except (ImportError, AttributeError) as error:  # AttributeError: a numpy or protobuf that it does not fit
        raise MissingPackage(f"mediapipe: finding points needs it ({error}): {POSE}") from None
    try:
        return mediapipe.solutions
    except AttributeError:
        raise MissingPackage(
            f"mediapipe: got {importlib.metadata.version('mediapipe')}, which brings no models: {POSE}"
        ) from None
