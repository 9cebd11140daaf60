"""Pairs of clips: who is paired with whom, the file they are kept in, and the lists that prepared folders have."""

import collections
import dataclasses
import json

import numpy as np
import pytest
from protocol_jobs import Swapper, job, painted

from diffsda.data.clip import Clips
from diffsda.data.prepared import Dataset
from diffsda.data.video.entry import Entry, write_entries
from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import agree, clip_label, usable
from diffsda.evaluate.judges.examples import Examples
from diffsda.evaluate.pairs import OWN, PairList, both, checked, draw, fingerprint, of_job, own, read, read_list, write

WHO, WHAT = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1])


def test_pairs_differ_in_what_they_keep_and_in_what_happens():
    first, second = draw(5, 100, 0, static={"who": WHO}, dynamic={"what": WHAT})
    assert (WHO[first] != WHO[second]).all()
    assert (WHAT[first] != WHAT[second]).all()
    # Each of them once, in whichever direction.
    found = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert found == {frozenset(pair) for pair in [(0, 3), (0, 4), (1, 2), (2, 4)]}
    assert len(first) == 4


def test_any_label_of_a_role_or_every_one():
    static = {"a": np.array([0, 0, 1]), "b": np.array([0, 1, 1])}
    pairs = {frozenset(p) for p in zip(*map(list, draw(3, 9, 0, static=static)), strict=True)}
    assert pairs == {frozenset(p) for p in [(0, 1), (0, 2), (1, 2)]}
    (first,), (second,) = draw(3, 9, 0, static=static, different="every")
    assert {first, second} == {0, 2}
    assert len(draw(3, 9, 0, static={"a": np.zeros(3, int)}, different="none")[0]) == 3


def test_every_pair_is_as_likely_and_turned_as_often():
    seen = collections.Counter()
    for seed in range(3000):
        (first,), (second,) = draw(5, 1, seed, static={"who": WHO}, dynamic={"what": WHAT})
        seen[int(first), int(second)] += 1
    assert len(seen) == 8
    # 3000 / 8 = 375, standard deviation 18.
    assert max(abs(count - 375) for count in seen.values()) < 5 * 18


def test_a_seed_is_a_list_and_another_seed_another():
    wanted = draw(100, 30, 3)
    np.testing.assert_array_equal(draw(100, 30, 3), wanted)
    assert not np.array_equal(draw(100, 30, 4), wanted)
    assert len({frozenset(p) for p in zip(*map(list, wanted), strict=True)}) == 30


def test_clips_whose_label_is_not_known_are_left_out():
    for different in ("any", "every", "none"):
        first, second = draw(5, 100, 0, static={"who": np.array([0, -1, 1, 1, 2])}, different=different)
        assert len(first) == (6 if different == "none" else 5)
        assert 1 not in first
        assert 1 not in second


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"static": {"who": np.zeros(5, int)}}, "no two differ in who"),
        ({"static": {"who": WHO}, "dynamic": {"who": WHO, "x": np.zeros(5, int)}, "different": "every"}, "no two"),
        ({"different": "some"}, "any, every or none"),
        ({"count": 0}, "at least 1"),
        ({"clips": 1}, "no two"),
    ],
)
def test_no_pair_is_an_error(wrong, told):
    with pytest.raises(InputError, match=told):
        draw(**{"clips": 5, "count": 3, "seed": 0, **wrong})


def test_both_directions():
    first, second = both((np.array([0, 1]), np.array([2, 3])))
    assert first.tolist() == [0, 1, 2, 3]
    assert second.tolist() == [2, 3, 0, 1]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ([], [], "no pair"),
        ([0, 5], [1, 2], "from 0 to 5, expected 0 to 4"),
        ([0, -1], [1, 2], "from -1"),
        ([0, 1], [1], "expected \\(P,\\) both"),
        ([0.0], [1.0], "whole numbers"),
    ],
)
def test_rows_that_are_not_there_are_refused(first, second, told):
    with pytest.raises(InputError, match=told):
        checked(first, second, 5)


def test_a_list_is_read_as_it_was_written(tmp_path):
    clips = painted()
    kept = PairList.of(draw(96, 10, 7), clips, seed=7)
    path = write(tmp_path / "pairs.csv", kept)
    head, columns, *rows = path.read_text().splitlines()
    known = {"pairs": 1, "set": "sprites", "split": "test", "clips": fingerprint(clips), "names": None, "seed": 7}
    assert head.startswith("# ")
    assert json.loads(head[2:]) == known
    assert columns == "first,second"
    assert rows[0] == f"{kept.first[0]},{kept.second[0]}"
    for again in (read(path, clips), (read_list(path).first, read_list(path).second)):
        np.testing.assert_array_equal(again, (kept.first, kept.second))
    assert (read_list(path).name, read_list(path).seed) == ("sprites", 7)


HEAD = '# {"pairs": 1, "set": "sprites", "split": "test", "clips": "KNOWN", "names": null, "seed": null}\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "first,second\n", "no pair"),
        (HEAD + "first,second\n0,96\n", "expected 0 to 95"),
        (HEAD + "first,second\n0,-1\n", "pairs.csv:3: got '-1'"),
        (HEAD + "first,second\n0,1\n0, 1_0\n", "pairs.csv:4"),
        (HEAD + "first,second\n0,99999999999999999999\n", "pairs.csv:3: got '9999"),
        (HEAD + "first,second\n0,1\n\n0\n", "cells"),
        (HEAD + "a,b\n0,1\n", "columns a, b"),
        (HEAD.replace("KNOWN", "cd") + "first,second\n0,1\n", "is of other clips .sprites, test."),
        (HEAD.replace("null}", '"x"}') + "first,second\n0,1\n", "says seed 'x' of itself"),
        (HEAD.replace('"KNOWN"', "3") + "first,second\n0,1\n", "says clips 3 of itself"),
        ("first,second\n0,1\n", "begins with 'first,second'"),
        ("# {not json\nfirst,second\n0,1\n", "begins with"),
        ("# [1]\nfirst,second\n0,1\n", "begins with"),
        ("", r"is empty, expected .* --save-pairs .* first,second .*first lends the static factor"),
    ],
)
def test_a_list_that_will_not_do_is_refused(tmp_path, text, told):
    path = tmp_path / "pairs.csv"
    path.write_text(text.replace("KNOWN", fingerprint(painted())))
    with pytest.raises(InputError, match=told):
        read(path, painted())


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.csv", painted())


def test_the_fingerprint_is_of_the_clips_and_not_of_their_size():
    clips = painted()
    smaller = dataclasses.replace(clips, x=clips.x[..., :4, :4] * 2 + 1)
    assert fingerprint(smaller) == fingerprint(clips)
    others = [clips.select(np.arange(96)[::-1]), clips.select(range(95)), dataclasses.replace(clips, name="mug")]
    assert len({fingerprint(c) for c in (clips, *others)}) == 4


def prepared(folder, pairs, clips=96):
    """A prepared folder with a list of its own."""
    folder.mkdir(exist_ok=True)
    Dataset(
        kind="arrays", name="mug", modality="video", frames=4, channels=3, size=8, splits={"train": 1, "test": clips}
    ).write(folder)
    (folder / OWN).write_text("".join(json.dumps({"first": a, "second": b}) + "\n" for a, b in pairs))
    return folder


def test_the_list_of_a_prepared_folder(tmp_path):
    first, second = own(prepared(tmp_path, [(3, 4), (4, 5)]), 96)
    assert (first.tolist(), second.tolist()) == ([3, 4], [4, 5])
    assert own(tmp_path / "elsewhere", 96) is None
    with pytest.raises(InputError, match="is of 96 test clips, got 10; score all"):
        own(tmp_path, 10)
    (tmp_path / OWN).write_text('{"first": 1}\n')
    with pytest.raises(InputError, match="cannot be read"):
        own(tmp_path, 96)
    with pytest.raises(InputError, match="expected 0 to 95"):
        own(prepared(tmp_path, [(3, 96)]), 96)


def test_a_job_takes_what_it_is_given_then_its_folder_then_draws(tmp_path):
    folder = prepared(tmp_path, [(3, 4)])
    given = job(Swapper("perfect"), pairs=(np.array([1]), np.array([2])), folder=folder)
    assert [part.tolist() for part in of_job(given)] == [[1], [2]]
    listed = dataclasses.replace(given, pairs=None, options={})
    assert [part.tolist() for part in of_job(listed)] == [[3], [4]]
    assert len(of_job(listed, own_list=False)[0]) == 500
    # Of another part of the folder the list says nothing.
    assert len(of_job(dataclasses.replace(listed, split="val"))[0]) == 500
    asked = dataclasses.replace(listed, options={"pairs": 20})
    drawn = of_job(asked)
    assert len(drawn[0]) == 20
    with pytest.raises(InputError, match="pairs: got '20'"):
        of_job(dataclasses.replace(asked, options={"pairs": "20"}))
    np.testing.assert_array_equal(of_job(dataclasses.replace(asked, folder=None)), drawn)
    action = listed.test.labels["action"], listed.test.labels["direction"]
    assert all(any(one[a] != one[b] for one in action) for a, b in zip(*drawn, strict=True))
    with pytest.raises(InputError, match="no pair"):
        of_job(dataclasses.replace(given, pairs=(np.zeros(0, int), np.zeros(0, int))))


def test_labels_of_frames_that_never_change_are_of_clips():
    x = np.zeros((2, 3, 1), np.float32)
    still, moving = np.array([[1, 1, 1], [2, 2, 0]]), np.array([[1, 1, 0], [2, 2, 0]])
    clips = Clips(x, np.array([3, 2]), labels={"still": still, "moving": moving, "one": np.array([4, 5])})
    assert clip_label(clips, "still").tolist() == [1, 2]
    assert clip_label(clips, "one").tolist() == [4, 5]
    with pytest.raises(InputError, match="moving: changes within 1 of 2 clips"):
        clip_label(clips, "moving")
    with pytest.raises(InputError, match="got 'none', expected one of those of clips: still"):
        clip_label(clips, "none")
    names, reason = usable([clips], ("one", "moving", "still"))
    assert names == ("one", "still")
    assert "moving" in reason


def test_classes_go_by_the_same_names_on_both_sides():
    x, labels = np.zeros((2, 3, 1), np.float32), {"who": np.array([0, 1])}
    ab, ba, more = (Clips(x, labels=labels, label_names={"who": names}) for names in ("ab", "ba", "abc"))
    agree(ab, ab, ["who"])
    agree(ab, Clips(x, labels=labels), ["who"])
    agree(ab, ba, [])
    with pytest.raises(InputError, match="label who: class 0 is a in clips, which is fitted on, and b in clips"):
        agree(ab, ba, ["who"])
    with pytest.raises(InputError, match="class 2 is nothing in clips, which is fitted on, and c in"):
        agree(ab, more, ["who"])


def test_frames_without_a_known_label_say_nothing_of_their_clip():
    label = np.array([[-1, 2, 2, -1], [3, -1, 3, -1], [-1, -1, -1, 4], [0, 0, 0, 0]])
    clips = Clips(np.zeros((4, 4, 1), np.float32), np.array([4, 3, 3, 2]), labels={"late": label})
    assert clip_label(clips, "late").tolist() == [2, 3, -1, 0]
    # A reader is trained on the same labels.
    learned = Examples.of(clips.x, {"late": label}, clips.lengths).labels["late"]
    assert learned.tolist() == [2, 3, -1, 0]
    label[1, 2] = 1
    clips = Clips(clips.x, clips.lengths, labels={"late": label})
    for ask in (lambda: clip_label(clips, "late"), lambda: Examples.of(clips.x, clips.labels, clips.lengths)):
        with pytest.raises(InputError, match=r"label late: changes within 1 of 4 clips \(clip 1 first\)"):
            ask()


def test_clips_of_a_folder_are_known_by_their_names_too(tmp_path):
    def entries(names, codec):
        kept = {"frames": 4, "fps": 25.0, "width": 8, "height": 8, "codec": codec, "sha256": "0" * 64}
        write_entries(
            tmp_path / "test.jsonl",
            [Entry(path=tmp_path / f"{name}.{codec}", labels={}, **kept) for name in names],
        )

    clips = Clips(np.zeros((2, 4, 1), np.float32))
    entries("ab", "vp9")
    path = write(tmp_path / "pairs.csv", PairList.of((np.array([0]), np.array([1])), clips, folder=tmp_path))
    entries("ab", "h264")
    assert [rows.tolist() for rows in read(path, clips, folder=tmp_path)] == [[0], [1]]
    entries("ba", "h264")
    with pytest.raises(InputError, match="is of other clips"):
        read(path, clips, folder=tmp_path)
    # Who does not say where clips come from is not asked.
    assert [rows.tolist() for rows in read(path, clips)] == [[0], [1]]
