"""Small recipes and clips, runs of the command line, and comparisons of run folders."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from diffsda.data.clip import Clips
from diffsda.presets import preset
from diffsda.train.log import read_log

ROOT = Path(__file__).resolve().parents[2]

MEASURED = {"clips_per_s", "mfu", "data_wait", "memory_gb"}
"""What a record says of the machine."""

VECTOR_PARTS = {
    "backbone": {"width": 4},
    "encoder": {"width": 4, "hidden": 8, "static": 4},
    "optim": {"batch": 4, "steps": 10},
}


def vector(dropout=0.1, **optim):
    """A series model of a few thousand weights: 6 features, 4 clips a batch, 10 steps."""
    recipe = preset("tiny_vector").replace(**VECTOR_PARTS)
    net = {"dropout": dropout}
    return recipe.replace(backbone=net, encoder=net, optim=optim)


def vector_words(**optim):
    """The same recipe as words of the command line."""
    words = ["tiny_vector"]
    for part, values in {**VECTOR_PARTS, "optim": {**VECTOR_PARTS["optim"], **optim}}.items():
        for name, value in values.items():
            words += [f"--{part}.{name}", str(value)]
    return words


def video(dropout=0.1, **optim):
    """A video model with attention: 3 x 8 x 8 pixels, 4 clips a batch, 10 steps."""
    net = {"multipliers": (1, 1), "dropout": dropout}
    return preset("tiny_video").replace(
        clips={"frames": 4, "size": 8},
        backbone=net,
        encoder={**net, "hidden": 8, "static": 4},
        optim={"batch": 4, "steps": 10, **optim},
    )


def clips(recipe, n=10, *, lengths=False, mask=False, seed=0, frames=6):
    """Random clips that fit a recipe; lengths 2 to ``frames``, a fifth of the values missing."""
    draw = np.random.default_rng(seed)
    want = recipe.clips
    frame = (want.channels, want.size, want.size) if want.size else (want.channels,)
    x = draw.normal(size=(n, frames, *frame)).astype(np.float32)
    return Clips(
        x,
        draw.integers(2, frames + 1, n) if lengths else None,
        (draw.random(x.shape) < 0.2).astype(np.float32) if mask else None,
        name="random",
    )


def state_of(folder):
    """The state of a run, read the way strangers' files are."""
    return torch.load(Path(folder) / "state.pt", map_location="cpu", weights_only=True)


def weights_of(folder):
    """Names of the model files in a run folder, oldest first."""
    return sorted(path.name for path in Path(folder).glob("weights-*"))


def records(folder):
    """The log without what the clock decides."""
    return [{k: v for k, v in record.items() if k not in MEASURED} for record in read_log(Path(folder))]


def assert_same(a, b, where="state"):
    """Compare nested state bit for bit."""
    if isinstance(a, dict):
        assert isinstance(b, dict), where
        assert set(a) == set(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
        return
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b)):
            assert_same(*pair, f"{where}[{i}]")
    else:
        assert a == b, where


def assert_same_run(a, b):
    """Compare two run folders: whole state, newest model file and log, bit for bit."""
    assert_same(state_of(a), state_of(b))
    newest = weights_of(a)[-1]
    assert newest == weights_of(b)[-1]
    assert (a / newest).read_bytes() == (b / newest).read_bytes()
    assert records(a) == records(b)


def environment(measured=True):
    """The environment of a child process: one thread, and no trace of a torchrun around us.

    A child whose files may not grow is not ``measured``: coverage could not write its own either.
    """
    gone = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "DIFFSDA_TRACEBACK")
    env = {k: v for k, v in os.environ.items() if k not in gone and (measured or not k.startswith("COV"))}
    return {**env, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}


def start(*words, measured=True, **options):
    """Start Python on these words in the repository, output piped."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=environment(measured), **pipes, **options)


def run(*words, timeout=120, **options):
    """Run Python on these words in the repository; return the exit status, stdout and stderr."""
    process = start(*words, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, out, err
