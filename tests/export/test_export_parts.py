"""A prior and a first stage in an export: what their graphs compute, what is said of them, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_exports import GOLDEN, first_stage, prior_of

from diffsda.checkpoint import save
from diffsda.cli import main
from diffsda.errors import ExportError, InputError
from diffsda.export import manifest, onnx, reference, stage_graphs
from diffsda.export.check import check
from diffsda.export.graphs import Graph
from diffsda.export.onnxruntime import open_graph
from diffsda.export.parity import measure
from diffsda.export.prior_graph import prior_graph
from diffsda.export.session import OnnxSession
from diffsda.firststage.build import build
from diffsda.firststage.recipe import FirstStage
from diffsda.model import DiffSDA
from diffsda.presets import preset
from diffsda.prior.diffusion import follow, sampling_plan
from diffsda.prior.file import save_prior

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def far(a, b):
    return float((torch.as_tensor(a) - torch.as_tensor(b)).abs().max())


def onnx_library():
    import onnx

    return onnx


def written(graph, folder, precision="float32"):
    """Write one graph and return what ONNX Runtime makes of it, as a function."""
    onnx._one(graph, folder, {}, precision, onnx.EXTERNAL, lambda words: None)
    held = open_graph(folder / f"{graph.name}.onnx")
    return lambda *given: held(dict(zip(graph.inputs, given)), graph.outputs)[0]


@pytest.mark.parametrize("split", [False, True], ids=["joint", "split"])
def test_a_prior_samples_by_a_solver_of_ones_own(tmp_path, split):
    model = DiffSDA(preset("tiny_vector"))
    prior = prior_of(model, 4, split=split)
    predict = written(prior_graph(prior, "float32"), tmp_path)
    moves = sampling_plan(prior.recipe)
    start = torch.randn(5, prior.sizes.total)

    def eps(z, i):
        return predict(z, torch.full((len(z),), float(moves[i].t)))

    with torch.no_grad():
        wanted = follow(lambda z, i: prior.predict(z, torch.full((len(z),), moves[i].t)), start, moves)
        assert far(follow(eps, start, moves), wanted) < 1e-5


def test_a_first_stage_by_its_recorded_outputs(tmp_path):
    recipe = preset("tiny_video").replace(clips={"channels": 4, "size": 8, "latent": True})
    encoder, decoder = stage_graphs.stage_graphs(first_stage(), recipe, "float32")
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "first_stage.npz").items()}
    assert golden["x"].shape[-1] == 4 * recipe.clips.size
    assert far(written(encoder, tmp_path)(golden["x"]), golden["z_raw"]) < 1e-5
    decode = written(decoder, tmp_path)
    model = first_stage()
    with torch.no_grad():
        assert far(decode(golden["z_raw"]), model.decode(golden["z_raw"])) < 1e-5
    # What lies near a code becomes that code.
    codes = model.quantise(golden["z_raw"])[0]
    assert far(decode(codes + 1e-4 * torch.randn(codes.shape)), decode(codes)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kl", "wide"])
def test_first_stages_of_other_kinds(tmp_path, kind):
    more = {"kind": "kl", "codes": 0, "latent": 4} if kind == "kl" else {"latent": 12, "codes": 32}
    model = build(FirstStage(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), **more)).eval()
    recipe = preset("tiny_video").replace(clips={"channels": model.stage.latent, "size": 8, "latent": True})
    for graph in stage_graphs.stage_graphs(model, recipe, "float32"):
        run, given = written(graph, tmp_path), torch.randn(3, *graph.example[0].shape[1:])
        assert far(run(given), graph.original(given).detach()) < 1e-5


def test_a_folder_says_what_its_parts_take(exported):
    model, golden, folder = exported("timeseries")
    held = manifest.read(folder)
    frames = golden["x"].shape[1]
    assert (held.prior["static"], held.prior["dynamic"], held.prior["frames"]) == (6, 2, frames)
    assert len(held.prior["mean"]) == len(held.prior["std"]) == 6 + 2 * frames
    assert "z (clips, M)" in held.prior["takes"]
    assert held.first_stage is None
    said = {p.key: p.value for p in onnx_library().load(folder / "prior.onnx").metadata_props}
    assert json.loads(said["diffsda.prior"]) == held.prior
    assert said["diffsda.digest"] == model.recipe.digest
    assert [port.name for port in held.graphs["prior"].inputs] == ["z", "t"]
    answered = reference.read(folder).parts["prior"]
    assert far(OnnxSession(folder).part("prior", answered["z"], answered["t"]), answered["eps"]) < 1e-5
    with pytest.raises(InputError, match=r"no graph 'first_stage_encoder'.*--first-stage"):
        OnnxSession(folder).part("first_stage_encoder", golden["x"])


def test_the_check_sees_a_prior_that_answers_otherwise(exported, tmp_path, capsys):
    import shutil

    import safetensors.torch

    copy = tmp_path / "copy"
    shutil.copytree(exported("timeseries")[2], copy)
    assert next(iter(check(copy))).parts["prior"] < 1e-5
    held = safetensors.torch.load_file(copy / "reference.safetensors")
    held["prior.eps"] += 0.01 * held["prior.eps"].abs().max()
    safetensors.torch.save_file(held, copy / "reference.safetensors")
    assert main(["export", "--check", str(copy)]) == 1
    said = capsys.readouterr().out
    assert "prior" in said.splitlines()[0]
    assert "TOO FAR" in said


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_a_check_of_every_part_of_a_model_of_latents(exported, precision):
    _, _, folder = exported("video_latent", precision)
    verdict = next(iter(check(folder)))
    assert verdict.good, verdict
    assert set(verdict.parts) == {"prior", "first_stage_encoder", "first_stage_decoder"}
    assert manifest.read(folder).first_stage["digest"] == first_stage().digest()


@pytest.mark.slow
def test_the_command_takes_a_runs_prior(tmp_path, capsys):
    model = DiffSDA(preset("tiny_vector"))
    (tmp_path / "run").mkdir()
    save(model, tmp_path / "run" / "weights-00000001.safetensors")
    save_prior(prior_of(model, 4), tmp_path / "run" / "prior.safetensors")
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert [row["graph"] for row in json.loads(capsys.readouterr().out)["graphs"]][-1] == "prior"
    assert main(["export", str(tmp_path / "run"), "--prior", str(tmp_path / "none"), "--out", str(tmp_path / "b")]) == 2
    assert "there is no" in capsys.readouterr().err


def test_parts_of_another_model_are_refused_before_any_work(tmp_path):
    model, out = DiffSDA(preset("tiny_vector")), tmp_path / "out"
    wide = DiffSDA(preset("tiny_vector").replace(encoder={"static": 9}))
    with pytest.raises(InputError, match="prior: got one over S 9"):
        onnx.export(model, out, prior=prior_of(wide, 4))
    with pytest.raises(InputError, match="first stage: got a model of clips that are no latents"):
        onnx.export(model, out, first_stage=first_stage())
    video = DiffSDA(preset("tiny_video").replace(clips={"channels": 3, "latent": True}))
    with pytest.raises(InputError, match="expected one of latents of 4 channels"):
        onnx.export(video, out, first_stage=first_stage())
    assert not out.exists()


def test_a_graph_is_held_to_its_original(tmp_path):
    good = prior_graph(prior_of(DiffSDA(preset("tiny_vector")), 4), "float32")
    written(good, tmp_path)
    bad = Graph(**{**vars(good), "original": lambda z, t: good.original(z, t) * 1.001})
    with pytest.raises(ExportError, match="prior: got an error of"):
        measure(bad, Path(tmp_path / "prior.onnx"), "float32")


def test_a_first_stage_prepared_for_inference_is_the_same_one():
    from diffsda.export.parts import PreparedStage

    model, x = first_stage(), 0.5 * torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        z, exact = model.encode(x), PreparedStage(model, torch.float32)
        assert far(exact.encode(x), z) < 1e-5
        assert far(exact.decode(z), model.decode(z)) < 1e-5
        low = PreparedStage(model, torch.bfloat16)
        error = (low.decode(z) - model.decode(z)).norm() / model.decode(z).norm()
        assert 1e-4 < float(error) < 4e-2
    assert low.digest() == model.digest()
    assert low.encode(x).dtype == low.decode(z).dtype == torch.float32
    with pytest.raises(InputError, match="multiples of 4"):
        low.encode(torch.zeros(1, 3, 30, 30))


def test_another_first_stage_than_the_latents_is_refused():
    stage, recipe = first_stage(), DiffSDA(preset("tiny_video")).recipe
    recipe = recipe.replace(clips={"latent": True, "channels": stage.stage.latent})
    stage_graphs.check(stage, recipe, {})
    stage_graphs.check(stage, recipe, {"first_stage": stage.digest()})
    with pytest.raises(InputError, match="expected the one the model's latents were made with"):
        stage_graphs.check(stage, recipe, {"first_stage": 64 * "0"})
    with pytest.raises(InputError, match="clips that are no latents"):
        stage_graphs.check(stage, preset("tiny_video"), {})
