"""An excerpt is a file that decodes to the very frames asked for, and has no more groups than they need."""

import numpy as np
import pytest

from diffsda.data.video import excerpt as excerpts
from diffsda.data.video import seek
from diffsda.data.video.excerpt import excerpt
from diffsda.data.video.libav import opened
from diffsda.errors import InputError

WANTED = ([0], [23], [5, 6, 7], [0, 11, 23], [20, 22], [1, 17, 18], [8, 16], [15, 23], list(range(24)))


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Cut something out of small files too, and look for key frames in them."""
    monkeypatch.setattr(excerpts, "NEAR", 2)


def packets(path):
    with opened(path) as (container, stream):
        assert len(container.streams) == 1
        return sum(packet.size > 0 for packet in container.demux(stream))


def test_every_kind_decodes_to_the_very_frames(films, tmp_path):
    path = tmp_path / "excerpt"
    for name in films.kinds:
        whole = seek._by_count(films[name], range(24))
        for wanted in WANTED:
            data, numbers = excerpt(films[name], wanted, 24)
            path.write_bytes(data.tobytes())
            found = seek._by_count(path, numbers)
            assert np.array_equal(found, whole[wanted]), (name, wanted)


@pytest.mark.parametrize(
    ("name", "wanted", "count", "numbers"),
    [
        ("mjpeg.avi", [3, 17, 23], 3, [0, 1, 2]),
        ("vp9.mp4", [17, 18], 3, [1, 2]),
        ("vp9.webm", [1, 17, 18], 5, [1, 3, 4]),
        ("uneven.mp4", [9, 23], 10, [1, 9]),
        ("one_group.mp4", [17, 18], 19, [17, 18]),
    ],
)
def test_no_more_is_copied_than_needed(films, tmp_path, name, wanted, count, numbers):
    data, found = excerpt(films[name], wanted, 24)
    (tmp_path / "excerpt").write_bytes(data.tobytes())
    assert (packets(tmp_path / "excerpt"), found) == (count, numbers)


def test_vp8_goes_where_it_can(films, tmp_path):
    path = films.write(tmp_path / "vp8.webm", films.smooth(), "libvpx", options={"g": "6", "b": "2M"})
    data, numbers = excerpt(path, [13, 14], 24)
    (tmp_path / "excerpt").write_bytes(data.tobytes())
    assert packets(tmp_path / "excerpt") < 24
    assert np.array_equal(seek._by_count(tmp_path / "excerpt", numbers), seek._by_count(path, [13, 14]))


def test_a_file_without_clear_times_is_taken_whole(films):
    data, numbers = excerpt(films["vp9.mp4"], [17, 18], 23)
    assert data.tobytes() == films["vp9.mp4"].read_bytes()
    assert numbers == [17, 18]


@pytest.mark.parametrize("lie", ["shifted", "swapped", "late key"])
def test_a_file_that_does_not_keep_to_its_index_is_taken_whole(films, monkeypatch, lie):
    path = films["vp9.mp4"]
    true = seek._index(path, path.stat().st_mtime_ns)
    told = {
        "shifted": seek.Index(true.times + 1, true.keys + 1, true.places),
        "swapped": seek.Index(true.times, true.keys, true.places[::-1].copy()),
        "late key": seek.Index(true.times, true.times[[20]], true.places),
    }[lie]
    monkeypatch.setattr(seek, "_index", lambda *_: told)
    data, numbers = excerpt(path, [3, 17, 18], 24)
    assert data.tobytes() == path.read_bytes()
    assert numbers == [3, 17, 18]


def test_frames_near_the_start_of_a_small_file_need_no_index(films, monkeypatch):
    monkeypatch.setattr(excerpts, "NEAR", 16)
    monkeypatch.setattr(excerpts, "index_of", lambda *_: pytest.fail("looked at"))
    data, _ = excerpt(films["vp9.mp4"], [0, 15], 24)
    assert data.tobytes() == films["vp9.mp4"].read_bytes()


@pytest.mark.parametrize("wanted", [[3], [20]])
def test_what_is_no_video_is_refused_by_name(films, tmp_path, wanted, monkeypatch):
    monkeypatch.setattr(excerpts, "NEAR", 16)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4: (is empty|cannot be decoded)"):
        excerpt(tmp_path / "empty.mp4", wanted)
    with pytest.raises(InputError, match=r"none\.mp4: no such file"):
        excerpt(tmp_path / "none.mp4", wanted)
