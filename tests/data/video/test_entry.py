"""The index of a video set is read as it was written; anything else is refused by its line."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.video.entry import Entry, read_entries, write_entries
from diffsda.errors import InputError


def entry(path, **changes):
    about = {"frames": 30, "fps": 25.0, "width": 64, "height": 48, "codec": "vp9", "sha256": "ab" * 32, "labels": {}}
    return Entry(path=path, **about | changes)


def test_what_is_written_is_read(tmp_path):
    given = [
        entry(tmp_path / "videos" / "a b\u00e9.mp4", labels={"who": 3}),
        entry(Path("/somewhere/else.webm"), fps=29.97, codec="h264"),
    ]
    write_entries(tmp_path / "train.jsonl", given)
    assert read_entries(tmp_path / "train.jsonl") == given
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == ["videos/a b\u00e9.mp4", "/somewhere/else.webm"]


def test_a_folder_can_be_moved(tmp_path):
    (tmp_path / "old").mkdir()
    write_entries(tmp_path / "old" / "train.jsonl", [entry(tmp_path / "old" / "videos" / "a.mp4")])
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_entries(tmp_path / "new" / "train.jsonl")[0].path == tmp_path / "new" / "videos" / "a.mp4"


def test_paths_given_from_here_lead_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    write_entries("set/train.jsonl", [entry(Path("films/a.mp4")), entry(Path("set/videos/b.mp4"))])
    assert [e.path for e in read_entries("set/train.jsonl")] == [
        tmp_path / "films/a.mp4",
        tmp_path / "set/videos/b.mp4",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is no JSON"),
        ("[1]", "line 2 holds list"),
        ("{}", "line 2 holds nothing, expected path, frames"),
        ({"frames": 0}, "line 2: frames: got 0, expected a whole number from 1 on"),
        ({"frames": True}, "line 2: frames: got True"),
        ({"frames": 2.5}, "line 2: frames: got 2.5"),
        ({"width": "64"}, "line 2: width: got '64'"),
        ({"path": 7}, "line 2: path: got 7, expected text"),
        ({"fps": "fast"}, "line 2: fps: got 'fast', expected a number"),
        ({"labels": {"who": "me"}}, "line 2: labels: got {'who': 'me'}, expected whole numbers by name"),
        ({"labels": [1]}, r"line 2: labels: got \[1\]"),
        ({"more": 1}, "line 2 holds path, .*more, expected"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, words):
    path = tmp_path / "train.jsonl"
    write_entries(path, [entry(tmp_path / "a.mp4")])
    good = path.read_text()
    text = line if isinstance(line, str) else json.dumps(json.loads(good) | line)
    path.write_text(good + text + "\n")
    with pytest.raises(InputError, match=words):
        read_entries(path)


def test_missing_and_empty_indexes_are_named(tmp_path):
    with pytest.raises(InputError, match=r"val\.jsonl: no such file"):
        read_entries(tmp_path / "val.jsonl")
    (tmp_path / "val.jsonl").write_text("\n\n")
    with pytest.raises(InputError, match=r"val\.jsonl: is empty"):
        read_entries(tmp_path / "val.jsonl")
    (tmp_path / "val.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"val\.jsonl: cannot be read"):
        read_entries(tmp_path / "val.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*Entry.__dataclass_fields__, "other"]), JSON))
def test_strange_lines_are_refused_or_read(tmp_path_factory, strange):
    path = tmp_path_factory.mktemp("index") / "train.jsonl"
    path.write_text(json.dumps(strange) + "\n")
    with contextlib.suppress(InputError):
        (read,) = read_entries(path)
        assert min(read.frames, read.width, read.height) >= 1
        assert all(type(value) is int for value in read.labels.values())
