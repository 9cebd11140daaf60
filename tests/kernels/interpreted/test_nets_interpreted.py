"""Whole nets on our kernels, in the interpreter: recorded outputs, gradients and training steps as on torch's."""

from pathlib import Path

import numpy as np
import pytest
import torch

import diffsda
from diffsda.kernels import backend
from diffsda.presets import preset
from diffsda.train.data import Batch
from diffsda.train.parallel import Processes
from diffsda.train.step import TrainStep

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
NAMES = ("video_latent", "timeseries")


def golden(name):
    model = diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors")
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return model, {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def relative(got, wanted):
    return float((got.double() - wanted.double()).norm() / wanted.double().norm())


@pytest.mark.parametrize("name", NAMES)
def test_recorded_factors(name):
    model, arrays = golden(name)
    with torch.no_grad(), backend("triton"):
        f = model.encode(arrays["x"])
    assert relative(f.static, arrays["enc_s"].reshape(f.static.shape)) < 2e-6


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradients(name):
    model, arrays = golden(name)
    x = arrays["x"][:1, :3] if name == "video_latent" else arrays["x"][:2]
    sigma, noise = torch.full(x.shape[:2], 0.7), torch.randn(x.shape)
    found = []
    for choice in ("torch", "triton"):
        model.zero_grad()
        with backend(choice):
            loss = model.loss(x, sigma, noise)
            loss.backward()
        found.append((loss.detach(), {k: p.grad.clone() for k, p in model.named_parameters()}))
    (plain, wanted), (ours, got) = found
    assert relative(ours, plain) < 1e-6
    total = torch.stack([g.norm() for g in wanted.values()]).norm()
    for key, grad in wanted.items():
        # A convolution's bias before a norm has a true gradient of 0: there only the floor can hold.
        assert (got[key] - grad).norm() <= 1e-4 * grad.norm() + 1e-6 * total, key


@pytest.mark.parametrize("name", NAMES)
def test_samples(name):
    model, arrays = golden(name)
    x = arrays["x"][:1, :2] if name == "video_latent" else arrays["x"][:2]
    with torch.no_grad():
        f = model.encode(x)
    noise = torch.randn(x.shape)
    with backend("torch"):
        wanted = model.sample(f, noise, steps=3)
    with backend("triton"):
        got = model.sample(f, noise, steps=3)
    assert relative(got, wanted) < 1e-5


@pytest.mark.parametrize("name", ["tiny_vector"])
def test_training_steps_without_dropout(name):
    weights = []
    for choice in ("torch", "triton"):
        recipe = preset(name).replace(optim={"batch": 4}, backbone={"dropout": 0.0}, encoder={"dropout": 0.0})
        torch.manual_seed(0)
        model = diffsda.DiffSDA(recipe).train()
        adamw = torch.optim.AdamW(model.parameters(), lr=1e-3)
        step = TrainStep(model, adamw, recipe, Processes(0, 1, torch.device("cpu")))
        batch = Batch(0.5 * torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(1)))
        with backend(choice):
            for i in range(3):
                step(batch, i, 1e-3)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert relative(weights[1], weights[0]) < 1e-5


def test_dropout_of_a_training_run_follows_its_step():
    recipe = preset("tiny_vector").replace(
        optim={"batch": 4, "accumulate": 2}, backbone={"dropout": 0.3}, encoder={"dropout": 0.3}
    )
    batch = Batch(0.5 * torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(1)))

    def losses(rank, steps):
        torch.manual_seed(0)
        model = diffsda.DiffSDA(recipe).train()
        still = torch.optim.SGD(model.parameters(), lr=0.0)
        step = TrainStep(model, still, recipe, Processes(rank, 1, torch.device("cpu")))
        with backend("triton"):
            return [float(step(batch, i, 0.0)[0]) for i in steps]

    run = losses(0, [5, 6])
    assert losses(0, [6]) == run[1:]  # a resumed run drops what the unbroken one does
    assert run[0] != run[1]
