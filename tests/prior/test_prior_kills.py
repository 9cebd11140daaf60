"""A training of a prior that is killed again and again ends where an undisturbed one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffsda.prior.file import load_prior
from diffsda.train.log import read_log
from diffsda.train.prior import workplace

CODE = """
import os, signal, sys, torch
from diffsda.factors import Factors
from diffsda.prior.recipe import Fit, Prior
from diffsda.train.prior import train_prior, workplace
from pathlib import Path
out, stop = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
g = torch.Generator().manual_seed(0)
factors = Factors(torch.randn(20, 4, generator=g), torch.randn(20, 3, 2, generator=g))

def watch(step, total, values):
    if step == stop:
        os.kill(os.getpid(), signal.SIGKILL)

train_prior(Prior(layers=3, width=2), Fit(steps=30, batch=8, warmup=2, ema=0.9), factors, out, device="cpu",
            log_every=1, save_every=4, resume=(workplace(out) / "state.pt").is_file(), progress=watch)
"""


@pytest.mark.slow
def test_killed_trainings_end_like_any_other(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}

    def run(out, stop):
        return subprocess.run([sys.executable, "-c", CODE, str(out), str(stop)], env=env, check=False).returncode

    straight, killed = tmp_path / "straight.safetensors", tmp_path / "killed.safetensors"
    assert run(straight, -1) == 0
    # Before there is a state, in the middle of nowhere, on a step that is saved, one step before the end.
    for stop in (3, 10, 16, 29):
        assert run(killed, stop) == -9
        assert not killed.exists()
    assert run(killed, -1) == 0
    wanted, found = load_prior(straight).state_dict(), load_prior(killed).state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert [record["step"] for record in read_log(workplace(killed))] == list(range(1, 31))
