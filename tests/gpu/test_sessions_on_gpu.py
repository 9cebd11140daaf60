"""Sessions on a CUDA device: recorded samples from graphs, in float32 and bf16; memory that runs out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_calls import relative

import diffsda
from diffsda import DiffSDA, preset
from diffsda.inference import Execution, Session, session

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).parents[1] / "golden"
NETS = ("video_latent", "timeseries")


def model_and_golden(name):
    model = diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors").cuda()
    return model, {k: torch.as_tensor(v) for k, v in np.load(GOLDEN / f"{name}.npz").items()}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("route", ["eager", "graph"])
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_recorded_samples_in_float32(name, route, layout):
    model, golden = model_and_golden(name)
    layout = layout if name == "video_latent" else "auto"
    fast = Session(model, Execution(precision="float32", route=route, layout=layout))
    f = fast.encode(golden["x"])
    assert relative(f.static.cpu(), golden["enc_s"]) < 1e-4
    for _ in range(2):  # captured, then replayed
        assert relative(fast.sample(f, golden["xT"], 32).cpu(), golden["sample_T32"]) < 1e-4
    assert relative(fast.invert(golden["x"], f, 18).cpu(), golden["stochenc_T18"]) < 1e-4


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_recorded_samples_in_low_precision(name, precision):
    model, golden = model_and_golden(name)
    fast = Session(model, Execution(precision=precision))
    assert fast.execution.route == "graph"
    y = fast.sample(model.encode(golden["x"]), golden["xT"], 32).cpu().double()
    wanted = golden["sample_T32"].double()
    assert float((y - wanted).pow(2).mean().sqrt() / wanted.pow(2).mean().sqrt()) <= 2e-2


def test_requests_of_many_sizes_come_from_few_graphs():
    model = DiffSDA(preset("tiny_video")).cuda().eval()
    fast = Session(model, Execution(tile=32, precision="float32"))
    for batch in (1, 2, 3, 4, 5, 9):
        x = 0.5 * torch.randn(batch, 8, 3, 16, 16)
        f = model.encode(x)
        assert relative(fast.sample(f, x, 4).cpu(), model.sample(f, x, 4).cpu()) < 1e-4
    assert fast.report()["graphs"] <= 3


def test_a_replay_launches_nothing_but_the_graph():
    model, golden = model_and_golden("video_latent")
    fast = Session(model)
    f = fast.encode(golden["x"])
    noise = golden["xT"].cuda()
    fast.sample(f, noise, 18)
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        fast.sample(f, noise, 18)
    launches = [e for e in seen.key_averages() if e.key == "cudaGraphLaunch"]
    kernels = sum(e.count for e in seen.key_averages() if e.key in ("cudaLaunchKernel", "cuLaunchKernel"))
    assert sum(e.count for e in launches) == 1
    assert kernels <= 12, "copies in and out alone"


def test_memory_that_runs_out_makes_tiles_smaller(monkeypatch):
    model = DiffSDA(preset("tiny_video")).cuda().eval()
    solve = session.heun

    def scarce(evaluate, x, *rest, **options):
        if x.shape[0] > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return solve(evaluate, x, *rest, **options)

    monkeypatch.setattr(session, "heun", scarce)
    fast = Session(model, Execution(tile=64, precision="float32"))
    x = 0.5 * torch.randn(5, 8, 3, 16, 16)
    f = model.encode(x)
    assert relative(fast.sample(f, x, 3).cpu(), model.sample(f, x, 3).cpu()) < 1e-4
    assert fast.report()["tile"] <= 8


@pytest.mark.parametrize("route", ["graph", "compile"])
def test_churn_in_a_graph_draws_the_models_noise(route):
    model = DiffSDA(preset("tiny_vector")).cuda().eval()
    model.recipe = model.recipe.replace(sampling={"S_churn": 10.0, "S_max": 50.0})
    f = model.encode(0.5 * torch.randn(3, 24, 6))
    fast = Session(model, Execution(route=route))
    for seed in (3, 4):
        assert relative(fast.sample(f, None, 5, seed=seed).cpu(), model.sample(f, None, 5, seed=seed).cpu()) < 1e-4
