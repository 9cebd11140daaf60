"""Clips to whitened latents and back: the same in any tiling, and a word where latents are not what they should be."""

import copy

import pytest
import torch

from diffsda.errors import InputError
from diffsda.firststage import latents
from diffsda.firststage.build import build
from diffsda.firststage.latents import LatentSpace, to_bytes
from diffsda.firststage.recipe import FirstStage
from diffsda.firststage.whiten import Whitening

STAGE = FirstStage(size=8, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=3, codes=16)


@pytest.fixture(scope="module")
def stage():
    torch.manual_seed(0)
    return build(STAGE).eval()


def pixels(clips=2, frames=5):
    return torch.rand(clips, frames, 3, 8, 8) * 2 - 1


def measured(stage, x):
    return Whitening.measure(LatentSpace(stage).encode(x).numpy())


def test_latents_are_whitened_and_come_back(stage):
    x = pixels(8)
    space = LatentSpace(stage, measured(stage, x))
    z = space.encode(x)
    assert z.shape == (8, 5, 3, 4, 4)
    assert float(z.mean((0, 1, 3, 4)).abs().max()) < 1e-5
    assert float((z.std((0, 1, 3, 4)) - 0.5).abs().max()) < 1e-3
    raw = stage.encode(x.flatten(0, 1))
    torch.testing.assert_close(space.whitening.undo(z).flatten(0, 1), raw.detach(), rtol=1e-4, atol=1e-5)
    back = space.decode(z)
    assert back.shape == x.shape
    assert not back.requires_grad
    torch.testing.assert_close(back.flatten(0, 1), stage.decode(raw).clamp(-1, 1).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tile", [1, 3, 7, 100])
def test_tiles_change_nothing(stage, tile):
    # In double precision: convolutions of other batch sizes add up in another order.
    x, wide = pixels(), copy.deepcopy(stage).double()
    whitening = measured(stage, x)
    whole, tiled = LatentSpace(wide, whitening), LatentSpace(wide, whitening, tile=tile)
    torch.testing.assert_close(tiled.encode(x), whole.encode(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(tiled.decode(whole.encode(x)), whole.decode(whole.encode(x)), rtol=1e-6, atol=1e-6)


def test_no_more_frames_at_once_than_memory_allows(stage, monkeypatch):
    seen = []
    monkeypatch.setattr(
        stage.encoder.conv_in, "forward", lambda x: seen.append(len(x)) or torch.zeros(len(x), 32, 8, 8)
    )
    monkeypatch.setitem(latents.MEMORY, "cpu", 6 * 4 * 64 * 32 * 2)
    LatentSpace(stage).encode(pixels(1, 5))
    assert seen == [2, 2, 1]


def test_latents_that_were_never_whitened_are_told(stage):
    x, told = pixels(), []
    space = LatentSpace(stage, measured(stage, x), tell=told.append)
    space.decode(space.encode(x))
    assert told == []
    space.decode(space.encode(x) * 5)
    space.decode(space.encode(x) + torch.tensor([0, 0, 3.0]).view(3, 1, 1))
    assert len(told) == 2
    assert told[0].startswith("latents: channel 0 has mean")
    assert "channel 2 has mean" in told[1]
    with pytest.warns(UserWarning, match="whitened, and by this first stage's statistics"):
        LatentSpace(stage, space.whitening).decode(space.encode(x) * 5)
    LatentSpace(stage, tell=told.append).decode(space.encode(x) * 5)
    assert len(told) == 2


def test_what_does_not_fit_is_refused(stage):
    space = LatentSpace(stage)
    with pytest.raises(InputError, match=r"expected frames \(B, V, C, H, W\)"):
        space.encode(torch.zeros(2, 3, 8, 8))
    with pytest.raises(InputError, match=r"uint8, expected frames"):
        space.encode(torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"none empty"):
        space.decode(torch.zeros(0, 2, 3, 4, 4))
    with pytest.raises(InputError, match="got frames"):
        space.encode(torch.zeros(1, 2, 3, 9, 8))
    with pytest.raises(InputError, match="got latents"):
        space.decode(torch.zeros(1, 2, 4, 4, 4))
    with pytest.raises(InputError, match="expected the 3 of the first stage"):
        LatentSpace(stage, Whitening((0.0,), (1.0,)))
    with pytest.raises(InputError, match="tile: got 0"):
        LatentSpace(stage, tile=0)


def test_bytes():
    given = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0])
    assert to_bytes(given).tolist() == [0, 0, 128, 255, 255, 255]
    every = torch.arange(256, dtype=torch.float32)
    assert to_bytes(every / 127.5 - 1).tolist() == list(range(256))
