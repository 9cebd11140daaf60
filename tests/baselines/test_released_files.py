"""One door for the authors' weights of all systems: known by their keys, refused by name."""

from pathlib import Path

import pytest
import torch
from recordings import GOLDEN, released
from safetensors.torch import load_file, save_file

import diffsda
from diffsda.authors_systems import SYSTEMS, network_and_settings, system_of
from diffsda.baselines.dbse.audio import AudioDBSE
from diffsda.baselines.dbse.authors import build
from diffsda.baselines.dbse.authors import to_theirs as dbse_names
from diffsda.baselines.dbse.series import SeriesDBSE
from diffsda.baselines.dbse.settings import ICU, MUG, AudioSettings
from diffsda.baselines.dbse.video import VideoDBSE
from diffsda.baselines.spyl.model import SPYL
from diffsda.baselines.spyl.settings import SPRITES
from diffsda.errors import CheckpointError, InputError
from diffsda.model import DiffSDA

OURS = Path(__file__).parents[1] / "golden" / "timeseries.weights.safetensors"
RECORDED = {
    "dbse-video": ("dbse_video", VideoDBSE),
    "dbse-series": ("dbse_ts", SeriesDBSE),
    "spyl": ("spyl_video", SPYL),
}
AUDIO = AudioSettings(channels=16, static=7, dynamic=6, hidden=12, as_published=True)


def network(model):
    """Return what computes: the model, or what it wraps."""
    return getattr(model, "system", model)


def audio_weights(folder):
    model = build(AUDIO)
    path = folder / "audio.pth"
    torch.save({f"module.{k}": v for k, v in dbse_names(model.state_dict(), model).items()}, path)
    return path, model


@pytest.mark.parametrize("system", RECORDED)
def test_weights_are_known_by_their_keys(system):
    name, kind = RECORDED[system]
    assert system_of(load_file(GOLDEN / f"{name}.weights.safetensors"), name) == system
    model = network(diffsda.load_authors(released(name)))
    assert type(model) is kind
    assert not model.training
    told = network(diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors", system=system))
    assert all(torch.equal(v, told.state_dict()[k]) for k, v in model.state_dict().items())


def test_audio_is_known_by_its_keys(tmp_path):
    path, model = audio_weights(tmp_path)
    again = network(diffsda.load_authors(path, as_published=True))
    assert type(again) is AudioDBSE
    assert again.settings == AUDIO
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


def test_diffsda_is_known_by_its_keys():
    assert system_of(load_file(OURS), OURS) == "diffsda"
    for how in ({}, {"system": "diffsda"}, {"shared_static": False}):
        assert type(diffsda.load_authors(OURS, **how)) is DiffSDA


def test_settings_come_by_name_as_they_are_or_in_a_recipe():
    class Recipe:
        settings = ICU

    for preset in ("icu", ICU, Recipe()):
        settings = network(diffsda.load_authors(released("dbse_ts"), preset)).settings
        assert (settings.weight_sequence, settings.draws, settings.channels) == (80.0, 10, 10)
    tensors = load_file(GOLDEN / "spyl_video.weights.safetensors")
    model, settings = network_and_settings(tensors, "x", "spyl", SPRITES.replace(hardness="hard", size=128))
    assert settings is model.settings
    # Released weights are of 64 x 64 frames whatever was asked for: sizes come from the tensors.
    assert (settings.hardness, settings.size, settings.width) == ("hard", 64, 8)


@pytest.mark.parametrize(
    ("name", "preset", "recipe"),
    [
        ("dbse_video", "dbse-mug", ("dbse-mug", 15, 64, 1.5e-3)),
        ("dbse_video", "mug", ("imported", None, 64, 1.5e-3)),
        ("dbse_ts", "dbse-icu", ("dbse-icu", 80, None, 1e-3)),
        ("dbse_ts", None, ("imported", None, None, 1e-3)),
        ("spyl_video", "spyl-sprites", ("spyl-sprites", 8, 64, 2e-3)),
    ],
)
def test_models_have_the_recipe_of_their_preset_and_the_sizes_of_the_weights(name, preset, recipe):
    model = diffsda.load_authors(released(name), preset)
    given = model.recipe
    assert (given.name, given.clips.frames, given.clips.size, given.optim.lr) == recipe
    assert given.settings == model.system.settings
    assert (given.static, given.dynamic) == (model.system.settings.static, model.system.settings.dynamic)
    assert bool(model.provenance["assumed"]) is (preset is None)


def test_a_model_so_read_is_like_any_other(tmp_path):
    model = diffsda.load_authors(released("dbse_video"))
    x = 2 * torch.rand(2, 4, 3, 64, 64) - 1
    y = model.swap(x, x.flip(0))
    inside = model.system.swap((x + 1) / 2, (x + 1).flip(0) / 2)
    assert torch.allclose(y, 2 * inside - 1)
    assert not any(p.is_meta for p in [*model.parameters(), *model.buffers()])
    path = tmp_path / "model.safetensors"
    diffsda.save(model, path)
    again = diffsda.load(path)
    assert torch.equal(again.swap(x, x.flip(0)), y)
    assert again.recipe.digest == model.recipe.digest


def test_slips_are_mended_on_demand():
    x = torch.randn(2, 16, 10, generator=torch.Generator().manual_seed(0))
    codes = [
        network(diffsda.load_authors(released("dbse_ts"), as_published=p)).encode(x).dynamic for p in (None, False)
    ]
    assert not torch.allclose(*codes, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("dbse_ts", {"preset": "mug"}, "SeriesSettings like the weights"),
        ("dbse_ts", {"preset": MUG}, "SeriesSettings like the weights"),
        ("dbse_ts", {"preset": SPRITES}, "settings: got SPYLSettings, expected those of DBSE like the weights"),
        ("spyl_video", {"preset": MUG}, "settings: got VideoSettings, expected those of SPYL like the weights"),
        ("spyl_video", {"preset": "mug"}, "expected one of sprites"),
        ("spyl_video", {"stats": {"mean": [0.0], "std": [1.0]}}, "stats: got them for weights of spyl"),
        ("dbse_video", {"shared_static": True}, "shared_static: got them for weights of dbse-video"),
        ("dbse_video", {"system": "dbse"}, "system: got 'dbse', expected one of diffsda, dbse-video, dbse-audio"),
        ("dbse_video", {"system": "divid"}, "no weights of divid are public"),
        (None, {"as_published": True}, "as_published: got True for weights of diffsda"),
        (None, {"preset": MUG}, "preset: got VideoSettings, expected a Recipe"),
    ],
)
def test_what_does_not_go_together_is_refused(name, how, said):
    with pytest.raises(InputError, match=said):
        diffsda.load_authors(OURS if name is None else released(name), **how)


@pytest.mark.parametrize(("system", "said"), [("spyl", "not a SPYL"), ("dbse-audio", "not DBSE"), ("diffsda", "lacks")])
def test_a_system_named_wrongly_is_refused_by_what_the_weights_lack(system, said):
    with pytest.raises(CheckpointError, match=said):
        diffsda.load_authors(released("dbse_video"), system=system)


def test_weights_of_nobody_name_the_systems_known(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"begins with layer\.weight") as caught:
        diffsda.load_authors(path)
    assert all(name in str(caught.value) for name in SYSTEMS)
    assert "\n" not in str(caught.value)


def test_weights_of_several_must_be_named(tmp_path):
    both = load_file(GOLDEN / "dbse_video.weights.safetensors") | {"d_prior_mean.weight": torch.zeros(1)}
    path = tmp_path / "both.pth"
    torch.save(both, path)
    with pytest.raises(InputError, match="keys of dbse-video and of spyl, say which with system="):
        diffsda.load_authors(path)
    model = network(diffsda.load_authors(path, system="dbse-video"))
    assert model.provenance["ignored"] == ["d_prior_mean.weight"]


def test_every_system_is_told_from_every_other(tmp_path):
    """A system's own keys make no other: what is recognised does not depend on the order of the table."""
    files = {name: load_file(GOLDEN / f"{file}.weights.safetensors") for name, (file, _) in RECORDED.items()}
    files["dbse-audio"] = {k.removeprefix("module."): v for k, v in torch.load(audio_weights(tmp_path)[0]).items()}
    files["diffsda"] = load_file(OURS)
    assert set(files) == set(SYSTEMS)
    for name, tensors in files.items():
        assert system_of(tensors, "x") == name
