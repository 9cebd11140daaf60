"""Cut faces out of clips: where they are comes from a file or a detector, what is cut from the authors' rule."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.video.frames_folder import Change, Pictures
from diffsda.errors import InputError, MissingPackage

if TYPE_CHECKING:
    from PIL.Image import Image

    from diffsda.data.problems import Problems

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""
Detector = Callable[[Array], Box | None]
"""Finds the face in a frame (H, W, 3) uint8: the surest one, or None."""
Square = tuple[int, int, int]
"""The middle across and down, and half the side."""

DETECTORS = ("dlib", "opencv")
ALONE = 1
"""Half a box before there was one, in the authors' code."""
SMALL = 320
"""Shorter side below which frames are enlarged for dlib."""
CHUNK = 100
"""Frames after which the authors' code forgets the last box."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is cut around a face."""

    extra: int = 40
    """Pixels added to half the longer side of a box."""
    still: bool = False
    """Cut the same square out of all frames, about the median of their boxes: for a camera that does not move."""
    size: int = 512
    """Height and width of what comes out."""
    as_published: bool = False
    """Forget the last box every hundred frames, and cut 41 pixels about the middle from the second frame without one
    on, as the authors' code does."""


def squares(boxes: Sequence[Box | None], width: int, height: int, rule: Rule) -> list[Square]:
    """Return what is cut out of each frame.

    A square about the middle of the box, of half its longer side and ``rule.extra`` pixels more; a frame without a
    face takes the last box there was. Without any, the square about the middle of the frame, two thirds of its width.
    Source: the authors' face cropping. Differs: frames before the first box take that one, and no box is forgotten.
    """
    if rule.as_published:
        parts = (boxes[at : at + CHUNK] for at in range(0, len(boxes), CHUNK))
        return [square for part in parts for square in _published(part, width, height, rule.extra)]
    found = [_middle(box) for box in boxes if box is not None]
    if not found:
        return [(width // 2, height // 2, width // 3)] * len(boxes)
    if rule.still:
        x, y, half = (int(np.median(values)) for values in zip(*found, strict=True))
        return [(x, y, half + rule.extra)] * len(boxes)
    last, cut = found[0], []
    for box in boxes:
        last = last if box is None else _middle(box)
        cut.append((last[0], last[1], last[2] + rule.extra))
    return cut


def _published(boxes: Iterable[Box | None], width: int, height: int, extra: int) -> Iterator[Square]:
    x, y, half = 0, 0, ALONE
    for box in boxes:
        if box is not None:
            x, y, half = _middle(box)
            yield x, y, half + extra
        elif x != 0 and y != 0:
            yield x, y, half + extra
        else:
            x, y = width // 2, height // 2
            yield x, y, width // 3


def _middle(box: Box) -> Square:
    left, top, right, bottom = box
    return int((left + right) / 2), int((top + bottom) / 2), int(max(abs(right - left), abs(bottom - top)) / 2)


def cut_out(picture: Image, square: Square, size: int) -> Image:
    """Cut a square out of a picture, black where it reaches over the edge, and scale it.

    Bilinear, with antialiasing where it gets smaller. Differs: the authors' code has no antialiasing.
    """
    from PIL import Image

    x, y, half = square
    half = max(half, 1)
    return picture.crop((x - half, y - half, x + half, y + half)).resize((size, size), Image.Resampling.BILINEAR)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """How the faces of a clip are found and cut out."""

    rule: Rule
    detector: str | None = None
    """Name of what finds them, one of ``DETECTORS``; None where boxes are given."""
    boxes: Sequence[Box | None] = ()
    """A box a frame."""

    def change(self, tell: Callable[[str], object]) -> Change:
        """Return what cuts the faces out of a clip's pictures; with a detector the clip is decoded twice.

        tell: told what is odd about the clip.
        """
        find = None if self.detector is None else detector(self.detector)

        def cut(pictures: Pictures) -> Iterator[Image]:
            first = next(pictures(), None)
            if first is None:
                return
            boxes = self.boxes if find is None else [find(np.asarray(picture)) for picture in pictures()]
            if not any(box is not None for box in boxes):
                tell("no face in any frame; the middle of the frames is cut out")
            cuts = squares(boxes or (None,), *first.size, self.rule)
            number = -1
            for number, picture in enumerate(pictures()):
                yield cut_out(picture, cuts[min(number, len(cuts) - 1)], self.rule.size)
            if boxes and len(boxes) != number + 1:
                tell(f"got boxes for {len(boxes)} frames, expected {number + 1}; where they end, the last is taken")

        return cut


def read_boxes(path: Path, problems: Problems) -> dict[str, list[Box | None]]:
    """Read the boxes of clips: JSON lines, {"clip": name, "boxes": [[left, top, right, bottom] or null, ...]}.

    One entry a frame. Lines that are not so, or name a clip again, are problems and passed over.
    Raises: InputError if the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected JSON lines with the boxes of faces") from None
    held: dict[str, list[Box | None]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            clip, boxes = _boxes(json.loads(line))
        except (ValueError, RecursionError) as error:
            problems.add(path, f"{error}; the line is passed over", number)
            continue
        if clip in held:
            problems.add(path, f"names clip {clip!r} a second time; the line is passed over", number)
            continue
        held[clip] = boxes
    return held


def _boxes(plain: Any) -> tuple[str, list[Box | None]]:
    if (
        not isinstance(plain, dict)
        or not isinstance(plain.get("clip"), str)
        or not isinstance(plain.get("boxes"), list)
    ):
        raise ValueError('is not {"clip": name, "boxes": [[left, top, right, bottom] or null, ...]}')
    return plain["clip"], [_box(value) for value in plain["boxes"]]


def _box(value: Any) -> Box | None:
    if value is None:
        return None
    numbers = isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) for v in value)
    if not numbers or not np.isfinite(value).all() or not np.less(np.abs(value), 1e6).all():
        raise ValueError(f"got the box {str(value)[:80]}, expected four numbers: left, top, right, bottom")
    left, top, right, bottom = map(float, value)
    return left, top, right, bottom


@functools.lru_cache(maxsize=1)
def detector(name: str) -> Detector:
    """Return a detector of faces by the name of its package.

    ``dlib``: its frontal face detector (gradients and a linear classifier; the model ships with it). ``opencv``: Haar
    cascades, what the paper crops MUG with. Differs: the paper finds faces in CelebV-HQ with FaceXZoo, whose network
    is not in any package; its boxes can be given as a file.
    Raises: MissingPackage; InputError for another name.
    """
    if name == "dlib":
        return _dlib()
    if name == "opencv":
        return _opencv()
    raise InputError(f"--detector: got {name!r}, expected one of {', '.join(DETECTORS)}")


def _dlib() -> Detector:
    try:
        import dlib
    except ImportError as error:
        raise MissingPackage(f"finding faces needs dlib ({error}): pip install dlib-bin") from None
    finder = dlib.get_frontal_face_detector()

    def find(frame: Array) -> Box | None:
        # It sees faces from 80 pixels on: small frames are looked at twice as large.
        found, scores, _ = finder.run(np.ascontiguousarray(frame), int(min(frame.shape[:2]) < SMALL), 0.0)
        if not len(found):
            return None
        best = found[int(np.argmax(scores))]
        return float(best.left()), float(best.top()), float(best.right()), float(best.bottom())

    return find


def _opencv() -> Detector:
    try:
        import cv2
    except ImportError as error:
        raise MissingPackage(f"finding faces needs OpenCV ({error}): pip install 'opencv-python-headless<5'") from None
    if not hasattr(cv2, "CascadeClassifier"):
        raise MissingPackage(
            f"finding faces needs Haar cascades, which OpenCV {cv2.__version__} has not: "
            "pip install 'opencv-python-headless<5'"
        )
    # Clips are worked on in parallel already.
    cv2.setNumThreads(1)
    models = Path(importlib.import_module("cv2.data").haarcascades)
    finder = cv2.CascadeClassifier(str(models / "haarcascade_frontalface_default.xml"))

    def find(frame: Array) -> Box | None:
        grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        found = finder.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5)
        if not len(found):
            return None
        # A cascade gives no certainty; the largest is the face a clip is of.
        left, top, wide, tall = (float(v) for v in max(found, key=lambda box: box[2] * box[3]))
        return left, top, left + wide, top + tall

    return find
