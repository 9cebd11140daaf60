"""What a folder's sub-folders tell: splits, labels, which pictures are a video."""

import pytest

from diffsda.data.problems import Problems
from diffsda.data.video.layout import find
from diffsda.errors import InputError


def place(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def look(folder, without=None):
    problems = Problems()
    items, names = find(folder, problems, without)
    return {item.key: (item.split, item.labels.get("class")) for item in items}, names, [p.path for p in problems]


def test_a_plain_folder_tells_nothing(tmp_path):
    place(tmp_path, "v10.mp4", "v9.MOV", "notes.txt", ".hidden.mp4", ".git/a.mp4")
    found, names, problems = look(tmp_path)
    assert found == {"v9.MOV": (None, None), "v10.mp4": (None, None)}
    assert list(found) == ["v9.MOV", "v10.mp4"], "as people count"
    assert not names
    assert not problems


def test_sub_folders_are_labels_where_all_videos_lie_in_some(tmp_path):
    place(tmp_path, "walk/a.mp4", "run/b.mp4", "run/deep/c.mp4")
    found, names, _ = look(tmp_path)
    assert names == {"class": ("run", "walk")}
    assert found == {"run/b.mp4": (None, 0), "run/deep/c.mp4": (None, 0), "walk/a.mp4": (None, 1)}
    place(tmp_path, "d.mp4")
    found, names, _ = look(tmp_path)
    assert not names
    assert set(found.values()) == {(None, None)}


def test_one_sub_folder_is_no_label(tmp_path):
    assert look(place(tmp_path, "videos/a.mp4", "videos/b.mp4"))[1] == {}


def test_splits_and_labels(tmp_path):
    place(tmp_path, "train/walk/a.mp4", "train/run/b.mp4", "Validation/walk/c.mp4", "test/run/d.mp4")
    found, names, problems = look(tmp_path)
    assert names == {"class": ("run", "walk")}
    assert found == {
        "train/walk/a.mp4": ("train", 1),
        "train/run/b.mp4": ("train", 0),
        "Validation/walk/c.mp4": ("val", 1),
        "test/run/d.mp4": ("test", 0),
    }
    assert not problems


def test_splits_without_labels(tmp_path):
    found, names, _ = look(place(tmp_path, "train/a.mp4", "train/b.mp4", "test/c.mp4"))
    assert not names
    assert found == {"train/a.mp4": ("train", None), "train/b.mp4": ("train", None), "test/c.mp4": ("test", None)}


def test_what_lies_beside_the_splits_is_told(tmp_path):
    place(tmp_path, "train/a.mp4", "other/b.mp4", "c.mp4")
    found, _, problems = look(tmp_path)
    assert list(found) == ["train/a.mp4"]
    assert problems == [str(tmp_path / "c.mp4"), str(tmp_path / "other/b.mp4")]


def test_a_label_called_test_is_a_label_where_nothing_is_called_train(tmp_path):
    found, names, _ = look(place(tmp_path, "test/a.mp4", "rest/b.mp4"))
    assert names == {"class": ("rest", "test")}
    assert found["test/a.mp4"] == (None, 1)


def test_folders_of_pictures_are_videos(tmp_path):
    place(tmp_path, "walk/one/1.jpg", "walk/one/2.jpg", "walk/two/1.PNG", "run/a.mp4", "run/cover.jpg")
    items, names = find(tmp_path, Problems())
    assert [(item.key, item.pictures) for item in items] == [
        ("run/a.mp4", False),
        ("walk/one", True),
        ("walk/two", True),
    ]
    assert names == {"class": ("run", "walk")}
    (only,), _ = find(tmp_path / "walk" / "one", Problems())
    assert (only.key, only.place) == ("one", tmp_path / "walk" / "one")


def test_results_and_links_back_are_passed_over(tmp_path):
    place(tmp_path, "a.mp4", "out/videos/a.mp4.mp4")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    assert set(look(tmp_path, without=tmp_path / "out")[0]) == {"a.mp4", "link.mp4"}


def test_folders_without_videos_are_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find(tmp_path / "nowhere", Problems())
    with pytest.raises(InputError, match=r"holds no videos, expected \.3gp"):
        find(place(tmp_path, "notes.txt"), Problems())
