"""JPEG files: what Pillow wrote is read back, what is broken or damaged is said."""

import contextlib
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import jpeg, picture

from diffsda.data.video.jpeg import check_picture, header


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]), st.booleans())
def test_size_sampling_and_process(width, height, subsampling, progressive):
    said = header(encoded(picture(0, width, height), subsampling=subsampling, progressive=progressive))
    first = {"4:4:4": 0x11, "4:2:2": 0x21, "4:2:0": 0x22}[subsampling]
    assert (said.width, said.height, said.bits) == (width, height, 8)
    assert said.sampling == (first, 0x11, 0x11)
    assert said.everyday is not progressive


def test_grey_is_everyday_and_cmyk_is_not():
    assert header(encoded(picture(0).convert("L"))).everyday
    cmyk = header(encoded(picture(0).convert("CMYK")))
    assert len(cmyk.sampling) == 4
    assert not cmyk.everyday


def test_rgb_without_a_transform_is_not_everyday():
    said = header(encoded(picture(0), keep_rgb=True))
    assert said.transform == 0 or len(set(said.sampling)) == 1
    assert not said.everyday


def test_metadata_before_the_frame_is_passed_over():
    exif = Image.Exif()
    exif[0x010E] = "a description that is \xff\xc0 long enough" * 50
    assert header(encoded(picture(0, 20, 30), exif=exif)).height == 30


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no JPEG"),
        (b"\x89PNG\r\n", "is no JPEG"),
        (b"\xff\xd8", "truncated"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xd9", "without a frame header"),
        (b"\xff\xd8\xff\xc0\x00\x02", "damaged frame header"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08", "truncated"),
        (b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x10\x01\x01\x11\x00", "16x0 pixels"),
    ],
)
def test_what_is_broken_is_said(data, words):
    with pytest.raises(ValueError, match=words):
        header(data)


def test_damage_within_a_picture_is_found():
    data = jpeg(1, 200, 200)
    check_picture(data)
    check_picture(data + b"something behind it")
    draw = random.Random(0)
    found = silent = 0
    for _ in range(40):
        held = bytearray(data)
        at = draw.randrange(len(data) // 3, len(data) - 60)
        held[at : at + 40] = draw.randbytes(40)
        with Image.open(io.BytesIO(held)) as image:
            try:
                image.load()
            except OSError:
                continue
        silent += 1
        with contextlib.suppress(ValueError):
            check_picture(bytes(held))
            continue
        found += 1
    # Bytes may happen to be a picture, only another one.
    assert found > silent / 3 > 3


@pytest.mark.parametrize(
    "options", [{"optimize": True}, {"restart_marker_rows": 1}, {"comment": b"x"}, {"icc_profile": b"x" * 70_000}]
)
def test_what_is_odd_and_whole_is_not_damaged(options):
    check_picture(jpeg(1, 50, 30, **options))


@given(st.data())
def test_damage_is_never_more_than_a_value_error(data):
    held = bytearray(jpeg(0, 16, 16))
    for _ in range(data.draw(st.integers(0, 4))):
        held[data.draw(st.integers(0, len(held) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(held[: data.draw(st.integers(0, len(held)))])
    try:
        said = header(cut)
    except ValueError:
        return
    assert said.width > 0
    assert said.height > 0
