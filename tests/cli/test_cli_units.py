"""A model of latents takes and gives pixels through the first stage its latents were made with, and no other."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from shelf import VIDEO
from shelf import build as model_of

from diffsda.checkpoint import load, save
from diffsda.data.arrays import write
from diffsda.firststage.build import build
from diffsda.firststage.files import load_first_stage, save_first_stage
from diffsda.firststage.latents import LatentSpace
from diffsda.firststage.recipe import FirstStage
from diffsda.firststage.whiten import Whitening

STAGE = FirstStage(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=2, codes=8)
RECIPE = VIDEO.replace(name="latents", clips={"latent": True, "frames": 4})


@pytest.fixture(scope="module")
def latent_shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents")
    torch.manual_seed(3)
    stage, other = build(STAGE).eval(), build(STAGE).eval()
    save_first_stage(stage, folder / "stage.safetensors")
    save_first_stage(other, folder / "other.safetensors")
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 3, 16, 16)).astype(np.float32)
    write(folder / "pixels.npz", {"x": x})
    whitening = Whitening.measure(LatentSpace(stage).encode(torch.from_numpy(x)).numpy())
    model = model_of(RECIPE, whitening)
    model.provenance = {"first_stage": stage.digest()}
    save(model, folder / "model.safetensors")
    return folder


def test_pixels_go_in_and_come_out(latent_shelf, cli, room):
    model, stage = latent_shelf / "model.safetensors", latent_shelf / "stage.safetensors"
    pixels, out = latent_shelf / "pixels.npz", room / "back.npz"
    said = cli("reconstruct", model, pixels, "--first-stage", stage, "--out", out, "--json", "--figure", room / "a.png")
    assert said.status == 0, said.err
    with np.load(out) as held:
        back = held["x"]
    assert back.shape == (3, 4, 3, 16, 16)
    assert abs(back).max() <= 1
    assert json.loads(said.out)["clips"] == 3
    held = load(model)
    space = LatentSpace(load_first_stage(stage), held.whitening, tell=print)
    with np.load(pixels) as given:
        z = space.encode(torch.from_numpy(given["x"]))
    own = space.decode(held.reconstruct(z, noise="own"))
    np.testing.assert_allclose(back, own.numpy(), atol=2e-3)


def test_factors_are_those_of_the_latents(latent_shelf, cli, room):
    model, stage, pixels = (latent_shelf / name for name in ("model.safetensors", "stage.safetensors", "pixels.npz"))
    with np.load(pixels) as given:
        z = LatentSpace(load_first_stage(stage)).encode(torch.from_numpy(given["x"]))
    write(room / "z.npz", {"x": z.numpy()})
    for source, more, name in ((pixels, ["--first-stage", stage], "a.npz"), (room / "z.npz", [], "b.npz")):
        assert cli("encode", model, source, *more, "--out", room / name).status == 0
    with np.load(room / "a.npz") as a, np.load(room / "b.npz") as b:
        for name in ("static", "dynamic"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5)


def test_a_swap_is_drawn_in_pixels(latent_shelf, cli, room):
    model, stage, pixels = (latent_shelf / name for name in ("model.safetensors", "stage.safetensors", "pixels.npz"))
    words = ["--first-stage", stage, "--grid", "--out", room / "s.npz", "--figure", room / "s.png"]
    said = cli("swap", model, pixels, pixels, *words)
    assert said.status == 0, said.err
    with np.load(room / "s.npz") as held:
        assert held["x"].shape == (9, 4, 3, 16, 16)
    assert (room / "s.png").stat().st_size > 1000


def test_what_does_not_belong_is_refused(latent_shelf, cli, room, refused, shelf):
    model, pixels, out = latent_shelf / "model.safetensors", latent_shelf / "pixels.npz", room / "z.npz"
    other, stage = latent_shelf / "other.safetensors", latent_shelf / "stage.safetensors"
    refused(cli("encode", model, pixels, "--first-stage", other, "--out", out), "encode", 2, "expected the one")
    refused(cli("encode", model, pixels, "--out", out), "encode", 2, "(3, 4, 3, 16, 16)", "expected (N, V, 2, 8, 8)")
    wrong = shelf / "video.safetensors"
    refused(cli("encode", wrong, pixels, "--first-stage", stage, "--out", out), "encode", 2, "clips.latent")
    words = ["--first-stage", stage, "--as-is", "--out", out]
    refused(cli("encode", model, pixels, *words), "encode", 2, "--as-is: got a first stage as well")
    none = latent_shelf / "model.safetensors"
    refused(cli("encode", model, pixels, "--first-stage", none, "--out", out), "encode", 1, "no first stage")
    small = dataclasses.replace(STAGE, channels=1)
    save_first_stage(build(small).eval(), room / "grey.safetensors")
    grey = room / "grey.safetensors"
    refused(cli("encode", model, pixels, "--first-stage", grey, "--out", out), "encode", 2, "--first-stage")
    assert [path.name for path in room.iterdir()] == ["grey.safetensors"]
