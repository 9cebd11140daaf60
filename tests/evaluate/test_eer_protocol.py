"""Verification of speakers from planted factors, end to end: by lists, by all pairs, and by voices."""

import dataclasses
import math

import numpy as np
import planted
import pytest

from diffsda.data.audio import speech_trials
from diffsda.data.audio.speech_trials import Trials
from diffsda.data.prepared import Dataset
from diffsda.errors import InputError
from diffsda.evaluate.protocols.eer import draws, run

UTTERANCES, CHUNKS = 12, 2


def said(seed=0, constant=True, jitter=0.01):
    """Twelve utterances of two clips each by three speakers: s tells the speaker, d nothing."""
    draw = np.random.default_rng(seed)
    utterance = np.repeat(np.arange(100, 100 + UTTERANCES), CHUNKS)
    speaker = (utterance - 100) % 3
    s = np.eye(4)[speaker] + jitter * draw.normal(size=(len(speaker), 4))
    d = np.ones((len(speaker), 5, 2)) if constant else draw.normal(size=(len(speaker), 5, 2))
    chunk = np.tile(np.arange(CHUNKS), UTTERANCES)
    return planted.clips(s, d, speaker=speaker, utterance=utterance, chunk=chunk)


def job(clips, **settings):
    return planted.job(clips, static=("speaker",), **settings)


def with_lists(folder):
    """Two lists: one of all pairs of the first six utterances, one of a pair each."""
    i, j = np.triu_indices(6, 1)
    whole = Trials("fillets_cs", "a studio", 100 + i, 100 + j, i % 3 == j % 3)
    few = Trials("asterisk_it", "a language", np.array([106, 106]), np.array([109, 107]), np.array([True, False]))
    speech_trials.write(folder, [whole, few])
    return folder


def test_nothing_is_drawn_unless_there_are_more_utterances_than_are_compared():
    assert not draws(job(said()))
    assert draws(job(said(), options={"utterances": UTTERANCES - 1}))
    assert not draws(job(said(), options={"utterances": UTTERANCES}))


def test_who_speaks_can_be_named_in_two_ways():
    with pytest.raises(InputError, match=r"--static: .* speaker, .*--static NAME or --set speaker=NAME"):
        run(planted.job(said()))


def test_perfect_s_and_constant_d():
    rows = planted.table(run(job(said())))
    assert rows["eer_static", False].values == (0.0,)
    assert rows["eer_dynamic", False].values == (0.5,)
    assert rows["eer_gap", False].values == (0.5,)
    assert rows["eer_static_bisection", False].values == (0.0,)
    assert rows["eer_static", False].count == UTTERANCES * (UTTERANCES - 1) // 2
    assert [rows[f"eer_{name}", False].better for name in ("static", "dynamic", "gap")] == ["lower", "higher", "higher"]
    # The features hold s, so that their mean tells speakers as well.
    assert rows["eer_static", True].values == (0.0,)
    assert rows["eer_static", True].about == "mean of the features over the utterance"


def test_d_without_information_is_near_chance():
    draw = np.random.default_rng(1)
    speaker = np.arange(90) % 3
    clips = planted.clips(draw.normal(size=(90, 4)), draw.normal(size=(90, 5, 2)), speaker=speaker)
    rows = planted.table(run(job(clips)))
    for name in ("static", "dynamic"):
        assert rows[f"eer_{name}", False].values[0] == pytest.approx(0.5, abs=0.06)
    assert rows["eer_gap", False].values[0] == pytest.approx(
        rows["eer_dynamic", False].values[0] - rows["eer_static", False].values[0]
    )


def test_clips_without_utterances_are_one_each():
    clips = said()
    bare = dataclasses.replace(clips, labels={"speaker": clips.labels["speaker"]})
    assert planted.table(run(job(bare)))["eer_static", False].count == 24 * 23 // 2


def test_an_utterance_is_the_mean_of_its_clips():
    # Each clip lies far off the speaker's place, and the two of an utterance on either side of it.
    clips = said(jitter=0)
    x = clips.x.copy()
    x[::2, :, 3] += 5
    x[1::2, :, 3] -= 5
    rows = planted.table(run(job(dataclasses.replace(clips, x=x))))
    assert rows["eer_static", False].values == (0.0,)
    alone = dataclasses.replace(clips, x=x, labels={"speaker": clips.labels["speaker"]})
    assert planted.table(run(job(alone)))["eer_static", False].values[0] > 0.3


def test_lists_are_counted_one_by_one_and_together(tmp_path):
    rows = planted.table(run(job(said(), folder=with_lists(tmp_path))))
    assert rows["eer_static", False].count == 15 + 2
    assert rows["eer_static_fillets_cs", False].count == 15
    assert rows["eer_static_asterisk_it", False].count == 2
    assert "a language" in rows["eer_static_asterisk_it", False].about
    assert rows["eer_static_bisection", False].count == 66
    assert all(rows[f"eer_static{end}", False].values == (0.0,) for end in ("", "_fillets_cs", "_asterisk_it"))
    assert all(rows[f"eer_dynamic{end}", False].values == (0.5,) for end in ("", "_fillets_cs", "_asterisk_it"))
    assert rows["eer_static_fillets_cs", True].values == (0.0,)


def test_a_list_keeps_the_pairs_that_are_there(tmp_path):
    with_lists(tmp_path)
    kept = said().select(said().labels["utterance"] < 104)
    rows = planted.table(run(job(kept, folder=tmp_path)))
    assert rows["eer_static_fillets_cs", False].count == 6
    assert ("eer_static_asterisk_it", False) not in rows


def test_as_published_all_pairs_are_counted_as_they_are(tmp_path):
    clips = said(constant=False)
    x = clips.x.copy()
    x[:, :, 4:] += 3
    clips = dataclasses.replace(clips, x=x)
    rows = planted.table(run(job(clips, folder=with_lists(tmp_path), as_published=True)))
    # What lies off the middle is taken off otherwise.
    centred = planted.table(run(job(clips)))
    for name in ("static", "dynamic", "gap"):
        assert rows[f"eer_{name}", False].values == centred[f"eer_{name}_bisection", False].values
        assert rows[f"eer_{name}", False].count == 66
        assert rows[f"eer_{name}", False].about.endswith("all pairs, as the authors count")
    # Said once: no list, and no row again under another name.
    assert not [metric for metric, _ in rows if "fillets" in metric or "bisection" in metric]
    assert centred["eer_dynamic", False].values != rows["eer_dynamic", False].values


def test_one_speaker_is_no_number():
    clips = said()
    one = dataclasses.replace(clips, labels={**clips.labels, "speaker": np.zeros(24, int)})
    rows = run(job(one))
    assert all(math.isnan(row.values[0]) and "0 of different labels" in row.reason for row in rows)


def test_who_speaks_must_be_known():
    clips = said()
    with pytest.raises(InputError, match="who speaks"):
        run(planted.job(clips))
    with pytest.raises(InputError, match="'voice'"):
        run(job(clips, options={"speaker": "voice"}))
    both = dataclasses.replace(clips, labels={**clips.labels, "speaker": np.arange(24) % 2})
    with pytest.raises(InputError, match="several"):
        run(job(both))
    nobody = dataclasses.replace(clips, labels={**clips.labels, "speaker": np.full(24, -1)})
    with pytest.raises(InputError, match="0 utterances"):
        run(job(nobody))


def test_no_more_utterances_than_asked_for():
    rows = planted.table(run(job(said(), options={"utterances": 6})))
    assert rows["eer_static", False].count == 15


class Voices:
    """Hears who speaks by the loudness of the wave, and nothing in waves that ``deaf`` names by their place."""

    name, version, substitute = "a stand-in", "1", False

    def __init__(self, deaf=()):
        self.deaf, self.heard = deaf, []

    def embed(self, waves, rate):
        self.heard.append((len(waves), rate, {len(wave) for wave in waves}))
        vectors = np.array([[np.sqrt(np.mean(wave**2)), 1.0] for wave in waves])
        vectors[list(self.deaf)] = np.nan
        return vectors


class VoiceShelf(planted.BareShelf):
    def __init__(self, judge):
        self.judge = judge

    def voices(self):
        return self.judge


def spoken(folder):
    """Log mel clips of a loud, a soft and a middling speaker, and the folder that says how they are made."""
    clips = said()
    loud = np.array([-1.0, -3.0, -5.0])[clips.labels["speaker"]]
    form = {"rate": 8000, "n_fft": 256, "hop": 100, "mels": 6, "fmin": 80.0, "fmax": 4000.0}
    kept = {"kind": "arrays", "name": "x", "modality": "audio", "frames": 5, "splits": {"train": 1}}
    Dataset(**kept, channels=6, options=form).write(folder)
    return dataclasses.replace(clips, x=np.broadcast_to(loud[:, None, None], clips.x.shape).astype("f4"))


def test_voices_are_heard_on_sound(tmp_path):
    judge, clips = Voices(), spoken(tmp_path)
    model = planted.Planted(modality="audio")
    rows = run(job(clips, model=model, folder=tmp_path, shelf=VoiceShelf(judge)))
    told = {row.metric: row for row in rows if row.judge}
    assert judge.heard == [(UTTERANCES, 8000, {CHUNKS * 5 * 100})]
    assert told["eer_static"].judge == "a stand-in"
    assert told["eer_static"].baseline
    assert told["eer_static"].missed == 0
    assert told["eer_static"].values[0] < 0.35
    assert set(told) == {"eer_static", "eer_static_bisection"}
    # Lists lose the pairs of what was not heard.
    part = run(job(clips, model=model, folder=with_lists(tmp_path), shelf=VoiceShelf(Voices(deaf=(0, 1)))))
    told = {row.metric: row for row in part if row.judge}
    assert told["eer_static"].missed == pytest.approx(2 / UTTERANCES)
    assert told["eer_static_fillets_cs"].count == 6
    deaf = run(job(clips, model=model, folder=tmp_path, shelf=VoiceShelf(Voices(deaf=range(UTTERANCES)))))
    assert [math.isnan(row.values[0]) for row in deaf if row.judge] == [True]


def test_without_voices_the_row_says_why(tmp_path):
    model = planted.Planted(modality="audio")
    clips = spoken(tmp_path)
    last = run(job(clips, model=model, folder=tmp_path))[-1]
    assert math.isnan(last.values[0])
    assert "no package here" in last.reason
    assert "not known how" in run(job(clips, model=model, shelf=VoiceShelf(Voices())))[-1].reason
    silent = run(job(clips, model=model, options={"voices": False}))
    assert not any("voices" in row.about for row in silent)


def test_with_a_model():
    made = job(said(constant=False), model=planted.tiny())
    values = [row.values for row in run(made)]
    assert values == [row.values for row in run(made)]
    assert all(0 <= value[0] <= 1 for value, row in zip(values, run(made)) if "gap" not in row.metric)
