"""Films are what they show: as many pictures, in their places, held at the end."""

import io
import sys

import numpy as np
import pytest

from diffsda.errors import InputError, MissingPackage
from diffsda.report import film, mosaic

GREY = np.linspace(-1, 1, 5)


def clips():
    """Return a clip of five greys, and one of three reds."""
    grey = np.broadcast_to(GREY[:, None, None, None], (5, 3, 8, 8)).astype(np.float32)
    red = np.full((3, 3, 8, 8), -1.0, np.float32)
    red[:, 0] = 1
    return grey, red


def test_clips_stand_in_rows_and_columns():
    grey, red = clips()
    frames = film.moving([[None, grey], [red, grey]], (-1.0, 1.0))
    times = film.WIDE // 18  # two cells of 8 and a gap of 2
    assert frames.shape == (5, 18 * times, 18 * times, 3)
    assert (frames[:, : 8 * times, : 8 * times] == 255).all()
    assert (frames[:, 10 * times :, : 8 * times] == (255, 0, 0)).all()  # over after three, still there
    for v, value in enumerate(GREY):
        assert (frames[v, : 8 * times, 10 * times :] == round(255 * (value + 1) / 2)).all()


def test_long_clips_are_cut_and_none_is_refused():
    long = np.zeros((film.MOST + 5, 1, 8, 8), np.float32)
    assert len(film.moving([[long]], (-1.0, 1.0))) == film.MOST
    with pytest.raises(InputError, match="got no clip"):
        film.moving([[None]], (-1.0, 1.0))


def test_a_decoder_gets_back_what_went_in():
    av = pytest.importorskip("av")
    frames = film.moving([[clips()[0]]], (-1.0, 1.0))
    data = film.webm(frames)
    assert data == film.webm(frames)
    with av.open(io.BytesIO(data)) as container:
        assert container.format.name.startswith("matroska")
        assert container.streams.video[0].codec_context.name in ("vp9", "libvpx-vp9")
        back = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(back) == 5
    assert np.abs(np.stack(back).astype(int) - frames).max() <= 6


def test_odd_sides_are_made_even():
    pytest.importorskip("av")
    frames = film.moving([[np.zeros((2, 3, 641, 643), np.float32)]], (-1.0, 1.0))
    assert frames.shape == (2, 642, 644, 3)
    assert (frames[:, -1] == mosaic.WHITE).all()
    assert film.webm(frames)[:4] == b"\x1a\x45\xdf\xa3"
    with pytest.raises(InputError, match="even H and W"):
        film.webm(frames[:, 1:])


def test_without_pyav_there_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackage, match=r"pip install 'diffsda\[video\]'"):
        film.webm(np.zeros((2, 8, 8, 3), np.uint8))
