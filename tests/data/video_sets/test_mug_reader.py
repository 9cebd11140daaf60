"""MUG: the authors' folders and the database's own, labels, pairs, what is published about the order."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import frames, mug

from diffsda.data.problems import Problems
from diffsda.data.video import mug as mug_module
from diffsda.data.video.mug import EMOTIONS, read
from diffsda.errors import InputError


def test_the_authors_folders(tmp_path):
    problems = Problems()
    found = read(mug(tmp_path), problems)
    assert {split: sum(c.split == split for c in found.clips) for split in ("train", "test")} == {
        "train": 18,
        "test": 12,
    }
    assert found.label_names == {"subject": ("001", "006", "010", "084"), "emotion": EMOTIONS}
    clip = next(c for c in found.clips if c.key == "test/5/user006_take001_00")
    assert clip.labels == {"subject": 1, "emotion": 5}
    assert clip.source == tmp_path / "mug_pre2_test/5/user006_take001_00"
    assert clip.order == "number"
    assert not len(problems)
    assert not found.remarks


def test_without_subjects3_people_are_numbered_by_the_clips(tmp_path):
    mug(tmp_path)
    for person in ("001", "006", "010", "084"):
        (tmp_path / "MUG/subjects3" / person).rmdir()
    (tmp_path / "MUG/subjects3").rmdir()
    found = read(tmp_path, Problems())
    assert found.label_names["subject"] == ("001", "006", "010")
    assert "subjects3 is not there" in found.remarks[0]


def test_what_is_no_emotion_or_nobody_is_named(tmp_path):
    mug(tmp_path)
    frames(tmp_path / "mug_pre2_train/6/user001_take000_00", range(3))
    frames(tmp_path / "mug_pre2_train/0/user002_take000_00", range(3))
    frames(tmp_path / "mug_pre2_train/0/somebody", range(3))
    problems = Problems()
    assert len(read(tmp_path, problems).clips) == 30
    told = {problem.path.removeprefix(f"{tmp_path}/mug_pre2_train/") for problem in problems}
    assert told == {"6", "0/user002_take000_00", "0/somebody"}


def listed(monkeypatch, order):
    """Let the file system list what it holds in an order of ours."""
    import os

    listdir = os.listdir
    monkeypatch.setattr("os.listdir", lambda folder: order(listdir(folder)))


def test_as_published_clips_go_by_their_position(tmp_path, monkeypatch):
    people = [f"{n:03}" for n in range(1, 21)]
    for person in people:
        (tmp_path / "MUG/subjects3" / person).mkdir(parents=True)
        for number in range(2):
            frames(tmp_path / f"mug_pre2_test/0/user{person}_take{number:03}_00", range(15), make=lambda n: b"x")
    short = frames(tmp_path / "mug_pre2_test/0/user001_take000_01", range(14), make=lambda n: b"x")
    (tmp_path / "mug_pre2_train/0").mkdir(parents=True)
    listed(monkeypatch, lambda names: sorted(names, reverse=True))
    everything = [clip.key for clip in read(tmp_path, Problems()).clips]
    assert len(everything) == 41
    published = read(tmp_path, Problems(), as_published=True)
    backwards = [key for key in reversed(everything) if not key.endswith(short.name)]
    dropped = {backwards[32], backwards[36]}
    assert {clip.key for clip in published.clips} == set(everything) - dropped
    assert [clip.key for clip in published.clips][:3] == backwards[:3]
    assert {clip.order for clip in published.clips} == {"text"}
    assert published.options["as_published"] is True


def test_the_positions_left_out_are_the_published_ones():
    """SHA-256 of the 61 positions in ascending order as decimal numbers, with single spaces between.

    The list in the authors' datasets_util/mug_data_class.py, sorted, gave the same.
    """
    positions = sorted(mug_module._DROPPED)
    assert (len(positions), positions[0], positions[-1]) == (61, 32, 745)
    digest = hashlib.sha256(" ".join(map(str, positions)).encode()).hexdigest()
    assert digest == "2681cf216ac6c178cbfb15033e9726804a113df9a7c5e3710e8432462f3dd6c0"


def test_a_folder_that_is_no_emotion_is_looked_at_once(tmp_path, monkeypatch):
    mug(tmp_path)
    for take in range(5):
        frames(tmp_path / f"mug_pre2_train/neutral/user001_take{take:03}_00", range(1), make=lambda n: b"x")
    (tmp_path / "mug_pre2_test/empty").mkdir()
    noted = []
    monkeypatch.setattr(Problems, "add", lambda self, path, reason, line=None: noted.append(path.name))
    assert len(read(tmp_path, Problems()).clips) == 30
    assert noted == ["neutral", "empty"]


PAIRS = """video_path_A,categ_A,subj_A,video_path_B,categ_B,subj_B
mug_pre2_test/0/user001_take000_00,0,0,mug_pre2_test/5/user010_take001_00,5,2
/their/disk/mug_pre2_test/5/user006_take000_00,5,1,mug_pre2_test/0/user001_take001_00,0,0
mug_pre2_test/0/user001_take000_00,0,0,mug_pre2_test/0/user083_take000_00,0,50
mug_pre2_test/0/user001_take000_00,0,7,mug_pre2_test/5/user010_take001_00,5,2
mug_pre2_test/0/user001_take000_00,3,0,mug_pre2_test/5/user010_take001_00,5,2
"""


def test_pairs_are_checked(tmp_path):
    mug(tmp_path)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/mug_pairs.csv").write_text(PAIRS, encoding="utf-8")
    problems = Problems()
    found = read(tmp_path, problems)
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("test/0/user001_take000_00", "test/5/user010_take001_00"),
        ("test/5/user006_take000_00", "test/0/user001_take001_00"),
    ]
    assert [(problem.line, problem.reason.split(";")[0]) for problem in problems] == [
        (4, "'mug_pre2_test/0/user083_take000_00' is no test clip that was found"),
        (5, "'mug_pre2_test/0/user001_take000_00' has subject 7, expected 0"),
        (6, "'mug_pre2_test/0/user001_take000_00' has emotion 3, expected 0"),
    ]
    elsewhere = tmp_path / "other.csv"
    elsewhere.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="got columns a, b, expected video_path_A and video_path_B"):
        read(tmp_path, problems, pairs=elsewhere)
    with pytest.raises(InputError, match=r"gone\.csv: cannot be read"):
        read(tmp_path, problems, pairs=tmp_path / "gone.csv")


CELL = st.sampled_from(["mug_pre2_test/0/user001_take000_00", "0", "1", "", '"', "x"]) | st.text(max_size=8)


def test_no_table_of_pairs_is_more_than_a_problem(tmp_path):
    mug(tmp_path, train=1, test=1, people=("001",), length=1)
    table = tmp_path / "pairs.csv"

    @given(st.lists(st.lists(CELL, max_size=7), max_size=4))
    def whatever(rows):
        text = PAIRS.splitlines()[0] + "\n" + "\n".join(",".join(row) for row in rows)
        table.write_text(text, encoding="utf-8", newline="")
        with contextlib.suppress(InputError):
            for pair in read(tmp_path, Problems(), pairs=table).pairs:
                assert pair.first == pair.second == "test/0/user001_take000_00"

    whatever()


@pytest.mark.parametrize("inside", ["", "MUG", "MUG/subjects3"])
def test_the_databases_own_folders(tmp_path, inside):
    top = tmp_path / "MUG/subjects3"
    for person in ("001", "002"):
        for emotion in ("anger", "neutral", "surprise"):
            for take in range(5):
                frames(top / person / emotion / f"take{take:03}", range(2))
    frames(top / "010/session1/fear/take000", range(2))
    frames(top / "010/session1/fear/take001", range(2))
    found = read(tmp_path / inside, Problems())
    assert len(found.clips) == 22
    assert found.label_names["subject"] == ("001", "002", "010")
    labels = {clip.key: clip.labels for clip in found.clips}
    assert labels["002/surprise/take003"] == {"subject": 1, "emotion": 5}
    assert labels["010/session1/fear/take000"] == {"subject": 2, "emotion": 3}
    for person in ("001", "002"):
        for emotion in ("anger", "surprise"):
            takes = [clip for clip in found.clips if clip.key.startswith(f"{person}/{emotion}")]
            assert sorted(clip.split for clip in takes) == ["test"] + ["train"] * 4
    assert [clip.split for clip in read(tmp_path / inside, Problems()).clips] == [clip.split for clip in found.clips]
    with pytest.raises(InputError, match="--as-published: found no mug_pre2_train"):
        read(tmp_path / inside, Problems(), as_published=True)


def test_nothing_there_says_where_to_get_it(tmp_path):
    with pytest.raises(
        InputError, match=r"found no MUG in .*, expected mug_pre2_train/ .* https://mug\.ee\.auth\.gr/fed/"
    ):
        read(tmp_path, Problems())
    with pytest.raises(InputError, match="expected the folder with the download of MUG"):
        read(tmp_path / "gone", Problems())
    (tmp_path / "subjects3").mkdir()
    with pytest.raises(InputError, match="found no takes"):
        read(tmp_path, Problems())
