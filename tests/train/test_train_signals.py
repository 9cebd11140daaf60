"""The command line under signals: it saves, says how to go on, and going on gives the same model."""

import re
import signal
import time

import pytest
from training_runs import assert_same_run, clips, start, state_of, vector, vector_words

from diffsda.data.arrays import write
from diffsda.data.registry import open_clips
from diffsda.train.loop import Options, train

STEPS = 200


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with clips and a run on them that nobody disturbed."""
    folder = tmp_path_factory.mktemp("signals")
    recipe = vector(steps=STEPS, ema=0.99)
    write(folder / "clips.npz", {"x": clips(recipe, lengths=True).x, "lengths": clips(recipe, lengths=True).lengths})
    train(recipe, open_clips(folder / "clips.npz"), folder / "whole", Options(log_every=1))
    return folder


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves(tmp_path, whole, number, status):
    log = tmp_path / "run" / "log.jsonl"
    words = ["--data", whole / "clips.npz", "--out", tmp_path / "run", "--log-every", 1, "--device", "cpu"]
    process = start("-m", "diffsda", "train", *vector_words(steps=STEPS, ema=0.99), *words)
    try:
        deadline = time.monotonic() + 100
        while not (log.is_file() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == status, err
    assert out == f"{tmp_path / 'run'}\n"
    assert "Traceback" not in err
    step = state_of(tmp_path / "run")["step"]
    assert 0 < step < STEPS
    assert re.fullmatch(
        rf"stopped by signal {int(number)} at step {step}; go on with the same command and --resume",
        err.splitlines()[-1],
    )
    assert (tmp_path / "run" / f"weights-{step:08d}.safetensors").is_file()
    recipe = vector(steps=STEPS, ema=0.99)
    train(recipe, open_clips(whole / "clips.npz"), tmp_path / "run", Options(log_every=1, resume=True))
    assert_same_run(tmp_path / "run", whole / "whole")
