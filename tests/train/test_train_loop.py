"""The run folder: what is written, when, by whom, and what is refused."""

import json

import pytest
import torch
from training_runs import MEASURED, assert_same, clips, records, state_of, vector, video, weights_of

from diffsda.checkpoint import load
from diffsda.errors import InputError, SaveError
from diffsda.train import loop
from diffsda.train.loop import Options, train
from diffsda.train.parallel import Processes, join


def test_a_run_folder(tmp_path):
    recipe = vector(steps=5)
    data = clips(recipe)
    told = []
    result = train(recipe, data, tmp_path / "deep" / "run", Options(log_every=2), progress=lambda *a: told.append(a))
    folder = tmp_path / "deep" / "run"
    assert {path.name for path in folder.iterdir()} == {
        "recipe.json",
        "provenance.json",
        "log.jsonl",
        "state.pt",
        "weights-00000005.safetensors",
    }
    held = json.loads((folder / "recipe.json").read_text())
    assert held.pop("digest") == recipe.digest
    assert held == recipe.to_dict()
    assert [record["step"] for record in records(folder)] == [2, 4, 5]
    assert [(step, total) for step, total, _ in told] == [(2, 5), (4, 5), (5, 5)]
    assert set(told[0][2]) == {"loss", "grad_norm", "lr", *MEASURED}
    model = load(folder)
    assert model.recipe == recipe
    about = model.provenance
    assert (about["step"], about["samples_seen"], about["data"], about["clips"]) == (5, 20, "random", 10)
    assert (result.step, result.finished, result.signal) == (5, True, None)
    assert_same(dict(result.model.state_dict()), dict(model.state_dict()))


def test_statistics_travel_in_the_model_file(tmp_path):
    recipe = vector(steps=1)
    data = clips(recipe, lengths=True, mask=True)
    result = train(recipe, data, tmp_path / "run")
    held = load(tmp_path / "run").whitening
    assert held == result.model.whitening
    assert held == type(held).measure(data.x, data.lengths, data.mask)
    train(recipe, data, tmp_path / "plain", Options(whiten=False))
    assert load(tmp_path / "plain").whitening is None


def test_pixels_are_not_whitened_by_default(tmp_path):
    recipe = video(steps=1)
    train(recipe, clips(recipe), tmp_path / "run")
    assert load(tmp_path / "run").whitening is None
    train(recipe, clips(recipe), tmp_path / "asked", Options(whiten=True))
    assert len(load(tmp_path / "asked").whitening.mean) == 3


def test_checkpoints_come_when_due_once_each_and_old_ones_go(tmp_path, monkeypatch):
    written = []
    write = loop.write_state
    monkeypatch.setattr(
        loop, "write_state", lambda folder, state: written.append(state["step"]) or write(folder, state)
    )
    recipe = vector(steps=10)
    (tmp_path / "run").mkdir()
    train(recipe, clips(recipe), tmp_path / "run", Options(save_every=2))
    assert written == [2, 4, 6, 8, 10], "the last one is not saved twice"
    assert weights_of(tmp_path / "run") == [f"weights-{step:08d}.safetensors" for step in (6, 8, 10)]
    for name in weights_of(tmp_path / "run"):
        assert f"weights-{load(tmp_path / 'run' / name).provenance['step']:08d}.safetensors" == name


def test_files_of_other_names_are_left_alone(tmp_path):
    recipe = vector(steps=8)
    data = clips(recipe)
    train(recipe, data, tmp_path / "run", Options(until=1))
    kept = ["weights-00000001-copy.safetensors", "weights-best.safetensors"]
    for name in kept:
        (tmp_path / "run" / name).write_bytes(b"mine")
    train(recipe, data, tmp_path / "run", Options(resume=True, save_every=1))
    numbered = [f"weights-{step:08d}.safetensors" for step in (6, 7, 8)]
    assert weights_of(tmp_path / "run") == sorted(kept + numbered)


def test_until_stops_early_and_never_late(tmp_path):
    recipe = vector(steps=6, schedule="cosine")
    data = clips(recipe)
    result = train(recipe, data, tmp_path / "run", Options(until=4, log_every=1))
    assert (result.step, result.finished, result.signal) == (4, False, None)
    lr = [record["lr"] for record in records(tmp_path / "run")]
    result = train(recipe, data, tmp_path / "run", Options(until=2, resume=True))
    assert (result.step, result.finished) == (4, False), "already past it"
    result = train(recipe, data, tmp_path / "run", Options(until=99, resume=True, log_every=1))
    assert (result.step, result.finished) == (6, True)
    train(recipe, data, tmp_path / "whole", Options(log_every=1))
    assert lr == [record["lr"] for record in records(tmp_path / "whole")][:4], "the budget stays what it is"


def test_a_batch_larger_than_the_data(tmp_path):
    recipe = vector(batch=7, steps=3)
    assert train(recipe, clips(recipe, 2), tmp_path / "run").finished


def test_a_folder_that_holds_something_is_refused(tmp_path):
    recipe = vector(steps=1)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for name in ("file", "full"):
        with pytest.raises(InputError, match=rf"{name}: exists already, expected a new folder \(or --resume"):
            train(recipe, clips(recipe), tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_a_finished_run_is_not_overwritten(tmp_path):
    recipe = vector(steps=1)
    train(recipe, clips(recipe), tmp_path / "run")
    before = (tmp_path / "run" / "state.pt").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        train(recipe, clips(recipe), tmp_path / "run")
    assert (tmp_path / "run" / "state.pt").read_bytes() == before


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        train(vector(), clips(vector()), tmp_path / "file" / "run")


@pytest.mark.parametrize(
    "bad",
    [
        {"log_every": 0},
        {"save_every": 0},
        {"until": 0},
        {"precision": "float16"},
        {"device": "tpu"},
        {"device": "mps"},
        {"device": "cuda:x"},
    ],
)
def test_bad_options_are_refused_before_a_folder_is_made(tmp_path, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        train(vector(), clips(vector()), tmp_path / "run", Options(**bad))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_cuda_where_there_is_none_is_refused():
    with pytest.raises(InputError, match="no CUDA device is usable here; use cpu or auto"):
        join("cuda")
    assert join("auto").device.type == "cpu"


def test_a_cuda_device_beyond_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="got cuda:2, but this machine has 2 CUDA devices"):
        join("cuda:2")


def test_clips_that_do_not_fit_are_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(InputError, match="clips random"):
        train(vector(), clips(video()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_no_number_of_processes_divides_is_refused_before_a_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "join", lambda device: Processes(0, 3, torch.device("cpu")))
    monkeypatch.setattr(loop, "wrap", lambda model, processes, parts: model)
    with pytest.raises(InputError, match="got 4 clips for 3 processes and 1 parts, expected a multiple of 3"):
        train(vector(), clips(vector()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_the_first_process_writes_and_talks(tmp_path, monkeypatch):
    class Second(Processes):
        first = False

    monkeypatch.setattr(loop, "join", lambda device: Second(0, 1, torch.device("cpu")))
    told = []
    recipe = vector(steps=3)
    result = train(recipe, clips(recipe), tmp_path / "run", Options(save_every=1, log_every=1), progress=told.append)
    assert result.finished
    assert not list(tmp_path.iterdir())
    assert not told


@pytest.mark.parametrize("fails", ["write_state", "save"])
def test_a_save_that_fails_midway_leaves_the_last_checkpoint_and_can_be_made_up_for(tmp_path, monkeypatch, fails):
    recipe = vector()
    data = clips(recipe)
    original = getattr(loop, fails)
    calls = []

    def full(*words, **options):
        calls.append(words)
        if len(calls) == 2:
            raise SaveError("no space left")
        return original(*words, **options)

    monkeypatch.setattr(loop, fails, full)
    with pytest.raises(SaveError, match="no space left"):
        train(recipe, data, tmp_path / "run", Options(save_every=4, log_every=1))
    assert weights_of(tmp_path / "run") == ["weights-00000004.safetensors"]
    assert load(tmp_path / "run").provenance["step"] == 4
    assert state_of(tmp_path / "run")["step"] == (4 if fails == "write_state" else 8)
    assert [record["step"] for record in records(tmp_path / "run")] == list(range(1, 9))
    train(recipe, data, tmp_path / "run", Options(resume=True, log_every=1))
    train(recipe, data, tmp_path / "whole", Options(log_every=1))
    assert_same(state_of(tmp_path / "run"), state_of(tmp_path / "whole"))


def test_the_model_file_is_written_after_the_state_and_the_log_before_both(tmp_path, monkeypatch):
    order = []
    for name in ("write_state", "save"):
        original = getattr(loop, name)
        monkeypatch.setattr(loop, name, lambda *a, name=name, f=original, **k: order.append(name) or f(*a, **k))
    write = loop.Log.write
    monkeypatch.setattr(loop.Log, "write", lambda self, step, **v: order.append("log") or write(self, step, **v))
    recipe = vector(steps=1)
    train(recipe, clips(recipe), tmp_path / "run")
    assert order == ["log", "write_state", "save"]
