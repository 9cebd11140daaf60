"""Series follow their formula; their factors can be measured back from x."""

import numpy as np
import pytest

from diffsda.data.clip import Clips
from diffsda.data.synthetic.series import render, series, swap_target
from diffsda.errors import InputError


def test_items_depend_on_seed_and_index_alone():
    few, many = series(3, seed=5), series(8, seed=5)
    assert np.array_equal(few.x, many.x[:3])
    assert not np.array_equal(few.x, series(3, seed=6).x)
    varied = series(3, seed=5, varied=True)
    for item, length in enumerate(varied.lengths):
        assert np.array_equal(varied.x[item, :length], few.x[item, :length])


def test_one_value_by_hand():
    static, dynamic = np.array([[1.0, 2.0]]), np.zeros((1, 7, 2))
    dynamic[0, 6] = 0.3, -0.8
    x = render(static, dynamic, features=3)
    by_hand = np.cos(1.4) + np.sin(2 * np.pi * 2 * 6 / 24 + 0.3 + 2.2) - 0.4 * np.cos(3.8)
    assert x[0, 6, 2] == pytest.approx(by_hand, abs=1e-6)


def test_factors_can_be_measured_back():
    clips = series(40, features=12)
    feature = np.arange(12)
    basis = np.stack([np.cos(0.7 * feature), np.cos(1.1 * feature), np.sin(1.1 * feature), np.cos(1.9 * feature)])
    parts = np.linalg.lstsq(basis.T, clips.x.reshape(-1, 12).T, rcond=None)[0].reshape(4, 40, 24)
    level, sine, cosine, drift = parts
    assert np.round(level).astype(int).tolist() == [[value] * 24 for value in clips.labels["level"] - 1]
    assert drift * 2 == pytest.approx(clips.factors["dynamic"][..., 1], abs=1e-4)
    turns = np.array([1.0, 2.0, 3.5])[clips.labels["frequency"]]
    phase = np.arctan2(sine, cosine) - 2 * np.pi * turns[:, None] * np.arange(24) / 24
    apart = np.exp(1j * phase) - np.exp(1j * clips.factors["dynamic"][..., 0])
    assert np.abs(apart).max() < 1e-4
    assert np.array_equal(clips.labels["phase"], (phase % (2 * np.pi) // (np.pi / 2)).astype(int))
    rising = np.diff(clips.factors["dynamic"][..., 1]) > 0
    assert np.array_equal(clips.labels["drift"][:, :-1], rising)
    assert 0.3 < rising.mean() < 0.7


def test_varied_lengths_are_padded():
    clips = series(50, frames=11, varied=True)
    assert (clips.lengths.min(), clips.lengths.max()) == (6, 11)
    past = np.arange(11)[None] >= clips.lengths[:, None]
    assert np.all(clips.x[past] == 0)
    assert np.all(clips.labels["phase"][past] == -1)
    assert np.all(clips.labels["phase"][~past] >= 0)
    assert series(5).lengths is None
    assert series(3, frames=2, varied=True).lengths.tolist() == [2, 2, 2]


def test_swap_target_is_exact():
    a, b = series(8, seed=0), series(8, seed=1, varied=True)
    assert np.array_equal(swap_target(a, a), a.x)
    assert np.array_equal(swap_target(b, b), b.x)
    target = Clips(swap_target(a, b), b.lengths)
    assert np.array_equal(target.x, swap_target(a, b)), "padding is not zero"
    full = render(a.factors["static"], b.factors["dynamic"])
    assert np.array_equal(target.x[0, : b.lengths[0]], full[0, : b.lengths[0]])
    with pytest.raises(InputError, match="made by series"):
        swap_target(a, Clips(b.x))


def test_bad_arguments_are_refused():
    for arguments in ({"n": 0}, {"n": 2, "frames": 1}, {"n": 2, "features": 0}):
        with pytest.raises(InputError, match="expected a whole number"):
            series(**arguments)
