"""Every system learns ten clips by heart, five looks times two motions, and swaps between them as it should."""

import pytest
import torch

from diffsda.baselines.dbse.authors import build
from diffsda.baselines.dbse.settings import AudioSettings, SeriesSettings, VideoSettings
from diffsda.baselines.divid.model import DiViD
from diffsda.baselines.divid.settings import DiViDSettings
from diffsda.baselines.spyl.model import SPYL
from diffsda.baselines.spyl.settings import SPYLSettings

LOOK, MOTION = torch.arange(10) // 2, torch.arange(10) % 2
CODES = {"static": 8, "dynamic": 4, "hidden": 16}


def vectors(repeats=1):
    """Return clips (10, 5 * repeats, 6): three constants by look, and three numbers that go one way or the other."""
    looks = 2 * torch.rand(5, 3, generator=torch.Generator().manual_seed(3)) - 1
    way = torch.linspace(0, 1, 5) * torch.tensor([[1.0], [-1.0]])
    moving = torch.stack([way, (3 * way).sin(), way**3], dim=-1)
    x = torch.cat([looks[LOOK][:, None].expand(-1, 5, -1), moving[MOTION]], dim=-1)
    return x.repeat_interleave(repeats, 1)


def pictures(size):
    """Return clips (10, 3, 3, H, H) from 0 to 1: a black bar leaves the middle of a coloured ground, either way."""
    colours = torch.tensor([[1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1], [1, 1, 0.1], [0.1, 1, 1]])
    x = colours[LOOK][:, None, :, None, None].expand(-1, 3, -1, size, size).clone()
    unit = size // 8
    for clip, way in zip(x, 2 * MOTION - 1):
        for frame, image in enumerate(clip):
            left = size // 2 - unit + int(way) * unit * 3 * frame // 2
            image[:, :, left : left + 2 * unit] = 0.0
    return x


def learned(model, x, steps, lr):
    """Train on all clips at once; return the model as evaluation has it."""
    draw = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(model.train().parameters(), lr)
    for _ in range(steps):
        adam.zero_grad()
        model.loss(x, generator=draw).total.backward()
        adam.step()
    return model.eval()


def error(given, wanted):
    return float((given - wanted).square().mean())


def assert_swaps(model, x, known=0.25):
    """Require that clips are known, and swaps of two that differ in both be the third that they are of."""
    a, b = (row.flatten() for row in torch.meshgrid(torch.arange(10), torch.arange(10), indexing="ij"))
    both = (LOOK[a] != LOOK[b]) & (MOTION[a] != MOTION[b])
    a, b = a[both], b[both]
    wanted = x[2 * LOOK[a] + MOTION[b]]
    spread = error(x, x.mean(0))
    assert error(model.reconstruct(x), x) < known * spread
    swapped = model.swap(x[a], x[b])
    near = error(swapped, wanted)
    # A system that copies one of the donors, or the mean of all clips, fails each of these.
    assert near < known * spread
    assert near < error(swapped, x[a]) / 4
    assert near < error(swapped, x[b]) / 4


def made(make):
    """Return a system whose starting weights are always the same.

    Ten clips can be known by heart with all in one code too: from some starting weights, DBSE goes that way.
    """
    torch.manual_seed(0)
    return make()


def test_dbse_of_frames_swaps():
    weights = {"weight_sequence": 10.0, "weight_static": 0.5, "weight_dynamic": 2.0}
    settings = AudioSettings(channels=6, **CODES | {"dynamic": 2}, **weights)
    assert_swaps(learned(made(lambda: build(settings)), vectors(), 200, 2e-2), vectors())


def test_dbse_of_windows_swaps():
    weights = {"weight_sequence": 90.0, "weight_single": 9.0, "weight_static": 0.2, "weight_dynamic": 0.2}
    settings = SeriesSettings(channels=6, window=2, **CODES, **weights)
    assert_swaps(learned(made(lambda: build(settings)), vectors(2), 150, 1e-2), vectors(2))


def test_spyl_swaps():
    contrast = {"weight_contrast_static": 5.0, "weight_contrast_dynamic": 5.0}
    sizes = {"channels": 6, "width": 8, "features": 16, **CODES}
    settings = SPYLSettings(kind="vector", **sizes, weight_reconstruction=20.0, **contrast)
    assert_swaps(learned(made(lambda: SPYL(settings)), vectors(), 150, 1e-2), vectors())


def test_divid_swaps():
    settings = DiViDSettings(
        **{"kind": "vector", "channels": 6, "encoder_width": 32, "static": 16, "static_hidden": 32, "dynamic": 16},
        **{"layers": 1, "heads": 2, "feedforward": 32, "temporal_dropout": 0.0, "context": 16, "context_heads": 2},
        **{"vector_width": 48, "vector_layers": 2, "bound": 1.2, "sampling_steps": 10},
    )
    # Every clip eight times a step: at as many levels of noise.
    x = vectors().repeat(8, 1, 1)
    assert_swaps(learned(made(lambda: DiViD(settings)), x, 130, 5e-3), vectors())


@pytest.mark.slow
def test_dbse_of_pictures_swaps():
    settings = VideoSettings(size=32, width=8, features=16, **CODES | {"dynamic": 2}, weight_sequence=5.0)
    assert_swaps(learned(made(lambda: build(settings)), pictures(32), 500, 5e-3), pictures(32))
