"""Tones sound their notes: lines lie where the pitch says, envelopes where the timbre says."""

import numpy as np
import pytest

from diffsda.data.synthetic.shapes import moving_shapes
from diffsda.data.synthetic.tones import FLOOR, SCALE, render, swap_target, tones
from diffsda.errors import InputError


def mel(frequency):
    return 1127.0 * np.log(1 + frequency / 700)


def bin_of(frequency, bins):
    return (mel(frequency) - mel(80)) / (mel(4000) - mel(80)) * (bins - 1)


def test_items_depend_on_seed_and_index_alone():
    few, many = tones(3, seed=5), tones(8, seed=5)
    assert np.array_equal(few.x, many.x[:3])
    assert not np.array_equal(few.x, tones(3, seed=6).x)


def test_values_and_labels():
    clips = tones(60, frames=20, bins=32)
    assert clips.x.shape == (60, 20, 32)
    assert clips.x.min() >= np.log10(np.float32(FLOOR)) - 1e-6
    assert np.isfinite(clips.x).all()
    assert set(clips.labels["timbre"]) == {0, 1, 2, 3}
    assert set(clips.labels["pitch"]) == {0, 1, 2}
    assert clips.labels["note"].shape == (60, 20)
    pitch = np.array([0, 7, 14])[clips.labels["pitch"]]
    assert np.abs(clips.factors["static"][:, 1] - pitch).max() <= 1
    held = clips.labels["note"][:, 0]
    assert np.array_equal(clips.factors["dynamic"][:, 0, 0], np.array(SCALE)[held])


def test_notes_are_held_and_reached():
    clips = tones(30)
    notes, heard = clips.labels["note"], clips.factors["dynamic"][..., 0]
    changes = (np.diff(notes) != 0).sum(1)
    assert changes.min() >= 3
    assert changes.max() <= 10
    last = np.diff(notes, append=-1) != 0
    # Two glides of 0.7 after an onset leave at most 0.3 ** 3 of a step of nine semitones.
    assert np.abs(heard - np.array(SCALE)[notes])[:, :-1][last[:, :-1]].max() < 0.3


@pytest.mark.parametrize("pitch", [0.0, 7.0, 14.0])
def test_the_lowest_line_lies_at_the_pitch(pitch):
    quiet = np.zeros((1, 2, 2))
    quiet[0, 1, 0] = 12
    x = render(np.array([[2.0, pitch]]), quiet, bins=400)[0]
    for frame, frequency in enumerate((100 * 2 ** (pitch / 12), 200 * 2 ** (pitch / 12))):
        place = bin_of(frequency, 400)
        near = x[frame, max(int(place) - 8, 0) : int(place) + 9]
        assert abs(near.argmax() + max(int(place) - 8, 0) - place) <= 1
        assert x[frame, : max(int(place) - 5, 0)].max(initial=-4) < -3.9, "sound below the lowest partial"


def test_timbre_moves_the_peak_and_loudness_the_level():
    melody = np.zeros((4, 2, 2))
    melody[:, 1, 1] = -0.5
    x = render(np.stack([np.arange(4.0), np.zeros(4)], 1), melody, bins=80)
    peaks = x[:, 0].argmax(1)
    for found, frequency in zip(peaks, (730, 270, 300, 660), strict=True):
        assert abs(found - bin_of(frequency, 80)) <= 2
    assert x[:, 0].max(1) - x[:, 1].max(1) == pytest.approx(1, abs=0.01), "energy is loudness squared"


def test_swap_target_is_exact():
    a, b = tones(6, seed=0), tones(6, frames=20, seed=1)
    assert np.array_equal(swap_target(a, a), a.x)
    target = swap_target(a, b)
    assert target.shape == b.x.shape
    expected = render(a.factors["static"], b.factors["dynamic"])
    assert np.array_equal(target, expected)
    assert np.abs(target - b.x).max() > 0.5
    with pytest.raises(InputError, match="made by tones"):
        swap_target(a, moving_shapes(6))


def test_bad_arguments_are_refused():
    for arguments in ({"n": -1}, {"n": True}, {"n": 2, "frames": 1}, {"n": 2, "bins": 4}):
        with pytest.raises(InputError, match="expected a whole number"):
            tones(**arguments)
