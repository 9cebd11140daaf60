"""A probe says what a file holds, and finds files that are cut off or damaged."""

import hashlib
import io
from fractions import Fraction

import pytest
from PIL import Image

from diffsda.data.video.film import write_film
from diffsda.data.video.libav import opened
from diffsda.data.video.probe import probe
from diffsda.errors import InputError


def test_every_kind_is_seen_as_it_is(films):
    for name in films.kinds:
        seen = probe(films[name])
        assert (seen.frames, seen.width, seen.height) == (24, 96, 72), name
        assert seen.sha256 == hashlib.sha256(films[name].read_bytes()).hexdigest()
        assert seen.uneven == (name == "uneven.mp4"), name
        assert seen.fps == pytest.approx(1000 * 23 / 1848 if seen.uneven else 25.0, rel=0.02), name
        assert seen.bt601
        assert seen.turned == 0
    codecs = {name: probe(films[name]).codec for name in ("vp9.webm", "mjpeg.avi", "open.mp4", "mpeg4.avi")}
    assert list(codecs.values()) == ["vp9", "mjpeg", "h264", "mpeg4"]


def test_rates_between_whole_milliseconds_are_even(films, tmp_path):
    path = films.write(
        tmp_path / "film.webm", films.smooth(12), "libvpx-vp9", times=[round(i * 1000 / 30) for i in range(12)]
    )
    seen = probe(path)
    assert not seen.uneven
    assert seen.fps == pytest.approx(30, rel=0.01)


def test_turned_films_and_other_colours_are_told(films, tmp_path):
    frames = films.smooth(6)
    assert probe(films.write(tmp_path / "turned.mp4", frames, "libx264", turn=90)).turned == 90
    assert not probe(films.write(tmp_path / "hd.mp4", frames, "libx264", space=1)).bt601


def cut_off(content, share=0.6):
    return content[: int(share * len(content))]


def damaged(content):
    middle = len(content) // 3
    return content[:middle] + bytes(251 * i % 256 for i in range(150)) + content[middle + 150 :]


@pytest.mark.parametrize(
    "name", ["vp9.mp4", "vp9.webm", "mjpeg.avi", "mjpeg.mp4", "h264.mp4", "mpeg2.mpg", "mpeg4.avi"]
)
def test_files_that_are_cut_off_are_found(films, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(cut_off(films[name].read_bytes()))
    with pytest.raises(InputError, match=rf"{name}: .*(cut off|damaged)"):
        probe(path)


def test_a_film_that_is_written_from_the_front_and_cut_off_is_found(films, tmp_path):
    options = {"movflags": "+faststart", "g": "9"}
    path = tmp_path / "front.mp4"
    import av

    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for picture in films.smooth(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    assert probe(path).frames == 12
    path.write_bytes(cut_off(path.read_bytes()))
    with pytest.raises(InputError, match=r"front\.mp4: is cut off or damaged after \d+ frames"):
        probe(path)


@pytest.mark.parametrize("name", ["mjpeg.avi", "mjpeg.mp4", "h264.mp4", "mpeg2.mpg"])
def test_damage_that_a_codec_can_see_is_found(films, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(damaged(films[name].read_bytes()))
    with pytest.raises(InputError, match=name):
        probe(path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 3000, b"some words" * 100])
def test_what_is_no_video_is_refused(films, tmp_path, content):
    path = tmp_path / "nothing.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"nothing\.mp4: cannot be decoded as video"):
        probe(path)


def test_a_film_without_frames_is_refused(films, tmp_path):
    import av

    path = tmp_path / "none.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        container.start_encoding()
    with pytest.raises(InputError, match=r"none\.mkv: (holds no frame|cannot be decoded)"):
        probe(path)


def test_frames_of_several_sizes_are_refused(films, tmp_path):
    pictures = [*films.smooth(3), *films.smooth(3, 48)]
    images = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG")
        images.append(file.getvalue())
    write_film(tmp_path / "grows.mp4", images, "mjpeg", (96, 72), Fraction(25))
    with pytest.raises(InputError, match=r"grows\.mp4: has frames of several sizes \(96x72, 96x48\)"):
        probe(tmp_path / "grows.mp4")


def test_errors_of_the_work_inside_keep_their_words(films):
    with pytest.raises(InputError, match=r"^mine$"), opened(films["vp9.mp4"]):
        raise InputError("mine")
    with pytest.raises(ZeroDivisionError), opened(films["vp9.mp4"]):
        raise ZeroDivisionError
