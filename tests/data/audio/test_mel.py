"""Mel features are HiFi-GAN's: the filters, the frames and the logarithm, and what a tone must do to them."""

import numpy as np
import pytest

from diffsda.data.audio import mel as mel_file
from diffsda.data.audio.mel import CHUNK, FRAMES, MELS, centre, chunks, filterbank, log_mel
from diffsda.errors import InputError

# librosa 0.11: filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000): band -> (peak bin, peak, sum).
LIBROSA = {
    0: (2, 0.02265139, 0.04530278),
    1: (3, 0.01972975, 0.04530278),
    20: (36, 0.02192963, 0.04530279),
    40: (80, 0.01489547, 0.04654525),
    60: (172, 0.00663741, 0.04631116),
    79: (358, 0.00326599, 0.04641479),
}


def tone(hertz, count=CHUNK, rate=16_000, size=0.5):
    return (size * np.sin(2 * np.pi * hertz * np.arange(count) / rate)).astype(np.float32)


@pytest.mark.parametrize("band", LIBROSA)
def test_filters_are_librosas(band):
    row = filterbank(22050, 1024, 80, 0, 8000)[band]
    peak, height, total = LIBROSA[band]
    assert row.argmax() == peak
    assert row.max() == pytest.approx(height, rel=1e-6)
    assert row.sum() == pytest.approx(total, rel=1e-6)


def test_filters_overlap_their_neighbours_and_no_others():
    bank = filterbank(22050, 1024, 80, 0, 8000)
    assert bank.shape == (80, 513)
    overlap = bank @ bank.T > 0
    apart = np.abs(np.subtract.outer(np.arange(80), np.arange(80)))
    assert not overlap[apart > 1].any()
    assert overlap[apart == 0].all()
    # From 8 kHz on nothing is let through.
    assert not bank[:, np.fft.rfftfreq(1024, 1 / 22050) >= 8000].any()


def test_filters_refuse_bands_that_do_not_fit():
    with pytest.raises(InputError, match="fmin < fmax <= 4000"):
        filterbank(8000, 1024, 80, 0, 8000)


def test_a_chunk_has_68_frames_of_80_bands():
    mel = log_mel(tone(440))
    assert (CHUNK, FRAMES, MELS) == (12_800, 68, 80)
    assert mel.shape == (FRAMES, MELS)
    assert mel.dtype == np.float32


@pytest.mark.parametrize("hertz", [200, 440, 1000, 2500, 5000, 7000])
def test_a_tone_stands_in_the_band_that_holds_it(hertz):
    mel = log_mel(tone(hertz))[10:-10].mean(0)
    bank = filterbank(22050, 1024, 80, 0, 8000)
    response = bank[:, round(hertz * 1024 / 22050)]
    assert abs(int(mel.argmax()) - int(response.argmax())) <= 1
    far = np.abs(np.arange(MELS) - mel.argmax()) > 12
    assert mel[far].max() < mel.max() - 6, "far bands hold at most a four hundredth of the magnitude"


def test_a_low_tone_has_the_magnitude_theory_gives():
    """A Hann window turns a tone on a bin into a peak of a quarter of its length times the amplitude."""
    hertz = 36 * 22050 / 1024
    x = tone(hertz, 22050, 22050, 0.5)
    mel = log_mel(x, 22050)[20:-20].mean(0)
    bank = filterbank(22050, 1024, 80, 0, 8000)
    peak, side = 0.5 * 1024 / 4, 0.5 * 1024 / 8
    theory = bank[20, 36] * peak + (bank[20, 35] + bank[20, 37]) * side
    assert mel[20] == pytest.approx(np.log(theory), abs=1e-3)


def test_twice_as_loud_is_log_two_more():
    draw = np.random.default_rng(0).normal(size=CHUNK).astype(np.float32) * 0.1
    assert np.abs(log_mel(2 * draw) - log_mel(draw) - np.log(2)).max() < 1e-3


def test_silence_is_the_floor():
    mel = log_mel(np.zeros(CHUNK, np.float32))
    assert np.all(mel >= np.log(np.float32(1e-5)) - 1e-6)
    # sqrt(1e-9) under each filter: the mirror of the two constants inside.
    bank = filterbank(22050, 1024, 80, 0, 8000)
    assert mel[0] == pytest.approx(np.log(np.maximum(bank.sum(1) * 1e-9**0.5, 1e-5)), abs=1e-4)


def test_a_batch_is_its_rows():
    draw = np.random.default_rng(1).normal(size=(3, CHUNK)).astype(np.float32) * 0.1
    together = log_mel(draw)
    assert together.shape == (3, FRAMES, MELS)
    for row, x in zip(together, draw, strict=True):
        assert np.allclose(row, log_mel(x), atol=1e-5)


def test_blocks_do_not_matter(monkeypatch):
    x = np.random.default_rng(2).normal(size=CHUNK).astype(np.float32) * 0.1
    whole = log_mel(x)
    monkeypatch.setattr(mel_file, "BLOCK", 7)
    assert np.allclose(log_mel(x), whole, atol=1e-5)


def test_a_sound_later_shows_in_a_later_frame():
    click = np.zeros(CHUNK, np.float32)
    for frame in (8, 30, 55):
        click[:] = 0
        click[int(centre(frame))] = 1.0
        loud = log_mel(click).mean(1)
        assert int(loud.argmax()) in (frame - 1, frame, frame + 1)
        assert loud.max() > loud.min() + 1


def test_chunks_fill_the_last_with_zeros():
    x = np.arange(1, 30, dtype=np.float32)
    cut = chunks(x, 12)
    assert cut.shape == (3, 12)
    assert np.array_equal(cut.reshape(-1)[:29], x)
    assert not cut.reshape(-1)[29:].any()
    assert chunks(x[:24], 12).shape == (2, 12), "no chunk of zeros alone"


def test_too_short_is_refused():
    with pytest.raises(InputError, match="got 200 at 16000 Hz, expected more than 278"):
        log_mel(np.zeros(200, np.float32))
    assert log_mel(np.zeros(280, np.float32)).shape == (1, 80)
