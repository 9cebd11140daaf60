"""Clips that are one file: GIFs, images of frames side by side, videos."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from trees import gif, number_of, picture, video

from diffsda.data.video.found import Found
from diffsda.data.video.frames_folder import Ways
from diffsda.data.video.pictures import film, in_place
from diffsda.errors import InputError


def made(source, **ways):
    return film(Found("clip", source, "train", {}), source.parent / "made.mp4", Ways(**ways), lambda path, words: None)


def numbers(folder):
    with av.open(str(folder / "made.mp4")) as container:
        return [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def strip(path, count, wide=40, tall=40):
    whole = Image.new("RGB", (count * wide, tall))
    for number in range(count):
        whole.paste(picture(number, wide, tall), (number * wide, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path)
    return path


def test_a_gif(tmp_path):
    clip = made(gif(tmp_path / "a.gif", 12))
    assert (clip.frames, clip.rate, clip.kept) == (12, Fraction(10), False)
    assert numbers(tmp_path) == list(range(12))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_frames_side_by_side(tmp_path, suffix):
    clip = made(strip(tmp_path / f"a{suffix}", 6))
    assert (clip.frames, clip.width, clip.height) == (6, 40, 40)
    assert numbers(tmp_path) == list(range(6))


def test_frames_side_by_side_that_are_not_square(tmp_path):
    source = strip(tmp_path / "a.png", 6, wide=30)
    with pytest.raises(InputError, match=r"180 pixels wide, expected frames of 40 side by side; .*--strip"):
        made(source)
    assert made(source, strip=30).width == 30
    assert numbers(tmp_path) == list(range(6))


def test_to_the_bit(tmp_path):
    made(strip(tmp_path / "a.png", 3), codec="png")
    with av.open(str(tmp_path / "made.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array_equal(frames, [np.asarray(picture(n, 40, 40)) for n in range(3)])


def test_a_video_is_used_where_it_is_unless_it_is_changed(tmp_path):
    source = video(tmp_path / "a.mp4", 6)
    clip = Found("clip", source, "train", {})
    assert in_place(clip, Ways(), None)
    assert not in_place(clip, Ways(size=32), None)
    assert not in_place(clip, Ways(), lambda pictures: pictures())
    small = made(source, size=32)
    assert (small.frames, small.width, small.height, small.codec) == (6, 32, 32, "mjpeg")
    assert numbers(tmp_path) == list(range(6))


def test_a_folder_called_as_a_video_is_a_folder(tmp_path):
    folder = tmp_path / "abc#001#002.mp4"
    folder.mkdir()
    for number in range(3):
        picture(number).save(folder / f"{number:07}.png")
    assert not in_place(Found("clip", folder, "train", {}), Ways(), None)
    assert made(folder).frames == 3


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.gif", b"GIF89a", "a.gif: "),
        ("a.gif", b"", "a.gif: is no image"),
        ("a.png", b"\x89PNG", "a.png: is no image"),
        ("a.mp4", b"not a video", "a.mp4: cannot be decoded as video"),
        ("a.xyz", b"", "a.xyz: got a file ending in .xyz, expected one of .mp4"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        made(tmp_path / name)
    assert words in str(error.value)
    assert not (tmp_path / "made.mp4").exists()


@pytest.mark.parametrize("cut", [40, 500, 2000])
def test_a_gif_cut_off(tmp_path, cut):
    source = gif(tmp_path / "a.gif", 4)
    source.write_bytes(source.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"a\.gif: (frame \d of \d is damaged|got 1 frames|is a damaged)"):
        made(source)
    assert not (tmp_path / "made.mp4").exists()


def test_too_short(tmp_path):
    with pytest.raises(InputError, match="got 3 frames of 40x40 side by side, expected at least 4"):
        made(strip(tmp_path / "a.png", 3), fewest=4)
    with pytest.raises(InputError, match="got 3 frames, expected at least 4"):
        made(gif(tmp_path / "a.gif", 3), fewest=4)
