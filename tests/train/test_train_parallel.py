"""Two processes give what one gives, and only the first of them writes."""

import signal
import socket
import time
from pathlib import Path

import pytest
import torch
from training_runs import clips, run, start, state_of, vector, vector_words, weights_of

from diffsda.checkpoint import load
from diffsda.data.arrays import write
from diffsda.data.registry import open_clips
from diffsda.train.log import read_log
from diffsda.train.loop import Options, train

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="needs gloo"
)


def torchrun():
    """The words that start two processes on a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    return ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node", "2", *where]


def data_at(path, recipe):
    made = clips(recipe, 20, lengths=True, mask=True)
    write(path, {"x": made.x, "lengths": made.lengths, "mask": made.mask})
    return open_clips(path)


def assert_as_one(two, one):
    """Compare root mean squares: AdamW makes a step even where an element's gradient is rounding alone."""
    assert set(two) == set(one)
    for name, value in one.items():
        off, size = ((t.square().mean() ** 0.5).item() for t in (two[name] - value, value))
        assert off <= 1e-5 * size + 1e-6, name


def test_two_processes_train_as_one(tmp_path):
    optim = {"batch": 8, "accumulate": 2, "draws": 2, "steps": 12, "ema": 0.9}
    recipe = vector(dropout=0.0, **optim)
    data = data_at(tmp_path / "clips.npz", recipe)
    train(recipe, data, tmp_path / "one", Options(log_every=1))
    words = ["-m", "diffsda", "train", *vector_words(**optim), "--backbone.dropout", "0", "--encoder.dropout", "0"]
    words += ["--data", tmp_path / "clips.npz", "--out", tmp_path / "two", "--log-every", 1, "--save-every", 5]
    status, _, err = run(*torchrun(), *words, "--device", "cpu")
    assert status == 0, err
    one, two = read_log(tmp_path / "one"), read_log(tmp_path / "two")
    assert [record["step"] for record in two] == list(range(1, 13)), "one record a step: only one process writes"
    for name in ("loss", "grad_norm", "lr"):
        assert [r[name] for r in two] == pytest.approx([r[name] for r in one], rel=1e-5), name
    assert weights_of(tmp_path / "two") == [f"weights-{step:08d}.safetensors" for step in (5, 10, 12)]
    assert state_of(tmp_path / "two")["digest"] == recipe.digest
    for part in ("model", "average"):
        assert_as_one(state_of(tmp_path / "two")[part], state_of(tmp_path / "one")[part])
    assert_as_one(load(tmp_path / "two").state_dict(), load(tmp_path / "one").state_dict())
    assert sum("step 12/12" in line for line in err.splitlines()) == 1, "only the first process talks"


def test_two_processes_speak_and_stop_together(tmp_path):
    status, out, err = run(*torchrun(), Path(__file__).with_name("two_processes.py"), tmp_path)
    assert status == 0, err
    assert sorted(line for line in out.splitlines() if line) == ["rank 0 done", "rank 1 done"]
    assert state_of(tmp_path / "stopped")["step"] == 10
    assert {path.name for path in (tmp_path / "bad").iterdir()} == {
        "recipe.json",
        "provenance.json",
        "log.jsonl",
        "offending-00000002.npz",
    }
    assert weights_of(tmp_path / "video") == ["weights-00000002.safetensors"]


@pytest.mark.slow
def test_a_batch_that_does_not_divide_is_told_and_nothing_is_made(tmp_path):
    data_at(tmp_path / "clips.npz", vector())
    words = [*vector_words(batch=5), "--data", tmp_path / "clips.npz", "--out", tmp_path / "run", "--device", "cpu"]
    status, _, err = run(*torchrun(), "-m", "diffsda", "train", *words)
    assert status != 0
    assert "error: optim.batch: got 5 clips for 2 processes and 1 parts, expected a multiple of 2" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_sigterm_to_torchrun_saves_and_going_on_gives_the_same(tmp_path):
    optim = {"steps": 600}
    recipe = vector(dropout=0.0, **optim)
    data_at(tmp_path / "clips.npz", recipe)
    words = [*vector_words(**optim), "--backbone.dropout", "0", "--encoder.dropout", "0", "--device", "cpu"]
    words += ["--data", tmp_path / "clips.npz", "--out", tmp_path / "run", "--log-every", 1]
    process = start(*torchrun(), "-m", "diffsda", "train", *words)
    log = tmp_path / "run" / "log.jsonl"
    try:
        deadline = time.monotonic() + 100
        while not (log.is_file() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
    step = state_of(tmp_path / "run")["step"]
    assert 0 < step < 600, err
    assert weights_of(tmp_path / "run") == [f"weights-{step:08d}.safetensors"]
    status, _, err = run(*torchrun(), "-m", "diffsda", "train", *words, "--resume", timeout=300)
    assert status == 0, err
    assert state_of(tmp_path / "run")["step"] == 600
    assert [record["step"] for record in read_log(tmp_path / "run")] == list(range(1, 601))
