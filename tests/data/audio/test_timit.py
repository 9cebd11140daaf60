"""TIMIT: who is in which part, what a clip and its labels hold, whatever form the copy has."""

import hashlib

import numpy as np
import pytest
from corpora import sphere, timit, voice

from diffsda.data.audio import timit as subject
from diffsda.data.audio.mel import CHUNK, centre, chunks, log_mel
from diffsda.data.problems import Problems
from diffsda.data.series.parts import leave
from diffsda.errors import InputError

PEOPLE = [
    ("TRAIN", 1, "FCJF0"),
    ("TRAIN", 2, "MABC0"),
    ("TEST", 1, "FAKS0"),  # one of the 50
    ("TEST", 1, "MDAB0"),  # of the core test set
    ("TEST", 8, "MJLN0"),
    ("TEST", 3, "MNOB0"),  # of neither
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return timit(tmp_path_factory.mktemp("timit") / "TIMIT", PEOPLE)


@pytest.fixture(autouse=True)
def complete(monkeypatch):
    monkeypatch.setattr(subject, "EXPECTED", {"train": 4, "dev": 2, "test": 4})


def build(root, **options):
    problems = Problems()
    return *subject.build(root, problems=problems, **options), [str(p) for p in problems]


def test_the_lists_are_the_usual_ones():
    assert len(subject.DEV) == 50
    assert len(subject.CORE) == 24
    assert not subject.DEV & subject.CORE
    # Two men and a woman from each of the eight dialects.
    assert sum(name.startswith("F") for name in subject.CORE) == 8


@pytest.mark.parametrize(
    ("names", "digest"),
    [
        # The 50 are those of Kaldi's egs/timit/s5/conf/dev_spk.list, whose names gave the same digest.
        (subject.DEV, "7ee4e25cc40ea3fccf632647f036d022acd0fbef13ab59b8744bac06af704eda"),
        (subject.CORE, "7fc77156d24ba09a2f5aa336480a1cdfe7dce0d8d99a14ffd0e54b689703c7f3"),
    ],
)
def test_no_speaker_changes_sides(names, digest):
    """SHA-256 of the names in capitals, sorted, with single spaces between."""
    assert hashlib.sha256(" ".join(sorted(names)).encode()).hexdigest() == digest


def test_parts_and_shapes(corpus):
    held, parts, trouble = build(corpus)
    assert not trouble
    # Three speakers to train on, two sentences each, three chunks each (1.9 s); SA1 is dropped.
    assert {split: part["x"].shape for split, part in parts.items()} == {"train": (18, 68, 80), "test": (12, 68, 80)}
    assert held.label_names["speaker"] == ("FAKS0", "FCJF0", "MABC0", "MDAB0", "MJLN0")
    assert (held.modality, held.frames, held.channels) == ("audio", 68, 80)
    speakers = {split: {held.label_names["speaker"][i] for i in part["speaker"]} for split, part in parts.items()}
    assert speakers == {"train": {"FCJF0", "MABC0", "FAKS0"}, "test": {"MDAB0", "MJLN0"}}


def test_the_development_speakers_can_be_held_out(corpus):
    held, parts, _ = build(corpus, dev="hold-out")
    assert [len(parts[split]["x"]) for split in ("train", "val", "test")] == [12, 6, 12]
    assert {held.label_names["speaker"][i] for i in parts["val"]["speaker"]} == {"FAKS0"}
    assert held.options["dev"] == "hold-out"


def test_a_clip_is_its_chunk_and_the_last_is_filled_up(corpus):
    _, parts, _ = build(corpus)
    samples = voice(1.9, 1).astype(np.float32) / 32768
    mels = log_mel(chunks(samples))
    assert np.array_equal(parts["train"]["x"][:3], mels)
    assert parts["train"]["chunk"][:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert parts["train"]["utterance"][:7].tolist() == [0, 0, 0, 1, 1, 1, 2]
    # 1.9 s are 30,400 samples: the third chunk has 4,800 of sound, then silence.
    assert mels[2, 40:].max() < mels[2, :20].max() - 4


def test_labels_of_people(corpus):
    held, parts, _ = build(corpus)
    train = parts["train"]
    name = np.array(held.label_names["speaker"])[train["speaker"]]
    assert {(n, int(s), int(d)) for n, s, d in zip(name, train["sex"], train["dialect"], strict=True)} == {
        ("FCJF0", 0, 0),
        ("MABC0", 1, 1),
        ("FAKS0", 0, 0),
    }


def test_every_frame_has_the_phone_in_its_middle(corpus):
    held, parts, _ = build(corpus)
    names = held.label_names["phone"]
    assert names == ("aa", "h#", "s")
    for chunk in range(3):
        for frame in range(68):
            at = chunk * CHUNK + float(centre(frame))
            turn = int(at // 1600)
            said = "h#" if turn == 0 or turn > 18 else ("aa", "s")[(turn - 1) % 2]
            want = -1 if at >= 30_400 else names.index(said)
            assert parts["train"]["phone"][chunk, frame] == want, (chunk, frame)


def test_statistics_are_those_of_the_training_part(corpus):
    held, parts, _ = build(corpus)
    mean, std = held.statistics
    x = parts["train"]["x"].reshape(-1, 80).astype(np.float64)
    assert mean == pytest.approx(x.mean(0))
    assert std == pytest.approx(x.std(0))


@pytest.mark.parametrize("form", ["lower", "riff", "deeper", "twice"])
def test_other_copies_give_the_same(corpus, tmp_path, form):
    _, ours, _ = build(corpus)
    if form == "lower":
        root = timit(tmp_path / "timit", PEOPLE, lower=True)
    elif form == "riff":
        root = timit(tmp_path / "TIMIT", PEOPLE, kind="riff")
    elif form == "deeper":
        root = timit(tmp_path / "a" / "data", PEOPLE).parent.parent
    else:
        root = timit(tmp_path / "TIMIT", PEOPLE)
        for path in list(root.rglob("*.WAV")):
            path.with_name(path.name + ".wav").write_bytes(b"another copy, not read")
    _, theirs, trouble = build(root)
    assert not trouble
    for split, part in ours.items():
        for name, values in part.items():
            assert np.array_equal(values, theirs[split][name]), (split, name)


def test_trouble_is_told_and_the_rest_goes_on(tmp_path):
    root = timit(tmp_path / "TIMIT", PEOPLE)
    first = root / "TRAIN" / "DR1" / "FCJF0"
    (first / "SI10.WAV").write_bytes((first / "SI10.WAV").read_bytes()[:5000])
    sphere(first / "SX37.WAV", voice(1.9, 0), rate=8000)
    other = root / "TRAIN" / "DR2" / "MABC0"
    (other / "SI10.PHN").unlink()
    lines = (other / "SX37.PHN").read_text().splitlines()
    (other / "SX37.PHN").write_text("\n".join([*lines[:2], "what", *lines[3:]]) + "\n")
    (root / "TEST" / "DR1" / "MDAB0" / "SX37.WAV").unlink()
    held, parts, trouble = build(root)
    assert trouble == [
        f"{root}: got 3 sentences for test, expected 4: {subject.WHERE}",
        f"{first / 'SI10.WAV'}: got 1988 samples, expected 30400 as the header says; truncated?",
        f"{first / 'SX37.WAV'}: got 8000 Hz, expected 16000",
        f"{other / 'SI10.PHN'}: no such file; the phones of this sentence are not known",
        f"{other / 'SX37.PHN'}:3: got 'what', expected begin, end and phone; left out",
    ]
    assert [len(parts[split]["x"]) for split in ("train", "test")] == [12, 9]
    assert "FCJF0" not in held.label_names["speaker"]
    assert set(parts["train"]["phone"][:3].ravel()) == {-1}


def test_a_missing_test_half_is_told_and_a_missing_training_half_refused(tmp_path):
    root = timit(tmp_path / "TIMIT", PEOPLE[:2])
    _, parts, trouble = build(root)
    assert set(parts) == {"train"}
    assert "holds no folder TEST" in trouble[0]
    with pytest.raises(InputError, match="without a folder TRAIN, expected TIMIT"):
        build(timit(tmp_path / "other", PEOPLE[2:]))


def test_a_copy_without_phones_is_told_once(tmp_path):
    root = timit(tmp_path / "TIMIT", PEOPLE)
    for path in root.rglob("*.PHN"):
        path.unlink()
    held, parts, trouble = build(root)
    assert trouble == [f"{root}: holds no files of phones (.PHN); the label phone is -1 throughout"]
    assert set(parts["train"]["phone"].ravel()) == {-1}
    assert "phone" not in held.label_names


def test_compressed_copies_are_named(tmp_path):
    root = timit(tmp_path / "TIMIT", PEOPLE)
    for path in (root / "TRAIN").rglob("*.WAV"):
        data = path.read_bytes().replace(b"sample_sig_bits -i 16", b"sample_coding -s26 pcm,embedded-shorten-v2.00")
        path.write_bytes(data)
    _, parts, trouble = build(root)
    assert len(parts["train"]["x"]) == 6
    assert sum("compressed with shorten" in line for line in trouble) == 4


def test_what_is_left_is_a_prepared_folder(corpus, tmp_path):
    from diffsda.data.prepared import open_prepared

    problems = Problems()
    leave(tmp_path / "out", *subject.build(corpus, problems=problems), problems)
    clips = open_prepared(tmp_path / "out", "test")
    assert clips.x.shape == (12, 68, 80)
    assert set(clips.labels) == {"speaker", "sex", "dialect", "utterance", "chunk", "phone"}
    assert clips.labels["phone"].shape == (12, 68)
