"""Our kernels under data-parallel training: averaged gradients are the whole batch's, ranks drop different elements."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from two_ranks import Block, clips

from diffsda.kernels import backend

ROOT = Path(__file__).resolve().parents[3]


def test_two_processes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).parent / "two_ranks.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen([sys.executable, script, str(rank), str(port), tmp_path], env=environment) for rank in (0, 1)
    ]
    assert [run.wait(timeout=240) for run in runs] == [0, 0]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    block = Block(None, 0.0)
    with backend("torch"):
        block(clips()).square().mean().backward()
    for got, same, wanted in zip(first[0.0]["grads"], second[0.0]["grads"], block.parameters()):
        assert torch.equal(got, same)
        torch.testing.assert_close(got, wanted.grad, rtol=1e-4, atol=1e-6)
    masks = first[0.5]["dropped"], second[0.5]["dropped"]
    assert 0.35 < (masks[0] != masks[1]).float().mean() < 0.65
