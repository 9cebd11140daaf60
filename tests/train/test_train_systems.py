"""Training of the other systems: files, resuming, averages, terms in the log, what is refused by name."""

import dataclasses
import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from system_models import RECIPES, clips
from training_runs import assert_same, assert_same_run, run, state_of, weights_of

from diffsda.baselines.model import Baseline
from diffsda.checkpoint import load
from diffsda.data.clip import Clips
from diffsda.errors import InputError, TrainingError
from diffsda.train.ema import Average
from diffsda.train.graph import check_graph
from diffsda.train.log import read_log
from diffsda.train.loop import Options, train
from diffsda.train.parallel import Processes

CPU = Options(device="cpu", log_every=1)
QUICK = [name for name in RECIPES if name != "divid-video"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_logs_its_terms_and_leaves_a_model(name, tmp_path):
    recipe = RECIPES[name].replace(optim={"steps": 2})
    result = train(recipe, clips(recipe), tmp_path / "run", CPU)
    assert result.finished
    assert weights_of(tmp_path / "run") == ["weights-00000002.safetensors"]
    held = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert held.pop("digest") == recipe.digest
    assert held["system"] == recipe.system
    model = load(tmp_path / "run")
    assert_same(dict(model.state_dict()), dict(result.model.state_dict()))
    with torch.no_grad():
        weights = model.terms(clips(recipe, 2).x).weights
    for record in read_log(tmp_path / "run"):
        terms = {k.removeprefix("loss_"): v for k, v in record.items() if k.startswith("loss_")}
        assert set(terms) == set(weights)
        if recipe.system != "spyl":  # Whose contrast is weighed from its second epoch on.
            total = sum(weights[k] * v for k, v in terms.items())
            assert record["loss"] == pytest.approx(total, rel=1e-3)
        assert record["mfu"] > 0, "what a step costs is counted"


@pytest.mark.parametrize("name", QUICK)
def test_stopped_and_resumed_is_the_same_as_whole(name, tmp_path):
    recipe = RECIPES[name].replace(optim={"ema": 0.8})
    data = clips(recipe, lengths=True)
    train(recipe, data, tmp_path / "whole", CPU)
    train(recipe, data, tmp_path / "parts", dataclasses.replace(CPU, until=4))
    train(recipe, data, tmp_path / "parts", dataclasses.replace(CPU, resume=True))
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_the_epoch_is_told_when_it_begins_and_after_resuming(tmp_path, monkeypatch):
    recipe = RECIPES["spyl-vector"]
    told = []
    tell = Baseline.begin_epoch

    def heard(self, epoch):
        told.append(epoch)
        tell(self, epoch)

    monkeypatch.setattr(Baseline, "begin_epoch", heard)
    data = clips(recipe)  # 9 clips, batches of 4: 3 steps an epoch.
    train(recipe, data, tmp_path / "run", dataclasses.replace(CPU, until=4))
    assert told == [0, 1]
    train(recipe, data, tmp_path / "run", dataclasses.replace(CPU, resume=True))
    assert told == [0, 1, 1]
    contrast = [record["loss_contrast_static"] for record in read_log(tmp_path / "run")]
    assert contrast[:3] == [0, 0, 0], "its warm-up is one epoch"
    assert all(contrast[3:])


@pytest.mark.parametrize("name", QUICK)
def test_bf16_follows_float32_and_no_divergence_is_negative(name, tmp_path):
    recipe = RECIPES[name].replace(optim={"steps": 3})
    runs = {}
    for precision in ("float32", "bf16"):
        folder = tmp_path / precision
        train(recipe, clips(recipe), folder, dataclasses.replace(CPU, precision=precision))
        runs[precision] = read_log(folder)
    assert runs["bf16"] != runs["float32"], "it was asked for"
    for exact, rounded in zip(runs["float32"], runs["bf16"], strict=True):
        # Codes are drawn from rounded Gaussians and contrast follows a ranking: not more than this is the same.
        assert rounded["loss"] == pytest.approx(exact["loss"], rel=0.1)
        low = [k for k, v in rounded.items() if k.startswith("loss_") and v < 0]
        assert not low, "sums of squares, divergences and information are never negative"


@pytest.mark.parametrize("name", ["dbse-audio", "dbse-video", "spyl-vector", "divid-vector"])
def test_a_loss_that_is_not_finite_leaves_its_batch(name, tmp_path):
    recipe = RECIPES[name]
    data = clips(recipe, 8)
    x = data.x.copy()
    x[3] = 1e30
    with pytest.raises(TrainingError, match=r"not finite at step [01]; the batch is in") as caught:
        train(recipe, Clips(x, name="poisoned"), tmp_path / "run", dataclasses.replace(CPU, whiten=False))
    (path,) = (tmp_path / "run").glob("offending-*.npz")
    assert str(path) in str(caught.value)
    held = np.load(path, allow_pickle=False)
    assert 3 in held["indices"]
    assert held["x"].max() == np.float32(1e30)
    assert held["seed"].ndim == 0, "the step's random numbers follow from it"


def test_the_average_holds_the_norms_beside_its_weights(tmp_path):
    recipe = RECIPES["dbse-video"].replace(optim={"ema": 0.9, "steps": 4})
    train(recipe, clips(recipe), tmp_path / "run", CPU)
    state, saved = state_of(tmp_path / "run"), load(tmp_path / "run").state_dict()
    norms = [name for name in saved if "running_" in name]
    assert norms
    for name in norms:
        assert torch.equal(saved[name], state["average"][name]), name
        assert not torch.equal(saved[name], state["model"][name]), name
    counted = [name for name in saved if name.endswith("num_batches_tracked")]
    assert all(torch.equal(saved[name], state["model"][name]) for name in counted)


def test_statistics_of_norms_move_as_far_as_weights():
    net = torch.nn.BatchNorm1d(1)
    average = Average(net, 0.999)
    held = 0.0
    for n, value in enumerate((2.0, 4.0, 8.0)):
        net.weight.data.fill_(value)
        net.running_mean.fill_(value)
        average.update(net)
        share = (1 + n) / (10 + n)
        held = share * held + (1 - share) * value
        assert float(average.norms["running_mean"]) == pytest.approx(held, rel=1e-6)
    assert set(average.held) == {"weight", "bias", "running_mean", "running_var"}


def test_clips_need_not_be_whole_windows(tmp_path):
    recipe = RECIPES["dbse-series"].replace(optim={"steps": 3})
    held = clips(recipe)
    lengths = np.array([5, 3, 2, 5, 3, 3, 5, 5, 3])
    result = train(recipe, Clips(held.x, lengths, name="odd"), tmp_path / "run", CPU)
    assert result.finished
    model, x = result.model, torch.from_numpy(held.x)
    with torch.no_grad():
        cut, padded = model.encode(x[:, :5]), model.encode(x, torch.full((9,), 5))
        assert torch.equal(cut.static, padded.static)
        assert torch.equal(cut.dynamic, padded.dynamic[:, :5])
        assert model.reconstruct(x[:, :5]).shape == x[:, :5].shape
        mask = torch.zeros_like(x[:, :5])
        losses = [
            model.terms(given, n, m, generator=torch.Generator().manual_seed(0)).to_dict()
            for given, n, m in ((x[:, :5], None, None), (x, torch.full((9,), 5), None), (x[:, :5], None, mask))
        ]
    assert losses[0] == losses[1] == losses[2], "what is added is beyond the clips"


REFUSED = [
    ({"compile": True}, {}, "compile: got a recipe of {}, expected one of diffsda"),
    ({"recompute": True}, {}, "recompute: got a recipe of {}, expected one of diffsda"),
    ({"graph": True}, {}, "graph: got a recipe of {}, expected one of diffsda"),
]


@pytest.mark.parametrize("name", ["dbse-video", "spyl-vector", "divid-vector"])
@pytest.mark.parametrize(("how", "optim", "words"), REFUSED)
def test_what_only_ours_can_do_is_refused_by_name(name, how, optim, words, tmp_path):
    recipe = RECIPES[name]
    with pytest.raises(InputError, match=words.format(recipe.system)):
        train(recipe, clips(recipe), tmp_path / "run", dataclasses.replace(CPU, **how))
    assert not (tmp_path / "run").exists()


def test_a_graph_is_refused_on_a_gpu_too():
    where = Processes(0, 1, torch.device("cuda"))
    with pytest.raises(InputError, match="graph: got a recipe of divid"):
        check_graph(Options(graph=True), RECIPES["divid-vector"], where)


@pytest.mark.parametrize("part", [{"accumulate": 2}, {"draws": 2}])
@pytest.mark.parametrize("name", ["dbse-audio", "spyl-video", "divid-vector"])
def test_parts_and_draws_are_refused_by_name(name, part):
    with pytest.raises(InputError, match=rf"optim\.{next(iter(part))}: got 2 for {RECIPES[name].system}, expected 1"):
        RECIPES[name].replace(optim=part)


def test_clips_of_another_kind_are_refused_by_name(tmp_path):
    for recipe, other in (("dbse-video", "dbse-audio"), ("spyl-vector", "spyl-video"), ("divid-vector", "dbse-video")):
        with pytest.raises(InputError, match=f"for recipe {recipe} of {RECIPES[recipe].system}; change") as caught:
            train(RECIPES[recipe], clips(RECIPES[other]), tmp_path / "run", CPU)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="needs gloo"
)
def test_two_processes_share_their_norms(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node", "2"]
    words += ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    status, out, err = run(*words, Path(__file__).with_name("two_systems.py"), tmp_path)
    assert status == 0, err
    assert sorted(line for line in out.splitlines() if line) == ["rank 0 done", "rank 1 done"]
