"""Faces are cut out by the rule, wherever their boxes come from."""

import io
import json

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import frames, number_of, video

from diffsda.data.problems import Problems
from diffsda.data.video.face_crop import Crop, Rule, cut_out, detector, read_boxes, squares
from diffsda.data.video.found import Found
from diffsda.data.video.frames_folder import Ways
from diffsda.data.video.pictures import film
from diffsda.errors import InputError, MissingPackage

FACE = (100.0, 60.0, 140.0, 120.0)
OTHER = (50.0, 50.0, 90.0, 80.0)
WIDE, TALL = 300, 200


def cut(boxes, **rule):
    return squares(boxes, WIDE, TALL, Rule(**rule))


def test_half_the_longer_side_and_forty_pixels_about_the_middle():
    assert cut([FACE, OTHER]) == [(120, 90, 70), (70, 65, 60)]


def test_a_frame_without_a_face_takes_the_last_box():
    assert cut([FACE, None, None, OTHER, None]) == [(120, 90, 70)] * 3 + [(70, 65, 60)] * 2


def test_frames_before_the_first_face_take_that():
    assert cut([None, None, FACE]) == [(120, 90, 70)] * 3


def test_without_any_face_the_middle_is_cut():
    assert cut([None] * 3) == [(150, 100, 100)] * 3


def test_a_camera_that_does_not_move():
    jittered = [(100.0 + n, 60.0, 140.0 + n, 120.0) for n in (-2, 0, 1, 50)]
    assert cut([None, *jittered], extra=0, still=True) == [(120, 90, 30)] * 5


def test_as_published_the_second_frame_without_a_face_is_cut_out_narrowly():
    assert cut([None, None, FACE, None], as_published=True) == [(150, 100, 100), (150, 100, 41), *[(120, 90, 70)] * 2]


def test_as_published_the_box_is_forgotten_after_a_hundred_frames():
    boxes = [FACE] + [None] * 102
    published = cut(boxes, as_published=True)
    assert published[:100] == [(120, 90, 70)] * 100
    assert published[100:] == [(150, 100, 100), (150, 100, 41), (150, 100, 41)]
    assert cut(boxes) == [(120, 90, 70)] * 103


@given(st.lists(st.none() | st.tuples(*[st.floats(-50, 350)] * 4), min_size=1, max_size=120))
def test_published_and_ours_agree_where_every_frame_has_a_face(boxes):
    assert len(cut(boxes)) == len(cut(boxes, as_published=True)) == len(boxes)
    if all(box is not None for box in boxes):
        assert cut(boxes) == cut(boxes, as_published=True)


def test_black_beyond_the_edge():
    white = Image.new("RGB", (60, 40), "white")
    held = np.asarray(cut_out(white, (0, 20, 20), 40))
    assert held.shape == (40, 40, 3)
    assert not held[:, :20].any()
    assert (held[:, 20:] == 255).all()


def test_what_is_cut_is_what_the_square_says():
    image = Image.fromarray(np.arange(60 * 40 * 3, dtype=np.uint8).reshape(40, 60, 3))
    assert np.array_equal(cut_out(image, (30, 20, 5), 10), np.asarray(image)[15:25, 25:35])


def filmed(source, crop, told=None, codec="png"):
    """Cut the faces out of a clip and return the frames of the file."""
    told = [] if told is None else told
    target = source.parent / "faces.mp4"
    made = film(Found("clip", source, "train", {}), target, Ways(codec=codec), print, crop.change(told.append))
    import av

    with av.open(str(target)) as container:
        held = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(held) == made.frames
    return held


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_faces_of_a_clip(tmp_path, kind):
    source = frames(tmp_path / "clip", range(6), size=(64, 64)) if kind == "folder" else video(tmp_path / "clip.mp4", 6)
    told = []
    boxes = [(24.0, 24.0, 40.0, 40.0)] * 6
    held = filmed(source, Crop(rule=Rule(extra=8, size=32), boxes=boxes), told)
    assert np.stack(held).shape == (6, 32, 32, 3)
    assert [number_of(frame) for frame in held] == list(range(6))
    # The middle half of a slope from 0 to 255.
    assert held[0][..., 0].min() > 50
    assert held[0][..., 0].max() < 205
    assert not told


def test_boxes_for_another_number_of_frames_are_told(tmp_path):
    source = frames(tmp_path / "clip", range(6), size=(64, 64))
    told = []
    filmed(source, Crop(rule=Rule(size=16), boxes=[FACE] * 4), told)
    assert told == ["got boxes for 4 frames, expected 6; where they end, the last is taken"]


def test_no_face_is_told(tmp_path):
    source = frames(tmp_path / "clip", range(3), size=(64, 64))
    told = []
    assert len(filmed(source, Crop(rule=Rule(size=16), boxes=[None] * 3), told)) == 3
    filmed(source, Crop(rule=Rule(size=16)), told)
    assert told == ["no face in any frame; the middle of the frames is cut out"] * 2


def test_a_file_of_boxes(tmp_path):
    path = tmp_path / "boxes.jsonl"
    lines = [
        json.dumps({"clip": "a", "boxes": [[1, 2, 3, 4.5], None]}),
        "",
        "{not json",
        json.dumps({"clip": "b", "boxes": [[1, 2, 3]]}),
        json.dumps({"clip": "a", "boxes": []}),
        json.dumps(["c"]),
        '{"clip": "d", "boxes": [[0, 0, NaN, 4]]}',
        '{"clip": "e", "boxes": [[0, 0, 1e300, 4]]}',
        json.dumps({"clip": "f", "boxes": [[True, 0, 1, 4]]}),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    problems = Problems()
    assert read_boxes(path, problems) == {"a": [(1, 2, 3, 4.5), None]}
    assert [problem.line for problem in problems] == [3, 4, 5, 6, 7, 8, 9]
    assert "a second time" in next(p.reason for p in problems if p.line == 5)
    with pytest.raises(InputError, match=r"gone\.jsonl: cannot be read"):
        read_boxes(tmp_path / "gone.jsonl", problems)


@given(st.text(max_size=40) | st.builds(json.dumps, st.dictionaries(st.sampled_from(["clip", "boxes"]), st.text())))
def test_no_line_of_boxes_is_more_than_a_problem(tmp_path_factory, line):
    path = tmp_path_factory.getbasetemp() / "line.jsonl"
    path.write_text(line, encoding="utf-8")
    problems = Problems()
    assert not read_boxes(path, problems)
    assert len(problems) == len([part for part in line.splitlines() if part.strip()])


@pytest.mark.parametrize(("name", "package"), [("dlib", "dlib"), ("opencv", "cv2")])
def test_detectors_find_the_face_of_grace_hopper(name, package):
    pytest.importorskip(package)
    with Image.open(f"{mpl.get_data_path()}/sample_data/grace_hopper.jpg") as image:
        portrait = np.asarray(image.convert("RGB"))
    left, top, right, bottom = detector(name)(portrait)
    middle = (left + right) / 2, (top + bottom) / 2
    # Between her eyes and her mouth.
    assert 210 < middle[0] < 310
    assert 130 < middle[1] < 260
    assert 100 < right - left < 260
    assert detector(name)(np.zeros_like(portrait)) is None


def test_dlib_finds_faces_in_small_frames():
    pytest.importorskip("dlib")
    with Image.open(f"{mpl.get_data_path()}/sample_data/grace_hopper.jpg") as image:
        small = np.asarray(image.convert("RGB").resize((128, 151)))
    left, top, right, bottom = detector("dlib")(small)
    assert 50 < (left + right) / 2 < 78
    assert 30 < (top + bottom) / 2 < 65


def test_a_detector_through_a_clip(tmp_path):
    pytest.importorskip("cv2")
    with Image.open(f"{mpl.get_data_path()}/sample_data/grace_hopper.jpg") as image:
        portrait = image.convert("RGB")

    def shifted(number):
        file = io.BytesIO()
        portrait.crop((10 * number, 0, 10 * number + 400, 400)).save(file, "JPEG", quality=95)
        return file.getvalue()

    source = frames(tmp_path / "clip", range(2), make=shifted)
    first, second = filmed(source, Crop(rule=Rule(size=64, extra=0), detector="opencv"))
    # She is ten pixels further left in the second frame, and her face is where it was in what is cut out.
    assert np.abs(first.astype(int) - second).mean() < 12


@pytest.mark.parametrize(("name", "package"), [("dlib", "dlib"), ("opencv", "cv2")])
def test_a_missing_detector_says_how_to_get_it(monkeypatch, name, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    detector.cache_clear()
    with pytest.raises(MissingPackage, match="pip install"):
        detector(name)
    with pytest.raises(InputError, match="expected one of dlib, opencv"):
        detector("mtcnn")
