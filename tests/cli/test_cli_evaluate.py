"""diffsda evaluate: results on disk, over seeds and models, going on after a stop, and every refusal in one line."""

import json

import numpy as np
import pytest
from shelf import VECTOR, build, names

from diffsda.checkpoint import save
from diffsda.data.arrays import write
from diffsda.evaluate.record import Result
from diffsda.evaluate.result import Row


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Two models of one recipe and labelled clips (60 and 40, three classes) of their kind."""
    folder = tmp_path_factory.mktemp("stage")
    for seed in (0, 1):
        run = folder / f"run-{seed}"
        run.mkdir()
        save(build(VECTOR.replace(optim={"seed": seed})), run / "weights-00000001.safetensors")
    for name, count in (("fit", 60), ("test", 40)):
        draw = np.random.default_rng(count)
        level = draw.integers(0, 3, count)
        x = draw.normal(0, 0.5, (count, 5, 3)) + level[:, None, None]
        write(folder / f"{name}.npz", {"x": x.astype(np.float32), "level": level})
    return folder


@pytest.fixture
def planted(monkeypatch):
    """A protocol that counts its calls and says what it was given."""
    from diffsda.evaluate import protocols

    jobs = []

    def run(self, job):
        jobs.append(job)
        return [
            Row(
                metric="mean",
                values=(float(job.test.x.mean()) + job.seed,),
                unit="",
                better="lower",
                count=len(job.test),
            )
        ]

    monkeypatch.setattr(protocols.Protocol, "run", run)
    return jobs


def words(stage, *more, protocol="classification", models=("run-0",)):
    given = [protocol, *(stage / model for model in models), "--data", stage / "test.npz", "--fit", stage / "fit.npz"]
    return ["evaluate", *given, *more]


def test_the_list_names_every_protocol(cli):
    from diffsda.evaluate.protocols import PROTOCOLS

    said = cli("evaluate", "list")
    assert said.status == 0
    assert all(name in said.out for name in PROTOCOLS)


def test_a_whole_evaluation_of_real_heads(cli, stage, tmp_path):
    out = tmp_path / "r.json"
    more = ("--static", "level", "--seeds", "0", "1", "--set", "runs=1", "passes=2", "--out", out)
    said = cli(*words(stage, *more))
    assert said.status == 0, said.err
    assert said.out.strip() == str(out)
    result = Result.read(out)
    held = {row.metric: row for row in result.rows if not row.baseline}
    assert len(held["accuracy_level"].values) == 2
    assert held["accuracy_level"].count == 40
    assert any(row.baseline for row in result.rows)
    assert "accuracy_level" in said.err
    assert "The papers report this on airq, physionet" in said.err
    assert names(tmp_path) == ["r.json"], "the journal goes when the result is there"


def test_values_come_model_by_model_and_seed_by_seed(cli, stage, planted, tmp_path):
    out = tmp_path / "r.json"
    more = ("--seeds", "3", "5", "--count", "10", "--out", out, "--json")
    said = cli(*words(stage, *more, models=("run-0", "run-1")))
    assert said.status == 0, said.err
    plain = json.loads(said.out)
    assert [job.seed for job in planted] == [3, 5, 3, 5]
    assert [job.model.recipe.optim.seed for job in planted] == [0, 0, 1, 1]
    assert {len(job.test) for job in planted} == {10}
    values = plain["rows"][0]["values"]
    assert values[1] - values[0] == pytest.approx(2)
    assert [one["training_seed"] for one in plain["provenance"]["models"]] == [0, 1]
    assert plain["provenance"]["data"]["test"][0] == 10


def test_the_result_lies_in_the_run_folder_by_default(cli, stage, planted):
    said = cli(*words(stage))
    assert said.status == 0, said.err
    assert said.out.strip() == str(stage / "run-0" / "eval" / "classification-test.json")
    again = cli(*words(stage))
    assert again.status == 2
    assert "exists already" in again.err
    assert cli(*words(stage, "--overwrite")).status == 0


def test_a_stopped_evaluation_does_not_score_a_seed_twice(cli, stage, monkeypatch, tmp_path):
    from diffsda.evaluate import protocols

    asked, stop = [], [True]

    def run(self, job):
        asked.append(job.seed)
        if job.seed == 1 and stop[0]:
            raise KeyboardInterrupt
        return [Row(metric="m", values=(float(job.seed),), unit="", better="lower")]

    monkeypatch.setattr(protocols.Protocol, "run", run)
    out = tmp_path / "r.json"
    assert cli(*words(stage, "--seeds", "0", "1", "--out", out)).status == 130
    assert not out.exists()
    stop[0] = False
    # With other settings nothing that was measured counts.
    assert cli(*words(stage, "--seeds", "0", "--noise", "fresh", "--out", tmp_path / "other.json")).status == 0
    assert cli(*words(stage, "--seeds", "0", "1", "--out", out)).status == 0
    assert asked == [0, 1, 0, 1]
    assert Result.read(out).rows[0].values == (0.0, 1.0)


def test_a_file_without_parts_is_cut_in_two(cli, stage, planted, tmp_path):
    said = cli("evaluate", "dci", stage / "run-0", "--data", stage / "fit.npz", "--out", tmp_path / "r.json")
    assert said.status == 0, said.err
    assert "one half is fitted on" in said.err
    (job,) = planted
    assert (len(job.fit), len(job.test)) == (30, 30)


def test_pairs_are_kept_and_taken_up_again(cli, stage, planted, tmp_path):
    pairs, roles = tmp_path / "p.csv", ("--static", "level")
    more = (*roles, "--draw-pairs", "7", "--save-pairs", pairs, "--out", tmp_path / "a.json")
    said = cli(*words(stage, *more, protocol="swap-labels"))
    assert said.status == 0, said.err
    said = cli(*words(stage, *roles, "--pairs", pairs, "--out", tmp_path / "b.json", protocol="swap-labels"))
    assert said.status == 0, said.err
    first, second = planted[-1].pairs
    assert len(first) == 7
    level = planted[-1].test.labels["level"]
    assert (level[first] != level[second]).all()


def test_settings_reach_the_protocol(cli, stage, planted, tmp_path):
    said = cli(*words(stage, "--set", "runs=3", "lr=0.1", "--as-published", "--out", tmp_path / "r.json"))
    assert said.status == 0, said.err
    assert planted[-1].options == {"runs": 3, "lr": 0.1}
    assert planted[-1].as_published


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--set", "runs"), "expected NAME=VALUE"),
        (("--set", "rums=1"), "did you mean 'runs'"),
        (("--set", "runs=0"), "a whole number from 1 on"),
        (("--set", "runs=many"), "a whole number from 1 on"),
        (("--seeds", "1", "1"), "different whole numbers"),
        (("--count", "1"), "--count: got 1"),
        (("--draw-pairs", "9"), "--draw-pairs: got 9"),
        (("--static", "hue"), "label: got 'hue'"),
        (("--static", "level", "--dynamic", "level"), "as static and as dynamic"),
        (("--out", "r.txt"), "ending in .json"),
        (("--fit", "{stage}/test.npz"), "got the clips that are scored"),
        (("--pairs", "missing.csv"), "missing.csv"),
        (("--save-pairs", "p.txt"), "ending in .csv"),
        (("--prior", "missing.safetensors"), "missing.safetensors"),
        (("--judge", "faces"), "expected NAME=VALUE"),
        (("--judge", "noses=dlib"), "noses"),
    ],
)
def test_bad_words_are_refused_in_one_line(cli, stage, planted, tmp_path, more, expected):
    out = () if "--out" in more else ("--out", tmp_path / "r.json")
    said = cli(*words(stage, *(word.format(stage=stage) for word in more), *out))
    assert said.status == 2, said.err
    assert expected in said.err
    assert said.err.count("\n") == 1
    assert not planted
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("classifikation", "m", "--data", "x"), "did you mean 'classification'"),
        (("classification",), "MODEL: got none"),
        (("classification", "m"), "--data: got nothing"),
    ],
)
def test_what_is_missing_is_named(cli, given, expected):
    said = cli("evaluate", *given)
    assert said.status == 2
    assert expected in said.err


def test_clips_of_another_kind_are_refused(cli, stage, planted, tmp_path):
    said = cli("evaluate", "dci", stage / "run-0", "--data", "moving_shapes", "--out", tmp_path / "r.json")
    assert said.status == 2
    assert "expected (N, V, 3)" in said.err


def test_a_count_takes_whole_recordings():
    from diffsda.cli.evaluation import _some
    from diffsda.data.clip import Clips

    of = np.repeat(np.arange(10), [1, 2, 3, 1, 2, 3, 1, 2, 3, 2])
    clips = Clips(x=np.zeros((20, 2, 1), np.float32), labels={"utterance": of})
    rows = _some(clips, 8)
    assert 0 < len(rows) <= 8
    kept = np.unique(of[rows])
    assert len(rows) == np.isin(of, kept).sum()


@pytest.fixture
def key(tmp_path):
    """What an evaluation is known by: two of one key take up each other's seeds."""
    from diffsda.cli.evaluate import Options
    from diffsda.cli.evaluation import Evaluation
    from diffsda.cli.options import parse
    from diffsda.evaluate.protocols import protocol

    def known_by(*given):
        options = parse(Options, [str(word) for word in given], "evaluate", "")
        return Evaluation(options, protocol(options.protocol), tmp_path / "r.json").key

    return known_by


def test_whatever_decides_the_values_decides_the_key(key, stage, tmp_path):
    import shutil

    import torch

    from diffsda.checkpoint import load

    base = ("classification", stage / "run-0", "--data", stage / "test.npz", "--fit", stage / "fit.npz")
    run = ("classification", tmp_path / "run", *base[2:])
    shutil.copytree(stage / "run-0", tmp_path / "run", ignore=shutil.ignore_patterns("eval"))
    known = {"as it was": key(*run)}
    assert key(*run) == known["as it was"]
    known["as is"] = key(*run, "--as-is")
    known["noise"] = key(*run, "--noise", "fresh")
    known["solver steps"] = key(*run, "--steps", "2")
    known["another count"] = key(*run, "--count", "9")
    known["a setting"] = key(*run, "--set", "runs=1")
    known["a label's role"] = key(*run, "--static", "level")
    (tmp_path / "run" / "prior.safetensors").write_bytes(b"one prior")
    known["a prior"] = key(*run)
    (tmp_path / "run" / "prior.safetensors").write_bytes(b"another prior")
    known["another prior"] = key(*run)
    (tmp_path / "run" / "prior.safetensors").unlink()
    with np.load(stage / "test.npz") as held:
        write(tmp_path / "turned.npz", {"x": held["x"], "level": held["level"][::-1].copy()})
    known["other labels"] = key(*run[:3], tmp_path / "turned.npz", *run[4:])
    model = load(tmp_path / "run")
    with torch.no_grad():
        next(model.denoiser.parameters()).add_(1.0)
    save(model, tmp_path / "run" / "weights-00000001.safetensors")
    known["another denoiser under the same encoder"] = key(*run)
    assert len(set(known.values())) == len(known), known


def test_parts_of_one_recording_stay_on_one_side(cli, planted, stage, tmp_path):
    of = np.repeat(np.arange(10), 4)
    x = np.random.default_rng(0).normal(0, 1, (40, 5, 3)).astype(np.float32)
    write(tmp_path / "cut.npz", {"x": x, "utterance": of})
    said = cli("evaluate", "dci", stage / "run-0", "--data", tmp_path / "cut.npz", "--out", tmp_path / "r.json")
    assert said.status == 0, said.err
    (job,) = planted
    assert not set(job.fit.labels["utterance"]) & set(job.test.labels["utterance"])


def test_clips_on_both_sides_are_told(cli, planted, stage, tmp_path):
    with np.load(stage / "fit.npz") as fit, np.load(stage / "test.npz") as test:
        write(tmp_path / "more.npz", {"x": np.concatenate([fit["x"], test["x"][:7]])})
    words = ("evaluate", "dci", stage / "run-0", "--data", stage / "test.npz", "--fit", tmp_path / "more.npz")
    said = cli(*words, "--out", tmp_path / "r.json")
    assert said.status == 0, said.err
    assert "7 of the 40 clips that are scored are among those of --fit" in said.err
