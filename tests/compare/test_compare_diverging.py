"""A training that diverges costs its system a model, and nobody else the table."""

import json

import pytest

from diffsda.compare.record import Comparison
from diffsda.errors import TrainingError

BROKEN = "the loss was not finite"


@pytest.fixture
def begun(monkeypatch):
    """Folders of all trainings, in order; those in ``broken`` diverge."""
    from diffsda.train import loop

    held, broken, real = [], set(), loop.train

    def train(recipe, clips, folder, options=None, **more):
        held.append(folder.name)
        if folder.name in broken or recipe.optim.lr in broken:
            raise TrainingError(BROKEN)
        return real(recipe, clips, folder, options, **more)

    monkeypatch.setattr(loop, "train", train)
    return held, broken


def test_a_variation_that_diverges_while_its_pace_is_measured_has_no_score(compare, begun, tmp_path):
    held, broken = begun
    broken.add(0.5)
    grid = {"ours": [{}, {"optim": {"lr": 0.5}}]}
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    words = ("--trials", "2", "--grid", tmp_path / "grid.json", "--criterion", "eer-gap", "--protocols", "eer")
    said = compare(tmp_path / "out", *words, "--seconds", "0.2", recipes=("ours",))
    assert said.status == 0, said.err
    (one,) = Comparison.read(tmp_path / "out" / "compare.json").systems
    assert (one.chosen, one.trials[1]["score"]) == (0, None)
    assert BROKEN in one.trials[1]["reason"]
    held.clear()
    assert compare(tmp_path / "out", *words, "--seconds", "0.2", recipes=("ours",)).status == 0
    assert not held


def test_a_final_training_that_diverges_leaves_the_others_their_table(compare, begun, tmp_path):
    held, broken = begun
    broken |= {"ours-0", "ours-1", "dbse-series-1"}
    out, words = tmp_path / "out", ("--protocols", "eer", "--seeds", "0", "1")
    said = compare(out, *words, recipes=("ours", "dbse-series", "spyl-vector"))
    assert said.status == 0, said.err
    gone, half, whole = Comparison.read(out / "compare.json").systems
    assert [len(one.models) for one in (gone, half, whole)] == [0, 1, 2]
    assert [len(one.failed) for one in (gone, half, whole)] == [2, 1, 0]
    text = (out / "compare.md").read_text()
    assert "\n| ours | \u2013 |" in text
    for name in ("ours", "dbse-series"):
        assert f"- {name}: training failed: {BROKEN}" in text
    assert "1 of dbse-series, 2 of spyl-vector models" in text
    assert (out / "compare.png").is_file()
    # What diverged once would again.
    held.clear()
    assert compare(out, *words, recipes=("ours", "dbse-series", "spyl-vector")).status == 0
    assert not held


def test_without_any_model_there_is_no_table_but_the_reasons(compare, begun, tmp_path):
    begun[1].add("ours-0")
    said = compare(tmp_path / "out", "--protocols", "eer", recipes=("ours",))
    assert said.status == 1
    assert f"no training left a model: ours: training failed: {BROKEN}" in said.err
    assert not (tmp_path / "out" / "compare.md").exists()
