"""The nets with our kernels on a CUDA device: golden samples, gradients, mixed precision, compiled and captured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_calls import relative

import diffsda
from diffsda.kernels import backend
from diffsda.kernels.dropout import DropoutState, attach
from diffsda.nn.blocks import AdaGNBlock, Norm
from diffsda.nn.mlp import RowNorm

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).parents[1] / "golden"
NETS = ("video_latent", "timeseries")


def model_and_golden(name):
    model = diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors").cuda()
    return model, {k: torch.as_tensor(v) for k, v in np.load(GOLDEN / f"{name}.npz").items()}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("which", ["triton", "torch", "auto"])
def test_golden_samples(name, which):
    model, golden = model_and_golden(name)
    with backend(which):
        f = model.encode(golden["x"])
        assert torch.allclose(f.static.detach().cpu(), golden["enc_s"], rtol=1e-4, atol=1e-5)
        sample = model.sample(f, golden["xT"], steps=18).cpu()
    assert (sample - golden["sample_T18"]).abs().max() < 1e-4


def gradients(model, x, sigma, noise, which, bf16=False):
    model.zero_grad(set_to_none=True)
    with backend(which), torch.autocast("cuda", torch.bfloat16, enabled=bf16):
        loss = model.loss(x, sigma, noise)
    loss.backward()
    named = {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), named


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "autocast bf16"])
@pytest.mark.parametrize("name", NETS)
def test_losses_and_gradients_are_the_references(name, bf16):
    model, golden = model_and_golden(name)
    # In training mode, as recurrent networks on CUDA differentiate only there; dropout would draw differently.
    for module in model.train().modules():
        if isinstance(module, (Norm, RowNorm)):
            module.dropout = 0.0
    x = golden["x"].cuda()
    sigma = torch.rand(x.shape[:2], device="cuda") + 0.1
    noise = torch.randn_like(x)
    loss, ours = gradients(model, x, sigma, noise, "triton", bf16)
    expected, theirs = gradients(model, x, sigma, noise, "torch", bf16)
    exact = gradients(model, x, sigma, noise, "torch")[1]
    assert abs(loss / expected - 1) < (2e-2 if bf16 else 1e-5)
    assert set(ours) == set(theirs)
    whole = torch.cat([g.flatten() for g in exact.values()])
    off, reference = (relative(torch.cat([g.flatten() for g in grads.values()]), whole) for grads in (ours, theirs))
    assert off < 2 * reference + (1e-2 if bf16 else 1e-4)


def test_training_steps_captured_in_a_graph_drop_other_elements():
    torch.manual_seed(0)
    block = AdaGNBlock(64, 64, attend=False, dropout=0.5).cuda().train()
    state = DropoutState(0, "cuda")
    assert attach(block, state) > 0
    x = torch.randn(4, 64, 16, 16, device="cuda").to(memory_format=torch.channels_last)
    scale, shift = torch.ones(4, 64, device="cuda"), torch.zeros(4, 64, device="cuda")

    def step():
        for p in block.parameters():
            p.grad = None
        y = block(x, scale, shift)
        y.square().mean().backward()
        state.advance()
        return y.detach()

    with backend("triton"):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = step()
        weight = block.conv2.weight.grad
        seen = []
        for _ in range(2):
            graph.replay()
            seen.append((y.clone(), weight.clone()))
    for a, b in zip(*seen):
        assert torch.isfinite(a).all()
        assert not torch.equal(a, b)


def test_a_compiled_block_is_one_graph_and_computes_the_same():
    torch.manual_seed(0)
    block = AdaGNBlock(64, 128, attend=True, dropout=0.1).cuda().eval()
    x = torch.randn(2, 64, 8, 8, device="cuda").to(memory_format=torch.channels_last)
    scale, shift = torch.randn(2, 128, device="cuda"), torch.randn(2, 128, device="cuda")

    def run(call):
        leaf = x.clone().requires_grad_()
        y = call(leaf, scale, shift)
        return y.detach(), *torch.autograd.grad(y.sin().sum(), leaf)

    torch.compiler.reset()
    with backend("triton"):
        eager, compiled = run(block), run(torch.compile(block, fullgraph=True))
    for a, b in zip(compiled, eager):
        assert relative(a, b) < 1e-5


def test_sampling_with_our_kernels_waits_for_nothing():
    model = diffsda.load_authors(GOLDEN / "timeseries.weights.safetensors").cuda()
    x = torch.randn(2, 14, 5, device="cuda")
    with backend("triton"):
        f = model.encode(x)
        noise = torch.randn_like(x)
        model.sample(f, noise, steps=4)
        torch.cuda.set_sync_debug_mode("error")
        try:
            model.sample(f, noise, steps=4)
        finally:
            torch.cuda.set_sync_debug_mode("default")
