"""The authors' weights: sizes from the tensors, names both ways, every published model."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from diffsda.authors import _authors_shapes, _recipe, load_authors
from diffsda.authors_keys import entries, to_ours, to_theirs
from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.whiten import Whitening
from diffsda.model import DiffSDA
from diffsda.presets import preset

GOLDEN = Path(__file__).parent / "golden"
SMALL = ("video_latent", "timeseries")
# Recorded keys -> preset of the paper or of the authors' README.
PUBLISHED = {
    "mug": "mug",
    "mug_small": "mug_small",
    "taichi": "taichi",
    "vox1": "voxceleb",
    "celebv": "celebv_hq",
    "timit_paper": "timit",
    "timit_readme": "timit_readme",
    "libri_paper": "librispeech",
    "libri_readme": "librispeech_readme",
    "physionet": "physionet",
    "airq": "airq",
    "etth": "etth1",
}


def test_every_recorded_model_is_tried():
    names = {path.stem.removeprefix("keys_") for path in GOLDEN.glob("keys_*.json")}
    assert {name for name in names if not name.startswith("first_stage")} == PUBLISHED.keys()


@pytest.fixture
def weights():
    """Return a function that reads a small model's recorded weights."""
    return lambda name: safetensors.torch.load_file(GOLDEN / f"{name}.weights.safetensors")


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_read_off_the_tensors_are_the_presets(name):
    shapes = json.loads((GOLDEN / f"keys_{name}.json").read_text())
    tensors = {k: torch.empty(shape, device="meta") for k, shape in shapes.items()}
    want = preset(PUBLISHED[name])
    recipe, assumed = _recipe(tensors, None)
    assert recipe.backbone == want.backbone
    assert recipe.encoder == want.encoder
    assert (recipe.clips.channels, recipe.clips.size) == (want.clips.channels, want.clips.size)
    assert recipe.clips.latent == want.clips.latent
    assert recipe.noise == want.noise
    assert len(assumed) == 6
    # With the preset nothing is assumed, and nothing in it changes.
    assert _recipe(tensors, want) == (want, [])
    # A preset of other sizes gives way to the tensors.
    other = want.replace(encoder={"static": want.encoder.static + 1, "hidden": 3}, backbone={"width": 32})
    assert _recipe(tensors, other)[0] == want


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_tensor_of_every_published_model_has_its_place(name):
    shapes = {k: tuple(v) for k, v in json.loads((GOLDEN / f"keys_{name}.json").read_text()).items()}
    with torch.device("meta"):
        model = DiffSDA(preset(PUBLISHED[name]))
    ours = _authors_shapes(model)
    aliases = {e.alias: e.theirs for e in entries(model) if e.alias}
    for theirs, shape in shapes.items():
        if "crossattn" not in theirs:
            assert ours[aliases.get(theirs, theirs)] == shape, theirs
    assert ours.keys() <= shapes.keys()
    # Every part of ours is written exactly once.
    filled = {k: torch.zeros(v.shape[0] if v.ndim else 1, dtype=torch.int64) for k, v in model.state_dict().items()}
    for entry in entries(model):
        for rows in entry.rows or (slice(None),):
            filled[entry.ours][rows] += 1
    assert all((count == 1).all() for count in filled.values())


@pytest.mark.parametrize("name", SMALL)
def test_the_way_there_and_back_is_exact(name, weights):
    theirs = weights(name)
    model = load_authors(GOLDEN / f"{name}.weights.safetensors")
    back = to_theirs(model.state_dict(), model)
    live = {k: v for k, v in theirs.items() if "crossattn" not in k}
    assert back.keys() == live.keys()
    for key, value in live.items():
        assert torch.equal(back[key], value.float()), key
    again = to_ours(back, model)
    for key, value in model.state_dict().items():
        assert torch.equal(again[key], value), key


@pytest.mark.parametrize(("name", "with_preset"), [("video_latent", "voxceleb"), ("timeseries", "airq_released")])
def test_with_and_without_a_preset_the_weights_are_the_same(name, with_preset, weights, tmp_path):
    path = GOLDEN / f"{name}.weights.safetensors"
    bare, named = load_authors(path), load_authors(path, with_preset)
    assert bare.provenance["assumed"]
    assert named.provenance["assumed"] == []
    assert (bare.recipe.name, named.recipe.name) == ("imported", with_preset)
    assert named.recipe.sampling == preset(with_preset).sampling
    assert bare.recipe.backbone == named.recipe.backbone
    torch.save({k: v.float() for k, v in weights(name).items()}, tmp_path / "a.pth")
    twin = load_authors(tmp_path / "a.pth", preset(with_preset))
    assert not twin.training
    for key, value in bare.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, named.state_dict()[key]), key
        assert torch.equal(value, twin.state_dict()[key]), key


def test_the_dead_attention_is_counted(weights):
    dead = sum("crossattn" in k for k in weights("video_latent"))
    assert load_authors(GOLDEN / "video_latent.weights.safetensors").provenance["dead"] == dead
    assert load_authors(GOLDEN / "timeseries.weights.safetensors").provenance["dead"] == 0


def test_a_static_factor_a_frame_is_the_callers_word():
    path = GOLDEN / "timeseries.weights.safetensors"
    model = load_authors(path, shared_static=False)
    assert not model.recipe.encoder.shared_static
    assert not any("shared_static" in line for line in model.provenance["assumed"])
    assert model.encode(torch.randn(2, 4, 5)).static.shape == (2, 4, 6)
    assert load_authors(path).encode(torch.randn(2, 4, 5)).static.shape == (2, 6)


def test_statistics_of_every_kind(tmp_path):
    import numpy as np

    path = GOLDEN / "timeseries.weights.safetensors"
    mean, std = [0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0]
    np.savez(tmp_path / "std.npz", mean=mean, std=std, extra=1)
    np.savez(tmp_path / "variance.npz", mean=np.reshape(mean, (1, 5, 1)), variance=np.square(std))
    want = Whitening(tuple(mean), tuple(std))
    for stats in (want, {"mean": mean, "std": std}, tmp_path / "std.npz", str(tmp_path / "variance.npz")):
        assert load_authors(path, stats=stats).whitening == want
    assert load_authors(path).whitening is None
    with pytest.raises(InputError, match="statistics of 2 channels, expected 5"):
        load_authors(path, stats={"mean": mean[:2], "std": std[:2]})


def test_a_network_that_is_no_even_unet(weights, tmp_path):
    held = weights("video_latent")
    gone = {k: v for k, v in held.items() if not k.startswith("backbone.downblocks.1.")}
    torch.save(gone, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: .*(even U-Net|do not fit|expected keys)"):
        load_authors(tmp_path / "a.pth")
    odd = {**held, "encoder.lstm.weight_ih_l0": torch.zeros(64, 255)}
    torch.save(odd, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="got 255 features, expected a square frame"):
        load_authors(tmp_path / "b.pth")
    wide = {**weights("timeseries"), "encoder.layers.0.linear.weight": torch.zeros(49, 5)}
    torch.save(wide, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="layer width: got 49, expected a multiple of 4"):
        load_authors(tmp_path / "c.pth")


def test_the_halves_of_a_projection_lie_where_the_model_reads_them(weights):
    """A round trip alone would not notice noise and factors, or scale and shift, exchanged on both ways."""
    theirs, model = weights("timeseries"), load_authors(GOLDEN / "timeseries.weights.safetensors")
    modulation = model.denoiser.backbone.modulation
    width, total = modulation.channels[0], sum(modulation.channels)
    for i in range(len(modulation.channels)):
        for letter, proj in (("t", modulation.noise_proj), ("a", modulation.factor_proj)):
            scale, shift = theirs[f"backbone.layers.{i}.{letter}_linear_emb.weight"].float().chunk(2)
            start = i * width
            assert torch.equal(proj.weight[start : start + width], scale)
            assert torch.equal(proj.weight[total + start : total + start + width], shift)
