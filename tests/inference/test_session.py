"""A session gives what its model gives: every verb, form, tile and precision."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import diffsda
from diffsda import DiffSDA, preset
from diffsda.errors import InputError
from diffsda.inference import Execution, Session, session
from diffsda.inference.form import Form

GOLDEN = Path(__file__).parents[1] / "golden"
NETS = ("video_latent", "timeseries")
FORMS = {
    "the CPU's": {},
    "the GPU's": {"channels_last": True, "defer": True, "two_source": True, "products": True},
    "biases handed on, NCHW": {"defer": True, "two_source": True},
    "products alone": {"channels_last": True, "products": True},
    "doubled pixels": {"subpixel": False, "defer": True},
    "no buffers": {"buffers": False},
}
every_form = pytest.mark.parametrize("form", FORMS)
BF16 = 2e-2
"""Largest relative root mean square error of bf16 samples against recorded float32 ones."""


def relative(given, wanted):
    given, wanted = given.detach().double(), wanted.detach().double()
    return float((given - wanted).abs().max() / wanted.abs().max())


def rms(given, wanted):
    given, wanted = given.detach().double(), wanted.detach().double()
    return float((given - wanted).pow(2).mean().sqrt() / wanted.pow(2).mean().sqrt())


@pytest.fixture
def formed(monkeypatch):
    """Return a function that makes a session in some form."""
    own = Form.of

    def make(model, form="the CPU's", **execution):
        monkeypatch.setattr(Form, "of", lambda *given: replace(own(*given), **FORMS[form]))
        return Session(model, Execution(**execution))

    return make


@pytest.fixture
def build(randomise):
    def make(name="tiny_video", size=8, **encoder):
        recipe = preset(name).replace(encoder=encoder, clips={"size": size} if name == "tiny_video" else {})
        return randomise(DiffSDA(recipe)).eval()

    return make


def clips_for(model, batch=3, frames=5):
    clips = model.recipe.clips
    return 0.5 * torch.randn(batch, frames, clips.channels, *[clips.size] * 2 if clips.size else [])


def recorded(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@pytest.mark.parametrize("name", NETS)
@every_form
def test_recorded_samples_in_float32(name, form, formed):
    gold, model = recorded(name), diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors")
    fast = formed(model, form)
    f = fast.encode(gold["x"])
    assert relative(f.static, gold["enc_s"]) < 1e-4
    assert relative(f.dynamic, gold["enc_d"]) < 1e-4
    assert relative(fast.sample(f, gold["xT"], 32), gold["sample_T32"]) < 1e-4
    assert relative(fast.invert(gold["x"], f, 18), gold["stochenc_T18"]) < 1e-4


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("form", ["the CPU's", "the GPU's"])
def test_recorded_samples_in_bf16(name, form, formed):
    gold, model = recorded(name), diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors")
    fast = formed(model, form, precision="bf16")
    f = model.encode(gold["x"])
    y = fast.sample(f, gold["xT"], 32)
    assert y.dtype == torch.float32
    error = rms(y, gold["sample_T32"])
    assert 1e-5 < error <= BF16, "an error below bf16's own would mean that it was not used"


@every_form
@pytest.mark.parametrize("size", [8, 6])
def test_video_of_even_and_odd_sizes(build, formed, form, size):
    model = build(size=size)
    x = clips_for(model)
    fast, f = formed(model, form, tile=4), model.encode(x)
    noise = torch.randn_like(x)
    assert relative(fast.encode(x).static, f.static) < 2e-5
    assert relative(fast.encode(x).dynamic, f.dynamic) < 2e-5
    assert relative(fast.sample(f, noise, 4), model.sample(f, noise, 4)) < 2e-5


@pytest.mark.parametrize("name", ["tiny_video", "tiny_vector"])
def test_every_verb(build, name):
    model = build(name)
    fast = Session(model, Execution(tile=7))
    x, other = clips_for(model), clips_for(model)
    lengths = torch.tensor([5, 2, 4])
    f = model.encode(x, lengths)
    for given, wanted in (
        (fast.encode(x, lengths).static, f.static),
        (fast.encode(x, lengths).dynamic, f.dynamic),
        (fast.invert(x, f, 3, lengths=lengths), model.invert(x, f, 3, lengths=lengths)),
        (fast.sample(f, None, 3, seed=7, lengths=lengths), model.sample(f, None, 3, seed=7, lengths=lengths)),
        (fast.reconstruct(x, lengths, steps=3), model.reconstruct(x, lengths, steps=3)),
        (fast.swap(x, other, steps=3), model.swap(x, other, steps=3)),
        (fast.swap(x, other, noise="fresh", steps=3, seed=2), model.swap(x, other, noise="fresh", steps=3, seed=2)),
    ):
        assert relative(given, wanted) < 5e-5


@pytest.mark.parametrize("encoder", [{"shared_static": False}, {"causal": True}])
def test_other_encoders(build, encoder):
    model = build("tiny_vector", **encoder)
    x = clips_for(model)
    f, given = model.encode(x), Session(model).encode(x)
    assert given.static.shape == f.static.shape
    assert relative(given.static, f.static) < 1e-5
    assert relative(given.dynamic, f.dynamic) < 1e-5


@pytest.mark.parametrize("name", ["tiny_video", "tiny_vector"])
def test_churn_draws_the_models_noise_whatever_the_tile(build, name):
    model = build(name)
    model.recipe = model.recipe.replace(sampling={"S_churn": 10.0, "S_max": 50.0})
    f = model.encode(clips_for(model))
    wanted = model.sample(f, None, 5, seed=3)
    for tile in (1, 4, 100):
        assert relative(Session(model, Execution(tile=tile)).sample(f, None, 5, seed=3), wanted) < 5e-5


def test_evaluate_is_the_denoisers(build):
    model = build()
    x = clips_for(model).flatten(0, 1)
    a = model.encode(clips_for(model)).per_frame().flatten(0, 1)
    given, wanted = Session(model).evaluate((0.3, 2.0), a), model.denoiser.evaluate((0.3, 2.0), a)
    for level in (0, 1):
        assert relative(given(x, level), wanted(x, level)) < 2e-5


def test_a_float64_model_keeps_its_digits(build):
    for name in ("tiny_video", "tiny_vector"):
        model = build(name).double()
        x = clips_for(model).double()
        f = model.encode(x)
        noise = torch.randn_like(x)
        given = Session(model).sample(f, noise, 3)
        assert given.dtype == torch.float64
        assert relative(given, model.sample(f, noise, 3)) < 1e-11
    with pytest.raises(InputError, match="float64 model"):
        Session(model, Execution(precision="bf16"))


def test_it_is_a_snapshot_and_leaves_the_model_alone(build):
    model = build()
    x = clips_for(model)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()
    model.train()
    fast = Session(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    f = fast.encode(x)
    before = fast.sample(f, torch.zeros_like(x), 3)
    assert not before.requires_grad
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert torch.equal(fast.encode(x).static, f.static)
    assert torch.equal(fast.sample(f, torch.zeros_like(x), 3), before)


def test_results_are_not_overwritten_by_the_next_request(build):
    model = build("tiny_vector")
    fast = Session(model)
    x = clips_for(model)
    f = fast.encode(x)
    first = fast.sample(f, torch.randn_like(x), 3)
    kept = first.clone()
    fast.sample(f, torch.randn_like(x), 3)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("tile", [4, 100])
def test_progress_sees_every_step_once(build, tile):
    model, seen = build("tiny_vector"), []

    def watch(steps):
        for step in steps:
            yield step
            seen.append(step)

    x = clips_for(model)
    Session(model, Execution(tile=tile)).sample(model.encode(x), None, 6, progress=watch)
    assert len(seen) == 6


def test_memory_that_runs_out_makes_tiles_smaller(build, monkeypatch):
    model = build("tiny_vector")
    x = clips_for(model, batch=4)
    f, noise = model.encode(x), torch.randn_like(x)
    solve = session.heun

    def scarce(evaluate, x, *rest, **options):
        if x.shape[0] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return solve(evaluate, x, *rest, **options)

    monkeypatch.setattr(session, "heun", scarce)
    fast = Session(model, Execution(tile=64))
    assert relative(fast.sample(f, noise, 3), model.sample(f, noise, 3)) < 5e-5
    assert fast.report()["tile"] <= 5


def test_the_network_is_not_asked_for_embeddings_in_the_loop(build, monkeypatch):
    model = build()
    calls = {"noise": 0, "factor": 0}
    fast, x = Session(model, Execution(tile=10)), clips_for(model, batch=4)
    modulation = fast._denoiser.modulation
    for half in calls:
        table = getattr(modulation, f"{half}_table")

        def counted(*given, table=table, half=half):
            calls[half] += 1
            return table(*given)

        monkeypatch.setattr(modulation, f"{half}_table", counted)
    f = model.encode(x)
    fast.sample(f, None, 6)
    assert calls == {"noise": 1, "factor": 2}, "once a plan, once a tile"
    fast.sample(f, None, 6)
    assert calls == {"noise": 1, "factor": 4}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"precision": "half"}, "precision: got 'half'"),
        ({"layout": "NHWC"}, "layout: got 'NHWC'"),
        ({"route": "fast"}, "route: got 'fast'"),
        ({"tile": 0}, "tile: got 0"),
        ({"tile": True}, "tile: got True"),
        ({"tile": 2.5}, "tile: got 2.5"),
    ],
)
def test_executions_that_do_not_exist(given, words):
    with pytest.raises(InputError, match=words):
        Execution(**given)


def test_a_model_in_a_low_type_is_refused(build):
    for name in ("tiny_video", "tiny_vector"):
        with pytest.raises(InputError, match=r"session: got a model in torch\.bfloat16, expected one in float32"):
            Session(build(name).bfloat16())


@pytest.mark.parametrize("name", ["tiny_video", "tiny_vector"])
def test_the_frame_network_has_the_executions_type_too(build, name):
    model = build(name)
    x = clips_for(model)
    f, given = model.encode(x), Session(model, Execution(precision="bf16")).encode(x)
    assert given.static.dtype == torch.float32
    assert 1e-5 < rms(given.dynamic, f.dynamic) < 5e-2


def test_tiles_that_memory_made_smaller_stay_small(build, monkeypatch):
    model = build("tiny_vector")
    fast, x = Session(model), clips_for(model, batch=8)
    own, tried = fast._encoder.forward, []

    def scarce(x, lengths):
        tried.append(x.shape[0])
        if x.shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(x, lengths)

    monkeypatch.setattr(fast._encoder, "forward", scarce)
    wanted = model.encode(x)
    for _ in range(2):
        assert relative(fast.encode(x).static, wanted.static) < 1e-5
    assert tried == [8, 4, *[2] * 8]


def test_graphs_need_a_device(build):
    with pytest.raises(InputError, match="graphs need a CUDA device"):
        Session(build(), Execution(route="graph"))


def test_what_is_no_model_or_execution_is_told(build):
    with pytest.raises(InputError, match=r"session: got str, expected a model: diffsda\.load"):
        Session("runs/mine")
    with pytest.raises(InputError, match="execution: got dict"):
        Session(build(), {"precision": "float32"})
    with pytest.raises(InputError, match="factors: got tuple, expected Factors"):
        build("tiny_vector").sample((1, 2))
    with pytest.raises(InputError, match="layout: got channels_last for the vector recipe"):
        Session(build("tiny_vector"), Execution(layout="channels_last"))


@pytest.mark.parametrize("kind", ["unet", "mlp"])
def test_what_auto_means(kind, build):
    recipe = preset("tiny_video" if kind == "unet" else "tiny_vector")
    here = Execution().resolve(torch.device("cpu"), recipe)
    assert (here.precision, here.layout, here.route) == ("float32", "contiguous", "eager")
    assert here.tile > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_video", "tiny_vector"])
def test_compiled(build, name):
    model = build(name)
    x = clips_for(model)
    fast, f, noise = Session(model, Execution(route="compile", tile=8)), model.encode(x), torch.randn_like(x)
    assert relative(fast.encode(x).dynamic, f.dynamic) < 2e-5
    assert relative(fast.sample(f, noise, 3), model.sample(f, noise, 3)) < 2e-5
    # Another request of a size that does not divide: padded, not compiled anew.
    torch._dynamo.config.error_on_recompile, before = True, torch._dynamo.config.error_on_recompile
    try:
        few = model.encode(x[:2])
        assert relative(fast.sample(few, noise[:2], 3), model.sample(few, noise[:2], 3)) < 2e-5
    finally:
        torch._dynamo.config.error_on_recompile = before
