"""DiViD trained for a moment takes vectors apart: the constants go one way, the waves the other."""

import math

import pytest
import torch

from diffsda.baselines.divid.model import DiViD
from diffsda.baselines.divid.settings import DiViDSettings

SMALL = DiViDSettings(
    kind="vector",
    channels=6,
    encoder_width=64,
    static=32,
    static_hidden=64,
    dynamic=32,
    layers=2,
    heads=4,
    feedforward=64,
    temporal_dropout=0.0,
    vector_width=96,
    vector_layers=3,
    context=32,
    context_heads=4,
    bound=1.2,
    sampling_steps=20,
)


def waves(count, seed, frames=6):
    """Return vectors of three constants and three waves of a clip's own frequency and phase."""
    draw = torch.Generator().manual_seed(seed)
    constants = 2 * torch.rand(count, 1, 3, generator=draw) - 1
    phase = 2 * math.pi * torch.rand(count, 1, generator=draw)
    phase = phase + torch.arange(frames) * (0.3 + 1.2 * torch.rand(count, 1, generator=draw))
    moving = 0.7 * torch.stack([phase.cos(), phase.sin(), (2 * phase).cos()], dim=-1)
    return torch.cat([constants.expand(-1, frames, -1), moving], dim=-1)


@pytest.mark.slow
def test_swaps_take_each_factor_from_its_donor():
    torch.manual_seed(0)
    model, x, draw = DiViD(SMALL), waves(2048, 1), torch.Generator().manual_seed(5)
    adam = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.0)
    for _ in range(1000):
        loss = model.loss(x[torch.randint(len(x), (64,), generator=draw)], generator=draw)
        adam.zero_grad()
        loss.total.backward()
        adam.step()
    model.eval()
    a, b = waves(128, 7), waves(128, 8)
    y = model.swap(a, b)
    constants, moving = y[..., :3], y[..., 3:]
    assert float((constants - a[..., :3]).square().mean()) < 0.03
    assert float((moving - b[..., 3:]).square().mean()) < 0.03
    assert float((constants - b[..., :3]).square().mean()) > 0.3
    assert float((moving - a[..., 3:]).square().mean()) > 0.2
