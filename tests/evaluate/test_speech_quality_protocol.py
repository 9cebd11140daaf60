"""Reconstructed speech: errors of spectra by hand, ratings of its sound by a stand-in."""

import dataclasses
import math

import numpy as np
import planted
import pytest
import torch

from diffsda.data.clip import Clips
from diffsda.data.prepared import Dataset
from diffsda.errors import InputError
from diffsda.evaluate.protocols.speech_quality import run

MELS = 12


class Rater:
    """Rates a wave by its loudness; its short ones not at all."""

    name, version, substitute, scales = "a stand-in", "1", True, ("ovrl", "p808")

    def __init__(self, least=0):
        self.least, self.waves = least, []

    def rate(self, waves, rate):
        self.waves.append((rate, [len(wave) for wave in waves]))
        loud = np.array([np.sqrt(np.mean(w**2)) if len(w) >= self.least else np.nan for w in waves])
        return {"ovrl": -loud, "p808": loud}


class RatingShelf(planted.BareShelf):
    def __init__(self, judge):
        self.judge = judge

    def speech_quality(self):
        return self.judge


class Off(planted.Planted):
    """Reconstructs from own noise exactly, and from fresh noise one off."""

    def __init__(self):
        super().__init__(modality="audio")
        self.recipe.sampling = type("Sampling", (), {"steps": 3})

    def reconstruct(self, x, lengths=None, *, noise, steps, seed, progress):
        return torch.as_tensor(x) + (noise == "fresh")


def spoken(folder, count=6):
    """Log mel clips, two an utterance, and the folder that says how they are made."""
    form = {"rate": 8000, "n_fft": 256, "hop": 100, "mels": MELS, "fmin": 80.0, "fmax": 4000.0}
    kept = {"kind": "arrays", "name": "x", "modality": "audio", "frames": 8, "splits": {"train": 1}}
    Dataset(**kept, channels=MELS, options=form).write(folder)
    draw = np.random.default_rng(0)
    labels = {"speaker": np.arange(count) // 3, "utterance": np.arange(count) // 2}
    return Clips(draw.normal(-7, 1, (count, 8, MELS)).astype("f4"), labels=labels)


def job(clips, folder, **settings):
    return planted.job(clips, folder=folder, **{"model": Off(), "shelf": RatingShelf(Rater())} | settings)


def test_errors_of_spectra_by_hand(tmp_path):
    clips = spoken(tmp_path)
    rows = planted.table(run(job(clips, tmp_path)))
    assert rows["spectrogram_mse", False].values == (0.0,)
    # One off in every entry, each band brought to deviation 0.5.
    std = clips.x.reshape(-1, MELS).std(0)
    assert rows["spectrogram_mse_fresh", False].values[0] == pytest.approx(np.mean((0.5 / std) ** 2), rel=1e-5)
    # The clips are their own training part: the mean is a deviation off.
    assert rows["spectrogram_mse", True].values[0] == pytest.approx(0.25, rel=1e-5)
    assert rows["spectrogram_mse", False].count == 6


def test_ratings_and_their_reference(tmp_path):
    judge = Rater()
    rows = planted.table(run(job(spoken(tmp_path), tmp_path, shelf=RatingShelf(judge))))
    # Three utterances of two clips of eight frames of 100 samples: own, fresh and real.
    assert judge.waves == [(8000, [1600] * 3)] * 3
    assert rows["dnsmos", False].values == rows["dnsmos", True].values
    # What is e times as loud is rated e times as high by the stand-in.
    ratio = rows["dnsmos_fresh", False].values[0] / rows["dnsmos", False].values[0]
    assert ratio == pytest.approx(math.e, rel=1e-4)
    assert rows["dnsmos_ovrl", False].values[0] == -rows["dnsmos", False].values[0]
    assert rows["dnsmos", False].judge == "a stand-in"
    assert rows["dnsmos", False].substitute
    assert rows["dnsmos", False].missed == 0
    assert "reference" in rows["dnsmos", True].about


def test_what_cannot_be_rated_is_missed(tmp_path):
    clips = spoken(tmp_path, count=5)
    rows = planted.table(run(job(clips, tmp_path, shelf=RatingShelf(Rater(least=1000)))))
    assert rows["dnsmos", False].missed == pytest.approx(1 / 3)
    assert rows["dnsmos", False].count == 3
    nothing = planted.table(run(job(clips, tmp_path, shelf=RatingShelf(Rater(least=10**6)))))
    assert math.isnan(nothing["dnsmos", False].values[0])
    assert nothing["dnsmos", False].missed == 1


def test_only_some_utterances_are_heard(tmp_path):
    judge = Rater()
    run(job(spoken(tmp_path), tmp_path, shelf=RatingShelf(judge), options={"heard": 2}))
    assert {len(lengths) for _, lengths in judge.waves} == {2}


def test_without_a_judge_or_a_form_rows_say_why(tmp_path):
    clips = spoken(tmp_path)
    rows = planted.table(run(job(clips, tmp_path, shelf=planted.BareShelf())))
    assert "no package here" in rows["dnsmos", False].reason
    assert math.isnan(rows["dnsmos", True].values[0])
    assert rows["spectrogram_mse", False].values == (0.0,)
    assert "not known how" in planted.table(run(job(clips, None)))["dnsmos_fresh", False].reason


def test_a_silent_band_has_no_error(tmp_path):
    clips = spoken(tmp_path)
    x = clips.x.copy()
    x[..., 3] = -11.5
    rows = planted.table(run(job(dataclasses.replace(clips, x=x), tmp_path)))
    # A constant band's deviation is taken as 1, as it is when clips are brought into the model's units.
    assert rows["spectrogram_mse", False].values == (0.0,)


def test_what_is_no_speech_is_refused(tmp_path):
    with pytest.raises(InputError, match="series"):
        run(job(spoken(tmp_path), tmp_path, model=planted.tiny(channels=MELS)))


def test_with_a_model_and_lengths(tmp_path):
    clips = spoken(tmp_path)
    clips = dataclasses.replace(clips, lengths=np.array([8, 5, 8, 8, 3, 8]))
    judge = Rater()
    model = planted.tiny("audio", MELS)
    made = job(clips, tmp_path, model=model, shelf=RatingShelf(judge), steps=2)
    rows = run(made)
    assert judge.waves[0][1] == [1300, 1600, 1100]
    # A model that was never trained makes wild spectra; they become sound all the same.
    assert all(np.isfinite(row.values[0]) for row in rows)
    assert [row.values for row in run(made)] == [row.values for row in rows]
