"""Every kind of model file that is none, through the command line; beside each a twin that loads."""

import json
import os
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from shelf import VECTOR, VIDEO, names

from diffsda.header import METADATA_KEY, read_header
from diffsda.recipe import Recipe

VERBS = ("encode", "reconstruct", "swap")


@pytest.fixture
def refuses(cli, shelf, room, refused):
    """Assert that every verb that opens a model refuses this one, quickly, and writes nothing."""

    def check(model, *words, verbs=VERBS, clips="vector"):
        clips = shelf / f"{clips}.npz"
        for verb in verbs:
            given = [clips, clips] if verb == "swap" else [clips]
            began = time.process_time()
            said = cli(verb, model, *given, "--out", room / "out.npz")
            assert time.process_time() - began < 8
            refused(said, verb, 1, *words)
        assert names(room) == []
        return said

    return check


def rewrite(source, target, *, tensors=None, **about):
    """Copy a model file with other tensors, or another word about itself."""
    held = safetensors.torch.load_file(source)
    held.update(tensors or {})
    ours = {**read_header(source).ours(), **about}
    data = safetensors.torch.save({k: v for k, v in held.items() if v is not None}, {METADATA_KEY: json.dumps(ours)})
    target.write_bytes(data)
    return target


def with_recipe(shelf, target, changes, name="vector"):
    """Copy a model file with settings of its recipe changed, whatever they are."""
    recipe = read_header(shelf / f"{name}.safetensors").ours()["recipe"]
    for path, value in changes.items():
        *parts, last = path.split(".")
        place = recipe
        for part in parts:
            place = place[part]
        place[last] = value
    return rewrite(shelf / f"{name}.safetensors", target, recipe=recipe)


def test_a_copy_with_nothing_changed_loads(cli, shelf, tmp_path, room):
    model = with_recipe(shelf, tmp_path / "m.safetensors", {"name": "copy"})
    assert cli("encode", model, shelf / "vector.npz", "--out", room / "z.npz").status == 0


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 0.5, 0.9, -1])
def test_truncated_anywhere(kept, shelf, tmp_path, refuses, cli, refused):
    data = (shelf / "vector.safetensors").read_bytes()
    size = int(kept * len(data)) if isinstance(kept, float) else kept % len(data) if kept >= 0 else len(data) + kept
    path = tmp_path / "m.safetensors"
    path.write_bytes(data[:size])
    words = ["m.safetensors", f"got {size} bytes", "expected", "truncated"]
    refuses(path, *words)
    refused(cli("describe", path), "describe", 1, *words)


def test_trailing_bytes(shelf, tmp_path, refuses):
    path = tmp_path / "m.safetensors"
    path.write_bytes((shelf / "vector.safetensors").read_bytes() + b"\0" * 4)
    refuses(path, "m.safetensors", "expected", "truncated or damaged", verbs=["encode"])


def test_random_bytes_and_a_text(tmp_path, refuses, cli, refused):
    path = tmp_path / "m.safetensors"
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    refuses(path, "got 4096 bytes that are no safetensors file", "expected a model saved by this program")
    refused(cli("describe", path), "describe", 1, "no safetensors file")
    path.write_bytes((40).to_bytes(8, "little") + b"this is no header, it is merely a text.." + bytes(9))
    refuses(path, "damaged header", "expected a safetensors file", verbs=["encode"])


def test_a_missing_file_and_an_empty_folder(tmp_path, refuses, cli, refused):
    refuses(tmp_path / "gone.safetensors", "gone.safetensors", "No such file", "expected a model file")
    folder = tmp_path / "run"
    folder.mkdir()
    words = [str(folder), "without weights-*.safetensors", "expected a run folder"]
    refuses(folder, *words)
    refused(cli("describe", folder), "describe", 1, *words)


def test_foreign_tensors_without_a_recipe(tmp_path, refuses, cli, refused):
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    refuses(path, "without a recipe", "expected a model saved by this program", "diffsda import")
    refused(cli("describe", path), "describe", 1, "without a recipe", "expected one saved by this program")


@pytest.mark.parametrize(
    "about",
    [
        [],
        "text",
        None,
        {"recipe": None},
        {"recipe": 5},
        {"recipe": {}, "whitening": 5},
        {"recipe": {}, "whitening": {}},
    ],
)
def test_metadata_of_another_kind(about, shelf, tmp_path, refuses):
    path = tmp_path / "m.safetensors"
    held = safetensors.torch.load_file(shelf / "vector.safetensors")
    about = {"format": 1, **about} if isinstance(about, dict) else about
    path.write_bytes(safetensors.torch.save(held, {METADATA_KEY: json.dumps(about)}))
    refuses(path, "expected", verbs=["encode"])


@pytest.mark.parametrize("given", [0, 2, 99, None, "1"])
def test_another_format_number(given, shelf, tmp_path, refuses):
    path = rewrite(shelf / "vector.safetensors", tmp_path / "m.safetensors", format=given)
    refuses(path, f"got format {given!r}", "expected 1", verbs=["encode"])


def test_tensors_of_other_sizes_name_the_first_five_differences(shelf, tmp_path, refuses):
    path = with_recipe(shelf, tmp_path / "m.safetensors", {"encoder.hidden": 7})
    refuses(path, "tensors do not fit the model", "is (24, 16), expected (28, 16)", "more)")
    held = dict.fromkeys(list(safetensors.torch.load_file(shelf / "vector.safetensors"))[:7])
    path = rewrite(shelf / "vector.safetensors", tmp_path / "n.safetensors", tensors={**held, "odd": torch.zeros(3)})
    said = refuses(path, "missing ", "(and 3 more)", verbs=["encode"])
    assert said.err.count("missing ") == 5


def test_one_unknown_tensor_and_one_of_another_shape(shelf, tmp_path, refuses):
    source = shelf / "vector.safetensors"
    path = rewrite(source, tmp_path / "m.safetensors", tensors={"odd": torch.zeros(3)})
    refuses(path, "unknown odd (3,)", verbs=["encode"])
    path = rewrite(source, tmp_path / "m.safetensors", tensors={"encoder.to_static.bias": torch.zeros(6)})
    refuses(path, "encoder.to_static.bias is (6,), expected (5,)", verbs=["encode"])


def test_statistics_of_another_number_of_channels(shelf, tmp_path, refuses):
    source = shelf / "vector.safetensors"
    path = rewrite(source, tmp_path / "m.safetensors", whitening={"mean": [0.0] * 4, "std": [1.0] * 4})
    refuses(path, "statistics of 4 channels", "expected 3", verbs=["encode"])
    path = rewrite(source, tmp_path / "m.safetensors", whitening={"mean": [0.0] * 3, "std": [1.0, 0.0, 1.0]})
    refuses(path, "not positive", verbs=["encode"])


ABSURD = {
    "width": ("vector", {"backbone.width": 10**9}, ["backbone.width: got 1000000000", "at most 16384"]),
    "encoder width": ("vector", {"encoder.width": 10**12}, ["encoder.width: got 1000000000000", "at most 16384"]),
    "hidden": ("vector", {"encoder.hidden": 10**15}, ["encoder.hidden", "at most 65536"]),
    "static": ("vector", {"encoder.static": 2**63}, ["encoder.static", "at most 65536"]),
    "channels": ("vector", {"clips.channels": 10**10}, ["clips.channels", "at most 65536"]),
    "U-Net width": ("video", {"backbone.width": 32 * 10**9}, ["backbone.width: got 32000000000", "at most 16384"]),
    "blocks": ("video", {"backbone.blocks": 10**9}, ["backbone.blocks: got 1000000000", "at most 16"]),
    "encoder blocks": ("video", {"encoder.blocks": 10**9}, ["encoder.blocks: got 1000000000", "at most 16"]),
    "levels": ("video", {"backbone.multipliers": [1] * 10**6}, ["1000000 multipliers", "at most 10"]),
    "attention": ("video", {"encoder.attention": [0] * 10**6}, ["1000000 levels with attention", "at most 10"]),
    "multiplier": ("video", {"encoder.multipliers": [10**9]}, ["encoder.multipliers", "1 to 64"]),
    "negative multiplier": ("video", {"encoder.multipliers": [-1]}, ["encoder.multipliers: got (-1,)", "from 1 to 64"]),
    "pixels": ("video", {"clips.size": 10**9}, ["clips.size: got 1000000000", "at most 4096"]),
    "no pixels": ("video", {"clips.size": None}, ["clips.size", "expected the height and width"]),
    "steps": ("vector", {"sampling.steps": 10**9}, ["sampling.steps: got 1000000000", "at most 10000"]),
    "draws": ("vector", {"optim.draws": 10**9}, ["optim.draws", "at most 10000"]),
    "infinite": ("vector", {"noise.P_mean": "inf"}, ["noise.P_mean: got inf", "at most"]),
    "a huge whole number": ("vector", {"sampling.sigma_max": 10**400}, ["sampling.sigma_max", "at most 1e+30"]),
    "NaN": ("vector", {"noise.sigma_data": float("nan")}, ["noise.sigma_data: got nan", "expected a number"]),
    "zero width": ("vector", {"backbone.width": 0}, ["backbone.width: got 0", "whole number >= 1"]),
    "no groups": ("video", {"backbone.width": 33}, ["got width 33", "32 normalisation groups"]),
    "no levels": ("video", {"backbone.multipliers": []}, ["multipliers ()"]),
    "kind": ("vector", {"backbone.kind": "transformer"}, ["backbone.kind: got 'transformer'", "one of unet, mlp"]),
    "modality": ("vector", {"clips.modality": ["video"]}, ["clips.modality", "one of video, audio, series"]),
    "words": ("vector", {"backbone.width": "64"}, ["backbone.width: got '64'", "expected a whole number"]),
    "fractions": ("video", {"backbone.multipliers": [1.5]}, ["backbone.multipliers", "list of whole numbers"]),
    "a number for a list": ("video", {"backbone.multipliers": 2}, ["backbone.multipliers: got 2", "list of whole"]),
    "a word for a switch": ("vector", {"encoder.causal": "no"}, ["encoder.causal: got 'no'", "true or false"]),
    "betas": ("vector", {"optim.betas": [0.9]}, ["optim.betas", "list of numbers"]),
    "ema": ("vector", {"optim.ema": "much"}, ["optim.ema: got 'much'", "number or none"]),
    "unknown setting": ("vector", {"backbone.widht": 4}, ["unknown setting 'widht'", "did you mean 'width'"]),
    "unknown part": ("vector", {"denoizer": {}}, ["unknown setting 'denoizer'", "expected one of name, clips"]),
    "a number for a part": ("vector", {"encoder": 7}, ["encoder: got int", "expected a table of settings"]),
    "name": ("vector", {"name": 7}, ["name: got 7", "expected a text"]),
}


@pytest.mark.parametrize("case", ABSURD)
def test_a_recipe_that_asks_for_the_absurd(case, shelf, tmp_path, refuses):
    name, changes, words = ABSURD[case]
    path = with_recipe(shelf, tmp_path / "m.safetensors", changes, name)
    verbs = VERBS if case == "width" else ["encode"]
    refuses(path, "m.safetensors", "its recipe cannot be used", *words, verbs=verbs, clips=name)


def test_the_largest_recipe_allowed_is_refused_by_its_tensors_within_seconds(shelf, tmp_path, refuses):
    big = {"width": 16384, "multipliers": [64] * 10, "attention": list(range(10)), "blocks": 16}
    changes = {f"{part}.{k}": v for part in ("backbone", "encoder") for k, v in big.items()}
    sizes = {"encoder.hidden": 65536, "encoder.static": 65536, "clips.size": 4096, "clips.channels": 65536}
    path = with_recipe(shelf, tmp_path / "m.safetensors", {**changes, **sizes}, "video")
    refuses(path, "tensors do not fit the model", verbs=["encode"], clips="video")


@pytest.mark.parametrize("recipe", [VECTOR, VIDEO])
def test_recipes_of_the_shelf_survive_json(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_escape_codes_in_names_do_not_reach_the_terminal(shelf, tmp_path, cli, room):
    tensors = {"\x1b[31mred": torch.zeros(1)}
    path = rewrite(shelf / "vector.safetensors", tmp_path / "m.safetensors", tensors=tensors)
    said = cli("encode", path, shelf / "vector.npz", "--out", room / "z.npz")
    assert "?[31mred" in said.err
    assert "\x1b" not in said.err
    path = rewrite(shelf / "vector.safetensors", tmp_path / "m.safetensors", digest="\x1b[2J\ud800")
    said = cli("describe", path)
    assert said.status == 0
    assert "\x1b" not in said.out
    assert os.linesep + "digest       ?[2J?" in said.out
