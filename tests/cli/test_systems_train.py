"""Training any system from the command line: its own settings as options, recipes as files, what is refused."""

import json

import pytest
from shelf import names
from system_models import RECIPES, clips

from diffsda.checkpoint import load
from diffsda.data.arrays import write
from diffsda.systems import SYSTEMS, presets, recipe_from_dict

PRESETS = dict(presets())
OTHERS = [name for name, recipe in PRESETS.items() if recipe.system != "diffsda"]


@pytest.fixture
def planned(tmp_path):
    """Return a function that writes a tiny system's recipe.json and its clips."""

    def plan(name, **changes):
        recipe = RECIPES[name].replace(**changes)
        (tmp_path / "recipe.json").write_text(json.dumps({**recipe.to_dict(), "digest": recipe.digest}))
        data = clips(recipe)
        write(tmp_path / "clips.npz", {"x": data.x})
        return recipe, tmp_path / "recipe.json", tmp_path / "clips.npz"

    return plan


@pytest.mark.parametrize("name", OTHERS)
def test_dry_run_prints_a_presets_recipe(name, cli):
    said = cli("train", name, "--dry-run", "--optim.seed", 3, "--settings.static", PRESETS[name].static)
    assert (said.status, said.err) == (0, "")
    plain = json.loads(said.out)
    digest = plain.pop("digest")
    recipe = recipe_from_dict(plain)
    assert recipe == PRESETS[name].replace(optim={"seed": 3})
    assert recipe.digest == digest


CHANGED = [
    ("spyl-vowels", ["--settings.hidden", 32, "--settings.bank", 64, "--settings.hardness", "semi"]),
    ("dbse-speech", ["--settings.as-published", "--settings.slot", "zeros", "--clips.channels", 20]),
    ("divid-sprites32", ["--settings.attention", 16, 8, "--settings.no-shared-noise", "--sampling.steps", 9]),
    ("dbse-etth1", ["--settings.window", 12, "--optim.lr", 0.25]),
]


@pytest.mark.parametrize(("name", "words"), CHANGED)
def test_a_systems_settings_are_options_of_their_own_kinds(name, words, cli):
    plain = json.loads(cli("train", name, *words, "--dry-run").out)
    settings = plain["settings"]
    wanted = {
        "spyl-vowels": {"hidden": 32, "bank": 64, "hardness": "semi", "features": 64},
        "dbse-speech": {"as_published": True, "slot": "zeros", "channels": 20, "hidden": 64},
        "divid-sprites32": {"attention": [16, 8], "shared_noise": False, "sampling_steps": 9, "width": 32},
        "dbse-etth1": {"window": 12, "lr": 0.25, "draws": 15},
    }[name]
    assert {key: settings[key] for key in wanted} == wanted


def test_help_shows_the_settings_and_every_system(cli):
    said = cli("train", "spyl-vowels", "--help")
    assert said.status == 0
    for words in ("--settings.hidden INT", "--settings.hardness {soft,semi,hard}", "--sampling.steps", "--optim.lr"):
        assert words in said.out, words
    assert "--backbone" not in said.out
    assert "--settings" not in cli("train", "mug", "--help").out
    whole = " ".join(cli("train", "--help").out.split())
    for system in SYSTEMS:
        assert f"({system})" in whole, system
    assert "dbse-vowels" in whole


def test_train_and_resume_from_a_recipe_file(cli, planned, tmp_path):
    recipe, plan, data = planned("dbse-video")
    words = ("train", plan, "--data", data, "--out", tmp_path / "run", "--device", "cpu")
    assert cli(*words, "--until", 3).status == 0
    said = cli(*words, "--resume")
    assert (said.status, said.out) == (0, f"{tmp_path / 'run'}\n"), said.err
    assert cli("train", plan, "--data", data, "--out", tmp_path / "whole").status == 0
    parts, whole = load(tmp_path / "run"), load(tmp_path / "whole")
    assert parts.recipe == recipe
    for key, value in whole.state_dict().items():
        assert value.equal(parts.state_dict()[key]), key
    held = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert cli("train", tmp_path / "run" / "recipe.json", "--dry-run").out == json.dumps(held, indent=1) + "\n"
    other = cli(*words, "--resume", "--settings.hidden", 7)
    assert other.status == 2
    assert "settings.hidden was 5, now 7" in other.err


WRONG = [
    ("spyl-vowels", ["--settings.lr", 3], ["settings.lr: got 3.0", "it follows --clips, --sampling or --optim"]),
    ("spyl-vowels", ["--settings.kind", "video"], ["settings.kind: got video", "it follows"]),
    ("spyl-vowels", ["--sampling.rho", 3], ["sampling.rho: got 3.0 for spyl", "steps alone count"]),
    ("spyl-vowels", ["--settings.hiden", 3], ["--settings.hiden", "Perhaps you meant: --settings.hidden INT"]),
    ("dbse-vowels", ["--settings.hidden", 0], ["hidden: got 0, expected 1 to 65536"]),
    ("dbse-vowels", ["--settings.slot", "full"], ["'full'", "--settings.slot"]),
    ("divid-vowels", ["--settings.heads", 5], ["heads: got 5, expected a divisor of dynamic, 24"]),
    ("divid-vowels", ["--backbone.width", 5], ["Unrecognized options: --backbone.width"]),
    ("divid-vowels", ["--optim.accumulate", 2], ["optim.accumulate: got 2 for divid, expected 1"]),
    ("dbse-vowels", ["--optim.draws", 2], ["optim.draws: got 2 for dbse-audio, expected 1"]),
    ("dbse-sprites32", ["--clips.modality", "audio"], ["clips.modality: got audio for dbse-video, expected video"]),
    ("dbse-vowels", ["--clips.modality", "video"], ["clips.modality: got video for dbse-audio"]),
    ("spyl-sprites32", ["--clips.latent"], ["clips.latent: got latents for spyl", "expected pixels"]),
    ("spyl-sprites32", ["--clips.size", 24], ["size: got 24"]),
]


@pytest.mark.parametrize(("name", "bad", "words"), WRONG)
def test_settings_that_cannot_be(name, bad, words, cli, room, refused):
    refused(cli("train", name, *bad, "--data", "series", "--out", room / "run"), "train", 2, *words)
    assert names(room) == []


def test_clips_options_and_names_that_do_not_fit(cli, planned, room, refused):
    _, plan, data = planned("spyl-vector")
    out = ("--out", room / "run")
    said = cli("train", "dbse-sprites32", "--data", data, *out)
    refused(said, "train", 2, "expected (N, V, 3, 32, 32)", "recipe dbse-sprites32 of dbse-video")
    for option in ("compile", "recompute", "graph"):
        said = cli("train", plan, "--data", data, *out, f"--{option}", "--device", "cpu")
        refused(said, "train", 2, f"{option}: got a recipe of spyl, expected one of diffsda")
    refused(cli("train", "spyl-vowel", "--dry-run"), "train", 2, "did you mean 'spyl-vowels'?", "(dbse-series)")
    assert names(room) == []


def test_recipe_files_that_cannot_be_used(cli, planned, refused):
    _, plan, _ = planned("spyl-vector")
    held = json.loads(plan.read_text())
    for change, words in (
        ({"system": "vae"}, ["system: got 'vae'", "expected one of diffsda, dbse-video"]),
        ({"settings": {"hiden": 3}}, ["unknown name 'hiden'", "did you mean 'hidden'?"]),
        ({"settings": [3]}, ["settings: got list, expected a table"]),
        ({"system": "divid"}, ["settings: unknown name"]),
        ({"backbone": {}}, ["unknown setting 'backbone'"]),
    ):
        plan.write_text(json.dumps({**held, **change}))
        refused(cli("train", plan, "--dry-run"), "train", 2, "recipe.json", *words)
    plan.write_text("[]")
    refused(cli("train", plan, "--dry-run"), "train", 2, "got list, expected a table of settings")
