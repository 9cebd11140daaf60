"""Frames become pixels as Pillow makes them; changes of colour are one matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffsda.data.video.augment import colour_matrix, recolour
from diffsda.data.video.pixels import clip_of, fit
from diffsda.data.video.view import Plan


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "scaled"), [(72, 96, (32, 43)), (101, 64, (51, 32)), (20, 32, (32, 51)), (32, 37, (32, 37))]
)
def test_the_shorter_side_is_scaled_and_the_centre_cut_out(height, width, scaled):
    frames = noise(2, height, width)
    tall, wide = scaled
    whole = np.stack([np.asarray(Image.fromarray(f).resize((wide, tall), Image.Resampling.BILINEAR)) for f in frames])
    # A border that cannot be cut in half loses the odd pixel on the right, or below.
    top, left = (tall - 32 + 1) // 2, (wide - 32 + 1) // 2
    assert np.array_equal(fit(frames, 32), whole[:, top : top + 32, left : left + 32])


def test_a_frame_that_fits_is_left_alone():
    frames = noise(3, 32, 32)
    assert np.array_equal(fit(frames, 32), frames)


def test_a_clip_is_made_as_planned():
    frames = noise(4, 16, 16)
    plain = clip_of(frames, Plan((0, 1, 2, 3)), 16)
    assert plain.shape == (4, 3, 16, 16)
    assert plain.dtype == np.float32
    assert plain.flags.c_contiguous
    assert np.allclose((plain + 1) * 127.5, frames.transpose(0, 3, 1, 2), atol=1e-4)
    assert plain.min() >= -1
    assert plain.max() <= 1
    assert np.array_equal(clip_of(frames, Plan((3, 2, 1, 0)), 16), plain[::-1])
    assert np.array_equal(clip_of(frames, Plan((0, 1, 2, 3), mirror=True), 16), plain[..., ::-1])
    bright = clip_of(frames, Plan((0, 1, 2, 3), brightness=1.1), 16)
    assert 0.05 < np.mean(bright - plain) < 0.11


def test_black_and_white_are_the_ends():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    frames[1] = 255
    clip = clip_of(frames, Plan((0, 1)), 8)
    assert clip[0].max() == -1
    assert clip[1].min() == 1


@given(st.floats(0.5, 1.5), st.floats(0.5, 1.5), st.floats(0.5, 1.5), st.floats(-180, 180))
def test_greys_stay_grey_and_obey_brightness_and_contrast(brightness, contrast, saturation, hue):
    matrix, shift = colour_matrix(Plan((0,), False, brightness, contrast, saturation, hue))
    greys = np.repeat(np.arange(0.0, 256, 15)[:, None], 3, 1)
    changed = greys @ matrix.T + shift
    # The coefficients of NTSC have three digits, so greys have a trace of colour.
    assert np.abs(changed - brightness * (contrast * (greys - 128) + 128)).max() < 255 * 0.004 * 1.5**3


def test_colours_turn_and_fade():
    red = np.tile(np.array([200, 40, 40], np.uint8), (1, 2, 2, 1))
    assert np.array_equal(recolour(red, Plan((0,), hue=360.0)), red)
    green = recolour(red, Plan((0,), hue=120.0))[0, 0, 0]
    blue = recolour(red, Plan((0,), hue=-120.0))[0, 0, 0]
    assert {int(green.argmax()), int(blue.argmax())} == {1, 2}
    faded = recolour(red, Plan((0,), saturation=0.0))[0, 0, 0].astype(int)
    assert np.ptp(faded) <= 1
    assert abs(int(faded[0]) - (0.299 * 200 + 0.701 * 40)) <= 1


def test_what_leaves_the_range_is_cut_off():
    frames = noise(1, 8, 8)
    assert recolour(frames, Plan((0,), brightness=1.5)).max() == 255
    assert recolour(frames, Plan((0,), contrast=1.5)).min() == 0
