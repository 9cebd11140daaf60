"""The baseline computes what the authors' code computed (recorded outputs in tests/golden)."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from diffsda.bench.published import build, optimiser, reverse, sample, schedule, step
from diffsda.errors import InputError, TrainingError
from diffsda.recipe import Backbone, Clips, Encoder, Optim, Recipe, Sampling

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SMALL = {"width": 32, "multipliers": (1, 1, 2), "attention": (1,)}
RECIPES = {
    "video_latent": Recipe(
        clips=Clips(modality="video", channels=4, size=16, latent=True),
        backbone=Backbone(kind="unet", **SMALL),
        encoder=Encoder(**SMALL, static=12, dynamic=3, hidden=16),
    ),
    "timeseries": Recipe(
        clips=Clips(channels=5),
        backbone=Backbone(width=16),
        encoder=Encoder(width=12, static=6, dynamic=2, hidden=12),
        optim=Optim(draws=10),
    ),
}


def video(channels, size, width, static, dynamic, hidden):
    return Recipe(
        clips=Clips(modality="video", channels=channels, size=size),
        backbone=Backbone(kind="unet", width=width),
        encoder=Encoder(width=width, static=static, dynamic=dynamic, hidden=hidden),
    )


def vector(features, width, encoder, static, dynamic, hidden):
    return Recipe(
        clips=Clips(channels=features),
        backbone=Backbone(width=width),
        encoder=Encoder(width=encoder, static=static, dynamic=dynamic, hidden=hidden),
    )


FULL = {
    "vox1": video(4, 32, 192, 512, 12, 1024),
    "celebv": video(4, 32, 192, 1024, 16, 1024),
    "mug": video(3, 64, 64, 256, 64, 128),
    "mug_small": video(3, 64, 64, 128, 16, 256),
    "taichi": video(3, 64, 64, 512, 64, 1024),
    "physionet": vector(10, 256, 96, 24, 2, 96),
    "airq": vector(10, 256, 128, 16, 4, 512),
    "etth": vector(6, 128, 256, 16, 4, 512),
    "timit_readme": vector(80, 201, 201, 16, 8, 256),
    "timit_paper": vector(80, 256, 128, 32, 4, 128),
    "libri_readme": vector(80, 128, 128, 16, 8, 256),
    "libri_paper": vector(80, 64, 128, 32, 2, 256),
}
both = pytest.mark.parametrize("name", RECIPES)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def recorded(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def loaded(name):
    model = build(RECIPES[name]).eval()
    weights = load_file(GOLDEN / f"{name}.weights.safetensors")
    model.load_state_dict({key: value.float() for key, value in weights.items()}, strict=True)
    return model


@cache
def codes(name, steps):
    """Our own stochastic codes: computed once, used for reconstructions and swaps too."""
    gold = recorded(name)
    return reverse(loaded(name), gold["x"], gold["enc_a"], steps)


def relative(given, wanted):
    given, wanted = given.detach().double(), wanted.double()
    return float((given.reshape(wanted.shape) - wanted).abs().max() / wanted.abs().max())


def absolute(given, wanted):
    return float((given - wanted).abs().max())


@pytest.mark.parametrize("name", FULL)
def test_full_size_names_shapes_and_counts(name):
    with torch.device("meta"):
        model = build(FULL[name])
    state = model.state_dict()
    wanted = json.loads((GOLDEN / f"keys_{name}.json").read_text())
    assert [(key, list(value.shape)) for key, value in state.items()] == list(wanted.items())
    counts = json.loads((GOLDEN / "full_size_counts.json").read_text())[name]
    assert len(state) == counts["n_keys"]
    assert sum(value.numel() for value in state.values()) == counts["state_dict_numel"]
    for part, key in ((model, "total"), (model.backbone, "backbone"), (model.encoder, "encoder")):
        assert sum(p.numel() for p in part.parameters()) == counts[key]
    dead = [p.numel() for key, p in model.named_parameters() if "crossattn" in key]
    assert sum(dead) == counts["dead_crossattn"]


@both
def test_encoder(name):
    gold, model = recorded(name), loaded(name)
    for given, key in zip(model.encode(gold["x"]), ("enc_s", "enc_d", "enc_a")):
        assert given.shape == gold[key].shape
        assert relative(given, gold[key]) < 1e-5


@both
@pytest.mark.parametrize("i", range(5))
@pytest.mark.parametrize("as_tensor", [False, True])
def test_denoiser(name, i, as_tensor):
    gold, model = recorded(name), loaded(name)
    sigma = gold["den_sigmas"][i] if as_tensor else float(gold["den_sigmas"][i])
    given = model.denoise(gold[f"den_in_{i}"], sigma, gold["enc_a"])
    assert given.ndim == (4 if name == "video_latent" else 3)  # the authors flatten the frames of a video
    assert relative(given, gold[f"den_out_{i}"]) < 1e-5


@both
def test_loss_and_gradient_norms(name):
    gold, model = recorded(name), loaded(name)
    loss = model(gold["x"], gold.get("mask"), (gold["loss_rnd_normal"], gold["loss_eps_unit"]))
    assert relative(loss, gold["loss"]) < 1e-5
    loss.backward()
    wanted = json.loads((GOLDEN / f"{name}.gradnorms.json").read_text())
    parameters = dict(model.named_parameters())
    assert parameters.keys() == wanted.keys()
    total = float(gold["loss_grad_total_norm"])
    for key, norm in wanted.items():
        if norm is None:
            assert parameters[key].grad is None, key
        else:
            # Biases of keys, and those before a norm of one channel a group, have no gradient in exact
            # arithmetic; what is recorded for them is rounding.
            given = float(parameters[key].grad.norm())
            assert abs(given - norm) <= 1e-4 * norm + 1e-6 * total, key


@both
@pytest.mark.parametrize("steps", [18, 32])
def test_samples(name, steps):
    gold = recorded(name)
    given = sample(loaded(name), gold["xT"], gold["enc_a"], steps)
    assert given.dtype == torch.float32
    assert absolute(given, gold[f"sample_T{steps}"]) < 1e-5


@both
@pytest.mark.parametrize("steps", [18, 32])
def test_stochastic_code_and_reconstruction(name, steps):
    gold, code = recorded(name), codes(name, steps)
    assert absolute(code, gold[f"stochenc_T{steps}"]) < 1e-4
    assert absolute(sample(loaded(name), code, gold["enc_a"], steps), gold[f"recon_T{steps}"]) < 1e-4


@both
def test_swaps(name):
    gold, model, code = recorded(name), loaded(name), codes(name, 18)
    dynamic = gold["enc_d"].roll(1, 0)  # clip i takes the dynamics of clip i - 1
    static = gold["enc_s"][:, None].expand(-1, dynamic.shape[1], -1)
    a = torch.cat([dynamic, static], dim=-1).reshape(gold["enc_a"].shape)
    assert absolute(sample(model, code.roll(1, 0), a, 18), gold["swap_donor_xT_T18"]) < 1e-4
    assert absolute(sample(model, code, a, 18), gold["swap_own_xT_T18"]) < 1e-4


@both
def test_five_training_steps(name):
    gold, model = recorded(name), loaded(name)
    adamw = optimiser(model)
    for i in range(5):
        noise = gold["train_rnd_normal"][i], gold["train_eps_unit"][i]
        loss, norm = step(model, adamw, gold["x"], gold.get("mask"), noise)
        assert loss == pytest.approx(float(gold["train_losses"][i]), rel=1e-5)
        assert float(norm) == pytest.approx(float(gold["train_gradnorms_preclip"][i]), rel=1e-4)
    static, dynamic, _ = model.encode(gold["x"])
    assert relative(static, gold["train_end_enc_s"]) < 1e-4
    assert relative(dynamic, gold["train_end_enc_d"]) < 1e-4


def test_noise_levels():
    with np.load(GOLDEN / "schedules.npz") as lists:
        for steps in (16, 18, 24, 32, 36):
            wanted = lists[f"sigmas_T{steps}"]
            np.testing.assert_allclose(schedule(steps, Sampling()).numpy(), wanted, rtol=1e-13, atol=0)


def test_step_draws_its_own_noise_and_refuses_nan():
    torch.manual_seed(0)
    model = build(RECIPES["timeseries"])
    adamw, x = optimiser(model), recorded("timeseries")["x"]
    first, second = step(model, adamw, x)[0], step(model, adamw, x)[0]
    assert first != second
    assert all(np.isfinite([first, second]))
    with pytest.raises(TrainingError, match="loss"):
        step(model, adamw, x * float("nan"))


def test_static_factor_a_frame():
    recipe = RECIPES["timeseries"].replace(encoder={"shared_static": False})
    static, dynamic, a = build(recipe).encode(recorded("timeseries")["x"])
    assert static.shape == (3, 14, 6)
    assert torch.equal(a, torch.cat([dynamic, static], dim=-1))


@pytest.mark.parametrize(
    "change",
    [{"encoder": {"causal": True}}, {"backbone": {"zero_init": True}}, {"noise": {"per_frame": False}}],
)
def test_refuses_what_the_authors_do_not_have(change):
    with pytest.raises(InputError, match="published code"):
        build(RECIPES["timeseries"].replace(**change))
