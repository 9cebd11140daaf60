"""Training on a CUDA device: graphs, prefetch, no waiting, recomputation, and the loss curve of the fast mode."""

import pytest
import torch
from loss_curves import RECIPES, away, curves
from training_runs import clips, records, state_of, vector, video

from diffsda.kernels import backend, first_use
from diffsda.model import DiffSDA
from diffsda.train.data import Batch
from diffsda.train.ema import Average
from diffsda.train.graph import WARM_UP, GraphedStep
from diffsda.train.guard import Guard
from diffsda.train.log import read_log
from diffsda.train.loop import Options, train
from diffsda.train.optim import FusedAdamW
from diffsda.train.parallel import Processes
from diffsda.train.prefetch import Prefetch
from diffsda.train.step import TrainStep

pytestmark = pytest.mark.gpu
BUILDS = {"vector": vector, "video": video}


def losses(folder):
    return [record["loss"] for record in records(folder)]


@pytest.mark.parametrize("kernels", ["torch", "triton"])
@pytest.mark.parametrize("name", BUILDS)
def test_a_graph_trains_the_same_dropout_included(tmp_path, name, kernels):
    recipe = BUILDS[name](dropout=0.2, steps=12, ema=0.9, accumulate=2, draws=2)
    data = clips(recipe, 12, lengths=True, mask=True)
    with backend(kernels):
        for graph in (False, True):
            train(recipe, data, tmp_path / str(graph), Options(log_every=1, precision="float32", graph=graph))
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-3)
    plain, graphed = (state_of(tmp_path / str(graph)) for graph in (False, True))
    assert graphed["average_updates"] == plain["average_updates"] == 12
    assert type(graphed["optimizer"]["param_groups"][0]["lr"]) is float
    for part in ("model", "average"):
        torch.testing.assert_close(graphed[part], plain[part], rtol=1e-2, atol=2e-3)


def test_a_graphed_run_goes_on_where_it_stopped(tmp_path):
    recipe = vector(steps=14, ema=0.9)
    data = clips(recipe, 12)
    train(recipe, data, tmp_path / "whole", Options(log_every=1, graph=True))
    train(recipe, data, tmp_path / "parts", Options(log_every=1, graph=True, until=7))
    train(recipe, data, tmp_path / "parts", Options(log_every=1, graph=True, resume=True))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", BUILDS)
def test_a_step_waits_for_nothing(name, graph):
    recipe, processes = BUILDS[name](accumulate=2, draws=2), Processes(0, 1, torch.device("cuda", 0))
    made = clips(recipe, 4, lengths=True, mask=True)
    batch = Batch(*(torch.as_tensor(t) for t in (made.x, made.lengths, made.mask)))
    model = DiffSDA(recipe).cuda().train()
    optimizer = FusedAdamW(model.parameters(), lr=1e-3, average=Average(model, 0.9))
    step = TrainStep(model, optimizer, recipe, processes, bf16=True, guard=Guard(processes.device))
    call = GraphedStep(step) if graph else step
    with Prefetch(lambda _: batch, range(99), step.parts, processes.device) as supply:
        for i in range(WARM_UP + 2):
            call(supply.next(), i, 1e-3)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for i in range(WARM_UP + 2, WARM_UP + 5):
                loss, norm = call(supply.next(), i, 1e-3)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert float(loss) > 0
    assert float(norm) > 0
    assert step.guard.bad_step() is None


def test_batches_prepared_ahead_arrive_whole_and_in_order():
    big = torch.arange(2**22, dtype=torch.float32).reshape(64, 2, -1)
    device = torch.device("cuda", 0)
    with Prefetch(lambda step: Batch(big + step), range(20), [slice(0, 32), slice(32, 64)], device) as supply:
        for step in range(20):
            given = torch.cat([part.x for part in supply.next().parts])
            assert torch.equal(given.cpu(), big + step)


def test_a_loss_that_is_not_finite_is_found_in_a_graph(tmp_path):
    from diffsda.errors import TrainingError

    recipe = vector(steps=120, lr=1e30)
    with pytest.raises(TrainingError, match=r"not finite at step \d+; the batch is in"):
        train(recipe, clips(recipe), tmp_path / "run", Options(graph=True))


def test_recomputing_takes_less_memory_and_trains_the_same(tmp_path):
    recipe = video(dropout=0.1, steps=4, batch=32).replace(clips={"size": 32})
    data = clips(recipe, 32)
    first_use._verdicts.clear()  # As in a new process: kernels are compared inside a checkpoint.
    for again in (True, False):
        folder = tmp_path / str(again)
        train(recipe, data, folder, Options(log_every=1, precision="float32", recompute=again))
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-3)
    assert all(first_use.verdicts().values())
    before, after = (read_log(tmp_path / str(again))[-1]["memory_gb"] for again in (False, True))
    assert after < 0.8 * before


def test_a_record_tells_of_both_rates(tmp_path):
    recipe = video(steps=4)
    train(recipe, clips(recipe), tmp_path / "run", Options(log_every=2))
    for record in read_log(tmp_path / "run"):
        assert 0 < record["mfu"] < 1
        assert record.get("mfu_datasheet", 0.5) < 1
        assert 0 <= record["data_wait"] < 1


@pytest.mark.parametrize("name", RECIPES)
def test_the_fast_mode_stays_within_the_seed_spread_of_the_plain_one(tmp_path, name):
    off = {"dropout": 0.0}  # Dropped elements follow the layout, and would be others.
    recipe = RECIPES[name].replace(backbone=off, encoder=off)
    with backend("torch"):
        plain = curves(recipe, tmp_path, precision="float32", layout="contiguous")
    assert away(curves(recipe, tmp_path, graph=True), plain) < 1
    wrong = recipe.replace(optim={"lr": recipe.optim.lr * 3})
    assert away(curves(wrong, tmp_path, [0], graph=True), plain) > 1
