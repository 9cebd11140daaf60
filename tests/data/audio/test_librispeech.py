"""LibriSpeech: chunks as stored frames, goes on where it was stopped, refuses what is damaged."""

import json

import numpy as np
import pytest
import soundfile
from corpora import librispeech

from diffsda.data.audio import librispeech as subject
from diffsda.data.audio.mel import chunks, log_mel
from diffsda.data.frames import FrameStore
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.stream import Take
from diffsda.data.video.view import View
from diffsda.errors import InputError

PARTS = {"train-clean-360": (14, 16), "dev-clean": (84,), "test-clean": (61,)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return librispeech(tmp_path_factory.mktemp("libri") / "LibriSpeech", PARTS)


@pytest.fixture(autouse=True)
def complete(monkeypatch):
    monkeypatch.setattr(subject, "EXPECTED", {"train-clean-360": (4, 2), "dev-clean": (2, 1), "test-clean": (2, 1)})


def prepare(root, out, **options):
    problems = Problems()
    held = subject.prepare(root, out, problems=problems, threads=2, **options)
    return held, [str(p) for p in problems]


def frames(out):
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("*/frames.npy"))}


def test_clips_and_labels(corpus, tmp_path):
    held, trouble = prepare(corpus, tmp_path / "out")
    assert not trouble
    # 1.9 s are 3 chunks, 2.9 s are 4; two speakers to train on.
    assert held.splits == {"train": 14, "val": 7, "test": 7}
    assert Dataset.read(tmp_path / "out") == held
    assert held.label_names == {"speaker": ("14", "16", "61", "84"), "sex": ("female", "male")}
    lines = [json.loads(line) for line in (tmp_path / "out" / "train" / "clips.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines[:4]] == ["14-140-0000#0", "14-140-0000#1", "14-140-0000#2", "14-140-0001#0"]
    assert lines[3]["labels"] == {"speaker": 0, "sex": 0, "utterance": 1, "chunk": 0}
    assert {line["frames"] for line in lines} == {68}
    test = [json.loads(line) for line in (tmp_path / "out" / "test" / "clips.jsonl").read_text().splitlines()]
    assert test[0]["labels"] == {"speaker": 2, "sex": 1, "utterance": 6, "chunk": 0}


def test_a_stored_clip_is_its_chunk(corpus, tmp_path):
    held, _ = prepare(corpus, tmp_path / "out")
    store = FrameStore(tmp_path / "out", "val", View(frames=68, size=0))
    samples, _ = soundfile.read(corpus / "dev-clean" / "84" / "840" / "84-840-0001.flac", dtype="float32")
    want = log_mel(chunks(samples))
    got = next(iter(store.batches([[Take(i) for i in range(3, 7)]])))
    assert got.shape == (4, 68, 80)
    assert np.abs(got - want).max() < 0.006, "half precision"
    assert store.statistics == held.statistics


def test_statistics_are_those_of_the_training_frames(corpus, tmp_path):
    held, _ = prepare(corpus, tmp_path / "out")
    x = np.load(tmp_path / "out" / "train" / "frames.npy").astype(np.float64)
    mean, std = held.statistics
    assert mean == pytest.approx(x.mean(0))
    assert std == pytest.approx(x.std(0))


class Killed(Exception):
    pass


def dying(after):
    def watch(things, total, words):
        for done, thing in enumerate(things):
            if done == after and "train" in words:
                raise Killed
            yield thing

    return watch


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(corpus, tmp_path, after):
    prepare(corpus, tmp_path / "whole")
    with pytest.raises(Killed):
        prepare(corpus, tmp_path / "out", watch=dying(after))
    assert not (tmp_path / "out" / "dataset.json").exists()
    # A kill in the middle of an utterance: its last chunk is lost.
    path = tmp_path / "out" / "train" / "clips.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("".join(line + "\n" for line in lines[:-1]))
    held, trouble = prepare(corpus, tmp_path / "out")
    assert not trouble
    assert held == Dataset.read(tmp_path / "whole")
    assert frames(tmp_path / "out") == frames(tmp_path / "whole")


def test_what_is_done_is_not_done_again(corpus, tmp_path, monkeypatch):
    with pytest.raises(Killed):
        prepare(corpus, tmp_path / "out", watch=dying(3))
    read = []
    whole = subject.read_wave
    monkeypatch.setattr(subject, "read_wave", lambda path: read.append(path.stem) or whole(path))
    prepare(corpus, tmp_path / "out")
    assert "14-140-0000" not in read
    assert {"16-160-0000", "16-160-0001", "84-840-0000"} <= set(read)


def test_another_training_folder_is_not_mixed_in(corpus, tmp_path):
    with pytest.raises(Killed):
        prepare(corpus, tmp_path / "out", watch=dying(1))
    with pytest.raises(InputError, match="was begun with 'train-clean-360', got --train dev-clean"):
        prepare(corpus, tmp_path / "out", train="dev-clean")


def test_a_finished_set_is_made_anew(corpus, tmp_path):
    prepare(corpus, tmp_path / "out")
    held, _ = prepare(corpus, tmp_path / "out", train="test-clean")
    assert held.splits["train"] == 7
    assert not (tmp_path / "out" / "begun").exists()


def test_a_replacement_that_was_stopped_does_not_go_on_with_the_old_set(corpus, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(corpus, out)
    with monkeypatch.context() as patch:
        patch.setattr(subject.Path, "unlink", lambda path, missing_ok=False: None)
        patch.setattr(subject, "begin", lambda out: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            prepare(corpus, out, train="test-clean")
    (out / "dataset.json").unlink()
    held, _ = prepare(corpus, out, train="test-clean")
    assert held.splits["train"] == 7


def test_threads_are_at_least_one(corpus, tmp_path):
    with pytest.raises(InputError, match="--threads: got 0"):
        subject.prepare(corpus, tmp_path / "out", problems=Problems(), threads=0)


def test_trouble_is_told_and_the_rest_goes_on(tmp_path):
    root = librispeech(tmp_path / "LibriSpeech", PARTS)
    chapter = root / "train-clean-360" / "14" / "140"
    path = chapter / "14-140-0000.flac"
    path.write_bytes(path.read_bytes()[:8000])
    (chapter / "14-140-0001.flac").unlink()
    lines = (root / "train-clean-360" / "16" / "160" / "16-160.trans.txt").read_text().splitlines()
    (root / "train-clean-360" / "16" / "160" / "16-160.trans.txt").write_text(lines[0] + "\n")
    held, trouble = prepare(root, tmp_path / "out")
    said = "\n".join(trouble)
    assert f"{chapter / '14-140.trans.txt'}:2: got no recording 14-140-0001.flac" in said
    assert "16-160-0001.flac: has no line in the transcripts" in said
    assert "train-clean-360: got 3 recordings of 2 speakers, expected 4 of 2" in said
    assert f"{path}: " in said
    assert len(trouble) == 4
    assert held.splits["train"] == 7
    assert (tmp_path / "out" / "problems.jsonl").is_file()


def test_a_chapter_without_transcripts_is_told_once(tmp_path):
    root = librispeech(tmp_path / "LibriSpeech", PARTS)
    (root / "dev-clean" / "84" / "840" / "84-840.trans.txt").unlink()
    held, trouble = prepare(root, tmp_path / "out")
    assert trouble == [f"{root / 'dev-clean' / '84' / '840'}: holds no transcripts"]
    assert held.splits["val"] == 7


def test_missing_folders(tmp_path):
    root = librispeech(tmp_path / "LibriSpeech", {"train-clean-360": (14, 16)})
    (root / "SPEAKERS.TXT").unlink()
    held, trouble = prepare(tmp_path, tmp_path / "out")
    assert set(held.splits) == {"train"}
    assert [line.split("holds no folder ")[1][:9] for line in trouble] == ["dev-clean", "test-clea"]
    assert held.label_names == {"speaker": ("14", "16")}
    with pytest.raises(InputError, match="without a folder train-clean-100, expected LibriSpeech"):
        prepare(root, tmp_path / "other", train="train-clean-100")
