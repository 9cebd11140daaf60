"""CelebV-HQ: labels from the info file, splits from lists or drawn, what is missing or broken."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from trees import EMOTION, SEVERAL, pickled

from diffsda.data.problems import Problems
from diffsda.data.video.celebv_hq import EMOTIONS, read
from diffsda.errors import InputError

NAMES = [f"-vid{n}_A_{n}" for n in range(10)]


def about(number=0, **changes):
    said = {"appearance": [1, 0, number % 2], "action": [0, number % 2], "emotion": EMOTION, **changes}
    return {"ytb_id": "x", "attributes": said}


def tree(root, clips=None, folder="35666", absent=(), meta="meta_info"):
    clips = {name: about(n) for n, name in enumerate(NAMES)} if clips is None else clips
    top = root / "CelebV-HQ"
    (top / folder).mkdir(parents=True)
    for name in clips:
        if name not in absent:
            (top / folder / f"{name}.mp4").write_bytes(b"x")
    words = {"appearance_mapping": ["Blurry", "Male", "Wavy Hair"], "action_mapping": ["blow", "close_eyes"]}
    (top / "celebvhq_info.json").write_text(json.dumps({meta: words, "clips": clips}), encoding="utf-8")
    return top


def part(found, split):
    return {clip.key for clip in found.clips if clip.split == split}


@pytest.mark.parametrize("meta", ["meta_info", "mete_info"])
def test_labels(tmp_path, meta):
    top = tree(tmp_path, {"a": about(1), "b": about(0, emotion=SEVERAL)}, meta=meta)
    found = read(tmp_path, Problems())
    labels = {clip.key: clip.labels for clip in found.clips}
    assert found.clips[0].source == top / "35666/a.mp4"
    assert EMOTIONS == ("neutral", "happy", "sadness", "anger", "fear", "surprise", "contempt", "disgust")
    assert labels["a"] == {
        **{"appearance_blurry": 1, "appearance_male": 0, "appearance_wavy_hair": 1},
        **{"action_blow": 0, "action_close_eyes": 1},
        **{"emotion": 1, **{f"emotion_{word}": int(word == "happy") for word in EMOTIONS}},
    }
    assert labels["b"]["emotion"] == -1
    assert [word for word in EMOTIONS if labels["b"][f"emotion_{word}"]] == ["neutral", "disgust"]
    assert found.label_names == {"emotion": EMOTIONS}


def test_a_drawn_split_is_scikit_learns_over_the_order_of_the_info_file(tmp_path):
    clips = {name: about() for name in reversed(NAMES)}
    tree(tmp_path, clips)
    found = read(tmp_path, Problems())
    train, test = train_test_split(list(reversed(NAMES)), random_state=42, test_size=0.2)
    assert (part(found, "train"), part(found, "test")) == (set(train), set(test))


def test_filtered_clips_are_left_out_before_the_split(tmp_path):
    top = tree(tmp_path)
    pickled(top / "filtered_clips.pkl", [NAMES[3], "unknown"])
    found = read(tmp_path, Problems())
    _, test = train_test_split([name for name in NAMES if name != NAMES[3]], random_state=42, test_size=0.2)
    assert len(found.clips) == 9
    assert part(found, "test") == set(test)


def test_lists_of_clips_to_leave_out_may_name_files(tmp_path):
    top = tree(tmp_path)
    pickled(top / "filtered_clips.pkl", [f"{NAMES[3]}.mp4", NAMES[5]])
    assert {clip.key for clip in read(tmp_path, Problems()).clips} == set(NAMES) - {NAMES[3], NAMES[5]}
    pickled(top / "train_split.pkl", [f"{name}.mp4" for name in NAMES[:6]])
    pickled(top / "test_split.pkl", [f"{name}.mp4" for name in NAMES[6:]])
    pickled(top / "filtered_clips_new.pkl", [f"{NAMES[0]}.mp4"])
    pickled(top / "filtered_clips_new_test.pkl", [f"{NAMES[8]}.mp4"])
    assert {clip.key for clip in read(tmp_path, Problems()).clips} == set(NAMES) - {NAMES[0], NAMES[8]}


def test_videos_that_are_missing_do_not_change_the_split(tmp_path):
    tree(tmp_path, absent=NAMES[:4])
    found = read(tmp_path, Problems())
    _, test = train_test_split(NAMES, random_state=42, test_size=0.2)
    assert part(found, "test") == set(test) - set(NAMES[:4])
    assert list(found.absent) == [f"{name}.mp4" for name in NAMES[:4]]


def test_split_by_lists(tmp_path):
    top = tree(tmp_path)
    pickled(top / "train_split.pkl", [f"{name}.mp4" for name in NAMES[:6]])
    pickled(top / "test_split.pkl", [f"{name}.mp4" for name in NAMES[6:]])
    pickled(top / "filtered_clips_new.pkl", [NAMES[0], NAMES[7]])
    pickled(top / "filtered_clips_new_test.pkl", [NAMES[8]])
    found = read(tmp_path, Problems())
    assert part(found, "train") == set(NAMES[1:6])
    assert part(found, "test") == {NAMES[6], NAMES[7], NAMES[9]}


def test_one_list_without_the_other_is_named(tmp_path):
    top = tree(tmp_path)
    pickled(top / "train_split.pkl", [f"{name}.mp4" for name in NAMES[:6]])
    problems = Problems()
    assert read(tmp_path, problems).options["split"] == "drawn, 80/20"
    assert [problem.path for problem in problems] == [str(top / "test_split.pkl")]


def test_crops_are_preferred(tmp_path):
    top = tree(tmp_path)
    (top / "512_face_crop").mkdir()
    (top / "512_face_crop" / f"{NAMES[0]}.mp4").write_bytes(b"x")
    found = read(tmp_path / "CelebV-HQ", Problems())
    assert found.options["videos"] == "512_face_crop"
    assert [clip.source.parent.name for clip in found.clips] == ["512_face_crop"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({}, "KeyError 'attributes'"),
        (about(appearance=[1]), "has 1 marks of appearance, expected 3 of 0 or 1"),
        (about(action=[0, 2]), "has 2 marks of action, expected 2 of 0 or 1"),
        (about(emotion={"sep_flag": False, "labels": "bored"}), "has emotion bored, expected some of neutral"),
        (about(emotion={"sep_flag": True, "labels": []}), "has emotion none"),
        (about(emotion={"sep_flag": True, "labels": "happy"}), "TypeError"),
        (about(emotion=None), "TypeError"),
        (None, "TypeError"),
    ],
)
def test_a_broken_entry_is_named_and_left_out(tmp_path, bad, words):
    top = tree(tmp_path, {"good": about(), "bad": bad, "other": about()})
    problems = Problems()
    assert {clip.key for clip in read(tmp_path, problems).clips} == {"good", "other"}
    (problem,) = problems
    assert problem.path == str(top / "celebvhq_info.json")
    assert problem.reason.startswith(f"clip 'bad' {words}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["attributes", "emotion", "appearance", "sep_flag", "labels", "x"]), inner)
    ),
    max_leaves=12,
)


def test_no_entry_is_more_than_a_problem(tmp_path):
    top = tree(tmp_path, {"bad": about(), "good": about(), "also": about()})

    @given(JSON, st.sampled_from([(), ("attributes",), ("attributes", "emotion"), ("attributes", "appearance")]))
    def whatever(value, place):
        info = json.loads((top / "celebvhq_info.json").read_text(encoding="utf-8"))
        info["clips"]["bad"] = about()
        inner, last = info["clips"], "bad"
        for name in place:
            inner, last = inner[last], name
        inner[last] = value
        (top / "celebvhq_info.json").write_text(json.dumps(info), encoding="utf-8")
        problems = Problems()
        assert len(read(tmp_path, problems).clips) + len(problems) == 3

    whatever()


def test_a_name_twice_and_a_name_that_is_no_files(tmp_path):
    top = tree(tmp_path, {"../up": about(), "a/b": about(), "a": about(), "b": about()}, absent=("../up", "a/b"))
    info = top / "celebvhq_info.json"
    text = info.read_text(encoding="utf-8")
    info.write_text(text.replace('"b":', '"a":', 1), encoding="utf-8")
    problems = Problems()
    assert {clip.key for clip in read(tmp_path, problems).clips} == {"a"}
    reasons = sorted(problem.reason for problem in problems)
    assert reasons[2] == "names 'a' a second time; the first counts"
    assert "'../up' has a name that is no file's" in reasons[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "has no table 'clips'"),
        ('{"clips": {}}', r"has no list meta_info\.appearance_mapping"),
        ('{"clips": {}, "meta_info": {"appearance_mapping": [1]}}', "has no list meta_info"),
    ],
)
def test_a_broken_info_file(tmp_path, text, words):
    top = tree(tmp_path)
    (top / "celebvhq_info.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read(tmp_path, Problems())


def test_nothing_there_says_where_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"found no CelebV-HQ in .* https://celebv-hq\.github\.io"):
        read(tmp_path, Problems())
    top = tree(tmp_path, {})
    (top / "35666").rmdir()
    with pytest.raises(InputError, match="found neither 512_face_crop/ nor 35666/"):
        read(tmp_path, Problems())


def test_pairs(tmp_path):
    top = tree(tmp_path)
    pickled(top / "train_split.pkl", [f"{name}.mp4" for name in NAMES[:6]])
    pickled(top / "test_split.pkl", [f"{name}.mp4" for name in NAMES[6:]])
    table = tmp_path / "pairs.csv"
    table.write_text(f"filename_A,filename_B\n{NAMES[7]}.mp4,{NAMES[8]}.mp4\n{NAMES[7]}.mp4,{NAMES[1]}.mp4\n", "utf-8")
    problems = Problems()
    (pair,) = read(tmp_path, problems, pairs=table).pairs
    assert (pair.first, pair.second) == (NAMES[7], NAMES[8])
    assert [problem.line for problem in problems] == [3]
