"""The authors' DBSE weights: every tensor has a place, sizes are read off, foreign and broken files are refused."""

import json

import pytest
import torch
from recordings import GOLDEN
from safetensors.torch import load_file, save_file

from diffsda.baselines.dbse.authors import build, load_authors, to_theirs
from diffsda.baselines.dbse.settings import (
    ETTH1,
    MORTALITY,
    MUG,
    SPRITES,
    TIMIT,
    AudioSettings,
    SeriesSettings,
    VideoSettings,
)
from diffsda.errors import CheckpointError, InputError

RECORDED = ("dbse_video", "dbse_video_convdec", "dbse_ts")


def weights(name):
    return GOLDEN / f"{name}.weights.safetensors"


@pytest.mark.parametrize("name", RECORDED)
def test_every_tensor_has_its_place(name):
    model = load_authors(weights(name), as_published=True)
    wanted = json.loads((GOLDEN / f"keys_{name}.json").read_text())
    given = to_theirs(model.state_dict(), model)
    assert {k: list(v.shape) for k, v in given.items()} == wanted
    assert len(model.state_dict()) == len(given)
    held = load_file(weights(name))
    assert all(torch.equal(given[k], held[k].to(given[k].dtype)) for k in wanted)
    assert (model.provenance["dead"], model.provenance["ignored_count"]) == (0, 0)
    assert not model.training


def test_sizes_are_read_off():
    video = load_authors(weights("dbse_video")).settings
    sizes = {"static": 10, "dynamic": 6, "hidden": 12, "features": 16, "width": 8, "slot": "zeros"}
    assert video == VideoSettings(**sizes)
    assert load_authors(weights("dbse_video_convdec")).settings == VideoSettings(**sizes, decoder="upsampling")
    series = load_authors(weights("dbse_ts"))
    assert series.settings == SeriesSettings(static=8, dynamic=8, hidden=64, slot="zeros", as_published=True)
    assert "window 4" in series.provenance["assumed"]
    known = load_authors(weights("dbse_ts"), "icu")
    assert (known.settings.weight_sequence, known.settings.draws) == (80.0, 10)
    assert known.provenance["assumed"] == []


def test_layers_never_called_are_left_out_and_counted():
    model = load_authors(weights("dbse_ts"), as_published=False)
    assert model.provenance["dead"] == 4
    assert model.provenance["ignored_count"] == 0


def test_weights_trained_without_subtraction_run_without_it_and_without_chance():
    x = torch.randn(2, 16, 10)
    model = load_authors(weights("dbse_ts"))
    f = model.encode(x)
    assert torch.equal(f.dynamic, model.encode(x).dynamic)
    mended = load_authors(weights("dbse_ts"), as_published=False).encode(x)
    assert torch.equal(f.static, mended.static)
    assert not torch.allclose(f.dynamic[:, 1:], mended.dynamic[:, 1:], atol=1e-3)


@pytest.mark.parametrize(
    "settings", [SPRITES, MUG, TIMIT, MORTALITY, ETTH1], ids=["sprites", "mug", "timit", "mortality", "etth1"]
)
def test_full_sizes(settings):
    counts = {SPRITES: 14_900_163, MUG: 8_784_515, TIMIT: 14_139_120, MORTALITY: 96_996, ETTH1: 96_604}
    never_called = {TIMIT: 10_305_471 + 788_480, MORTALITY: 8_448, ETTH1: 8_448}.get(settings, 0)
    with torch.device("meta"):
        model = build(settings.replace(as_published=True))
        mended = build(settings)
    assert sum(p.numel() for p in model.parameters()) == counts[settings]
    assert sum(p.numel() for p in mended.parameters()) == counts[settings] - never_called


def test_audio_goes_there_and_back(tmp_path):
    settings = AudioSettings(channels=16, static=7, dynamic=6, hidden=12, as_published=True)
    model = build(settings)
    theirs = to_theirs(model.state_dict(), model)
    assert len(theirs) == len(model.state_dict())
    assert {"decoder.lstm.weight_ih_l0", "f_mean.model.0.bias", "mlp_encoder.fc3.weight", "fc.bias"} <= set(theirs)
    path = tmp_path / "audio.safetensors"
    save_file({k: v.contiguous().clone() for k, v in theirs.items()}, path)
    again = load_authors(path)
    assert again.settings == settings.replace(slot="zeros")
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())
    assert load_authors(path, as_published=False).provenance["dead"] == 10


def test_files_of_multi_gpu_training_and_strangers(tmp_path):
    held = load_file(weights("dbse_ts"))
    path = tmp_path / "weights.safetensors"
    save_file({f"module.{k}": v for k, v in held.items()} | {"other": torch.zeros(1)}, path)
    assert load_authors(path).provenance["ignored"] == ["other"]
    for key, value, said in (
        ("gru.weight_ih_l0", None, "missing gru.weight_ih_l0"),
        ("gru.weight_ih_l0", torch.zeros(96, 31), "gru.weight_ih_l0 is"),
        ("gru.weight_ih_l0", torch.zeros(96, 32, dtype=torch.int64), "another kind of number"),
        ("z_mean.weight", None, "not DBSE"),
        ("encoder.fc.0.weight", None, "not DBSE"),
        ("encoder.fc.0.weight", torch.zeros(32, 0), "make no DBSE: channels: got 0"),
    ):
        save_file({k: v for k, v in (held | {key: value}).items() if v is not None}, path)
        with pytest.raises(CheckpointError, match=said):
            load_authors(path)


def test_settings_of_another_kind_are_refused():
    with pytest.raises(InputError, match="SeriesSettings like the weights"):
        load_authors(weights("dbse_ts"), "mug")
    with pytest.raises(InputError, match="expected one of sprites, mug"):
        load_authors(weights("dbse_ts"), "sprite")
