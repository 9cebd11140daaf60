"""diffsda compare on miniature clips: one table of all systems, equal pairs and judges, nothing trained twice."""

import hashlib
import json

import numpy as np
import pytest

from diffsda.compare.record import Comparison
from diffsda.evaluate.record import Result
from diffsda.header import newest

SETTINGS = ('swap-labels.judge={"updates":3}', "swap-labels.pairs=12", "swap-labels.leakage=false")
ALL = ("ours", "dbse-series", "spyl-vector", "divid-vector")


@pytest.fixture
def trainings(monkeypatch):
    """Every training that is begun: its folder, the clips, and whether it goes on from before."""
    from diffsda.train import loop

    held, real = [], loop.train

    def train(recipe, clips, folder, options=None, **more):
        held.append((str(folder), clips.fingerprint(), options.resume))
        return real(recipe, clips, folder, options, **more)

    monkeypatch.setattr(loop, "train", train)
    return held


@pytest.fixture
def few(monkeypatch):
    """Only what the trainings and the record need is scored."""
    from diffsda.evaluate.protocols import eer

    asked = []
    monkeypatch.setattr(eer, "run", lambda job, real=eer.run: asked.append(job) or real(job))
    return asked


@pytest.fixture(scope="module")
def whole(stage, tmp_path_factory):
    """One whole comparison of four systems with two seeds: its folder, and the pairs and readers of every swap."""
    import contextlib
    import io

    from diffsda.cli import main
    from diffsda.evaluate.protocols import swap_labels

    seen, out = [], tmp_path_factory.mktemp("whole") / "out"
    real_pairs, real_reader = swap_labels.of_job, swap_labels.reader_of

    def pairs(job, **more):
        rows = real_pairs(job, **more)
        seen.append(("pairs", job.model.recipe.system, job.seed, rows))
        return rows

    def reader(job, names):
        made = real_reader(job, names)
        seen.append(("reader", job.model.recipe.system, job.seed, made.version))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swap_labels, "of_job", pairs)
        patch.setattr(swap_labels, "reader_of", reader)
        words = ["compare", *map(str, stage.files.values()), "--data", stage.fit, "--test", stage.test, "--out", out]
        words += ["--static", "who", "--dynamic", "what", "--seeds", "0", "1", "--judged-seeds", "0", "7"]
        words += ["--set", *SETTINGS, "--rows", "2"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main([str(word) for word in words]) == 0
    return out, seen


def test_all_systems_have_the_same_pairs_and_the_same_judge(whole):
    _, seen = whole
    held = {(what, system, seed): one for what, system, seed, one in seen}
    systems = {system for _, system, _, _ in seen}
    assert systems == {"diffsda", "dbse-series", "spyl", "divid"}
    for seed in (0, 7):
        first = held["pairs", "diffsda", seed]
        for system in systems:
            assert all(map(np.array_equal, held["pairs", system, seed], first))
    assert not np.array_equal(held["pairs", "diffsda", 0][0], held["pairs", "diffsda", 7][0])
    assert len({one for what, _, _, one in seen if what == "reader"}) == 1


def test_the_record_holds_what_was_done(whole):
    out, _ = whole
    made = Comparison.read(out / "compare.json")
    assert [one.system for one in made.systems] == ["diffsda", "dbse-series", "spyl", "divid"]
    assert (made.seeds, made.judged_seeds, made.tuning) == ((0, 1), (0, 7), None)
    assert made.pairs["0"]["sha256"] != made.pairs["7"]["sha256"]
    assert made.clips["train"] == 48
    assert made.clips["test"] == 24
    for one in made.systems:
        assert [model["training_seed"] for model in one.models] == [0, 1]
        assert all(model["seconds"] > 0 and model["step"] == 3 for model in one.models)
        assert one.models[0]["weights"] != one.models[1]["weights"]
        assert set(one.rows) == {"swap-labels", "eer", "reconstruction"}
        row = next(row for row in one.rows["swap-labels"] if row.metric == "joint_accuracy")
        assert (row.models, len(row.values)) == (2, 4)
    policies = {one.system: (one.policy, list(one.swap_seconds)) for one in made.systems}
    assert policies == {
        "diffsda": ("dynamic", ["dynamic", "fresh"]),
        "dbse-series": ("fresh", ["fresh"]),
        "spyl": ("fresh", ["fresh"]),
        "divid": ("shared", ["shared", "fresh"]),
    }


def test_the_recorded_pairs_are_those_that_were_swapped(whole):
    out, seen = whole
    made = Comparison.read(out / "compare.json")
    for seed in (0, 7):
        swapped = [one for what, _, at, one in seen if (what, at) == ("pairs", seed)]
        for first, second in swapped:
            digest = hashlib.sha256(first.tobytes() + second.tobytes()).hexdigest()
            assert made.pairs[str(seed)] == {"count": 12, "sha256": digest}
    for one in made.systems:
        row = next(row for row in one.rows["swap-labels"] if row.metric == "static_accuracy")
        assert row.count == 2 * 12


def test_the_recorded_judge_is_the_one_that_read(whole):
    out, seen = whole
    (version,) = {one for what, _, _, one in seen if what == "reader"}
    made = Comparison.read(out / "compare.json")
    assert made.judges == dict.fromkeys(ALL, version)
    assert "by the same judges, trained once" in (out / "compare.md").read_text()


def test_all_are_timed_as_plain_modules_and_ours_prepared_as_well(whole):
    out, _ = whole
    made = Comparison.read(out / "compare.json")
    assert made.timing["plain"]
    for one in made.systems:
        prepared = ["dynamic", "fresh"] if one.system == "diffsda" else []
        assert list(one.prepared_seconds) == prepared
        assert one.execution["precision"] == "float32"
    text = (out / "compare.md").read_text()
    assert text.count(", prepared |") == 1
    assert "\n| ours, prepared |" in text
    assert "timed in float32 as the modules were trained" in text


def test_parameters_are_those_of_the_models(whole):
    from diffsda.checkpoint import load

    out, _ = whole
    for one in Comparison.read(out / "compare.json").systems:
        model = load(out / "runs" / f"{one.name}-1")
        assert one.parameters == sum(p.numel() for p in model.parameters())
        assert model.recipe.optim.seed == 1


def test_the_results_are_those_of_evaluate(whole, stage, tmp_path):
    import contextlib
    import io

    from diffsda.cli import main

    out, _ = whole
    models = [str(out / "runs" / f"divid-vector-{seed}") for seed in (0, 1)]
    words = ["evaluate", "eer", *models, "--data", str(stage.test), "--fit", str(stage.fit), "--static", "who"]
    words += ["--dynamic", "what", "--seeds", "0", "7", "--set", "voices=false", "--out", str(tmp_path / "r.json")]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(words) == 0
    ours, theirs = Result.read(tmp_path / "r.json"), Result.read(out / "eval" / "divid-vector" / "eer.json")
    assert [row.to_dict() for row in ours.rows] == [row.to_dict() for row in theirs.rows]


def test_the_table_and_the_figure_are_there(whole):
    out, _ = whole
    text = (out / "compare.md").read_text()
    for name in (*ALL, "ours, fresh start noise", "divid-vector, fresh start noise", "*chance*"):
        assert f"\n| {name} |" in text
    assert "dbse-series, fresh start noise" not in text
    assert "joint swap accuracy \u2191" in text
    assert (out / "compare.png").read_bytes()[:4] == b"\x89PNG"


def test_gone_on_with_nothing_is_trained_or_scored_again(whole, compare, trainings, few):
    out, _ = whole
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    more = ("--seeds", "0", "1", "--judged-seeds", "0", "7", "--set", *SETTINGS, "--rows", "2")
    said = compare(out, *more, recipes=ALL)
    assert said.status == 0, said.err
    assert not trainings
    assert not few
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()} == before


def test_a_comparison_goes_on_with_what_it_was_begun_with(whole, compare, stage):
    out, _ = whole
    said = compare(out, "--seeds", "0", "1", "2", recipes=ALL)
    assert said.status == 2
    assert "was begun with seeds [0, 1], now [0, 1, 2]" in said.err
    said = compare(stage.folder)
    assert said.status == 2
    assert "exists already" in said.err


def test_after_a_kill_only_what_is_missing_is_trained(compare, trainings, monkeypatch, tmp_path):
    from diffsda.train import loop

    out, real = tmp_path / "out", loop.train

    def killed(recipe, clips, folder, options=None, **more):
        if recipe.system == "dbse-series":
            real(recipe, clips, folder, options.__class__(**{**vars(options), "until": 2}), **more)
            raise KeyboardInterrupt
        return real(recipe, clips, folder, options, **more)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", killed)
        assert compare(out, "--protocols", "eer").status == 130
    assert [folder for folder, _, _ in trainings] == [str(out / "runs" / "ours-0"), str(out / "runs" / "dbse-series-0")]
    trainings.clear()
    said = compare(out, "--protocols", "eer")
    assert said.status == 0, said.err
    assert [(folder, resume) for folder, _, resume in trainings] == [(str(out / "runs" / "dbse-series-0"), True)]
    assert newest(out / "runs" / "dbse-series-0").name == "weights-00000003.safetensors"
    whole = Comparison.read(out / "compare.json").systems[1].models[0]
    assert whole["seconds"] > 0


def test_a_run_killed_before_it_had_saved_anything_begins_anew(compare, trainings, tmp_path):
    out = tmp_path / "out"
    assert compare(out, "--protocols", "eer", recipes=("dbse-series",)).status == 0
    run = out / "runs" / "dbse-series-0"
    for path in (*run.glob("weights-*"), run / "state.pt"):
        path.unlink()
    trainings.clear()
    assert compare(out, "--protocols", "eer", recipes=("dbse-series",)).status == 0
    assert [resume for _, _, resume in trainings] == [False]


def test_a_signal_leaves_with_its_status_and_says_how_to_go_on(compare, monkeypatch, tmp_path):
    from diffsda.train import loop

    def stopped(recipe, clips, folder, options=None, **more):
        return loop.Result(model=None, step=1, finished=False, signal=15)

    monkeypatch.setattr(loop, "train", stopped)
    said = compare(tmp_path / "out")
    assert said.status == 143
    assert "go on with the same command" in said.err


def test_models_are_loaded_and_not_trained(whole, compare, trainings, tmp_path):
    out, _ = whole
    given = [str(out / "runs" / f"spyl-vector-{seed}") for seed in (0, 1)]
    said = compare(tmp_path / "out", "--protocols", "eer", "--json", recipes=(*given, "ours"))
    assert said.status == 0, said.err
    assert [folder for folder, _, _ in trainings] == [str(tmp_path / "out" / "runs" / "ours-0")]
    loaded, ours = json.loads(said.out)["systems"]
    assert [model["model"] for model in loaded["models"]] == given
    assert [model["seconds"] for model in loaded["models"]] == [None, None]
    assert (loaded["name"], ours["name"]) == ("spyl-vector", "ours")
