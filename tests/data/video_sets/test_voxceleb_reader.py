"""VoxCeleb1: speakers by name or number, split by speakers or by clips, as published and in order."""

import pytest
from sklearn.model_selection import train_test_split
from trees import frames, pickled

from diffsda.data.problems import Problems
from diffsda.data.video.voxceleb import TEST_SPEAKERS, read
from diffsda.errors import InputError


def tree(root, speakers=("Zoe_Saldana", "Abe_Vigoda", "Eva_Green", "Ezra_Miller"), clips=(1, 2, 10), level="1.6"):
    for number, speaker in enumerate(speakers):
        for clip in clips:
            frames(root / "data" / speaker / level / f"yt{number}" / str(clip), range(1), make=lambda n: b"x")
    return root


def splits(found):
    return {clip.key.split("/")[1]: clip.split for clip in found.clips}


def test_forty_speakers_in_the_order_of_their_numbers():
    assert len(set(TEST_SPEAKERS)) == 40
    assert list(TEST_SPEAKERS) == sorted(TEST_SPEAKERS, key=lambda name: name.replace("_", " "))
    assert all(name.startswith("E") for name in TEST_SPEAKERS)
    assert TEST_SPEAKERS[10283 - 10270] == "Eli_Roth"
    assert TEST_SPEAKERS[10309 - 10270] == "Ezra_Miller"


@pytest.mark.parametrize("place", ["VoxCeleb/unzippedIntervalFaces", "unzippedIntervalFaces", ""])
def test_split_by_speakers(tmp_path, place):
    tree(tmp_path / place)
    found = read(tmp_path, Problems())
    assert splits(found) == {"Abe_Vigoda": "train", "Eva_Green": "test", "Ezra_Miller": "test", "Zoe_Saldana": "train"}
    assert found.label_names == {"identity": ("Abe_Vigoda", "Eva_Green", "Ezra_Miller", "Zoe_Saldana")}
    assert [clip.key for clip in found.clips][:3] == [f"data/Abe_Vigoda/1.6/yt1/{n}" for n in (1, 2, 10)]
    assert [clip.labels["identity"] for clip in found.clips] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_numbers_instead_of_names(tmp_path):
    tree(tmp_path, ("id10001", "id10270", "id10309", "id10310"), level="")
    found = read(tmp_path, Problems())
    assert splits(found) == {"id10001": "train", "id10270": "test", "id10309": "test", "id10310": "train"}
    assert found.label_names["identity"] == ("id10001", "Eartha_Kitt", "Ezra_Miller", "id10310")
    assert found.clips[0].key == "data/id10001/yt0/1"


def test_one_person_twice_is_named(tmp_path):
    tree(tmp_path, ("Eva_Green", "id10306"))
    problems = Problems()
    assert len(read(tmp_path, problems).clips) == 3
    assert [problem.reason for problem in problems] == ["is the same person as Eva_Green; it is left out"]


def test_split_by_clips_is_scikit_learns(tmp_path):
    tree(tmp_path)
    found = read(tmp_path, Problems(), by_clip=True)
    _, test = train_test_split([clip.key for clip in found.clips], random_state=42, test_size=0.2)
    assert {clip.key for clip in found.clips if clip.split == "test"} == set(test)
    assert "the same people are on both sides" in found.remarks[0]


def test_as_published_goes_by_the_order_of_the_disk(tmp_path, monkeypatch):
    import os

    listdir = os.listdir
    tree(tmp_path)
    monkeypatch.setattr("os.listdir", lambda folder: sorted(listdir(folder), reverse=True))
    found = read(tmp_path, Problems(), as_published=True)
    assert found.label_names["identity"] == ("Zoe_Saldana", "Ezra_Miller", "Eva_Green", "Abe_Vigoda")
    assert [clip.key.rpartition("/")[2] for clip in found.clips][:3] == ["2", "10", "1"]
    drawn = read(tmp_path, Problems(), as_published=True, by_clip=True)
    _, test = train_test_split([clip.key for clip in found.clips], random_state=42, test_size=0.2)
    assert {clip.key for clip in drawn.clips if clip.split == "test"} == set(test)


def test_as_published_goes_by_the_order_that_was_kept(tmp_path):
    tree(tmp_path)
    keys = [clip.key for clip in read(tmp_path, Problems()).clips]
    order = keys[::2] + keys[1::2]
    kept = [(f"/their/disk/VoxCeleb/unzippedIntervalFaces/{key}", 3, "yt", "1") for key in order]
    pickled(tmp_path / "video.pkl", kept)
    drawn = read(tmp_path, Problems(), as_published=True, by_clip=True)
    _, test = train_test_split(order, random_state=42, test_size=0.2)
    assert {clip.key for clip in drawn.clips if clip.split == "test"} == set(test)
    pickled(tmp_path / "video.pkl", ["a", "b"])
    with pytest.raises(InputError, match=r"video\.pkl: got a pickled list, expected a list of \(path"):
        read(tmp_path, Problems(), as_published=True, by_clip=True)


PAIRS = """path_A,speaker_id_A,yt_id_A,vid_id_A,path_B,speaker_id_B,yt_id_B,vid_id_B
data/Eva_Green/1.6/yt2/1,16,yt2,1,data/Ezra_Miller/1.6/yt3/10,1015,yt3,10
data/Eva_Green/1.6/yt2/1,16,yt2,1,data/Eli_Roth/1.6/x/1,10,x,1
data/Abe_Vigoda/1.6/yt1/1,1,yt1,1,data/Eva_Green/1.6/yt2/1,16,yt2,1
"""


def test_pairs(tmp_path):
    tree(tmp_path)
    table = tmp_path / "vox1_pairs.csv"
    table.write_text(PAIRS, encoding="utf-8")
    problems = Problems()
    (pair,) = read(tmp_path, problems, pairs=table).pairs
    assert (pair.first, pair.second) == ("data/Eva_Green/1.6/yt2/1", "data/Ezra_Miller/1.6/yt3/10")
    assert [problem.line for problem in problems] == [3, 4]
    assert read(tmp_path, Problems()).pairs == ()


def test_nothing_there_says_where_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"found no VoxCeleb1 in .* https://www\.robots\.ox\.ac\.uk"):
        read(tmp_path, Problems())
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="found no clips"):
        read(tmp_path, Problems())
