"""Frames by number are the very frames, whatever the codec, the container and the times."""

import threading

import numpy as np
import pytest

from diffsda.data.video import seek
from diffsda.data.video.seek import read_frames
from diffsda.errors import InputError

WANTED = ([0], [23], [5, 6, 7], [0, 11, 23], [20, 22], [1, 17, 18], [8, 16], [15, 23], list(range(24)))


@pytest.fixture
def decoded(monkeypatch):
    """Count the frames that are decoded, those before the wanted ones included."""
    counted = []
    opened, frames_from = seek.opened, seek._frames_from

    def counting(frames):
        for frame in frames:
            counted.append(frame.pts)
            yield frame

    class Container:
        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def decode(self, stream):
            return counting(self.real.decode(stream))

    class Opening:
        def __init__(self, path):
            self.inner = opened(path)

        def __enter__(self):
            container, stream = self.inner.__enter__()
            return Container(container), stream

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    monkeypatch.setattr(seek, "opened", Opening)
    monkeypatch.setattr(seek, "_frames_from", lambda *about: counting(frames_from(*about)))
    return counted


def test_every_kind_gives_the_very_frames(films, monkeypatch):
    monkeypatch.setattr(seek, "NEAR", 0)
    for name in films.kinds:
        whole = seek._by_count(films[name], range(films.frames))
        assert len(whole) == films.frames
        # Blue counts frames: 11 levels apart, more than any codec here is off.
        assert np.abs(whole[..., 2].mean((1, 2)) - np.linspace(0, 255, 24)).max() < 5.5, name
        for wanted in WANTED:
            assert np.array_equal(read_frames(films[name], wanted, 24), whole[wanted]), (name, wanted)


def test_no_more_is_decoded_than_needed(films, decoded):
    read_frames(films["vp9.mp4"], [17, 18], 24)
    assert len(decoded) == 3, "from the key frame 16 on"
    decoded.clear()
    read_frames(films["mjpeg.avi"], [2, 16, 23], 24)
    assert len(decoded) == 3, "every frame is a key frame"
    decoded.clear()
    read_frames(films["one_group.mp4"], [17, 18], 24)
    assert len(decoded) == 19, "nothing to skip to"


def test_an_index_that_cannot_be_right_is_not_used(films, decoded):
    expected = read_frames(films["vp9.mp4"], [17, 18], 24)
    decoded.clear()
    assert np.array_equal(read_frames(films["vp9.mp4"], [17, 18], 23), expected)
    assert len(decoded) == 19, "counted from the start"


@pytest.mark.parametrize("lie", ["shifted", "keys"])
def test_a_file_that_does_not_keep_to_its_index_is_counted_through(films, monkeypatch, lie):
    path = films["h264.mp4"]
    whole = seek._by_count(path, range(24))
    true = seek._index(path, path.stat().st_mtime_ns)
    times, keys = (true.times + 1, true.keys) if lie == "shifted" else (true.times, true.times[[3]])
    monkeypatch.setattr(seek, "_index", lambda *_: seek.Index(times, keys, true.places))
    assert np.array_equal(read_frames(path, [1, 18, 20], 24), whole[[1, 18, 20]])


def test_times_are_read_from_the_packets(films):
    path = films["uneven.mp4"]
    index = seek._index(path, 0)
    assert len(index.times) == 24
    assert len(set(np.diff(index.times).tolist())) > 2, "uneven"
    assert seek._index(films["mjpeg.avi"], 0).keys.tolist() == list(range(24))


def test_a_frame_that_is_not_there_is_refused_by_name(films):
    with pytest.raises(InputError, match=r"vp9\.mp4: got 24 frames, expected frame 24"):
        read_frames(films["vp9.mp4"], [3, 24])


def test_a_file_that_changed_is_indexed_anew(films, tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(films["vp9.mp4"].read_bytes())
    first = read_frames(path, [20], 24)
    films.write(path, films.smooth()[::-1], "libvpx-vp9", options={"g": "4", "b": "0", "crf": "12"})
    again = read_frames(path, [20], 24)
    assert first[..., 2].mean() > 200
    assert again[..., 2].mean() < 60


def test_threads_share_nothing(films):
    paths = [films["h264.mp4"], films["vp9.mp4"]]
    expected = [seek._by_count(path, range(24)) for path in paths]
    wrong = []

    def work(seed):
        draw = np.random.default_rng(seed)
        for _ in range(6):
            which, wanted = int(draw.integers(2)), sorted(draw.choice(24, 4, replace=False).tolist())
            if not np.array_equal(read_frames(paths[which], wanted, 24), expected[which][wanted]):
                wrong.append((which, wanted))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be decoded as video"),
        (b"not a video at all, whatever its name says" * 20, "cannot be decoded as video"),
        (None, "no such file"),
    ],
)
def test_what_is_no_video_is_refused_by_name(films, tmp_path, content, words):
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    for wanted in ([0], [20]):
        with pytest.raises(InputError, match=rf"broken\.mp4: {words}"):
            read_frames(path, wanted)


def test_a_folder_and_a_sound_are_no_videos(films, tmp_path):
    import av

    with pytest.raises(InputError, match=r"is a folder|cannot be decoded"):
        read_frames(tmp_path, [0])
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match=r"sound\.mp4: holds no video, only audio"):
        read_frames(path, [0])


def test_names_are_never_protocols(films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "concat:a|b.mp4").write_bytes(films["vp9.mp4"].read_bytes())
    assert read_frames("concat:a|b.mp4", [1]).shape == (1, 72, 96, 3)
