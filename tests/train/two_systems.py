"""Run under torchrun by test_train_systems.py: norms of a system that two processes train belong to both."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))
from system_models import RECIPES, clips

from diffsda.checkpoint import load
from diffsda.systems import build
from diffsda.train.log import read_log
from diffsda.train.loop import Options, train
from diffsda.train.parallel import Processes, join, leave

processes = join("cpu")
share, own = Processes.share_norms, []


def noted(self, model, averages=None):
    """Keep what each process came with."""
    held = model.get_buffer(norm)
    both = [torch.empty_like(held) for _ in range(2)]
    dist.all_gather(both, held.clone())
    own.append(both)
    share(self, model, averages)


Processes.share_norms = noted
for name in ("spyl-video",):
    recipe = RECIPES[name].replace(optim={"steps": 4, "ema": 0.5})
    folder = Path(sys.argv[1]) / name
    norm = next(key for key in build(recipe).state_dict() if key.endswith("running_mean"))
    result = train(recipe, clips(recipe), folder, Options(device="cpu", log_every=1))
    (one, other) = own[-1]
    assert not torch.equal(one, other), "each process normalises by its own clips"
    held = torch.load(folder / "state.pt", weights_only=True)
    torch.testing.assert_close(held["model"][norm], (one + other) / 2)
    assert not torch.equal(load(folder).state_dict()[norm], held["model"][norm]), "the file holds the averages"
    losses = [record["loss"] for record in read_log(folder)]
    terms = [sum(v for k, v in record.items() if k.startswith("loss_")) for record in read_log(folder)]
    assert len(losses) == 4
    assert all(terms)
    again = train(recipe, clips(recipe), folder, Options(device="cpu", resume=True))
    assert again.finished
    for key, value in again.model.state_dict().items():
        torch.testing.assert_close(value, result.model.state_dict()[key])
leave()
print(f"rank {processes.rank} done\n", end="", flush=True)
