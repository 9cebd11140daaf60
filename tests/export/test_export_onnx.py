"""A model as ONNX files: what is in them, that they compute what the model does, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_exports import STEPS, plan_of

from diffsda.checkpoint import save
from diffsda.cli import main
from diffsda.errors import CheckpointError, ExportError, InputError
from diffsda.export import manifest, onnx, parity, tensorrt
from diffsda.export.check import check
from diffsda.export.engine import build_engines
from diffsda.export.onnxruntime import open_graph
from diffsda.export.session import OnnxSession
from diffsda.factors import Factors
from diffsda.model import DiffSDA
from diffsda.presets import preset

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
GOLDEN = Path(__file__).parents[1] / "golden"
GRAPHS = ["encoder", "network", "noise_table", "factor_table", "denoise"]
NETS = ["timeseries", pytest.param("video_latent", marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]


def far(a, b):
    return float((torch.as_tensor(a) - torch.as_tensor(b)).abs().max())


@pytest.mark.parametrize("name", NETS)
def test_recorded_samples_come_out_of_onnx_runtime(exported, name):
    _, golden, folder = exported(name)
    session = OnnxSession(folder)
    f = session.encode(golden["x"])
    assert far(f.static, golden["enc_s"]) < 1e-5
    assert far(f.dynamic, golden["enc_d"]) < 1e-5
    assert far(session.sample(f, golden["xT"], 32), golden["sample_T32"]) < 1e-4
    assert far(session.invert(golden["x"], f, 18), golden["stochenc_T18"]) < 1e-4


@pytest.mark.parametrize("name", NETS)
def test_one_file_takes_any_number_of_clips_of_any_length(exported, name):
    model, golden, folder = exported(name)
    session = OnnxSession(folder, tile=7)  # does not divide the frames: tiles end inside clips
    frame = golden["x"].shape[2:]
    for clips in range(1, 8):
        x = 0.5 * torch.randn(clips, 2 + clips % 3, *frame)
        wanted, got = model.encode(x), session.encode(x)
        assert max(far(got.static, wanted.static.detach()), far(got.dynamic, wanted.dynamic.detach())) < 1e-5
        assert far(session.sample(got, steps=3), model.sample(wanted, steps=3)) < 1e-4


def test_clips_of_different_lengths_are_encoded_without_their_padding(exported):
    model, golden, folder = exported("timeseries")
    session, x = OnnxSession(folder), torch.as_tensor(golden["x"])[:2].repeat(2, 1, 1)
    lengths = torch.tensor([x.shape[1], 2, 4, 2])
    wanted, got = model.encode(x, lengths), session.encode(x, lengths)
    assert max(far(got.static, wanted.static.detach()), far(got.dynamic, wanted.dynamic.detach())) < 1e-5
    swapped = session.swap(x[:2], x[2:], lengths_static=lengths[:2], lengths_dynamic=lengths[2:], steps=3)
    assert (
        far(swapped, model.swap(x[:2], x[2:], lengths_static=lengths[:2], lengths_dynamic=lengths[2:], steps=3)) < 1e-4
    )


@pytest.mark.parametrize("name", NETS)
def test_the_denoiser_for_other_solvers(exported, name):
    model, golden, folder = exported(name)
    session, x = OnnxSession(folder), torch.as_tensor(golden["x"])
    sigma = torch.rand(x.shape[0]) + 0.05
    f = model.encode(x)
    assert far(session.denoise(x, sigma, f), model.denoise(x, sigma, f).detach()) < 1e-5


@pytest.mark.parametrize("name", NETS)
def test_the_sampler_as_one_graph(exported, name):
    model, golden, folder = exported(name)
    graph = open_graph(folder / "sampler.onnx")
    x = torch.as_tensor(golden["x"])
    f = model.encode(x)
    a, width = f.per_frame().flatten(0, 1).detach(), model.recipe.encoder.dynamic
    given = {"noise": torch.as_tensor(golden["xT"]).flatten(0, 1), "static": a[:, width:], "dynamic": a[:, :width]}
    (y,) = graph(given, ["x"])
    assert far(y.reshape(x.shape), model.sample(f, golden["xT"], STEPS)) < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["timeseries", "video_latent"])
def test_half_precision(exported, name):
    model, golden, folder = exported(name, "fp16")
    session = OnnxSession(folder)
    f = model.encode(golden["x"])
    f = Factors(f.static.detach(), f.dynamic.detach())
    got, wanted = session.sample(f, golden["xT"], 32), torch.as_tensor(golden["sample_T32"])
    assert float((got - wanted).norm() / wanted.norm()) < 2e-2
    held = manifest.read(folder).graphs["network"]
    assert {port.dtype for port in (*held.inputs, *held.outputs)} == {"float32"}, "casts are inside"
    assert held.operations["Cast"] >= 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["timeseries", "video_latent"])
def test_bf16_is_written_and_refused_where_it_cannot_run(exported, name):
    _, _, folder = exported(name, "bf16")
    held = manifest.read(folder)
    assert held.opset == 22
    assert held.graphs["denoise"].measure == "relative rms"
    assert 1e-4 < held.graphs["network"].error < held.graphs["network"].bound
    if name == "video_latent":
        with pytest.raises(InputError, match="no bf16 kernels"):
            OnnxSession(folder)


@pytest.mark.parametrize("name", NETS)
def test_what_the_files_say(exported, name):
    import onnx as library

    model, _, folder = exported(name)
    held = manifest.read(folder)
    parts = ["first_stage_encoder", "first_stage_decoder"] if name == "video_latent" else []
    assert list(held.graphs) == [*GRAPHS, "sampler", "prior", *parts]
    assert held.recipe == model.recipe
    assert held.whitening == model.whitening
    for graph, about in held.graphs.items():
        proto = library.load(folder / about.file)
        library.checker.check_model(proto, full_check=True)
        assert [(o.domain, o.version) for o in proto.opset_import if not o.domain] == [("", 21)]
        said = {p.key: p.value for p in proto.metadata_props}
        assert (said["diffsda.graph"], said["diffsda.digest"]) == (graph, model.recipe.digest)
        assert json.loads(said["diffsda.recipe"]) == json.loads(json.dumps(model.recipe.to_dict()))
        assert about.error <= about.bound
        assert about.measured == "onnxruntime"
        assert about.inputs[0].shape[0] in ("clips", "frames", "levels")
    operations = held.graphs["encoder"].operations
    assert (operations["LSTM"], operations["RNN"]) == (1, 1), "recurrence is not written out frame by frame"
    assert held.graphs["sampler"].operations["Scan"] == 1
    if name == "video_latent":
        assert held.graphs["network"].operations["GroupNormalization"] > 10
        assert "InstanceNormalization" not in held.graphs["network"].operations


def test_the_check_runs_what_there_is_and_sees_another_model(exported, tmp_path, capsys):
    import shutil

    _, _, folder = exported("timeseries")
    first, *others = check(folder)
    assert first.runtime == "onnxruntime cpu"
    assert first.good
    assert all(v.skipped for v in others) or torch.cuda.is_available()
    assert main(["export", "--check", str(folder)]) == 0
    assert "onnxruntime cpu" in capsys.readouterr().out
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    held = safetensors_of(copy / "reference.safetensors")
    held["sample"] = held["sample"] + 0.01 * held["sample"].abs().max()
    import safetensors.torch

    safetensors.torch.save_file(held, copy / "reference.safetensors")
    assert main(["export", "--check", str(copy)]) == 1
    assert "TOO FAR" in capsys.readouterr().out


def safetensors_of(path):
    import safetensors.torch

    return safetensors.torch.load_file(path)


@pytest.mark.parametrize("damage", ["missing", "other", "cut", "manifest", "format", "outside"])
def test_damaged_folders_are_refused(exported, tmp_path, damage):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(exported("timeseries")[2], folder)
    path, about = folder / "network.onnx", folder / "export.json"
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        shutil.copy(folder / "encoder.onnx", path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "manifest":
        about.write_text(about.read_text()[:-20])
    elif damage == "format":
        about.write_text(about.read_text().replace('"format": 1', '"format": 99'))
    else:
        about.write_text(about.read_text().replace('"network.onnx"', '"../network.onnx"'))
    with pytest.raises(CheckpointError, match="export again"):
        OnnxSession(folder)


def test_a_graph_too_far_from_the_model_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    model = DiffSDA(preset("tiny_vector"))
    monkeypatch.setitem(parity.BOUNDS, "float32", 1e-9)
    with pytest.raises(ExportError, match=r"encoder: got an error of .* expected at most 1e-09"):
        onnx.export(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_a_limit_lie_beside_the_graph(tmp_path):
    model = DiffSDA(preset("tiny_vector")).eval()
    held = onnx.export(model, tmp_path / "out", external=100_000)
    files = held.graphs["denoise"].files
    assert list(files) == ["denoise.onnx", "denoise.onnx.data"]
    assert list(held.graphs["network"].files) == ["network.onnx"]
    x = 0.5 * torch.randn(2, 4, model.recipe.clips.channels)
    session = OnnxSession(tmp_path / "out")
    f = session.encode(x)
    assert far(session.denoise(x, torch.ones(2), f), model.denoise(x, 1.0, f).detach()) < 1e-5
    (tmp_path / "out" / "denoise.onnx.data").unlink()
    session = OnnxSession(tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"denoise\.onnx\.data: is missing"):
        session.denoise(x, torch.ones(2), f)


def test_the_command_and_what_it_refuses(tmp_path, capsys):
    path, out = tmp_path / "m.safetensors", tmp_path / "out"
    save(DiffSDA(preset("tiny_vector")), path)

    def fails(*words, status=2):
        assert main(["export", *map(str, words)]) == status
        return capsys.readouterr().err

    assert "expected MODEL and --out" in fails()
    assert "expected --out DIR" in fails(path)
    assert "make" in fails(path, "--out", tmp_path / "no" / "out")
    assert "expected the exported folder alone" in fails(path, "--check", tmp_path)
    assert "without --sampler" in fails(path, "--out", out, "--steps", 5)
    assert "got no export.json" in fails("--check", tmp_path)
    assert "No such file" in fails(tmp_path / "none.safetensors", "--out", out, status=1)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("x")
    assert "expected a new folder" in fails(path, "--out", tmp_path / "taken")
    assert "something else" in fails(path, "--out", tmp_path / "taken", "--overwrite")
    assert not out.exists()
    assert main(["export", str(path), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["graph"] for row in said["graphs"]] == GRAPHS
    assert said["opset"] == 21


def test_a_repository_for_a_server_and_engines_by_the_command(exported, tmp_path, capsys, monkeypatch):
    _, _, folder = exported("timeseries")
    assert main(["export", str(folder), "--to", "triton-server", "--out", str(tmp_path / "served")]) == 0
    assert (tmp_path / "served" / "diffsda_denoise" / "1" / "model.onnx").is_file()
    assert main(["export", str(folder), "--to", "triton-server"]) == 2
    assert main(["export", str(folder), "--out", str(tmp_path / "again")]) == 2
    assert "is an export already" in capsys.readouterr().err
    asked = ["export", str(folder), "--to", "triton-server", "--backend", "tensorrt", "--out", str(tmp_path / "x")]
    assert main(asked) == 2
    assert "--clips: got (1, 4, 16)" in capsys.readouterr().err
    monkeypatch.setattr(tensorrt, "PACKAGES", ("no_such_tensorrt",))
    assert main(["export", str(folder), "--to", "tensorrt", "--frames", "5"]) == 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["timeseries", "video_latent"])
@pytest.mark.parametrize("precision", ["float32", "fp16", "bf16"])
def test_engines_of_every_graph_by_the_command(exported, tmp_path, capsys, name, precision):
    pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    _, golden, folder = exported(name, precision)
    frames = str(golden["x"].shape[1])
    words = ["--clips", "2", "--frames", frames, "--json"]
    assert main(["export", str(folder), "--to", "tensorrt", "--out", str(tmp_path), *words]) == 0
    built = json.loads(capsys.readouterr().out)
    held = manifest.read(folder).graphs
    built += [str(one.path) for one in build_engines(folder, graphs=rest(held), clips=[2], frames=5, levels=63)]
    assert sorted(Path(path).name.partition("-")[0] for path in built) == sorted(held)
    for path in built:
        about = json.loads(Path(f"{path}.json").read_text())
        kinds = held[about["graph"]].operations
        norms = sum(kinds.get(kind, 0) for kind in ("GroupNormalization", "LayerNormalization"))
        # The sampler's last evaluation is on top, the two of a step inside its loop.
        norms *= 3 if about["graph"] == "sampler" else 1
        assert about["normalizations"] == norms
        assert f"{norms} of them native normalizations" in Path(f"{path}.log").read_text()
    assert (held["network"].operations.get("GroupNormalization", 0) > 10) == (name == "video_latent")


def rest(graphs):
    """Those graphs that the command makes no engines of."""
    return [graph for graph in graphs if graph.endswith("_table") or graph == "sampler"]


def test_a_job_over_an_exported_folder(exported, tmp_path, capsys):
    model, golden, folder = exported("timeseries")
    job, out = tmp_path / "job", tmp_path / "out"
    job.mkdir()
    np.savez(job / "clips.npz", x=golden["x"])
    words = ["infer", str(job), "--model", str(folder), "--out", str(out), "--task", "encode", "--as-is"]
    assert main([*words, "--tile", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == len(golden["x"])
    found = sorted((out / "clips").iterdir())
    held = np.stack([np.load(path)["static"] for path in found])
    assert far(held, golden["enc_s"]) < 1e-5
    again = onnx.export(DiffSDA(model.recipe), tmp_path / "other")
    assert again.recipe == model.recipe
    words[3] = str(tmp_path / "other")
    assert main([*words, "--tile", "2"]) == 2, "results of another model"


def test_an_exported_folder_is_described(exported, capsys):
    model, _, folder = exported("timeseries")
    assert main(["describe", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["digest"] == model.recipe.digest
    assert said["graphs"]["network.onnx"] == {"in": "x scale shift", "out": "f"}
    assert main(["describe", str(folder)]) == 0
    assert "encoder.onnx in x, out static dynamic" in capsys.readouterr().out


def test_plans_with_noise_cannot_be_a_graph(tmp_path):
    model = DiffSDA(preset("tiny_vector").replace(sampling={"S_churn": 10.0}))
    with pytest.raises(InputError, match="S_churn"):
        onnx.export(model, tmp_path / "out", sampler=plan_of(model))


def test_providers_that_are_not_there_are_named(exported):
    _, _, folder = exported("timeseries")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(InputError, match="CUDAExecutionProvider, expected one of"):
            OnnxSession(folder, provider="cuda")
    with pytest.raises(InputError, match="expected cpu or cuda"):
        OnnxSession(folder, provider="tpu")
    with pytest.raises(InputError, match="tile"):
        OnnxSession(folder, tile=0)
