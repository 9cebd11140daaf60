"""Run under torchrun by test_train_parallel.py: what two processes say to each other, and how they stop together."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from training_runs import clips, vector, video

from diffsda.errors import TrainingError
from diffsda.train import loop
from diffsda.train.guard import Guard
from diffsda.train.loop import Options, train
from diffsda.train.parallel import join, leave


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

recipe = video(steps=2, accumulate=2)
assert train(recipe, clips(recipe, lengths=True), folder / "video", Options(device="cpu")).finished
leave()
print(f"rank {rank} done\n", end="", flush=True)
