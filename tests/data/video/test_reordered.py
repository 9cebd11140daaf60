"""Frames of films whose key packets or times mislead are the very frames, read by number or out of an excerpt."""

import numpy as np
import pytest

from diffsda.data.video import excerpt as excerpts
from diffsda.data.video import seek
from diffsda.data.video.excerpt import excerpt
from diffsda.data.video.seek import read_frames

FRAMES = 90
H264 = ("b.avi", "copied.mp4", "open.mp4", "refresh.mp4", "refresh.ts")
NAMES = (*H264, "hevc.mp4", "hevc.mkv", "mpeg4.mp4", "mpeg4.mkv", "mpeg4.ts")
WANTED = [
    *([i] for i in range(2, FRAMES, 3)),
    *([i, i + 1] for i in range(3, FRAMES - 1, 4)),
    [FRAMES - 3, FRAMES - 2],
    *([i, i + 40] for i in range(0, FRAMES - 40, 7)),
    *(list(range(start, FRAMES, stride)) for start, stride in ((0, 2), (1, 5), (13, 7), (40, 3))),
]


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Look for key frames near the start too."""
    monkeypatch.setattr(seek, "NEAR", 0)
    monkeypatch.setattr(excerpts, "NEAR", 2)


@pytest.fixture(params=NAMES)
def film(request, reordered):
    path, whole = reordered[request.param]
    return path, whole


def test_frames_by_number(film):
    path, whole = film
    wrong = [wanted for wanted in WANTED if not np.array_equal(read_frames(path, wanted, FRAMES), whole[wanted])]
    assert not wrong


def test_frames_of_excerpts(film, tmp_path):
    path, whole = film
    wrong = []
    for wanted in WANTED:
        data, numbers = excerpt(path, wanted, FRAMES)
        (tmp_path / "excerpt").write_bytes(data.tobytes())
        if not np.array_equal(seek._by_count(tmp_path / "excerpt", numbers), whole[wanted]):
            wrong.append(wanted)
    assert not wrong


def keys_of(path):
    index = seek._index(path, path.stat().st_mtime_ns)
    return None if index is None else np.searchsorted(index.times, index.keys).tolist()


def test_only_pictures_that_nothing_reaches_back_over_are_keys(reordered, films, tmp_path):
    assert keys_of(reordered["refresh.mp4"][0]) == keys_of(reordered["refresh.ts"][0]) == [0]
    assert keys_of(reordered["open.mp4"][0]) == keys_of(reordered["hevc.mp4"][0]) == [0]
    assert len(keys_of(reordered["hevc.mkv"][0])) > 3
    # Lengths before the units, and start codes.
    for name in ("closed.mp4", "closed.ts"):
        options = {"g": "9", "bf": "2", "x264-params": "scenecut=0"}
        path = films.write(tmp_path / name, films.smooth(), "libx264", options=options)
        assert keys_of(path) == [0, 9, 18], name


def test_times_made_up_make_no_index(reordered, films):
    assert keys_of(reordered["b.avi"][0]) is None
    assert keys_of(reordered["copied.mp4"][0]) is None
    assert keys_of(films["mpeg4.avi"]) is None
    assert keys_of(films["mjpeg.avi"]) == list(range(24)), "nothing but key frames is never shown in another order"
