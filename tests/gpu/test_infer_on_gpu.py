"""Jobs on a CUDA device: tiles run ahead of their results, which are those of clips one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffsda.data.arrays import write
from diffsda.export.infer import Settings, run
from diffsda.export.infer.pixels import Pixels
from diffsda.export.parts import PreparedStage
from diffsda.firststage.build import build
from diffsda.firststage.latents import LatentSpace
from diffsda.firststage.recipe import configuration
from diffsda.inference import Execution, Session
from diffsda.model import DiffSDA
from diffsda.presets import preset

pytestmark = pytest.mark.gpu


def made(out):
    return {path.name: dict(np.load(path)) for path in (out / "clips").iterdir()}


def test_a_job_is_what_its_clips_are_one_by_one(tmp_path):
    torch.manual_seed(0)
    session = Session(DiffSDA(preset("tiny_video")).cuda().eval(), Execution(precision="float32"))
    (tmp_path / "job").mkdir()
    for i in range(7):
        write(tmp_path / "job" / f"{i}.npy", {"x": 0.5 * np.random.default_rng(i).normal(size=(8, 3, 16, 16))})
    for tile in (1, 2):
        summary = run(session, tmp_path / "job", "reconstruct", tmp_path / str(tile), Settings(tile=tile, steps=3))
        assert (summary.done, summary.failed) == (7, {})
    one, two = made(tmp_path / "1"), made(tmp_path / "2")
    assert one.keys() == two.keys()
    for name, arrays in one.items():
        assert np.abs(arrays["x"] - two[name]["x"]).max() < 1e-3


def test_pixels_come_back_as_bytes(tmp_path):
    torch.manual_seed(0)
    stage = configuration("tiny")
    recipe = preset("tiny_video").replace(clips={"channels": stage.latent, "size": 8, "latent": True})
    session = Session(DiffSDA(recipe).cuda().eval())
    ready = PreparedStage(build(stage).cuda().eval(), torch.bfloat16)
    pixels = Pixels(LatentSpace(ready, tell=lambda words: None), recipe)
    (tmp_path / "job").mkdir()
    for i in range(5):
        x = np.random.default_rng(i).integers(0, 256, (8, 3, 32, 32), np.uint8)
        write(tmp_path / "job" / f"{i}.npz", {"x": x})
    settings = Settings(tile=2, steps=3)
    summary = run(session, tmp_path / "job", "reconstruct", tmp_path / "out", settings, pixels=pixels)
    assert (summary.done, summary.failed) == (5, {})
    for arrays in made(tmp_path / "out").values():
        assert (arrays["x"].shape, arrays["x"].dtype) == ((8, 3, 32, 32), np.uint8)
