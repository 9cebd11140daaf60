"""Run under torchrun by test_train_parallel.py: what two processes say to each other, how they stop and leave."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from training_runs import clips, vector, video

from diffsda.errors import TrainingError
from diffsda.train import loop
from diffsda.train.guard import Guard
from diffsda.train.loop import Options, train
from diffsda.train.parallel import join, leave, wrap


class BadSecond(Guard):
    """See a bad step 2 in the second process only."""

    def note(self, step, loss, norm):
        bad = step == 2 and processes.rank == 1
        super().note(step, loss * float("nan") if bad else loss, norm)


folder = Path(sys.argv[1])
processes = join("cpu")
rank = processes.rank

assert processes.world == 2
assert processes.first == (rank == 0)
assert processes.least(None) is None
assert processes.least(rank + 5) == 5
assert processes.least(7 if rank == 1 else None) == 7, "one process knows, both learn it"
assert processes.least(0 if rank == 1 else None) == 0
value = torch.tensor(float(rank))
assert float(processes.mean(value)) == 0.5
assert float(value) == rank, "the value handed in stays"

recipe = vector()
options = Options(device="cpu", log_every=2)


def stop(self):
    if self.step == 3 and rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return advance(self)


advance = loop._Run._advance
loop._Run._advance = stop
result = train(recipe, clips(recipe), folder / "stopped", options)
loop._Run._advance = advance
assert (result.step, result.signal, result.finished) == (4, signal.SIGTERM, False), result
result = train(recipe, clips(recipe), folder / "stopped", Options(device="cpu", resume=True))
assert result.finished

guard, loop.Guard = loop.Guard, BadSecond
with pytest.raises(TrainingError, match="at step 2; the batch is in"):
    train(recipe, clips(recipe), folder / "bad", options)
loop.Guard = guard

reduced = []


def count(_, bucket):
    """Reduce gradients as ever, and count."""
    reduced.append(1)
    return default_hooks.allreduce_hook(None, bucket)


def counted(*given, **options):
    wrapper = wrap(*given, **options)
    wrapper.register_comm_hook(None, count)
    return wrapper


loop.wrap = counted
for accumulate in (1, 2):
    reduced.clear()
    recipe = vector(steps=3, accumulate=accumulate)
    assert train(recipe, clips(recipe), folder / f"parts-{accumulate}", options).finished
    assert len(reduced) == 3, f"{accumulate} backward passes a step, one reduction"
loop.wrap = wrap

recipe = video(steps=2, accumulate=2)
assert train(recipe, clips(recipe, lengths=True), folder / "video", Options(device="cpu")).finished


def threads():
    """Names of this process's threads that serve the process group."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def end_with(error):
    """End with this error, or without one, while a frame holds the process group."""
    held = torch.distributed.group.WORLD
    if error is not None:
        raise error
    return held is not None


def leave_with(error):
    """Leave as a command line does whose training ended like this."""
    with contextlib.suppress(RuntimeError):
        try:
            end_with(error)
        finally:
            leave()


kept = wrap(torch.nn.Linear(2, 2), processes)
linux = Path("/proc/self/task").is_dir()
assert bool(threads()) == linux
leave_with(RuntimeError("in one process alone"))
assert bool(threads()) == linux, "nothing waits for processes that may be waiting for this one"
leave_with(TrainingError("in both") if rank == 1 else None)
assert not threads(), "a thread that outlives the interpreter takes the process down"
print(f"rank {rank} done\n", end="", flush=True)
