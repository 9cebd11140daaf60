"""What a comparison was begun with, names of its files, and clips that are on both sides."""

import json

import numpy as np
import pytest
import small_systems

from diffsda.compare.entries import Entry
from diffsda.compare.record import Comparison
from diffsda.data.arrays import write
from diffsda.evaluate.record import Result


@pytest.fixture(scope="module")
def begun(stage, tmp_path_factory):
    """A comparison that is at its end."""
    import contextlib
    import io

    from diffsda.cli import main

    out = tmp_path_factory.mktemp("begun") / "out"
    words = ["compare", stage.files["dbse-series"], "--data", stage.fit, "--test", stage.test, "--out", out]
    words += ["--static", "who", "--dynamic", "what", "--set", 'swap-labels.judge={"updates":3}', "--protocols", "eer"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main([str(word) for word in words]) == 0
    return out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--count", "10"), "count None, now 10"),
        (("--static", "what"), "static ['who'], now ['what']"),
        (("--dynamic", "who"), "dynamic ['what'], now ['who']"),
        (("--judge", "voice=nobody"), "judge [], now ['voice=nobody']"),
    ],
)
def test_what_decides_the_scores_cannot_change(begun, compare, more, words):
    said = compare(begun, "--protocols", "eer", *more, recipes=("dbse-series",))
    assert said.status == 2, said.err
    assert f"was begun with {words}" in said.err


def test_the_clips_that_are_scored_cannot_change(begun, compare, stage, tmp_path):
    with np.load(stage.test) as held:
        write(tmp_path / "test.npz", {name: held[name][:20] for name in held.files})
    kept = stage.test.read_bytes()
    try:
        stage.test.write_bytes((tmp_path / "test.npz").read_bytes())
        said = compare(begun, "--protocols", "eer", recipes=("dbse-series",))
    finally:
        stage.test.write_bytes(kept)
    assert said.status == 2, said.err
    assert "was begun with test clips [24, " in said.err
    assert compare(begun, "--protocols", "eer", recipes=("dbse-series",)).status == 0


def test_an_older_plan_is_gone_on_with(begun, compare):
    plan = json.loads((begun / "plan.json").read_text())
    older = {name: plan[name] for name in plan if name not in ("count", "static", "dynamic", "judge", "test clips")}
    assert len(older) == len(plan) - 5
    (begun / "plan.json").write_text(json.dumps(older))
    said = compare(begun, "--protocols", "eer", recipes=("dbse-series",))
    (begun / "plan.json").write_text(json.dumps(plan))
    assert said.status == 0, said.err


def test_an_older_record_is_read(begun, tmp_path):
    plain = json.loads((begun / "compare.json").read_text())
    del plain["judges"], plain["timing"]["plain"], plain["clips"]["shared"]
    for one in plain["systems"]:
        for name in ("prepared_seconds", "execution", "failed", "notes"):
            del one[name]
        for model in one["models"]:
            del model["planned"]
    (tmp_path / "compare.json").write_text(json.dumps(plain))
    from diffsda.compare.table import document

    text = document(Comparison.read(tmp_path / "compare.json"))
    assert "were prepared for inference, the others ran as they were trained" in text


def test_what_a_kill_left_of_the_plan_is_no_folder_of_something_else(compare, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".0123456789abcdef.part").write_text("{")
    assert compare(tmp_path / "out", "--protocols", "eer", recipes=("dbse-series",)).status == 0


def test_every_name_has_files_of_its_own():
    names = ["ours", "a/b", "a b", "a-b", "x" * 300, "x" * 299, "\u00e9" * 300, "\u00e8" * 300, "v1.5"]
    rows = [Entry(name=name, recipe=small_systems.OURS).row for name in names]
    assert len(set(rows)) == len(rows)
    assert max(map(len, rows)) < 100
    assert all("/" not in row and row.isascii() for row in rows)
    assert rows[0] == "ours"
    assert rows[-1] == "v1.5"


def test_trials_of_a_name_with_a_dot_have_results_of_their_own(compare, tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(small_systems.OURS.replace(name="ours-v1.5").to_dict()))
    more = ("--trials", "2", "--criterion", "eer-gap", "--protocols", "eer")
    said = compare(tmp_path / "out", *more, recipes=(tmp_path / "r.json",))
    assert said.status == 0, said.err
    for number in (0, 1):
        held = Result.read(tmp_path / "out" / "trials" / f"ours-v1.5-{number}.json")
        assert held.provenance["models"][0]["model"].endswith(f"ours-v1.5-{number}")


def test_clips_on_both_sides_are_told_of(compare, stage, tmp_path):
    with np.load(stage.fit) as held:
        write(tmp_path / "over.npz", {name: held[name][:24] for name in held.files})
    more = ("--test", tmp_path / "over.npz", "--protocols", "eer")
    said = compare(tmp_path / "out", *more, recipes=("dbse-series",))
    assert said.status == 0, said.err
    assert "warning: 24 of the 24 clips that are scored are among those that are trained on" in said.err
    assert Comparison.read(tmp_path / "out" / "compare.json").clips["shared"] == 24
    assert "24 of the clips that could be scored are among those" in (tmp_path / "out" / "compare.md").read_text()


def test_infinity_in_a_grid_is_written_down(compare, tmp_path):
    (tmp_path / "grid.json").write_text('{"ours": [{}, {"sampling": {"S_max": Infinity, "S_churn": 0.1}}]}')
    more = ("--trials", "2", "--grid", tmp_path / "grid.json", "--criterion", "eer-gap", "--protocols", "eer")
    said = compare(tmp_path / "out", *more, recipes=("ours",))
    assert said.status == 0, said.err
    (one,) = Comparison.read(tmp_path / "out" / "compare.json").systems
    assert one.trials[1]["overrides"]["sampling"]["S_max"] == "inf"


def test_judges_of_a_model_of_other_clips_are_told_of(compare, stage, tmp_path):
    from diffsda.data.registry import open_clips
    from diffsda.train.loop import train
    from diffsda.train.options import Options

    clips = open_clips(stage.fit)
    train(small_systems.THEIRS["spyl-vector"], clips.select(np.arange(40)), tmp_path / "other", Options(device="cpu"))
    more = ("--protocols", "swap-labels", "--set", 'swap-labels.judge={"updates":3}', "swap-labels.pairs=6")
    said = compare(tmp_path / "out", *more, recipes=("dbse-series", tmp_path / "other"))
    assert said.status == 0, said.err
    made = Comparison.read(tmp_path / "out" / "compare.json")
    assert len(set(made.judges.values())) == 2
    assert "warning: judges are not quite the same" in said.err
    assert "by the same judges" not in (tmp_path / "out" / "compare.md").read_text()
