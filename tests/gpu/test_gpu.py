"""What only a CUDA device can show: the same numbers there, mixed precision training, nothing waited for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import diffsda
from diffsda.presets import preset
from diffsda.train.data import Batch
from diffsda.train.parallel import Processes
from diffsda.train.step import TrainStep

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["video_latent", "timeseries"])
def test_recorded_outputs_on_the_device(name):
    model = diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors").cuda()
    golden = {k: torch.as_tensor(v) for k, v in np.load(GOLDEN / f"{name}.npz").items()}
    f = model.encode(golden["x"])
    assert torch.allclose(f.static.detach().cpu(), golden["enc_s"], rtol=1e-4, atol=1e-5)
    sample = model.sample(f, golden["xT"], steps=18).cpu()
    assert (sample - golden["sample_T18"]).abs().max() < 1e-4


def test_sampling_waits_for_nothing():
    model = diffsda.load_authors(GOLDEN / "timeseries.weights.safetensors").cuda()
    x = torch.randn(2, 14, 5, device="cuda")
    f = model.encode(x)
    noise = torch.randn_like(x)
    model.sample(f, noise, steps=4)
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.sample(f, noise, steps=4)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_mixed_precision_training_learns():
    recipe = preset("tiny_vector").replace(optim={"batch": 16, "lr": 3e-3})
    torch.manual_seed(0)
    model = diffsda.DiffSDA(recipe).cuda().train()
    adamw = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    step = TrainStep(model, adamw, recipe, Processes(0, 1, torch.device("cuda")), bf16=True)
    batch = Batch(0.5 * torch.randn(16, 24, 6).cumsum(1) / 4)
    losses = [float(step(batch, i, 3e-3)[0]) for i in range(150)]
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])
