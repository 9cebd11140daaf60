"""Folders of frames become video files: in the right order, with the images' own bytes wherever that can be."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from trees import frames, jpeg, number_of, picture

from diffsda.data.video.frames_folder import Ways, film_folder
from diffsda.errors import InputError


def film(folder, target, notes=None, order="number", **ways):
    notes = [] if notes is None else notes
    return film_folder(folder, target, Ways(**ways), lambda path, words: notes.append((path, words)), order=order)


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def planes(path, **options):
    """Decode a file and return the raw planes of each frame, as the decoder gives them."""
    with av.open(str(path), **options) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def colours(path):
    flags = av.video.reformatter.Interpolation
    with av.open(str(path)) as container:
        decoded = container.decode(video=0)
        exact = {"format": "rgb24", "interpolation": flags.BILINEAR | flags.ACCURATE_RND | flags.FULL_CHR_H_INT}
        return [frame.reformat(**exact).to_ndarray() for frame in decoded]


def test_jpegs_are_kept_byte_for_byte_and_decode_to_the_same_pixels(tmp_path):
    source = frames(tmp_path / "clip", range(1, 13))
    made = film(source, tmp_path / "clip.mp4", rate=Fraction(25, 6))
    held = [(source / f"img_{n}.jpg").read_bytes() for n in range(1, 13)]
    assert (made.frames, made.width, made.height, made.codec, made.kept) == (12, 48, 40, "mjpeg", True)
    assert packets(tmp_path / "clip.mp4") == held
    alone = [planes(source / f"img_{n}.jpg")[0] for n in range(1, 13)]
    assert np.array_equal(planes(tmp_path / "clip.mp4"), alone)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames) == (Fraction(25, 6), 12)
    # Pillow's decoder smoothes colour another way from pixel to pixel; range and matrix are the same.
    pillow = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in held]).astype(int)
    assert np.abs((np.stack(colours(tmp_path / "clip.mp4")) - pillow).mean((1, 2))).max() < 1


def test_any_frame_can_be_found_at_once(tmp_path):
    source = frames(tmp_path / "clip", range(20))
    film(source, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        for number in (13, 2, 19):
            container.seek(round(number / stream.average_rate / stream.time_base), stream=stream)
            assert number_of(next(container.decode(stream)).to_ndarray(format="rgb24")) == number


def test_the_same_images_give_the_same_file(tmp_path):
    source = frames(tmp_path / "clip", range(3))
    for name in ("a.mp4", "b.mp4"):
        film(source, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("order", "expected"),
    [("number", [1, 2, 9, 10, 11, 20]), ("text", [1, 10, 11, 2, 20, 9])],
)
def test_frames_are_in_the_order_of_their_numbers(tmp_path, order, expected):
    source = frames(tmp_path / "clip", [10, 2, 20, 1, 11, 9])
    film(source, tmp_path / "clip.mp4", order=order)
    assert [number_of(frame) for frame in colours(tmp_path / "clip.mp4")] == expected


def test_the_order_of_the_disk_is_left_as_it_is(tmp_path, monkeypatch):
    source = frames(tmp_path / "clip", [1, 2, 3])
    monkeypatch.setattr("os.listdir", lambda folder: ["img_3.jpg", "img_1.jpg", "img_2.jpg"])
    film(source, tmp_path / "clip.mp4", order="disk")
    assert [number_of(frame) for frame in colours(tmp_path / "clip.mp4")] == [3, 1, 2]


def test_other_files_are_passed_over(tmp_path):
    source = frames(tmp_path / "clip", range(3))
    (source / "Thumbs.db").write_bytes(b"x")
    (source / "._img_0.jpg").write_bytes(b"x")
    (source / "img_3.JPG").write_bytes(jpeg(3))
    notes = []
    assert film(source, tmp_path / "clip.mp4", notes).frames == 4
    assert not notes


@pytest.mark.parametrize(
    "options",
    [{"progressive": True}, {"subsampling": "4:4:4"}, {"quality": 80}, {"keep_rgb": True, "subsampling": "4:4:4"}],
)
def test_one_image_of_another_kind(tmp_path, options):
    source = frames(tmp_path / "clip", range(3))
    (source / "img_1.jpg").write_bytes(jpeg(1, **options))
    made = film(source, tmp_path / "clip.mp4")
    # Quality may differ from frame to frame; what the decoder sets itself up for may not.
    assert made.kept is ("quality" in options)
    assert [number_of(frame) for frame in colours(tmp_path / "clip.mp4")] == [0, 1, 2]


def test_grey_jpegs_are_kept(tmp_path):
    def grey(number):
        file = io.BytesIO()
        Image.new("L", (32, 32), 8 * number).save(file, "JPEG")
        return file.getvalue()

    source = frames(tmp_path / "clip", range(3), make=grey)
    assert film(source, tmp_path / "clip.mp4").kept
    assert [number_of(frame) for frame in colours(tmp_path / "clip.mp4")] == [0, 1, 2]


@pytest.mark.parametrize(("codec", "error"), [("mjpeg", 8), ("vp9", 12), ("png", 0)])
def test_pngs_are_encoded_or_kept_to_the_bit(tmp_path, codec, error):
    source = frames(tmp_path / "clip", range(9), "{:07}.png")
    made = film(source, tmp_path / "clip.mp4", codec=codec)
    assert (made.codec, made.kept, made.frames) == (codec, codec == "png", 9)
    original = np.stack([np.asarray(picture(n)) for n in range(9)]).astype(int)
    assert np.abs(np.stack(colours(tmp_path / "clip.mp4")) - original).max() <= error


def test_vp9_wants_even_sides(tmp_path):
    source = frames(tmp_path / "clip", range(5), "{:07}.png", size=(45, 39))
    made = film(source, tmp_path / "clip.mp4", codec="vp9")
    assert (made.width, made.height, made.frames) == (46, 40, 5)
    assert {frame.shape for frame in colours(tmp_path / "clip.mp4")} == {(40, 46, 3)}


@pytest.mark.parametrize("mode", ["P", "LA", "I;16", "L", "RGBA"])
def test_pngs_of_every_mode_keep_their_colours(tmp_path, mode):
    def png(number):
        image = picture(number) if mode in ("P", "RGBA") else picture(number).convert("L")
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) << 8)
        elif mode == "P":
            image = image.quantize(64)
        elif mode != "L":
            image = image.convert(mode)
        file = io.BytesIO()
        image.save(file, "PNG")
        originals.append(np.asarray((picture(number).convert("L") if mode == "I;16" else image).convert("RGB")))
        return file.getvalue()

    originals = []
    source = frames(tmp_path / "clip", range(3), "{}.png", make=png)
    film(source, tmp_path / "clip.mp4", codec="png")
    assert np.array_equal(colours(tmp_path / "clip.mp4"), originals)


def test_sizes_that_differ_are_brought_to_the_commonest(tmp_path):
    source = frames(tmp_path / "clip", range(5))
    frames(source, [5], size=(96, 80))
    frames(source, [6], size=(40, 40))
    notes = []
    made = film(source, tmp_path / "clip.mp4", notes)
    assert (made.width, made.height, made.frames, made.kept) == (48, 40, 7, False)
    assert notes == [(source, "holds images of 3 sizes (1 of 96x80, 1 of 40x40), all are brought to 48x40")]
    assert [number_of(frame) for frame in colours(tmp_path / "clip.mp4")] == list(range(7))


def test_smaller_on_request_and_never_larger(tmp_path):
    source = frames(tmp_path / "clip", range(3), size=(96, 64))
    made = film(source, tmp_path / "small.mp4", size=32)
    assert (made.width, made.height, made.kept) == (48, 32, False)
    made = film(source, tmp_path / "large.mp4", size=100)
    assert (made.width, made.height, made.kept) == (96, 64, True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"no image at all", "is no image that can be read"),
        (jpeg(1)[:-400], "is a damaged image"),
        (jpeg(1)[:30], "cannot be read as an image|is no image|is a damaged"),
    ],
)
def test_a_broken_image_is_named_and_left_out(tmp_path, data, words):
    source = frames(tmp_path / "clip", range(4))
    (source / "img_1.jpg").write_bytes(data)
    notes = []
    made = film(source, tmp_path / "clip.mp4", notes)
    assert made.frames == 3
    ((path, said),) = notes
    assert path == source / "img_1.jpg"
    assert any(part in said for part in words.split("|"))
    assert [number_of(frame) for frame in colours(tmp_path / "clip.mp4")] == [0, 2, 3]


def test_too_few_frames(tmp_path):
    source = frames(tmp_path / "clip", range(4))
    (source / "img_1.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"clip: got 3 images that can be decoded, expected at least 4"):
        film(source, tmp_path / "clip.mp4", fewest=4)
    assert not (tmp_path / "clip.mp4").exists()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="got 0 images"):
        film(tmp_path / "nothing", tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="gone: cannot be listed"):
        film(tmp_path / "gone", tmp_path / "clip.mp4")
