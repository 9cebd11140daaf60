"""Clips on their way into the model's units and back."""

import numpy as np

from diffsda import Whitening
from diffsda.data.clip import Clips
from diffsda.firststage.clips import raw, whitened


def clips():
    draw = np.random.default_rng(0)
    x = draw.normal(5, 3, size=(3, 6, 2)).astype(np.float32)
    mask = (draw.random(x.shape) < 0.2).astype(np.float32)
    return Clips(x, lengths=np.array([6, 2, 4]), mask=mask)


def test_padding_and_missing_values_are_zero():
    held = clips()
    w = Whitening.measure(held.x, held.lengths, held.mask)
    out = whitened(held, w)
    inside = np.arange(6)[None] < held.lengths[:, None]
    assert out.x.dtype == np.float32
    assert not out.x[~inside].any()
    assert not out.x[out.mask == 1].any()
    seen = inside[..., None] & (held.mask == 0)
    np.testing.assert_allclose(out.x[seen], w.apply(held.x)[seen], rtol=1e-6)
    for c in range(2):
        np.testing.assert_allclose(out.x[..., c][seen[..., c]].std(), 0.5, rtol=1e-5)


def test_without_statistics_clips_stay():
    held = clips()
    np.testing.assert_array_equal(whitened(held, None).x, held.x)
    np.testing.assert_array_equal(raw(held.x, None), held.x)


def test_there_and_back():
    held = clips()
    w = Whitening.measure(held.x, held.lengths, held.mask)
    back = raw(whitened(held, w).x, w, held.lengths)
    inside = np.arange(6)[None] < held.lengths[:, None]
    seen = inside[..., None] & (held.mask == 0)
    np.testing.assert_allclose(back[seen], held.x[seen], rtol=1e-5, atol=1e-5)
    assert not back[~inside].any()  # padding is 0 in both worlds
    assert back.dtype == np.float32
