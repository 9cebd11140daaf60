"""Trials: which pairs there are, their file, their scores."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.audio import speech_trials as subject
from diffsda.errors import InputError
from diffsda.evaluate.eer import equal_error_rate

VOICES = ("it_carlo", "en_allison", "it_menardi", "cs_small_fish")


def labels(voice, prompt, clips=2):
    voice, prompt = np.repeat(voice, clips), np.repeat(prompt, clips)
    return {"voice": voice, "prompt": prompt, "utterance": 100 + np.repeat(np.arange(len(voice) // clips), clips)}


@pytest.fixture
def held():
    # Carlo and Menardi say the prompts 5, 6, 7; others say them too.
    return labels([0, 0, 0, 1, 2, 2, 2, 3], [5, 6, 7, 5, 5, 6, 7, 9])


def test_all_pairs_within_a_language_and_none_of_the_same_words(held):
    (trials,) = subject.make(held, VOICES)
    assert trials.name == "asterisk_it"
    pairs = list(zip(trials.first.tolist(), trials.second.tolist(), trials.same.tolist(), strict=True))
    assert [(a, b) for a, b, same in pairs if same] == [
        (100, 101), (100, 102), (101, 102), (104, 105), (104, 106), (105, 106),
    ]  # fmt: skip
    assert [(a, b) for a, b, same in pairs if not same] == [
        (100, 105), (100, 106), (101, 104), (101, 106), (102, 104), (102, 105),
    ]  # fmt: skip


def test_a_voice_alone_makes_no_trials():
    assert subject.make(labels([0, 0, 1], [1, 2, 3]), VOICES) == []
    assert subject.make(labels([0, 0, 1], [1, 2, 3]), ("it_carlo", "ru_ivrvoice")) == []


def test_the_file_gives_back_what_was_written(held, tmp_path):
    (trials,) = subject.make(held, VOICES)
    path = subject.write(tmp_path, [trials])
    assert path.name == "trials.json"
    plain = json.loads(path.read_text())
    assert (plain["format"], plain["split"], plain["label"]) == (1, "test", "utterance")
    assert plain["sets"][0]["voices"] == ["it_carlo", "it_menardi"]
    back = subject.read(tmp_path)
    assert list(back) == ["asterisk_it"]
    for name in ("first", "second", "same"):
        assert np.array_equal(getattr(back["asterisk_it"], name), getattr(trials, name))
    assert back["asterisk_it"].shared == trials.shared


def test_embeddings_that_know_the_speaker_make_no_error(held):
    (trials,) = subject.make(held, VOICES)
    speaker = np.where(held["voice"] == 0, 1.0, -1.0)
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(speaker), 3, 2))
    known = noise + speaker[:, None, None]
    assert equal_error_rate(trials.scores(known, held["utterance"]), trials.same) == 0
    unknown = noise + (held["prompt"] - 6.0)[:, None, None]
    assert equal_error_rate(trials.scores(unknown, held["utterance"]), trials.same) > 0.3


def test_an_utterance_is_the_mean_of_its_clips(held):
    (trials,) = subject.make(held, VOICES)
    draw = np.random.default_rng(1)
    x = draw.normal(size=(len(held["voice"]), 4))
    u = held["utterance"]
    means = {k: x[u == k].mean(0) for k in np.unique(u)}
    ours = np.unique([trials.first, trials.second])
    centre = np.mean([means[k] for k in ours], axis=0)
    a, b = means[trials.first[3]] - centre, means[trials.second[3]] - centre
    want = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    order = draw.permutation(len(u))
    assert trials.scores(x[order], u[order])[3] == pytest.approx(want)


def test_the_same_embedding_for_all_scores_nothing(held):
    (trials,) = subject.make(held, VOICES)
    assert not trials.scores(np.ones((len(held["voice"]), 3)), held["utterance"]).any()


def test_embeddings_that_do_not_fit_are_refused(held):
    (trials,) = subject.make(held, VOICES)
    with pytest.raises(InputError, match=r"got embeddings \(16, 3\), utterance \(15,\)"):
        trials.scores(np.ones((16, 3)), held["utterance"][:15])
    with pytest.raises(InputError, match=r"got embeddings \(16,\)"):
        trials.scores(np.ones(16), held["utterance"])
    left = held["utterance"] != 105
    with pytest.raises(InputError, match=r"no clip of utterance 105 \(1 missing\)"):
        trials.scores(np.ones((16, 3))[left], held["utterance"][left])


def test_a_folder_without_trials_says_so(tmp_path):
    with pytest.raises(InputError, match=r"trials\.json: no such file, expected what `diffsda prepare speech`"):
        subject.read(tmp_path)


GOOD = {"name": "a", "voices": ["x", "y"], "shared": "s", "first": [1, 2], "second": [3, 4], "same": [0, 1]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"first": [1]}, "a: got 1, 2 and 2 values"),
        ({"same": [0, 2]}, "of 0 and 1"),
        ({"first": [], "second": [], "same": []}, "expected one whole number"),
        ({"first": [1.5, 2]}, "expected one whole number"),
        ({"first": [[1], [2]]}, "expected one whole number"),
        ({"first": [1, [2]]}, "is not usable"),
        ({"second": None}, "is not usable"),
        ({"first": [10**30, 2]}, "is not usable"),
    ],
)
def test_lists_that_are_none_are_refused(tmp_path, change, words):
    (tmp_path / "trials.json").write_text(json.dumps({"format": 1, "sets": [GOOD | change]}))
    with pytest.raises(InputError, match=words) as error:
        subject.read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": 2, "sets": []}', '{"format": 1}', '{"format": 1, "sets": [3]}']
)
def test_files_of_another_kind_are_refused(tmp_path, text):
    (tmp_path / "trials.json").write_text(text)
    with pytest.raises(InputError, match="prepare the set again"):
        subject.read(tmp_path)


def test_a_good_list_is_taken(tmp_path):
    (tmp_path / "trials.json").write_text(json.dumps({"format": 1, "sets": [GOOD]}))
    assert subject.read(tmp_path)["a"].same.tolist() == [False, True]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(GOOD)), inner, max_size=6),
    max_leaves=12,
)


@given(st.lists(ANY | st.dictionaries(st.sampled_from(sorted(GOOD)), ANY).map(lambda d: GOOD | d), max_size=2))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory, sets):
    folder = tmp_path_factory.mktemp("any")
    (folder / "trials.json").write_text(json.dumps({"format": 1, "sets": sets}))
    try:
        held = subject.read(folder)
    except InputError:
        return
    assert all(len(one.first) == len(one.second) == len(one.same) > 0 for one in held.values())
