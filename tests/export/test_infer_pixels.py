"""Pixels in and out for a model of latents, and results as video files."""

import json
import shutil

import numpy as np
import pytest
import torch
from golden_exports import first_stage, prior_of
from infer_jobs import arrays_of, lines

from diffsda.checkpoint import save
from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.errors import InputError
from diffsda.export.infer import Settings, run, task_named
from diffsda.export.infer.pixels import Pixels, to_video
from diffsda.export.infer.tiles import stacked
from diffsda.firststage.build import build
from diffsda.firststage.files import save_first_stage
from diffsda.firststage.latents import LatentSpace, to_bytes
from diffsda.firststage.recipe import FirstStage
from diffsda.firststage.whiten import Whitening
from diffsda.inference import Session
from diffsda.model import DiffSDA
from diffsda.presets import preset

FRAMES, SIDE = 3, 16
STAGE = FirstStage(size=SIDE, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=3, codes=16)
RECIPE = preset("tiny_video").replace(
    clips={"channels": 3, "size": SIDE // 2, "latent": True, "frames": FRAMES},
    backbone={"width": 32, "multipliers": (1,), "blocks": 1, "attention": ()},
    encoder={"width": 32, "multipliers": (1,), "blocks": 1, "attention": (), "hidden": 8, "static": 4, "dynamic": 2},
    sampling={"steps": 2},
)


def model():
    torch.manual_seed(0)
    return DiffSDA(RECIPE, Whitening((0.1, 0.0, -0.1), (0.3, 0.4, 0.5))).eval()


def stage():
    torch.manual_seed(1)
    return build(STAGE).eval()


def frames(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (FRAMES, 3, SIDE, SIDE), np.uint8)


@pytest.fixture
def job(tmp_path):
    (tmp_path / "job").mkdir()
    write(tmp_path / "job" / "bytes.npz", {"x": frames()})
    write(tmp_path / "job" / "floats.npz", {"x": frames().astype(np.float32) / np.float32(127.5) - 1})
    return tmp_path / "job"


def space():
    """The first stage and its whitening; what fresh weights make does not look whitened, and is no news here."""
    return LatentSpace(stage(), model().whitening, tell=lambda words: None)


def do(job, out, task="reconstruct", **settings):
    runner = Session(model())
    pixels = Pixels(space(), RECIPE)
    noise = "fresh" if task == "reconstruct" else None
    given = task_named(task, runner, noise=noise)
    return run(runner, job, given, out, Settings(tile=2, **settings), model="m", pixels=pixels)


def test_pixels_become_latents_and_bytes(job, tmp_path):
    assert do(job, tmp_path / "out").failed == {}
    made = arrays_of(tmp_path / "out", "bytes")["x"]
    assert (made.shape, made.dtype) == ((FRAMES, 3, SIDE, SIDE), np.uint8)
    # By hand: encode, whiten, reconstruct, unwhiten, decode.
    from diffsda.export.infer import seed_of

    x = torch.from_numpy(frames()).float()[None] / 127.5 - 1
    latents = Session(model()).reconstruct(space().encode(x), noise="fresh", seed=[seed_of("bytes", 0)])
    wanted = to_bytes(space().decode(latents))[0].numpy()
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert made.std() > 1


def test_bytes_and_floats_go_together():
    given = frames(), frames(1).astype(np.float32) / np.float32(127.5) - 1
    mixed = stacked([given[0], given[1]])
    assert mixed.dtype == np.float32
    assert np.array_equal(mixed[0], given[0].astype(np.float32) / np.float32(127.5) - 1)
    assert np.array_equal(mixed[1], given[1])
    assert stacked([given[0], given[0]]).dtype == np.uint8


def test_factors_of_pixels_are_those_of_their_latents(job, tmp_path):
    do(job, tmp_path / "out", "encode")
    x = torch.from_numpy(frames()).float()[None] / 127.5 - 1
    with torch.no_grad():
        wanted = model().encode(space().encode(x)).static[0].numpy()
    for key in ("bytes", "floats"):
        assert np.abs(arrays_of(tmp_path / "out", key)["static"] - wanted).max() < 1e-5


def test_another_first_stage_is_another_job_and_latents_are_refused(job, tmp_path):
    do(job, tmp_path / "out")
    runner = Session(model())
    task = task_named("reconstruct", runner, noise="fresh")
    with pytest.raises(InputError, match=r"first_stage: got None, expected '[0-9a-f]{12}'"):
        run(runner, job, task, tmp_path / "out", Settings(tile=2), model="m")
    write(tmp_path / "latents.npz", {"x": np.zeros((FRAMES, 3, SIDE // 2, SIDE // 2), np.float32)})
    assert "16" in do(tmp_path / "latents.npz", tmp_path / "other").failed["latents"]
    with pytest.raises(InputError, match="as_is: got it with a first stage"):
        do(job, tmp_path / "third", as_is=True)
    with pytest.raises(InputError, match="first stage: got a model of latents of 3 channels"):
        Pixels(LatentSpace(first_stage()), RECIPE)


def test_results_as_videos(job, tmp_path):
    pytest.importorskip("av")
    from diffsda.data.video.seek import read_frames

    for out in ("a", "b"):
        assert do(job, tmp_path / out, write="mp4", fps=12.5).failed == {}
    (first, *_) = lines(tmp_path / "a")
    assert first["file"].endswith(".mp4")
    assert {line["key"]: line["digest"] for line in lines(tmp_path / "a")} == {
        line["key"]: line["digest"] for line in lines(tmp_path / "b")
    }, "the same clips give the same bytes"
    assert read_frames(tmp_path / "a" / first["file"], range(FRAMES)).shape == (FRAMES, SIDE, SIDE, 3)
    assert do(job, tmp_path / "a", write="mp4", fps=12.5).skipped == 2
    with pytest.raises(InputError, match=r"write: got None, expected 'mp4 at 12\.5"):
        do(job, tmp_path / "a")
    with pytest.raises(InputError, match="write: got mp4 for encode"):
        do(job, tmp_path / "c", "encode", write="mp4")
    with pytest.raises(InputError, match="fps: got 0"):
        do(job, tmp_path / "c", write="mp4", fps=0)


def test_a_walk_is_a_video_side_by_side(tmp_path):
    pytest.importorskip("av")
    from diffsda.data.video.seek import read_frames

    ramp = np.stack([np.full((2, 3, 16, 16), level, np.float32) for level in (-1.0, 0.0, 1.0)])
    to_video(tmp_path / "walk.mp4", ramp, 25)
    shown = read_frames(tmp_path / "walk.mp4", [0, 1])
    assert shown.shape == (2, 16, 48, 3)
    assert [round(float(part.mean()) / 16) for part in np.split(shown[1], 3, axis=1)] == [0, 8, 16]


def test_by_the_command(job, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    save(model(), folder / "weights-00000001.safetensors")
    save_first_stage(stage(), tmp_path / "stage.safetensors")
    words = ["infer", str(job), "--model", str(folder), "--task", "reconstruct", "--noise", "fresh", "--tile", "1"]
    words += ["--first-stage", str(tmp_path / "stage.safetensors")]
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 2
    assert arrays_of(tmp_path / "out", "bytes")["x"].dtype == np.uint8
    assert main([*words, "--out", str(tmp_path / "b"), "--as-is"]) == 2
    assert "--as-is" in capsys.readouterr().err
    words[-1] = str(tmp_path / "none.safetensors")
    assert main([*words, "--out", str(tmp_path / "b")]) != 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_export_brings_its_first_stage(job, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from diffsda.export import onnx

    export = tmp_path / "export"
    onnx.export(model(), export, prior=prior_of(model(), FRAMES), first_stage=stage())
    words = ["infer", str(job), "--model", str(export), "--task", "reconstruct", "--noise", "fresh", "--tile", "2"]
    assert main([*words, "--first-stage", str(export), "--out", str(tmp_path / "out")]) == 0
    do(job, tmp_path / "plain")
    for key in ("bytes", "floats"):
        got, wanted = (arrays_of(tmp_path / out, key)["x"].astype(int) for out in ("out", "plain"))
        # A code that is nearly as near as another may be taken for it: few pixels, and far.
        assert np.mean(np.abs(got - wanted) > 1) < 0.02
    words = ["infer", "2", "--model", str(export), "--task", "generate", "--tile", "2", "--first-stage", str(export)]
    assert main([*words, "--out", str(tmp_path / "new")]) == 0
    assert arrays_of(tmp_path / "new", "0")["x"].shape == (FRAMES, 3, SIDE, SIDE)
    shutil.copytree(export, tmp_path / "copy")
    capsys.readouterr()
    assert main([*words[:-1], str(tmp_path / "copy"), "--out", str(tmp_path / "c")]) == 2
    assert "expected it to be that of --model" in capsys.readouterr().err
