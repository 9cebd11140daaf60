"""The shelf hands out the judge that is asked for, or the first that is there, and remembers what it said."""

import dataclasses

import numpy as np
import pytest
from judge_toys import Colours, Loudness, Pitches, Points, Sums, frames, squares

from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.judges import catalogue, kinds, shelf, trained
from diffsda.evaluate.judges.catalogue import CATALOGUE, KINDS, Entry, parts
from diffsda.evaluate.judges.random_features import LOOKS, RandomFeatures
from diffsda.evaluate.judges.sequence import SequenceJudge
from diffsda.evaluate.judges.shelf import Shelf

METHODS = {
    "landmarks": ("landmarks", kinds.Landmarks, Points),
    "faces": ("faces", kinds.Embedder, Colours),
    "bodies": ("bodies", kinds.Landmarks, Points),
    "people": ("people", kinds.Embedder, Colours),
    "voices": ("voices", kinds.VoiceEmbedder, Pitches),
    "speech_quality": ("speech_quality", kinds.SpeechQuality, Loudness),
    "clip_features": ("clip_features", kinds.ClipFeatures, Sums),
}
SMALL = {"channels": 4, "features": 16, "hidden": 8, "updates": 3, "batch": 8}


def entry(kind, name, judge, file=False):
    def make(path, device):
        if judge is None:
            raise MissingPackage(f"{name}: pip install {name}")
        return judge

    return Entry(kind=kind, name=name, substitute=False, get=f"get {name} somewhere", make=make, file=file)


def fill(monkeypatch, *entries):
    monkeypatch.setattr(catalogue, "CATALOGUE", entries)
    monkeypatch.setattr(shelf, "CATALOGUE", entries)


@pytest.mark.parametrize("kind", METHODS)
def test_every_kind_has_a_method_and_its_judges_are_of_that_kind(kind, monkeypatch):
    method, protocol, toy = METHODS[kind]
    judge = toy()
    fill(monkeypatch, entry(kind, "toy", judge))
    found = getattr(Shelf(), method)()
    assert isinstance(judge, protocol)
    assert isinstance(found, protocol)
    assert (found.name, found.version, found.substitute) == (judge.name, judge.version, judge.substitute)
    assert getattr(Shelf(), method)().judge is judge


def test_all_kinds_are_known():
    assert {one.kind for one in CATALOGUE} | {"reader"} == set(KINDS)
    assert set(METHODS) == {one.kind for one in CATALOGUE}
    for kind in METHODS:
        substitutes = [one.substitute for one in CATALOGUE if one.kind == kind]
        assert substitutes == sorted(substitutes), "the paper's judge comes first"


def test_the_first_that_is_there_is_taken(monkeypatch):
    second = Points()
    fill(monkeypatch, entry("landmarks", "gone", None), entry("landmarks", "there", second))
    assert Shelf().landmarks().judge is second


def test_one_that_needs_a_file_is_passed_over_without_it_and_taken_with_it(monkeypatch, tmp_path):
    first, second = Points(), Points()
    fill(monkeypatch, entry("bodies", "filed", first, file=True), entry("bodies", "there", second))
    assert Shelf().bodies().judge is second
    assert Shelf(files={"filed": tmp_path / "w"}).bodies().judge is first
    with pytest.raises(MissingPackage, match="filed: needs its weight file; get filed somewhere"):
        Shelf(prefer={"bodies": "filed"}).bodies()


def test_a_judge_can_be_asked_for_by_name_and_is_not_replaced(monkeypatch):
    second = Points()
    fill(monkeypatch, entry("landmarks", "one", Points()), entry("landmarks", "two", second))
    assert Shelf(prefer={"landmarks": "two"}).landmarks().judge is second
    fill(monkeypatch, entry("landmarks", "one", None), entry("landmarks", "two", second))
    with pytest.raises(MissingPackage, match=r"^one: pip install one$"):
        Shelf(prefer={"landmarks": "one"}).landmarks()


def test_where_there_is_none_all_ways_to_get_one_are_told(monkeypatch):
    fill(monkeypatch, entry("landmarks", "one", None), entry("landmarks", "two", None, file=True))
    with pytest.raises(MissingPackage, match=r"no judge of landmarks.*pip install one; or two: get two somewhere"):
        Shelf().landmarks()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prefer": {"noses": "dlib"}}, "kind 'noses', expected one of landmarks"),
        ({"prefer": {"faces": "openpose"}}, "judge of faces: got 'openpose', expected one of vgg-face, dlib"),
        ({"files": {"dlib": "w"}}, "'dlib', expected one for i3d, market1501, openpose"),
    ],
)
def test_names_that_nobody_knows_are_refused_at_once(wrong, said):
    with pytest.raises(InputError, match=said):
        Shelf(**wrong)


def test_what_was_said_outlives_the_shelf(monkeypatch, tmp_path):
    judge = Points()
    fill(monkeypatch, entry("landmarks", "toy", judge))
    seen = frames(5)
    first = Shelf(cache=tmp_path).landmarks().locate(seen)
    assert np.array_equal(Shelf(cache=tmp_path).landmarks().locate(seen), first)
    assert judge.seen == len(np.unique(seen.reshape(5, -1), axis=0))


def test_judges_of_two_kinds_under_one_name_do_not_mix(monkeypatch, tmp_path):
    points, colours = Points(), Colours()
    colours.name, colours.version = points.name, points.version
    fill(monkeypatch, entry("landmarks", "toy", points), entry("faces", "toy", colours))
    for _ in range(2):
        mine = Shelf(cache=tmp_path)
        assert mine.landmarks().locate(frames(3)).shape == (3, 1, 2)
        assert mine.faces().embed(frames(3)).shape == (3, 3)


def test_a_shelf_makes_a_judge_once(monkeypatch):
    made = []

    def make(path, device):
        made.append(device)
        return Points()

    fill(monkeypatch, dataclasses.replace(entry("landmarks", "toy", None), make=make))
    mine = Shelf(device="cpu")
    assert mine.landmarks() is mine.landmarks()
    assert made == ["cpu"]


def test_a_reader_is_trained_once(monkeypatch, tmp_path):
    times = []
    learn = SequenceJudge.learn.__func__
    monkeypatch.setattr(
        trained.SequenceJudge, "learn", classmethod(lambda cls, *a: times.append(1) or learn(cls, *a)), raising=True
    )
    clips, labels = squares(20)
    mine = Shelf(cache=tmp_path)
    first = mine.reader(clips, labels, names={"colour": ("r", "g", "b")}, **SMALL)
    assert isinstance(first, kinds.Reader)
    assert mine.reader(clips, labels, names={"colour": ("r", "g", "b")}, **SMALL) is first
    again = Shelf(cache=tmp_path).reader(clips, labels, names={"colour": ("r", "g", "b")}, **SMALL)
    assert np.array_equal(again.read(clips)["way"], first.read(clips)["way"])
    assert len(times) == 1
    Shelf(cache=tmp_path).reader(clips, labels, names={"colour": ("r", "g", "b")}, seed=1, **SMALL)
    assert len(times) == 2
    memory = Shelf()
    assert memory.reader(clips, labels, **SMALL) is memory.reader(clips, labels, **SMALL)
    assert len(times) == 3


def test_a_reader_whose_file_is_damaged_is_trained_again(tmp_path):
    clips, labels = squares(20)
    first = Shelf(cache=tmp_path).reader(clips, labels, **SMALL)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    again = Shelf(cache=tmp_path).reader(clips, labels, **SMALL)
    assert np.array_equal(again.read(clips)["way"], first.read(clips)["way"])
    third = Shelf(cache=tmp_path).reader(clips, labels, **SMALL)
    assert third.key == first.key


def test_a_reader_under_another_s_name_is_not_taken(tmp_path):
    clips, labels = squares(20)
    Shelf(cache=tmp_path).reader(clips, labels, **SMALL)
    (path,) = tmp_path.rglob("*.safetensors")
    wanted = Shelf().reader(clips, labels, seed=1, **SMALL).key
    path.rename(path.with_stem(wanted))
    assert Shelf(cache=tmp_path).reader(clips, labels, seed=1, **SMALL).seed == 1


def test_settings_that_there_are_not_are_refused():
    clips, labels = squares(10)
    with pytest.raises(InputError, match="setting 'epochs', expected some of channels"):
        Shelf().reader(clips, labels, epochs=3)


def test_every_judge_is_listed_with_what_it_needs(tmp_path, monkeypatch):
    found = {one.name: one for one in parts()}
    assert len(found) == len(CATALOGUE)
    assert found["clip_features: random-conv"].status == "available"
    assert "substitute" in found["clip_features: random-conv"].reason
    assert found["bodies: openpose"].status == "missing"
    assert "pose_model.pth" in found["bodies: openpose"].reason
    assert all("\n" not in one.reason for one in found.values())
    (tmp_path / "w").write_bytes(b"")
    assert {one.name: one for one in parts({"openpose": tmp_path / "w"})}["bodies: openpose"].status == "available"
    monkeypatch.setattr(catalogue.importlib.util, "find_spec", lambda name: None)
    missing = {one.name: one for one in parts()}
    assert missing["faces: dlib"].status == "missing"
    assert "pip install 'diffsda[judges-face]'" in missing["faces: dlib"].reason
    monkeypatch.setattr(catalogue.importlib.util, "find_spec", lambda name: object())
    there = {one.name: one for one in parts()}
    assert there["faces: vgg-face"].status == "available"


def test_listing_judges_imports_none_of_them():
    import subprocess
    import sys

    code = (
        "import sys; from diffsda.evaluate.judges.catalogue import parts; assert len(parts()) > 9; "
        "assert not {'torch', 'dlib', 'mediapipe', 'deepface', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_random_features_tell_what_is_wrong_with_clips():
    clips, _ = squares(240, size=16)
    judge = RandomFeatures()
    real = judge.describe(clips)
    assert real.shape == (240, 64)
    assert np.array_equal(real, RandomFeatures().describe(clips))
    assert np.allclose(judge.describe(clips[7:8]), real[7:8], atol=1e-5)
    assert np.allclose(judge.describe(clips[:3, :, ::-1]), judge.describe(clips[:3, :, ::-1].copy()))

    def distance(x):
        """The squared distance of the means of these clips and of the first half of the real ones."""
        return float(np.sum((judge.describe(x).mean(0) - real[:120].mean(0)) ** 2))

    still = judge.describe(np.repeat(clips[:20, :1], clips.shape[1], axis=1))
    assert np.abs(still[:, LOOKS:]).max() < 1e-5 < np.abs(real[:, LOOKS:]).max(1).min()
    plain = distance(clips[120:])
    assert distance(clips[120:] + np.random.default_rng(0).normal(0, 0.4, clips[120:].shape)) > 3 * plain
    assert distance(0.8 * clips[120:]) > 3 * plain


def test_random_features_take_grey_large_and_short_clips_and_vectors():
    draw = np.random.default_rng(0)
    judge = RandomFeatures()
    grey = draw.uniform(-1, 1, (2, 3, 1, 20, 12))
    assert np.allclose(judge.describe(grey), judge.describe(np.repeat(grey, 3, axis=2)), atol=1e-6)
    assert judge.describe(draw.uniform(-1, 1, (1, 1, 3, 100, 80))).shape == (1, 64)
    vectors = draw.normal(size=(5, 6, 7))
    assert judge.describe(vectors).shape == (5, 64)
    assert np.allclose(judge.describe(2 * vectors), 2 * judge.describe(vectors), rtol=1e-4, atol=1e-4)
    for bad in (vectors[0], np.full((1, 2, 3), np.nan), draw.normal(size=(1, 2, 4, 8, 8))):
        with pytest.raises(InputError, match="random-conv"):
            judge.describe(bad)
