"""Clips of a recording: trimmed, one level whatever it came with, windows over all of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech_packages import sound, write

from diffsda.data.audio import speech_clips as subject
from diffsda.data.audio.resample import resample
from diffsda.errors import InputError


def made(tmp_path, samples, rate=8000):
    path = tmp_path / "a.wav"
    write(path, samples, rate)
    return subject.cut(path)


@pytest.mark.parametrize(("seconds", "count"), [(0.6, 1), (0.85, 1), (0.95, 2), (1.2, 2), (3.1, 5)])
def test_as_many_clips_as_fit_when_rounded(tmp_path, seconds, count):
    one = made(tmp_path, sound(3, seconds))
    assert one.x.shape == (count, 48, 40)
    assert one.x.dtype == np.float32
    assert np.isfinite(one.x).all()
    assert one.seconds == pytest.approx(seconds, abs=0.06), "the pauses are off"
    assert not one.filled


@given(st.integers(48, 2000))
def test_windows_cover_a_recording_from_end_to_end(length):
    mel = np.arange(length, dtype=np.float32)[:, None]
    starts = subject.windows(mel)[:, 0, 0]
    count = len(starts)
    assert abs(count - length / 48) <= 0.5
    gaps = np.diff(starts)
    if count == 1:
        assert abs(starts[0] - (length - 48 - starts[0])) <= 1
        return
    assert (starts[0], starts[-1]) == (0, length - 48)
    assert gaps.max() - gaps.min() <= 1
    assert gaps.min() >= 48 * 0.5
    assert gaps.max() <= 48 * 1.5


def test_loudness_is_gone(tmp_path):
    loud, quiet = made(tmp_path, sound(4)), made(tmp_path, 0.1 * sound(4))
    assert np.abs(loud.x - quiet.x).max() < 0.1, "16 bits are coarser where it is quiet"
    assert np.abs(loud.x - quiet.x).mean() < 0.01
    other = made(tmp_path, sound(5))
    assert np.abs(loud.x - other.x).mean() > 0.5


def test_pauses_around_are_gone(tmp_path):
    short = made(tmp_path, sound(4))
    rest = np.zeros(8000, np.float32)
    long = made(tmp_path, np.concatenate([rest, sound(4), rest]))
    assert short.x == pytest.approx(long.x)


def test_a_pause_within_does_not_lower_the_level():
    whole = sound(6, 1.0, pause=0)
    _, _, level = subject.speech(whole)
    _, last, other = subject.speech(np.concatenate([whole, np.zeros(16_000, np.float32), whole]))
    assert last == 32_000
    assert other == pytest.approx(level)


def test_what_was_recorded_at_another_rate_comes_down_to_8_khz(tmp_path):
    # Nothing above 4 kHz, so both hold the same.
    low = resample(sound(7, 1.2), 8000, 22_050)
    ours, theirs = made(tmp_path, sound(7, 1.2)), made(tmp_path, low, 22_050)
    assert ours.x.shape == theirs.x.shape
    assert np.abs(ours.x - theirs.x)[:, :, :30].mean() < 0.1


def test_nothing_lies_below_the_floor(tmp_path):
    x = made(tmp_path, sound(1, 2.0)).x
    assert x.min() >= np.float32(np.log(1e-4))
    assert x.max() < 2


def test_a_short_word_takes_its_recordings_pause_with_it(tmp_path):
    one = made(tmp_path, sound(2, 0.4, pause=0.3))
    assert one.x.shape == (1, 48, 40)
    assert not one.filled
    level = one.x[0].mean(1)
    assert level[:6].max() < level[20:28].min(), "the word is in the middle"
    assert level[-6:].max() < level[20:28].min()


def test_a_short_recording_is_filled_with_silence(tmp_path):
    one = made(tmp_path, sound(2, 0.4, pause=0.02))
    assert one.x.shape == (1, 48, 40)
    assert one.filled
    assert one.x[0, [0, -1]] == pytest.approx(np.log(1e-4))
    assert one.x[0, 24].max() > -5


def test_less_than_half_a_clip_of_speech_is_none(tmp_path):
    one = made(tmp_path, sound(2, 0.2, pause=0.5))
    assert one.x.shape == (0, 48, 40)
    assert one.seconds < 0.3


@pytest.mark.parametrize("count", [1, 7, 250])
def test_a_click_is_no_speech(tmp_path, count):
    assert len(made(tmp_path, np.full(count, 0.5, np.float32)).x) == 0


def test_silence_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.wav: is silent from end to end"):
        made(tmp_path, np.zeros(8000))


def test_no_samples_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.wav: holds no samples"):
        made(tmp_path, np.zeros(0))
