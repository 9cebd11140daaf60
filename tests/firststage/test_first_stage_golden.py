"""Our first stages compute what the latent-diffusion autoencoders compute, and hold tensors of the same names."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from diffsda.firststage.build import build
from diffsda.firststage.recipe import FirstStage, configuration
from diffsda.firststage.whiten import Whitening

GOLDEN = Path(__file__).parent.parent / "golden"
STAGE = FirstStage(size=32, width=32, multipliers=(1, 1, 2), blocks=1, attention=(2,), latent=4, codes=16)


@cache
def recorded():
    with np.load(GOLDEN / "first_stage.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def loaded(dtype):
    model = build(STAGE)
    tensors = safetensors.torch.load_file(GOLDEN / "first_stage.weights.safetensors")
    model.load_state_dict({k: v.float() for k, v in tensors.items()})
    return model.to(dtype).eval()


def whitening():
    """The statistics the recording was made with."""
    given = recorded()
    return Whitening.from_dict({"mean": given["mean"].numpy(), "variance": given["variance"].numpy()})


def whitened(z):
    return whitening().apply(z[None])[0]


def raw(z):
    return whitening().undo(z[None])[0]


def distance(given, wanted):
    assert given.shape == wanted.shape
    return float((given.detach().double() - wanted.double()).abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_recorded_output(dtype):
    given, model = recorded(), loaded(dtype)
    with torch.no_grad():
        z = model.encode(given["x"].to(dtype))
        assert distance(z, given["z_raw"]) <= 1e-5
        assert distance(whitened(z), given["z_norm"]) <= 1e-5
        back = raw(given["z_norm"].to(dtype))
        codes, indices = model.quantise(back)
        assert torch.equal(indices, given["indices"])
        assert distance(codes, given["quant"]) <= 1e-6
        assert distance(model.decode(back), given["dec"]) <= 1e-5
        assert distance(model.decode_codes(back), given["dec_noquant"]) <= 1e-5


def test_quantising_matters():
    given = recorded()
    assert distance(given["dec"], given["dec_noquant"]) > 0.1


def test_one_wrong_weight_shows():
    given, model = recorded(), loaded(torch.float32)
    with torch.no_grad():
        model.encoder.down[2].attn[0].q.weight[0, 0] += 0.5
        assert distance(model.encode(given["x"]), given["z_raw"]) > 1e-5


@pytest.mark.parametrize("name", ["vq4", "vq8", "kl8"])
def test_names_and_shapes_of_the_published_files(name):
    wanted = json.loads((GOLDEN / f"keys_first_stage_{name}.json").read_text())
    with torch.device("meta"):
        model = build(configuration(name))
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == wanted
    assert model.stage.factor == {"vq4": 4, "vq8": 8, "kl8": 8}[name]


@pytest.mark.parametrize("name", ["vq4", "vq8", "kl8", "tiny"])
def test_every_configuration_runs_from_frames_to_frames(name):
    stage = configuration(name)
    with torch.device("meta"):
        model = build(stage)
        x = torch.empty(2, 3, 64, 64)
    z = model.encode(x)
    assert z.shape == (2, stage.latent, 64 // stage.factor, 64 // stage.factor)
    codes = model.decode_codes(z) if stage.kind == "vq" else model.decode(z)
    assert codes.shape == x.shape
