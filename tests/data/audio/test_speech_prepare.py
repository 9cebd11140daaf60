"""diffsda prepare speech: clips, labels, held-out words, trials, licences; what is broken; and on the real packages."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from speech_packages import LINES, SPOKEN, paths, trees

from diffsda.cli import main
from diffsda.data.audio import speech, speech_trials
from diffsda.data.audio.speech_sources import PACKAGES, VOICES, split_of
from diffsda.data.prepared import Dataset, open_prepared
from diffsda.data.problems import Problems
from diffsda.errors import InputError
from diffsda.evaluate.eer import equal_error_rate
from diffsda.presets import preset

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Write the miniature packages, once."""
    return trees(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def root(whole, tmp_path):
    """Return a copy to break."""
    return shutil.copytree(whole, tmp_path / "root")


@pytest.fixture(scope="session")
def out(whole, tmp_path_factory):
    """Prepare them, once, and return the folder."""
    folder = tmp_path_factory.mktemp("speech") / "out"
    problems = Problems()
    speech.prepare(folder, root=whole, problems=problems, threads=1)
    assert not list(problems)
    return folder


def prepare(root, out, **options):
    problems = Problems()
    made = speech.prepare(out, root=root, problems=problems, threads=1, **options)
    return made, [str(problem) for problem in problems]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_command_prints_folder_and_counts(whole, tmp_path, capsys):
    where = ["--root", str(whole), "--out", str(tmp_path / "out")]
    assert main(["prepare", "speech", *where, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    # 10 voices with 5 recordings of 0.9 to 2.1 s: 2, 2, 3, 3 and 4 clips, of 0.6 s.
    assert sum(told["splits"].values()) == 10 * 14
    assert (told["name"], told["folder"]) == ("speech", str(tmp_path / "out"))
    assert (told["recordings"], told["short"], told["filled"], told["empty"], told["problems"]) == (50, 0, 0, 0, 0)
    assert told["trials"]["asterisk_it"] == 4, "two held-out words a voice, never the same word against itself"
    assert not (tmp_path / "out" / "packages").exists()
    assert main(["prepare", "speech", *where]) == 2, "a finished set is not replaced unasked"
    assert "--overwrite" in capsys.readouterr().err
    assert main(["prepare", "speech", *where, "--overwrite"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")


def test_labels_say_who_says_what(out):
    held = Dataset.read(out)
    assert held.label_names["speaker"][:3] == ("allison", "june", "carlo")
    by_voice = {voice.name: voice for voice in VOICES}
    count = 0
    for split in SPLITS:
        clips = open_prepared(out, split)
        words = {name: np.array(held.label_names[name])[clips.labels[name]] for name in held.label_names}
        for i, voice in enumerate(words["voice"]):
            said = by_voice[voice]
            assert words["speaker"][i] == said.speaker
            assert (words["language"][i], words["gender"][i]) == (said.language, said.gender)
            assert words["package"][i] == said.package
            assert words["utterance"][i] == f"{voice}/{words['prompt'][i]}"
            assert split_of(words["prompt"][i]) == split
        first = np.flatnonzero(clips.labels["chunk"] == 0)
        assert len(first) == len(np.unique(clips.labels["utterance"]))
        count += len(first)
    assert count == 10 * 5


def test_no_words_of_val_and_test_are_heard_in_training(out):
    prompts = {split: set(open_prepared(out, split).labels["prompt"]) for split in SPLITS}
    assert all(prompts.values())
    assert not prompts["train"] & prompts["test"]
    assert not prompts["train"] & prompts["val"]
    assert not prompts["val"] & prompts["test"]


def test_statistics_are_those_of_the_training_part(out):
    held, x = Dataset.read(out), open_prepared(out, "train").x.astype(np.float64)
    assert x.shape[1:] == (48, 40)
    assert held.statistics[0] == pytest.approx(x.mean((0, 1)))
    assert held.statistics[1] == pytest.approx(x.std((0, 1)))


def test_trials_are_on_the_test_part(out):
    clips = open_prepared(out, "test")
    trials = speech_trials.read(out)
    assert set(trials) == {"fillets_cs", "fillets_nl", "asterisk_it"}
    of = dict(zip(clips.labels["utterance"], clips.labels["speaker"], strict=True))
    said = dict(zip(clips.labels["utterance"], clips.labels["prompt"], strict=True))
    for one in trials.values():
        pairs = list(zip(one.first, one.second, one.same, strict=True))
        assert {same for _, _, same in pairs} == {True, False}
        assert all((of[a] == of[b]) == same for a, b, same in pairs)
        assert all(said[a] != said[b] for a, b, _ in pairs)
        # Miniature voices are tones of their own: the mean over time tells them apart.
        assert equal_error_rate(one.scores(clips.x.mean(1), clips.labels["utterance"]), one.same) < 0.2


def test_licences_are_the_packages_own_words(out):
    for package in PACKAGES:
        assert (out / "licences" / f"{package.name}.txt").read_text() == f"The terms of {package.name}\n"
    words = (out / "licences" / "ATTRIBUTION.txt").read_text()
    for name in ("Allison Smith", "June Wallack", "Carlo Flora", "Menardi", "CC-BY-SA-3.0", "CC-BY-3.0", "GPL-2"):
        assert name in words
    assert "What was changed" in words
    assert "GPL-2" in Dataset.read(out).licence


def test_the_same_packages_give_the_same_bytes(whole, out, tmp_path):
    speech.prepare(tmp_path / "again", root=whole, problems=Problems(), threads=3)
    assert contents(tmp_path / "again") == contents(out)


def break_cut(path):
    path.write_bytes(path.read_bytes()[:200])


def break_words(path):
    path.write_bytes(b"no sound at all, but words" * 10)


@pytest.mark.parametrize("broken", [break_cut, break_words, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("number", [3, 9])
def test_broken_recordings_are_named_and_passed_over(root, tmp_path, capsys, broken, number):
    path = paths(root / VOICES[number].package, VOICES[number])[1]
    broken(path)
    out = tmp_path / "out"
    assert main(["prepare", "speech", "--root", str(root), "--out", str(out), "--json"]) == 1
    told = capsys.readouterr()
    assert str(path) in told.err
    assert (json.loads(told.out)["recordings"], json.loads(told.out)["problems"]) == (49, 1)
    assert json.loads((out / "problems.jsonl").read_text())["path"] == str(path)
    assert len(open_prepared(out, "train"))


def test_files_published_empty_are_no_problem(root, tmp_path):
    tree = root / "asterisk-core-sounds-ru-wav"
    folder = paths(tree, VOICES[5])[0].parent.parent
    for name in ("is.wav", "isnt.wav"):
        (folder / name).write_bytes(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0\x80>\0\0\2\0\x10\0data\0\0\0\0")
    made, trouble = prepare(root, tmp_path / "out")
    assert made.empty == 1
    assert len(trouble) == 1
    assert "isnt.wav: holds no samples" in trouble[0]


def test_a_missing_package_and_missing_terms_are_told(root, tmp_path):
    shutil.rmtree(root / "fillets-ng-data-nl")
    (root / "asterisk-core-sounds-fr-wav/usr/share/doc/asterisk-core-sounds-fr-wav/copyright").unlink()
    made, trouble = prepare(root, tmp_path / "out")
    assert made.recordings == 40
    assert set(made.trials) == {"fillets_cs", "asterisk_it"}
    assert len([words for words in trouble if "nl_small_fish" in words or "nl_big_fish" in words]) == 2
    assert any("the terms of asterisk-core-sounds-fr-wav" in words for words in trouble)
    assert "fr-wav" not in (tmp_path / "out" / "licences" / "ATTRIBUTION.txt").read_text()


def test_a_folder_without_any_is_refused(tmp_path, capsys):
    (tmp_path / "root").mkdir()
    out = tmp_path / "out"
    assert main(["prepare", "speech", "--root", str(tmp_path / "root"), "--out", str(out)]) == 2
    assert "no recording is left to train on" in capsys.readouterr().err
    assert not (out / "dataset.json").exists()
    with pytest.raises(InputError, match="is no folder"):
        prepare(tmp_path / "nowhere", out)


def test_no_threads_are_refused_before_a_finished_set_is_touched(whole, out, tmp_path):
    shutil.copytree(out, tmp_path / "out")
    with pytest.raises(InputError, match="--threads: got 0, expected at least 1"):
        speech.prepare(tmp_path / "out", root=whole, problems=Problems(), threads=0)
    assert contents(tmp_path / "out") == contents(out)


class Killed(Exception):
    """What stops a run."""


def dying(things, total, words):
    for done, thing in enumerate(things):
        if done == 20:
            raise Killed
        yield thing


def test_a_stopped_run_leaves_no_set_and_is_done_again(whole, out, tmp_path):
    shutil.copytree(out, tmp_path / "out")
    with pytest.raises(Killed):
        prepare(whole, tmp_path / "out", watch=dying)
    with pytest.raises(InputError, match="run `diffsda prepare`"):
        Dataset.read(tmp_path / "out")
    prepare(whole, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(out)


def test_without_soundfile_the_exit_code_is_3(whole, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert main(["prepare", "speech", "--root", str(whole), "--out", str(tmp_path / "out")]) == 3
    assert "pip install 'diffsda[audio]'" in capsys.readouterr().err


def test_the_preset_takes_the_set(out):
    recipe, held = preset("speech"), Dataset.read(out)
    assert (recipe.clips.modality, recipe.clips.frames, recipe.clips.channels) == (
        held.modality,
        held.frames,
        held.channels,
    )


def test_the_miniature_has_words_of_every_part():
    assert {split_of(f"asterisk/{name}") for name in SPOKEN} == set(SPLITS)
    assert {split_of("fillets/" + line.format("m")) for line in LINES} == set(SPLITS)


def fetchable():
    """Tell whether apt has an index here with all of the packages."""
    if shutil.which("apt-get") is None:
        return False
    names = [package.name for package in PACKAGES]
    asked = subprocess.run(["apt-get", "--print-uris", "download", *names], capture_output=True, check=False)
    return not asked.returncode


@pytest.mark.slow
def test_the_real_packages(tmp_path, capsys):
    """From apt to a set whose time means tell speakers, on words that were not trained on."""
    if not fetchable():
        pytest.skip("apt-get has no index of packages here, or no apt-get is here")
    out = tmp_path / "out"
    assert main(["prepare", "speech", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recordings"] > 5500
    assert told["short"] < 0.02 * told["recordings"]
    assert min(told["trials"].values()) > 10_000
    parts = {split: open_prepared(out, split) for split in SPLITS}
    test = parts["test"]
    for split, clips in parts.items():
        assert len(clips) == told["splits"][split]
        assert clips.x.shape[1:] == (48, 40)
        assert np.isfinite(clips.x).all()
        assert len(np.unique(clips.labels["voice"])) == 10
        assert np.bincount(clips.labels["voice"]).min() > 100
    prompts = {split: set(clips.labels["prompt"]) for split, clips in parts.items()}
    assert not prompts["train"] & prompts["test"]
    assert not (prompts["train"] | prompts["test"]) & prompts["val"]
    mean, std = Dataset.read(out).statistics
    x = parts["train"].x.reshape(-1, 40)
    assert mean == pytest.approx(x.mean(0, dtype=np.float64), abs=1e-4)
    assert std == pytest.approx(x.std(0, dtype=np.float64), abs=1e-4)
    assert 1 < min(std) < max(std) < 2.5
    assert "Allison Smith" in (out / "licences" / "asterisk-core-sounds-en-wav.txt").read_text()

    from sklearn.linear_model import LogisticRegression

    def time_means(clips):
        return (clips.x.mean(1) - mean) / std

    probe = LogisticRegression(max_iter=200).fit(time_means(parts["train"]), parts["train"].labels["speaker"])
    assert probe.score(time_means(test), test.labels["speaker"]) > 0.8, "chance is 1 in 9, the commonest 0.22"
    for one in speech_trials.read(out).values():
        plain = equal_error_rate(one.scores(test.x.mean(1), test.labels["utterance"]), one.same)
        assert 0.05 < plain < 0.45, "speakers can be told, but not by their room alone"
