"""Save or train in a child, kill the child at a random moment, look at what is on disk; again and again.

Run as: killed_runs.py saving|training FOLDER KILLS SEED. Prints what it saw as JSON. Torch computes nothing in
the parent, so forking is safe.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from training_runs import clips, vector

from diffsda.checkpoint import load, newest, save
from diffsda.model import DiffSDA
from diffsda.train.log import read_log
from diffsda.train.loop import Options, train
from diffsda.train.resume import read_state, write_state

RECIPE = vector(steps=16, ema=0.9)
LARGE = RECIPE.replace(backbone={"width": 32})
"""Takes a while to write, so that kills find it at that."""


def save_for_ever(folder):
    """Write checkpoints whose every number is the step, as the loop does: state, model file, old ones away."""
    model = DiffSDA(LARGE)
    step = read_state(folder, LARGE)["step"] if (folder / "state.pt").exists() else 0
    while True:
        step += 1
        with torch.no_grad():
            for value in model.state_dict().values():
                value.fill_(step)
        about = {"step": step, "digest": LARGE.digest, "recipe": LARGE.to_dict()}
        write_state(folder, {**about, "model": model.state_dict()})
        save(model, folder / f"weights-{step:08d}.safetensors")
        for old in sorted(folder.glob("weights-*"))[:-3]:
            old.unlink()


def numbers(tensors):
    """The distinct values in a state dict."""
    return {float(value) for tensor in tensors.values() for value in tensor.unique()}


def look_at_saved(folder, last):
    """Check every file; return the step of the state, and whether the kill fell between state and model file."""
    state = read_state(folder, LARGE)
    step = state["step"]
    assert step >= last, f"went back from {last} to {step}"
    assert numbers(state["model"]) == {step}
    for path in folder.glob("weights-*"):
        assert numbers(load(path).state_dict()) == {float(path.stem.partition("-")[2])}, path.name
    behind = newest(folder).name != f"weights-{step:08d}.safetensors" if any(folder.glob("weights-*")) else True
    return step, behind


def train_on(folder):
    """Go on with the run, or begin it, saving at every step."""
    begun = (folder / "state.pt").exists()
    train(RECIPE, clips(RECIPE, lengths=True), folder, Options(resume=begun, log_every=1, save_every=1))


def look_at_run(folder, last):
    """Check that state and every model file load and that the log tells of every step of the state."""
    if not (folder / "state.pt").exists():
        # Killed before the first checkpoint: there is nothing to go on with, so it begins anew.
        for path in folder.iterdir() if folder.is_dir() else ():
            path.unlink()
        return 0, False
    step = read_state(folder, RECIPE)["step"]
    assert step >= last, f"went back from {last} to {step}"
    for path in folder.glob("weights-*"):
        assert load(path).provenance["step"] == int(path.stem.partition("-")[2])
    logged = [record["step"] for record in read_log(folder)]
    assert logged == list(range(1, len(logged) + 1))
    assert len(logged) >= step, "a saved step is always in the log"
    return step, not (folder / f"weights-{step:08d}.safetensors").exists()


def in_child(work, folder):
    """Fork; the child works and never comes back."""
    child = os.fork()
    if child == 0:
        try:
            work(folder)
        except BaseException as error:
            print(f"child: {error!r}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return child


def written(folder):
    """Say which state file this is, so that a new one is noticed."""
    path = folder / "state.pt"
    return path.stat().st_mtime_ns if path.exists() else None


def main():
    mode, folder, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    work, look = {"saving": (save_for_ever, look_at_saved), "training": (train_on, look_at_run)}[mode]
    draw = random.Random(seed)
    seen = {"kills": 0, "steps": [], "between": 0, "parts": 0}
    last = 0
    for kill in range(kills):
        child = in_child(work, folder)
        before, done = written(folder), (0, 0)
        while written(folder) == before and done == (0, 0):
            time.sleep(0.0001)
            done = os.waitpid(child, os.WNOHANG)
        # Every other kill comes as soon as the state file changes: where it were written in place, in mid-write.
        time.sleep(draw.uniform(0.0, 0.04) if kill % 2 else 0.0)
        if done != (0, 0) or os.waitpid(child, os.WNOHANG) != (0, 0):
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen["kills"] += 1
        seen["parts"] += bool(list(folder.glob(".*.part")))
        if mode == "saving":
            for part in folder.glob(".*.part"):
                part.unlink()
        last, between = look(folder, last)
        seen["steps"].append(last)
        seen["between"] += between
    if mode == "training":
        child = in_child(work, folder)
        assert os.waitpid(child, 0)[1] == 0, "the last part of the run failed"
        assert look(folder, last)[0] == RECIPE.optim.steps
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
