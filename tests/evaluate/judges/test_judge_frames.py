"""Clips become the pictures that judges of images look at, and points come back to the frame they are of."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.judges.frames import by_clip, enlarged, shrunk, to_frames


def test_pixels_become_bytes_and_what_is_out_of_range_is_cut_off():
    values = [-1.0, 1.0, 0.0, -3.0, 3.0, 0.5]
    clips = np.array(values).reshape(1, 6, 1, 1, 1) * np.ones((1, 6, 3, 2, 2))
    assert to_frames(clips)[:, 0, 0, 0].tolist() == [0, 255, 128, 0, 255, 191]


def test_frames_are_laid_out_clip_by_clip_without_padding():
    clips = np.linspace(-1, 1, 6).reshape(2, 3, 1, 1, 1) * np.ones((2, 3, 1, 4, 5))
    clips[0, 2] = np.nan  # padding
    found = to_frames(clips, np.array([2, 3]))
    assert found.shape == (5, 4, 5, 3)
    assert found.dtype == np.uint8
    assert found[:, 0, 0, 0].tolist() == [0, 51, 153, 204, 255]
    assert (found == found[..., :1]).all()  # grey is grey


def test_colours_stay_in_their_order():
    clips = np.stack([np.full((2, 4), v) for v in (-1.0, 0.0, 1.0)])[None, None]
    assert to_frames(clips)[0, 0, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("bad", [np.zeros((2, 3, 4)), np.zeros((2, 3, 2, 4, 4)), np.full((1, 1, 3, 2, 2), np.nan)])
def test_what_is_no_video_is_refused(bad):
    with pytest.raises(InputError, match="clips: got"):
        to_frames(bad)


def test_what_is_said_of_frames_goes_back_to_its_clip():
    rows = np.arange(5.0)[:, None]
    found = by_clip(rows, np.array([2, 3]), 2, 3)
    assert found.shape == (2, 3, 1)
    assert found[..., 0].tolist()[1] == [2, 3, 4]
    assert found[0, :2, 0].tolist() == [0, 1]
    assert np.isnan(found[0, 2, 0])
    with pytest.raises(InputError, match="got 5 rows, expected 6"):
        by_clip(rows, None, 2, 3)


@pytest.mark.parametrize("size", [(64, 64), (40, 64), (64, 30), (300, 280)])
def test_a_point_of_an_enlarged_frame_is_where_it_was(size):
    frame = np.zeros((*size, 3), np.uint8)
    frame[20:23, 10:13] = 255  # centred on (11, 21)
    large, times = enlarged(frame, 256)
    assert min(large.shape[:2]) == max(256, min(size))
    assert large.shape[1] / large.shape[0] == pytest.approx(size[1] / size[0], rel=0.01)
    ys, xs = np.nonzero(large[..., 0] > 127)
    assert np.allclose(shrunk(np.array([xs.mean(), ys.mean()]), times), (11, 21), atol=0.15)
    if min(size) >= 256:
        assert large is frame
