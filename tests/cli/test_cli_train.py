"""diffsda train: what it prints, what it refuses, and going on with a run."""

import json
import shutil

import numpy as np
import pytest
from shelf import names

from diffsda.checkpoint import load
from diffsda.data.arrays import write
from diffsda.presets import PRESETS, preset
from diffsda.recipe import Recipe

TINY = ["--clips.channels", 3, "--backbone.width", 4, "--encoder.width", 4, "--encoder.hidden", 6]
TINY += ["--encoder.static", 5, "--optim.batch", 2, "--optim.steps", 4]


@pytest.fixture
def train(cli, shelf):
    """Train a very small model on the vector clips."""

    def run(out, *options):
        return cli("train", "tiny_vector", *TINY, "--data", shelf / "vector.npz", "--out", out, *options)

    return run


@pytest.fixture(scope="module")
def begun(tmp_path_factory, shelf):
    """Return a run of four steps that stopped after two."""
    from diffsda.cli import main

    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["train", "tiny_vector", *TINY, "--data", shelf / "vector.npz", "--out", out, "--until", 2]
    assert main([str(word) for word in words]) == 0
    return out


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_leaves_its_files_and_goes_on(begun, train, cli, shelf, room, tmp_path):
    assert names(begun) == ["log.jsonl", "provenance.json", "recipe.json", "state.pt", "weights-00000002.safetensors"]
    run = shutil.copytree(begun, tmp_path / "run")
    said = train(run, "--resume")
    assert (said.status, said.out) == (0, f"{run}\n")
    assert "weights-00000004.safetensors" in names(run)
    assert load(run).provenance["step"] == 4
    # Whole or in two parts, the same weights.
    assert train(tmp_path / "whole").status == 0
    assert load(tmp_path / "whole").encoder.to_static.weight.equal(load(run).encoder.to_static.weight)
    assert cli("encode", run, shelf / "vector.npz", "--out", room / "z.npz").status == 0
    about = json.loads(cli("describe", run, "--json").out)
    assert about["file"].endswith("weights-00000004.safetensors")
    assert about["digest"] == load(run).recipe.digest


def test_an_existing_folder_is_not_touched(begun, train, refused):
    before = contents(begun)
    refused(train(begun), "train", 2, str(begun), "exists already", "expected a new folder", "--resume")
    assert contents(begun) == before


def test_a_file_for_a_folder_and_a_file_on_the_way(train, room, refused):
    (room / "file").write_text("precious")
    refused(train(room / "file"), "train", 2, "exists already", "expected a new folder")
    refused(train(room / "file" / "run"), "train", 2, "cannot be made", "expected a folder")
    assert (room / "file").read_text() == "precious"
    (room / "empty").mkdir()
    assert train(room / "empty", "--until", 1).status == 0


def test_resuming_what_was_not_begun(train, room, refused):
    for out in (room, room / "gone"):
        said = train(out, "--resume")
        refused(said, "train", 2, "state.pt", "no such file", "expected the state of a run to resume")
    assert names(room) == []


def test_resuming_with_another_recipe_names_the_setting(begun, train, refused):
    before = contents(begun)
    said = train(begun, "--resume", "--encoder.dynamic", 3)
    refused(said, "train", 2, "another recipe", "encoder.dynamic was 2, now 3", "use the same settings or a new")
    said = train(begun, "--resume", "--optim.lr", 0.5)
    refused(said, "train", 2, "optim.lr was 0.001, now 0.5")
    assert contents(begun) == before


def test_resuming_with_other_clips(begun, cli, refused, tmp_path):
    write(tmp_path / "other.npz", {"x": np.ones((9, 7, 3), np.float32)})
    said = cli("train", "tiny_vector", *TINY, "--data", tmp_path / "other.npz", "--out", begun, "--resume")
    refused(said, "train", 2, "begun on 4 clips, got 9", "resume with the same data")


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_resuming_from_a_damaged_state(kept, begun, train, refused, tmp_path):
    run = shutil.copytree(begun, tmp_path / "run")
    data = (run / "state.pt").read_bytes()
    (run / "state.pt").write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    before = contents(run)
    refused(train(run, "--resume"), "train", 1, "state.pt", "damaged", "expected the state of a run")
    assert contents(run) == before


SETTINGS = [
    (["--sampling.steps", 1], ["sampling.steps: got 1", "expected a whole number >= 2"]),
    (["--optim.seed", -1], ["optim.seed: got -1", "expected a whole number >= 0"]),
    (["--optim.batch", 0], ["optim.batch: got 0", "expected a whole number >= 1"]),
    (["--optim.lr", 0], ["optim.lr: got 0", "> 0"]),
    (["--optim.lr", "fast"], ["--optim.lr", "'fast'", "FLOAT"]),
    (["--optim.schedule", "linear"], ["'linear'", "--optim.schedule", "'authors', 'constant', 'cosine'"]),
    (["--optim.lrr", 3], ["--optim.lrr", "Perhaps you meant: --optim.lr"]),
    (["--backbone.dropout", 1], ["backbone.dropout: got 1", "below 1"]),
    (["--encoder.hidden", 10**9], ["encoder.hidden: got 1000000000", "at most 65536"]),
    (["--optim.accumulate", 3], ["3 parts for a batch of 2", "expected a divisor"]),
    (["--optim.ema", 1.5], ["optim.ema: got 1.5", "between 0 and 1"]),
    (["--until", 0], ["until", "expected steps >= 1"]),
    (["--save-every", 0], ["save_every", "expected steps >= 1"]),
    (["--precision", "fp8"], ["precision: got 'fp8'", "expected auto, float32, tf32 or bf16"]),
    (["--device", "tpu"], ["device: got 'tpu'", "expected auto, cpu, cuda"]),
]


@pytest.mark.parametrize(("bad", "words"), SETTINGS)
def test_settings(bad, words, train, room, refused):
    refused(train(room / "run", *bad), "train", 2, *words)
    assert names(room) == []


def test_presets_and_what_is_missing(cli, room, refused):
    refused(cli("train", "mugg", "--dry-run"), "train", 2, "got 'mugg'", "did you mean 'mug'?", "celebv_hq")
    refused(cli("train"), "train", 2, "preset: got none", "diffsda train PRESET", "tiny_vector")
    refused(cli("train", "--data", "series"), "train", 2, "preset: got none", "tiny_vector")
    refused(cli("train", "tiny_vector"), "train", 2, "--data: got nothing", "expected clips to train on")
    refused(cli("train", "tiny_vector", "--data", "series"), "train", 2, "--out: got nothing", "a run folder")
    said = cli("train", "tiny_video", "--data", "series", "--out", room / "run")
    refused(said, "train", 2, "clips series", "expected (N, V, 3, 16, 16)", "recipe tiny_video")
    assert names(room) == []


@pytest.mark.parametrize("name", PRESETS)
def test_dry_run_prints_the_recipe(name, cli):
    said = cli("train", name, "--dry-run", "--optim.lr", 0.25, "--sampling.S-churn", 3, "--encoder.causal")
    assert (said.status, said.err) == (0, "")
    plain = json.loads(said.out)
    digest = plain.pop("digest")
    recipe = Recipe.from_dict(plain)
    changes = {"optim": {"lr": 0.25}, "sampling": {"S_churn": 3.0}, "encoder": {"causal": True}}
    assert recipe == preset(name).replace(**changes)
    assert digest == recipe.digest != preset(name).digest


def test_help_lists_the_settings_with_the_presets_values(cli):
    said = cli("train", "taichi", "--help")
    assert (said.status, said.err) == (0, "")
    assert "--optim.lr FLOAT" in said.out
    assert "(default: 6000)" in said.out
    assert "--sampling.steps INT" in cli("train", "--help").out
