"""Presets: the paper's tables, the released variants, and sizes of the networks they make."""

import json

import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.edm.schedule import sampling_plan
from diffsda.errors import InputError
from diffsda.presets import PRESETS

# Preset -> network in full_size_counts.json.
COUNTED = {
    "voxceleb": "vox1",
    "celebv_hq": "celebv",
    "mug": "mug",
    "mug_released": "mug",
    "mug_small": "mug_small",
    "taichi": "taichi",
    "physionet": "physionet",
    "physionet_released": "physionet",
    "airq": "airq",
    "airq_released": "airq",
    "etth1": "etth",
    "timit": "timit_paper",
    "timit_readme": "timit_readme",
    "librispeech": "libri_paper",
    "librispeech_readme": "libri_readme",
}
OURS = ("demo", "tiny_video", "tiny_vector")
# Larger ones of ours: parameters in all, of the backbone, of the encoder.
SIZES = {
    "speech": (1_033_162, 695_656, 337_506),
    "sprites": (7_363_148, 1_857_539, 5_505_609),
    "sprites32": (2_556_268, 1_256_515, 1_299_753),
}

# Tables 6 and 7: P_mean, P_std, evaluations, lr, batch, epochs, S, D, hidden, width, encoder width, frames.
PAPER = {
    "mug": (-1.2, 1.2, 71, 1e-4, 8, 1600, 256, 64, 128, 64, 64, 15),
    "taichi": (-1.2, 1.2, 63, 1e-4, 16, 40 * 150, 512, 64, 1024, 64, 64, 10),
    "voxceleb": (-0.4, 1.0, 63, 1e-4, 16, 100, 512, 12, 1024, 192, 192, 10),
    "celebv_hq": (-0.4, 1.0, 63, 1e-4, 16, 450, 1024, 16, 1024, 192, 192, 10),
    "timit": (-0.4, 1.0, 63, 1e-4, 128, 750, 32, 4, 128, 256, 128, 68),
    "librispeech": (-0.4, 1.0, 63, 1e-3, 128, 200, 32, 2, 256, 64, 128, 68),
    "physionet": (-0.4, 1.0, 63, 5e-5, 30, 200, 24, 2, 96, 256, 96, 80),
    "airq": (-0.4, 1.0, 63, 1e-4, 10, 200, 16, 4, 512, 256, 128, 672),
    "etth1": (-0.4, 1.0, 63, 1e-4, 10, 200, 16, 4, 512, 128, 256, 672),
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name, golden):
    recipe = preset(name)
    assert recipe.name == name
    with torch.device("meta"):
        model = DiffSDA(recipe)
    given = {
        "total": sum(p.numel() for p in model.parameters()),
        "backbone": sum(p.numel() for p in model.denoiser.parameters()),
        "encoder": sum(p.numel() for p in model.encoder.parameters()),
    }
    if name in OURS:
        assert given["total"] < 2e6
        return
    if name in SIZES:
        assert tuple(given.values()) == SIZES[name]
        return
    counts = json.loads((golden / "full_size_counts.json").read_text())[COUNTED[name]]
    dead = counts["dead_crossattn"]
    assert given == {
        "total": counts["total"] - dead,
        "backbone": counts["backbone"] - dead,
        "encoder": counts["encoder"],
    }


def test_every_preset_is_looked_at():
    assert set(PRESETS) == {*COUNTED, *OURS, *SIZES}
    digests = {r.digest for r in PRESETS.values()}
    assert len(digests) == len(PRESETS)


@pytest.mark.parametrize("name", PAPER)
def test_values_of_the_paper(name):
    recipe = preset(name)
    evaluations = sampling_plan(recipe.sampling, None).evaluations
    assert (
        recipe.noise.P_mean,
        recipe.noise.P_std,
        evaluations,
        recipe.optim.lr,
        recipe.optim.batch,
        recipe.optim.epochs,
        recipe.encoder.static,
        recipe.encoder.dynamic,
        recipe.encoder.hidden,
        recipe.backbone.width,
        recipe.encoder.width,
        recipe.clips.frames,
    ) == PAPER[name]
    for net in (recipe.backbone, recipe.encoder):
        assert (net.multipliers, net.attention, net.blocks, net.dropout) == ((1, 2, 2, 2), (2,), 2, 0.1)
    assert recipe.noise.sigma_data == 0.5
    assert recipe.noise.per_frame
    assert (recipe.sampling.sigma_min, recipe.sampling.sigma_max, recipe.sampling.rho) == (0.002, 80.0, 7.0)
    assert recipe.sampling.S_churn == 0
    assert (recipe.optim.weight_decay, recipe.optim.clip, recipe.optim.schedule) == (1e-5, 1.0, "authors")
    assert recipe.optim.ema is None
    assert recipe.encoder.shared_static
    assert not recipe.encoder.causal
    assert not recipe.backbone.zero_init


def test_series_draw_ten_noises_and_only_they():
    drawn = {name: preset(name).optim.draws for name in COUNTED}
    assert {n for n, k in drawn.items() if k == 10} == {
        "physionet",
        "physionet_released",
        "airq",
        "airq_released",
        "etth1",
    }
    assert set(drawn.values()) == {1, 10}


@pytest.mark.parametrize(
    ("released", "paper", "evaluations"),
    [("mug_released", "mug", 63), ("physionet_released", "physionet", 47), ("airq_released", "airq", 31)],
)
def test_released_variants_differ_in_evaluations_only(released, paper, evaluations):
    recipe = preset(released)
    assert 2 * recipe.sampling.steps - 1 == evaluations
    assert recipe.replace(sampling=preset(paper).sampling).digest == preset(paper).digest


def test_latents_are_the_256_pixel_faces():
    assert {n for n in PRESETS if preset(n).clips.latent} == {"voxceleb", "celebv_hq"}


@pytest.mark.parametrize(
    ("given", "near"),
    [("voxcelb", "voxceleb"), ("etth", "etth1"), ("tiny-video", "tiny_video"), ("MUG_small", "mug_small")],
)
def test_unknown_names_get_the_nearest_known_one(given, near):
    with pytest.raises(InputError, match=f"got '{given}'; did you mean '{near}'"):
        preset(given)
    with pytest.raises(InputError, match="expected one of mug"):
        preset("zzzzzz")
