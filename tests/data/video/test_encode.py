"""Videos written anew hold every frame, in groups as short as asked for, in colours that loaders take them for."""

import resource
import signal

import numpy as np
import pytest

from diffsda.data.video.encode import Encoding, recode, write_video
from diffsda.data.video.libav import opened
from diffsda.data.video.probe import probe
from diffsda.data.video.seek import read_frames
from diffsda.errors import InputError, SaveError


def keys(path):
    with opened(path) as (container, stream):
        return [i for i, packet in enumerate(p for p in container.demux(stream) if p.size) if packet.is_keyframe]


def off(path, frames):
    return np.abs(read_frames(path, range(len(frames))).astype(int) - frames).mean()


@pytest.mark.parametrize("name", ["h264.mp4", "open.mp4", "uneven.mp4", "mjpeg.avi", "mpeg4.avi", "sound.mp4"])
@pytest.mark.parametrize("codec", ["vp9", "mjpeg"])
def test_every_frame_is_kept(films, tmp_path, name, codec):
    before = read_frames(films[name], range(24))
    recode(films[name], tmp_path / "new.mp4", Encoding(codec=codec, gop=5))
    seen = probe(tmp_path / "new.mp4")
    assert (seen.codec, seen.frames, seen.width, seen.height) == (codec, 24, 96, 72)
    assert seen.bt601
    assert not seen.uneven
    assert seen.fps == pytest.approx(probe(films[name]).fps, rel=0.05)
    assert keys(tmp_path / "new.mp4") == list(range(0, 24, 5 if codec == "vp9" else 1))
    # Two levels on average: finer than the eye and than the codec it came from.
    assert off(tmp_path / "new.mp4", before) < 2
    with opened(tmp_path / "new.mp4") as (container, _):
        assert [stream.type for stream in container.streams] == ["video"]


def test_the_same_source_gives_the_same_file(films, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        recode(films["h264.mp4"], tmp_path / name, Encoding())
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_frames_are_made_smaller_and_never_larger(films, tmp_path):
    for size, expected in ((33, (44, 34)), (36, (48, 36)), (72, (96, 72)), (400, (96, 72))):
        recode(films["h264.mp4"], tmp_path / "new.mp4", Encoding(size=size))
        seen = probe(tmp_path / "new.mp4")
        assert (seen.width, seen.height) == expected, size


@pytest.mark.parametrize("codec", ["vp9", "mjpeg"])
def test_colours_become_those_that_loaders_expect(films, tmp_path, codec):
    frames = films.smooth(8)
    source = films.write(tmp_path / "hd.mp4", frames, "libx264", options={"crf": "5"}, space=1)
    assert off(source, frames) > 5, "taken for BT.601, they are wrong"
    recode(source, tmp_path / "new.mp4", Encoding(codec=codec))
    assert off(tmp_path / "new.mp4", frames) < 2


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_films_are_turned_as_they_are_shown(films, tmp_path, turn):
    frames = films.smooth(6)
    source = films.write(tmp_path / "turned.mp4", frames, "libx264", options={"crf": "5"}, turn=turn)
    recode(source, tmp_path / "new.mp4", Encoding())
    seen = probe(tmp_path / "new.mp4")
    assert seen.turned == 0
    assert (seen.width, seen.height) == ((96, 72) if turn == 180 else (72, 96))
    assert off(tmp_path / "new.mp4", np.rot90(frames, turn // 90, (1, 2))) < 3


def test_a_broken_source_leaves_nothing(films, tmp_path):
    content = films["mjpeg.avi"].read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut\.avi: is cut off or damaged"):
        recode(tmp_path / "cut.avi", tmp_path / "new.mp4", Encoding())
    assert [path.name for path in tmp_path.iterdir()] == ["cut.avi"]
    with pytest.raises(InputError, match=r"new\.mp4: got no frames"):
        write_video([], tmp_path / "new.mp4", Encoding(), 25)


@pytest.fixture
def _small_disk():
    """Let files grow to 2000 bytes and no further."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.usefixtures("_small_disk")
@pytest.mark.parametrize("codec", ["vp9", "mjpeg"])
def test_a_full_disk_is_no_fault_of_the_video(films, tmp_path, codec):
    with pytest.raises(SaveError, match=r"new\.mp4: could not be written \(File too large\)"):
        recode(films["h264.mp4"], tmp_path / "new.mp4", Encoding(codec=codec))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"codec": "h264"}, "codec: got 'h264', expected vp9 or mjpeg"),
        ({"gop": 0}, "gop: got 0"),
        ({"gop": 10_000}, "gop: got 10000"),
        ({"size": 4}, "size: got 4"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        Encoding(**wrong)
