"""Model files of every system: there and back, damaged, described; and what only DiffSDA's can do."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shelf import names
from system_models import RECIPES, VECTORS, clips, model

from diffsda.baselines.registry import SYSTEMS, network_of
from diffsda.checkpoint import load, save
from diffsda.cli.describe import CANNOT, describe
from diffsda.errors import CheckpointError
from diffsda.firststage.whiten import Whitening
from diffsda.header import METADATA_KEY, read_header
from diffsda.prior.owner import described, owner_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the file of each system's model, those of vectors whitened."""
    folder = tmp_path_factory.mktemp("systems")
    whitening = Whitening((1.0, 2.0, 3.0), (2.0, 1.0, 0.5))
    held = {}
    for name in RECIPES:
        made = model(name, whitening if name in VECTORS else None)
        made.provenance = {"step": 7}
        held[name] = save(made, folder / f"{name}.safetensors")
    return held


@pytest.mark.parametrize("name", RECIPES)
def test_there_and_back(name, files):
    made, back = model(name), load(files[name])
    assert back.recipe == RECIPES[name]
    assert back.recipe.digest == RECIPES[name].digest
    assert (back.whitening is None) == (name not in VECTORS)
    assert not back.training
    state = back.state_dict()
    for key, value in made.state_dict().items():
        assert value.dtype == state[key].dtype, key
        assert value.equal(state[key]), key
    x = clips(RECIPES[name], 2).x
    with torch.no_grad():
        assert torch.equal(back.encode(x).dynamic, made.encode(x).dynamic)


@pytest.mark.parametrize("kept", [0, 6, 300, -1])
def test_a_truncated_file_is_refused(kept, files, tmp_path, cli, refused):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(files["spyl-vector"].read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        load(cut)
    refused(cli("describe", cut), "describe", 1, "cut.safetensors")


def rewritten(source, target, change):
    """Write a model file again with another recipe."""
    about = json.loads(read_header(source).metadata[METADATA_KEY])
    change(about["recipe"])
    save_file(load_file(source), target, {METADATA_KEY: json.dumps(about)})
    return target


WIDER = {"dbse-audio": "hidden", "dbse-series": "hidden", "spyl-vector": "features", "divid-vector": "context"}
WIDER |= {"dbse-video": "features", "spyl-video": "hidden", "divid-video": "static_hidden"}


@pytest.mark.parametrize("name", RECIPES)
def test_settings_that_do_not_fit_the_tensors(name, files, tmp_path):
    def change(recipe):
        recipe["settings"][WIDER[name]] *= 2

    path = rewritten(files[name], tmp_path / "odd.safetensors", change)
    with pytest.raises(CheckpointError, match="tensors do not fit the model: system"):
        load(path)


def test_hostile_settings_ask_for_no_memory(files, tmp_path):
    def change(recipe):
        recipe["settings"] |= {"hidden": 65_536, "features": 65_536}

    path = rewritten(files["spyl-vector"], tmp_path / "large.safetensors", change)
    with pytest.raises(CheckpointError, match="do not fit"):
        load(path)
    for settings in ({"hidden": -1}, {"weight_static": 10**400}, {"nonsense": 1}, None, 3):
        path = rewritten(files["spyl-vector"], path, lambda recipe, s=settings: recipe.update(settings=s))
        with pytest.raises(CheckpointError, match="its recipe cannot be used: "):
            load(path)
    path = rewritten(files["spyl-vector"], path, lambda recipe: recipe.update(system="vae"))
    with pytest.raises(CheckpointError, match="system: got 'vae'"):
        load(path)


@pytest.mark.parametrize("name", RECIPES)
def test_describe_names_system_settings_and_parameters(name, files, cli):
    about = describe(files[name])
    made = load(files[name])
    assert about["system"] == RECIPES[name].system
    assert about["parameters"] == sum(p.numel() for p in made.parameters())
    assert about["recipe"]["settings"] == RECIPES[name].settings.to_dict()
    assert set(about["cannot"]) == {*made.cannot, "export", "bench"}
    said = cli("describe", files[name])
    assert said.status == 0
    assert f"system       {RECIPES[name].system}\n" in said.out
    assert "  settings " in said.out
    assert "export" in said.out


def test_what_systems_say_they_cannot_do_is_what_is_described():
    for name in SYSTEMS:
        recipe = next(recipe for recipe in RECIPES.values() if recipe.system == name)
        assert dict(network_of(name, recipe.settings).cannot) == CANNOT.get(name, {}), name


def test_ours_is_described_as_ever_and_named(shelf):
    about = describe(shelf / "video.safetensors")
    assert about["system"] == "diffsda"
    assert "cannot" not in about
    assert about["parameters"] == sum(p.numel() for p in load(shelf / "video.safetensors").parameters())


def test_a_systems_own_refusals(files, cli, refused, room):
    path = files["dbse-video"]
    said = cli("export", path, "--out", room / "export")
    refused(said, "export", 2, "got a model of dbse-video, expected one of diffsda")
    said = cli("bench", "train", "spyl-vowels")
    refused(said, "bench", 2, "got spyl-vowels of spyl, expected one of diffsda")
    data = room / "x.npz"
    np.savez(data, x=clips(RECIPES["dbse-video"], 2).x)
    for option, value in (("precision", "bf16"), ("route", "compile"), ("layout", "channels_last"), ("tile", 4)):
        said = cli("encode", path, data, "--out", room / "z.npz", f"--{option}", value)
        refused(said, "encode", 2, f"--{option}: got {value}", "a model of dbse-video")
    assert names(room) == ["x.npz"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_prior_knows_its_model_by_all_weights(name, files, tmp_path):
    whose = owner_of(files[name])
    made = load(files[name])
    assert whose.is_of(described("x", made.recipe.digest, made.state_dict(), made.provenance))
    key = next(iter(made.state_dict()))
    with torch.no_grad():
        made.state_dict()[key].add_(1)
    assert not whose.is_of(owner_of(save(made, tmp_path / "other.safetensors")))


def test_the_digest_of_our_encoder_is_what_it_was(shelf):
    """Of the encoder's weights alone, by name, shape and values: priors that were made keep their models."""
    import hashlib

    digest = hashlib.sha256()
    state = load(shelf / "vector.safetensors").state_dict()
    for key in sorted(key for key in state if key.startswith("encoder.")):
        values = state[key].numpy().ravel().tolist()
        digest.update(f"{key} {tuple(state[key].shape)}\n".encode() + struct.pack(f"<{len(values)}f", *values))
    assert owner_of(shelf / "vector.safetensors").encoder == digest.hexdigest()[:16]
