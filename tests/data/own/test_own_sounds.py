"""A folder of recordings becomes log mel spectra: whole or in windows, each file once, gone on with after a kill."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffsda.data.audio.mel import log_mel
from diffsda.data.frames import FrameStore, FrameWriter
from diffsda.data.own import sounds
from diffsda.data.own.prepare import prepare_own
from diffsda.data.own.settings import Settings
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.registry import open_clips
from diffsda.data.video.view import View
from diffsda.errors import InputError

RATE = 16_000


def tone(seed, seconds):
    draw = np.random.default_rng(seed)
    return (0.2 * draw.normal(size=int(RATE * seconds))).astype(np.float32)


def speakers(folder, count=3, each=4):
    for s in range(count):
        for u in range(each):
            path = folder / f"speaker {s}" / f"{u}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(10 * s + u, 0.2 + 0.05 * u), RATE)
    return folder


def prepare(source, out, **options):
    problems, told = Problems(), []
    made = prepare_own(Settings(source=source, name="mine", **options), out, problems=problems, tell=told.append)
    return made, [str(p).replace(str(source), "") for p in problems], "\n".join(told)


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_recordings_come_whole_with_the_folder_as_label(tmp_path):
    source = speakers(tmp_path / "in")
    made, said, told = prepare(source, tmp_path / "out")
    assert (said, made.dataset.splits) == ([], {"train": 10, "val": 1, "test": 1})
    assert (made.dataset.modality, made.dataset.frames, made.dataset.channels) == ("audio", None, 80)
    assert made.dataset.label_names == {"class": ("speaker 0", "speaker 1", "speaker 2")}
    found = 0
    for split in made.dataset.splits:
        clips = open_clips(tmp_path / "out", split)
        for x, length, speaker in zip(clips.x, clips.lengths, clips.labels["class"]):
            paths = (source / f"speaker {speaker}").iterdir()
            mels = [log_mel(*soundfile.read(path, dtype="float32")) for path in paths]
            found += any(len(mel) == length and np.array_equal(mel, x[:length]) for mel in mels)
    assert found == 12
    assert "12 files" in told
    assert not list((tmp_path / "out").glob("*/frames.npy")), "what is small needs no cache"


def test_windows_on_request_and_where_recordings_are_long(tmp_path, monkeypatch):
    source = speakers(tmp_path / "in")
    made, _, _ = prepare(source, tmp_path / "out", frames=8)
    assert made.dataset.frames == 8
    assert open_clips(tmp_path / "out", "train").x.shape[1:] == (8, 80)
    monkeypatch.setattr(sounds.windows, "WHOLE_UP_TO", 20)
    monkeypatch.setattr(sounds, "MEL_FRAMES", 10)
    made, _, told = prepare(source, tmp_path / "long")
    assert made.dataset.frames == 10
    assert "cut into windows of 10" in told


def test_a_large_set_stays_on_disk(tmp_path, monkeypatch):
    source = speakers(tmp_path / "in")
    monkeypatch.setattr(sounds, "IN_MEMORY", 1000)
    monkeypatch.setattr(sounds, "MEL_FRAMES", 20)
    made, said, _ = prepare(source, tmp_path / "out", val_share=0, test_share=0)
    assert sorted(said) == [f"/speaker {s}/0.wav: gives 17 frames, expected at least 20; left out" for s in range(3)]
    assert (made.dataset.kind, made.dataset.frames, made.dataset.splits) == ("frames", 20, {"train": 9})
    store = FrameStore(tmp_path / "out", "train", View(frames=20, size=0))
    mels = [log_mel(soundfile.read(source / key, dtype="float32")[0], RATE) for key in store.keys]
    assert all(np.array_equal(store.clip(i), mel) for i, mel in enumerate(mels))
    everything = np.concatenate(mels).astype(np.float64)
    assert np.allclose(made.dataset.statistics[0], everything.mean(0))
    assert np.allclose(made.dataset.statistics[1], everything.std(0))
    assert np.array_equal(open_clips(tmp_path / "out", "train").x[2], mels[2][:20])


def test_a_folder_may_be_held_out_whole(tmp_path):
    source = speakers(tmp_path / "in", count=6, each=2)
    made, _, _ = prepare(source, tmp_path / "out", by="folder", test_share=0.3)
    seen = {split: set(open_clips(tmp_path / "out", split).labels["class"]) for split in made.dataset.splits}
    assert [len(seen[split]) for split in ("train", "val", "test")] == [3, 1, 2]
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["val"]


def test_folders_called_train_and_test_are_splits(tmp_path):
    speakers(tmp_path / "in" / "Train", count=2)
    speakers(tmp_path / "in" / "test", count=1, each=1)
    made, said, _ = prepare(tmp_path / "in", tmp_path / "out")
    # The one recording of the test folder is that of the first speaker again.
    assert made.dataset.splits == {"train": 8}
    assert len(said) == 1
    assert "holds the same bytes as" in said[0]


def test_what_cannot_be_used_is_named(tmp_path):
    source = speakers(tmp_path / "in")
    (source / "speaker 0" / "cut.wav").write_bytes((source / "speaker 0" / "3.wav").read_bytes()[:2000])
    (source / "speaker 0" / "empty.wav").write_bytes(b"")
    (source / "speaker 1" / "twin.wav").write_bytes((source / "speaker 1" / "1.wav").read_bytes())
    soundfile.write(source / "speaker 1" / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(source / "speaker 2" / "short.wav", tone(0, 0.01), RATE)
    soundfile.write(source / "speaker 2" / "slow.flac", tone(99, 0.3), 8000)
    made, said, told = prepare(source, tmp_path / "out")
    assert [line.partition(": ")[0] for line in said] == [
        "/speaker 0/cut.wav",
        "/speaker 0/empty.wav",
        "/speaker 1/silent.wav",
        "/speaker 1/twin.wav",
        "/speaker 2/short.wav",
    ]
    for line, reason in zip(said, ("truncated", "is empty", "silent", "the same bytes as speaker 1/1.wav", "samples")):
        assert reason in line
    assert "1 at 8000 Hz, 12 at 16000 Hz" in told
    assert sum(made.dataset.splits.values()) == 13


KILLED = """
import os, signal, sys
from pathlib import Path
from diffsda.data.frames import FrameWriter
from diffsda.data.own.prepare import prepare_own
from diffsda.data.own.settings import Settings
end, count = FrameWriter.end, [0]
def killing(self, key, labels=None):
    count[0] += 1
    if count[0] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    end(self, key, labels)
FrameWriter.end = killing
prepare_own(Settings(source=Path(sys.argv[1]), name="mine"), Path(sys.argv[2]))
"""


def test_killed_and_gone_on_with_is_the_same_to_the_byte(tmp_path):
    source = speakers(tmp_path / "in")
    prepare(source, tmp_path / "straight")
    command = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "killed")]
    assert subprocess.run(command, check=False).returncode == -9
    with pytest.raises(InputError, match="begun with other options or other files"):
        prepare(source, tmp_path / "killed", frames=8)
    with FrameWriter(tmp_path / "killed" / "train", (80,), "float32") as writer:
        assert len(writer) > 0
    _, _, told = prepare(source, tmp_path / "killed")
    assert "going on with" in told
    assert files(tmp_path / "straight") == files(tmp_path / "killed")


def test_nothing_to_train_on_is_refused(tmp_path):
    soundfile.write(tmp_path / "short.wav", tone(0, 0.01), RATE)
    with pytest.raises(InputError, match="no recording is left for training"):
        prepare(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_without_soundfile_the_pip_line_is_named(tmp_path, monkeypatch):
    from diffsda.errors import MissingPackage

    source = speakers(tmp_path / "in", 1, 3)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingPackage, match=r"pip install 'diffsda\[audio\]'"):
        prepare(source, tmp_path / "out")


def test_the_folder_is_what_the_dataset_says(tmp_path):
    made, _, _ = prepare(speakers(tmp_path / "in"), tmp_path / "out")
    assert Dataset.read(tmp_path / "out") == made.dataset
    assert Path(made.command.split()[2]) == tmp_path / "out" / "recipe.json"
