"""Judges of other packages, with stand-ins for the packages: what they are asked, and what is made of their answers."""

import importlib.metadata
import sys
import types

import numpy as np
import pytest
import torch

from diffsda.errors import MissingPackage
from diffsda.evaluate.judges import dlib_faces
from diffsda.evaluate.judges.dlib_faces import DlibFaces, DlibLandmarks
from diffsda.evaluate.judges.dnsmos import Dnsmos
from diffsda.evaluate.judges.face_alignment import FaceAlignment
from diffsda.evaluate.judges.mediapipe_points import FaceMesh, Pose
from diffsda.evaluate.judges.resemblyzer_voices import Resemblyzer
from diffsda.evaluate.judges.vgg_face import VGGFace


def spots(count=3, side=64):
    """Return dark frames (count, side, side, 3) with a bright block at (10 + 8 i, 20), and a black one."""
    out = np.zeros((count + 1, side, side, 3), np.uint8)
    for i in range(count):
        out[i, 18:23, 8 + 8 * i : 13 + 8 * i] = 255
    return out


WHERE = np.array([[10.0, 20.0], [18.0, 20.0], [26.0, 20.0]])


def centre(picture):
    """Return where the bright block is in a picture, or None."""
    bright = picture.astype(float).sum(-1)
    if bright.max() == 0:
        return None
    ys, xs = np.nonzero(bright > bright.max() / 2)
    return xs.mean(), ys.mean()


@pytest.fixture
def install(monkeypatch):
    """Put a stand-in where a package would be."""
    versions = {}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions[name])

    def put(name, version="1.2.3", distribution=None, **content):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        versions[distribution or name] = version
        return module

    return put


@pytest.fixture
def absent(monkeypatch):
    """Take packages away."""

    def take(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return take


@pytest.fixture
def dlib(install, monkeypatch, tmp_path):
    """Install a dlib whose detector finds the bright block from 200 pixels on, and weights for it."""
    sizes = []

    class Shape:
        def __init__(self, x, y):
            self.x, self.y = x, y

        def parts(self):
            return [types.SimpleNamespace(x=self.x + i, y=self.y) for i in range(68)]

    class Detector:
        def run(self, picture, larger, threshold):
            sizes.append(picture.shape)
            assert picture.flags.c_contiguous
            at = centre(picture)
            return ([], [], []) if at is None else (["elsewhere", at], [0.1, 0.9], [0, 0])

    class Encoder:
        def __init__(self, path):
            assert path.endswith("dlib_face_recognition_resnet_model_v1.dat")

        def compute_face_descriptor(self, picture, shape):
            return [shape.x / picture.shape[1]] * 128

    install(
        "dlib",
        distribution="dlib-bin",
        get_frontal_face_detector=Detector,
        shape_predictor=lambda path: lambda picture, box: Shape(*box),
        face_recognition_model_v1=Encoder,
    )
    (tmp_path / "models").mkdir()
    weights = install("face_recognition_models", distribution="face-recognition-models")
    weights.__spec__ = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    dlib_faces._models.cache_clear()
    yield sizes
    dlib_faces._models.cache_clear()


def test_dlib_points_are_in_pixels_of_the_frame(dlib):
    found = DlibLandmarks().locate(spots())
    assert found.shape == (4, 68, 2)
    assert np.allclose(found[:3, 0], WHERE, atol=0.2)
    assert np.allclose(found[:3, 67, 0] - found[:3, 0, 0], 67 / 4)  # a point further in the enlarged frame
    assert np.isnan(found[3]).all()
    assert set(dlib) == {(256, 256, 3)}


def test_dlib_leaves_large_frames_as_they_are(dlib):
    found = DlibLandmarks().locate(np.repeat(np.repeat(spots(), 5, 1), 5, 2))
    assert set(dlib) == {(320, 320, 3)}
    assert np.allclose(found[0, 0], WHERE[0] * 5 + 2, atol=0.01)


def test_dlib_tells_faces(dlib):
    judge = DlibFaces()
    found = judge.embed(spots())
    assert found.shape == (4, 128)
    assert np.allclose(found[:3, 0], (WHERE[:, 0] + 0.5) / 64, atol=0.01)
    assert np.isnan(found[3]).all()
    assert (judge.threshold, judge.substitute) == (0.6, True)
    assert "dlib-bin 1.2.3" in judge.version
    assert "face-recognition-models 1.2.3" in judge.version


def test_dlib_without_its_parts_says_what_to_install(dlib, absent, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"weights.*judges-face"):
        DlibFaces()
    absent("dlib")
    with pytest.raises(MissingPackage, match=r"pip install 'diffsda\[judges-face\]'"):
        DlibLandmarks()


@pytest.mark.parametrize("names", [("TWO_D", "THREE_D"), ("_2D", "_3D")])
def test_face_alignment_points(install, names):
    asked = []

    class Finder:
        def __init__(self, kind, flip_input, device):
            asked.append((kind, flip_input, device))

        def get_landmarks_from_image(self, picture):
            torch.set_grad_enabled(False)  # as some versions do
            at = centre(picture)
            return None if at is None else [np.tile([*at], (68, 1)), np.zeros((68, 2))]

    kinds = types.SimpleNamespace(**{name: name for name in names})
    install("face_alignment", distribution="face-alignment", LandmarksType=kinds, FaceAlignment=Finder)
    judge = FaceAlignment()
    found = judge.locate(spots())
    assert asked == [(names[0], False, "cpu")]
    assert np.allclose(found[:3, 5], WHERE, atol=0.2)
    assert np.isnan(found[3]).all()
    assert torch.is_grad_enabled()
    assert not judge.substitute


def test_face_alignment_without_weights_is_missing(install, absent):
    def offline(*args, **named):
        raise OSError("no route to host")

    kinds = types.SimpleNamespace(TWO_D=1)
    install("face_alignment", distribution="face-alignment", LandmarksType=kinds, FaceAlignment=offline)
    with pytest.raises(MissingPackage, match="no route to host"):
        FaceAlignment()
    absent("face_alignment")
    with pytest.raises(MissingPackage, match="pip install"):
        FaceAlignment()


def test_vgg_face_vectors_are_of_length_one_and_pictures_blue_first(install, absent):
    seen = []

    def represent(img_path, **how):
        seen.append((img_path[80, 40].tolist(), how))
        if img_path.max() == 0:
            raise ValueError("Face could not be detected in numpy array.")
        return [{"embedding": [3.0, 4.0] + [0.0] * 4094}, {"embedding": [1.0] * 4096}]

    built = []
    install("deepface", DeepFace=types.SimpleNamespace(represent=represent, build_model=built.append))
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    frames[0, ..., 0] = 200
    judge = VGGFace()
    found = judge.embed(frames)
    assert built == ["VGG-Face"]
    assert seen[0][0] == [0, 0, 200]
    how = {"model_name": "VGG-Face", "detector_backend": "opencv", "enforce_detection": True, "align": True}
    assert seen[0][1] == how
    assert found.shape == (2, 4096)
    assert found[0, :3].tolist() == [0.6, 0.8, 0.0]
    assert np.isnan(found[1]).all()
    assert judge.threshold == 1.17
    absent("deepface")
    with pytest.raises(MissingPackage, match="deepface"):
        VGGFace()


def test_vgg_face_without_weights_is_missing(install):
    def offline(name):
        raise RuntimeError("cannot download")

    install("deepface", DeepFace=types.SimpleNamespace(build_model=offline))
    with pytest.raises(MissingPackage, match="cannot download"):
        VGGFace()


def mediapipe(install, **named):
    """Install a mediapipe that finds the bright block, with every point there but the last, which it hardly sees."""

    class Finder:
        def __init__(self, **how):
            self.how = how
            assert how["static_image_mode"]

        def process(self, picture):
            at = centre(picture)
            points = []
            if at is not None:
                x, y = ((v + 0.5) / side for v, side in zip(at, picture.shape[1::-1], strict=True))
                points = [types.SimpleNamespace(x=x, y=y, visibility=0.9) for _ in range(33 if POSE(self) else 468)]
                points[-1].visibility = 0.1
            held = types.SimpleNamespace(landmark=points)
            return types.SimpleNamespace(
                multi_face_landmarks=[held] if points else None, pose_landmarks=held if points else None
            )

    def POSE(finder):
        return "model_complexity" in finder.how

    solutions = types.SimpleNamespace(
        face_mesh=types.SimpleNamespace(FaceMesh=Finder), pose=types.SimpleNamespace(Pose=Finder)
    )
    return install("mediapipe", **(named or {"solutions": solutions}))


def test_mediapipe_faces(install):
    mediapipe(install)
    found = FaceMesh().locate(spots())
    assert found.shape == (4, 468, 2)
    assert np.allclose(found[:3, 0], WHERE, atol=0.2)
    assert np.isnan(found[3]).all()


def test_mediapipe_joints_that_are_hardly_seen_are_not_found(install):
    mediapipe(install)
    judge = Pose()
    found = judge.locate(spots())
    assert found.shape == (4, 33, 2)
    assert np.allclose(found[:3, :32], WHERE[:, None], atol=0.2)
    assert np.isnan(found[:, 32]).all()
    assert np.isnan(found[3]).all()
    assert judge.substitute


def test_mediapipe_without_models_is_missing(install, absent):
    mediapipe(install, tasks=None)
    with pytest.raises(MissingPackage, match=r"1\.2\.3, which brings no models"):
        Pose()
    absent("mediapipe")
    with pytest.raises(MissingPackage, match=r"mediapipe==0\.10\.21"):
        FaceMesh()


def test_voices_are_brought_to_one_rate_and_loudness(install, absent):
    heard = []

    class Encoder:
        def __init__(self, device, verbose):
            assert (device, verbose) == ("cpu", False)

        def embed_utterance(self, sound):
            heard.append(len(sound))
            return np.full(256, sound[0])

    install(
        "resemblyzer",
        VoiceEncoder=Encoder,
        normalize_volume=lambda sound, target, increase_only: sound * 0 + (target if increase_only else 1),
    )
    judge = Resemblyzer()
    found = judge.embed([np.ones(8000, np.float32), np.zeros(8000, np.float32), np.ones(1500, np.float32)], 8000)
    assert heard == [16000]
    assert found.shape == (3, 256)
    assert (found[0] == -30).all()
    assert np.isnan(found[1:]).all()  # silence, and less than 0.2 s
    absent("resemblyzer")
    with pytest.raises(MissingPackage, match="webrtcvad-wheels"):
        Resemblyzer()


def test_speech_is_rated_at_one_rate_and_never_too_loud(install, absent):
    heard = []

    def run(sound, sr):
        heard.append((len(sound), float(np.abs(sound).max()), sr))
        return {"ovrl_mos": 3.0, "sig_mos": 3.5, "bak_mos": 4.0, "p808_mos": np.float32(2.5), "filename": None}

    install("speechmos", dnsmos=types.SimpleNamespace(run=run))
    judge = Dnsmos()
    said = judge.rate([4 * np.ones(8000, np.float32), np.zeros(8000, np.float32)], 8000)
    assert heard == [(16000, 1.0, 16000)]
    assert judge.scales == ("ovrl", "sig", "bak", "p808") == tuple(said)
    assert [said[scale][0] for scale in judge.scales] == [3.0, 3.5, 4.0, 2.5]
    assert all(np.isnan(said[scale][1]) for scale in judge.scales)
    absent("speechmos")
    with pytest.raises(MissingPackage, match="speechmos"):
        Dnsmos()
