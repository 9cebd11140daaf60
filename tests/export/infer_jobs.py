"""A small model, clips in folders and jobs, and looks at what inference left, for the tests of batch inference."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from diffsda.checkpoint import save
from diffsda.data.arrays import write
from diffsda.export.infer import Settings, run
from diffsda.firststage.whiten import Whitening
from diffsda.inference import Session
from diffsda.model import DiffSDA
from diffsda.presets import preset

ROOT = Path(__file__).resolve().parents[2]
FEATURES = 3

RECIPE = preset("tiny_vector").replace(
    clips={"channels": FEATURES},
    backbone={"width": 4},
    encoder={"width": 4, "hidden": 8, "static": 4, "dynamic": 2},
    sampling={"steps": 3},
)
WHITENING = Whitening((3.0, 2.0, 3.5), (2.0, 1.5, 2.5))


def model(recipe=RECIPE, seed=0):
    """A model whose every weight matters."""
    torch.manual_seed(seed)
    made = DiffSDA(recipe, WHITENING if recipe.clips.channels == FEATURES else None)
    with torch.no_grad():
        for value in made.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return made.eval()


def session(recipe=RECIPE, seed=0):
    """The model prepared for inference."""
    return Session(model(recipe, seed))


def clip(seed, frames=5):
    """One clip (V, F), neither centred nor of deviation 0.5."""
    return np.random.default_rng(seed).normal(3.0, 2.0, (frames, FEATURES)).astype(np.float32)


def folder_of(path, count=7, frames=(5, 5, 6)):
    """A folder of clips called 0.npz, 1.npz, ...; their lengths go round ``frames``."""
    path.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        write(path / f"{i}.npz", {"x": clip(i, frames[i % len(frames)])})
    return path


def job_of(path, records):
    """A JSON-lines job file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def infer(job, out, task="reconstruct", runner=None, **settings):
    """Run in this process; fresh noise and a tile of four clips unless told otherwise."""
    usual = {"tile": 4, "noise": "fresh" if task != "encode" else None}
    return run(runner or session(), job, task, out, Settings(**{**usual, **settings}), model="a digest")


def lines(out, name="results.jsonl"):
    """The records of a file of lines."""
    path = Path(out) / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def bytes_of(out):
    """The bytes of every result, by file name."""
    return {path.name: path.read_bytes() for path in (Path(out) / "clips").iterdir()}


def arrays_of(out, key):
    """The arrays of one result."""
    name = {line["key"]: line["file"] for line in lines(out)}[key]
    with np.load(Path(out) / name) as held:
        return dict(held)


def assert_whole(out, keys):
    """Every key has one line and one file, and the line names the file's digest."""
    told = lines(out)
    assert sorted(line["key"] for line in told) == sorted(keys)
    assert len(bytes_of(out)) == len(told)
    for line in told:
        assert hashlib.sha256((Path(out) / line["file"]).read_bytes()).hexdigest() == line["digest"]
        assert line["status"] == "done"
        assert line["seconds"] > 0


def model_file(path):
    """Save the model."""
    save(model(), path)
    return path


def start(*words, code=None, torchrun=None):
    """Start ``diffsda infer`` with these words, piped, in a process of its own (in two under torchrun)."""
    gone = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    # Not measured: a process that is killed, or may not write, cannot write coverage either.
    outer = {k: v for k, v in os.environ.items() if k not in gone and not k.startswith("COV")}
    env = {**outer, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    begin = ["-c", code] if code else [*(torchrun or []), "-m", "diffsda"]
    command = [sys.executable, *begin, *(() if code else ("infer",)), *map(str, words)]
    return subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, timeout=120):
    """Wait for a process; return its exit status, stdout and stderr without progress, which slow machines hear of."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    told = [line for line in err.splitlines(keepends=True) if not line.startswith("infer ")]
    return process.returncode, out, "".join(told)
