"""A step never asks the device for a value: on a GPU the host would wait for it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from training_runs import clips, vector, video

from diffsda import encoder, model
from diffsda.train.data import Batch, Ready
from diffsda.train.ema import Average
from diffsda.train.guard import Guard
from diffsda.train.optim import FusedAdamW
from diffsda.train.parallel import Processes
from diffsda.train.step import TrainStep

ALONE = Processes(0, 1, torch.device("cpu"))


class NothingLooksAtValues(TorchDispatchMode):
    """Fail on every operation whose outcome the host needs: a value, or a shape that depends on values."""

    LOOKS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert not name.startswith(self.LOOKS), f"{name} makes the host wait for the device"
        boolean = any(isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in _indices(name, args))
        assert not boolean, "indexing by a mask makes the host wait for the device"
        return func(*args, **(kwargs or {}))


def _indices(name, args):
    return args[1] if name in ("index", "index_put_", "index_put") else ()


def prepared(recipe, **kind):
    """A step on a batch whose shapes the host knows, as it treats them on a device."""
    made = clips(recipe, 4, **kind)
    batch = Batch(*(None if t is None else torch.as_tensor(t) for t in (made.x, made.lengths, made.mask)))
    net = model.DiffSDA(recipe).train()
    average = Average(net, 0.9)
    optimizer = FusedAdamW(net.parameters(), lr=1e-3, average=average)
    return TrainStep(net, optimizer, recipe, ALONE, guard=Guard(ALONE.device)), batch


@pytest.fixture
def as_on_a_device(monkeypatch):
    """Leave out what looking is free for on the CPU: finite values, levels above 0, skipped padding."""
    monkeypatch.setattr(encoder, "real_rows", lambda lengths, frames: None)
    monkeypatch.setattr(model, "real_rows", lambda lengths, frames: None)
    monkeypatch.setattr(model.DiffSDA, "_sigma", lambda self, sigma, x: sigma)
    monkeypatch.setattr(model.check, "clips", lambda x, *_, **__: x)
    monkeypatch.setattr(model.check, "lengths", lambda given, x, **_: given)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("build", [vector, video])
@pytest.mark.parametrize("kind", [{}, {"lengths": True, "mask": True}], ids=["whole", "lengths and mask"])
def test_a_step_looks_at_no_value(as_on_a_device, build, kind, accumulate):
    step, batch = prepared(build(accumulate=accumulate, draws=2), **kind)
    ready = Ready.of(batch, step.parts, ALONE.device)
    with NothingLooksAtValues():
        for i in range(2):
            loss, norm = step(ready, i, 1e-3)
    assert float(loss) > 0
    assert float(norm) > 0
    assert step.guard.bad_step() is None


@pytest.mark.parametrize(
    "look", [lambda x: float(x.sum()), lambda x: bool((x > 0).any()), lambda x: x[x > 0], lambda x: x.nonzero()]
)
def test_looking_is_seen(look):
    x = torch.ones(3)
    with NothingLooksAtValues(), pytest.raises(AssertionError, match="makes the host wait"):
        look(x)
    step, batch = prepared(vector())
    with NothingLooksAtValues(), pytest.raises(AssertionError, match="makes the host wait"):
        step(batch, 0, 1e-3)  # On the CPU the values of the clips are looked at.
